//! RFC 959 §4.1.3 DELE RNFR RNTO, RFC 3659 SIZE MDTM; MFMT of draft-somers-ftp-mfxx-04 and AVBL of
//! draft-peterson-streamlined-ftp-command-extensions.

use super::state::Pending;
use super::told::Change;
use super::{Answer, Session};
use crate::proto::command::TypeCode;
use crate::proto::timestamp::append_timestamp;
use crate::proto::{Code, Reply};
use crate::vfs::{Kind, Vfs};
use std::time::{Duration, SystemTime};
use tokio::io::{AsyncRead, AsyncWrite};

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Session<S> {
    pub(super) async fn dele(&mut self, argument: &[u8]) -> Answer {
        let path = self.path(argument)?;
        let written_down = self.context.xferlog.is_on();
        let work = move |vfs: &Vfs| {
            // Afterwards nobody knows.
            let bytes = match written_down {
                true => vfs.metadata(&path).map_or(0, |entry| entry.size),
                false => 0,
            };
            vfs.remove_file(&path).map(|()| (path, bytes))
        };
        let (path, bytes) = self.on_disk(work).await?;
        self.changed("DELE", &path, &Change::Plain);
        if written_down {
            self.write_down("DELE", path, bytes, Duration::ZERO, true)
                .await;
        }
        Ok(Reply::new(Code::ActionOkay, "File removed."))
    }

    pub(super) async fn rnfr(&mut self, argument: &[u8]) -> Answer {
        let path = self.path(argument)?;
        let path = self
            .on_disk(move |vfs| vfs.link_metadata(&path).map(|_| path))
            .await?;
        self.pending = Pending::Rename(path);
        Ok(Reply::new(Code::ActionPending, "RNTO, please."))
    }

    pub(super) async fn rnto(&mut self, argument: &[u8]) -> Answer {
        let Pending::Rename(from) = std::mem::take(&mut self.pending) else {
            return Err(Reply::new(Code::BadSequence, "RNFR comes first."));
        };
        let to = self.path(argument)?;
        // It ends what is there, as a deletion or an upload of that name would.
        let rights = self.user()?.account.rights;
        let replaces = rights.delete || rights.write;
        let work = move |vfs: &Vfs| vfs.rename(&from, &to, replaces).map(|()| (from, to));
        let (from, to) = self.on_disk(work).await?;
        self.changed("RNTO", &from, &Change::RenamedTo(&to));
        Ok(Reply::new(Code::ActionOkay, "Renamed."))
    }

    /// RFC 3659 §4: the bytes that RETR would send. In TYPE A that would mean reading the file.
    pub(super) async fn size(&mut self, argument: &[u8]) -> Answer {
        if self.parameters.type_code == TypeCode::Ascii {
            return Err(Reply::new(
                Code::FileUnavailable,
                "SIZE works in TYPE I only.",
            ));
        }
        let path = self.path(argument)?;
        let entry = self.on_disk(move |vfs| vfs.metadata(&path)).await?;
        match entry.kind {
            Kind::File => Ok(Reply::new(Code::FileStatus, entry.size.to_string())),
            Kind::Dir | Kind::Symlink | Kind::Other | Kind::Unknown => Err(not_a_file()),
        }
    }

    /// The reply tells what is true now (§3.1 of the draft), which file systems make of times that they
    /// do not have, and the path as it was given.
    pub(super) async fn mfmt(&mut self, modified: SystemTime, argument: &[u8]) -> Answer {
        let path = self.path(argument)?;
        let work = move |vfs: &Vfs| {
            vfs.set_times(&path, None, modified)?;
            let modified = vfs.metadata(&path)?.modified;
            Ok((path, modified))
        };
        let (path, modified) = self.on_disk(work).await?;
        self.changed("MFMT", &path, &Change::Plain);
        let mut text = b"Modify=".to_vec();
        append_timestamp(modified, &mut text);
        text.extend_from_slice(b"; ");
        text.extend_from_slice(argument);
        Ok(Reply::bytes(Code::FileStatus, text))
    }

    /// What the file system has left.
    pub(super) async fn avbl(&mut self, argument: Option<&[u8]>) -> Answer {
        let path = self.path_or_here(argument)?;
        let bytes = self
            .on_disk(move |vfs| {
                vfs.directory(&path)?;
                vfs.free_space(&path)
            })
            .await?;
        Ok(Reply::new(Code::FileStatus, bytes.to_string()))
    }

    /// RFC 3659 §3.
    pub(super) async fn mdtm(&mut self, argument: &[u8]) -> Answer {
        let path = self.path(argument)?;
        let entry = self.on_disk(move |vfs| vfs.metadata(&path)).await?;
        match entry.kind {
            Kind::File => {
                let mut text = Vec::new();
                append_timestamp(entry.modified, &mut text);
                Ok(Reply::bytes(Code::FileStatus, text))
            }
            Kind::Dir | Kind::Symlink | Kind::Other | Kind::Unknown => Err(not_a_file()),
        }
    }
}

fn not_a_file() -> Reply {
    Reply::new(Code::FileUnavailable, "Not a regular file.")
}
