//! RFC 959 §4.1.3 LIST NLST STAT with a path, RFC 3659 §7 MLSD MLST.

use super::transfer::{Job, Transfer};
use super::{Answer, Session};
use crate::auth::Rights;
use crate::control::ControlError;
use crate::proto::listing;
use crate::proto::{Code, Reply};
use crate::transfer::{Produce, TransferError};
use crate::vfs::{Entry, Kind, Listing, Tree, Vfs, VfsError, VirtualPath};
use std::io;
use std::time::SystemTime;
use tokio::io::{AsyncRead, AsyncWrite};

pub(super) use crate::proto::listing::Facts;

/// Bytes of listing made in one go.
const CHUNK: usize = 16 << 10;
/// Lines of a STAT with a path. They go over the control connection, which has better to do.
const STAT_LINES: usize = 1000;

/// How an entry is written.
#[derive(Debug, Clone)]
enum Format {
    /// LIST
    Long { now: SystemTime },
    /// NLST, each name behind a directory that the client named, so that it can be used as it is
    /// (RFC 1123 §4.1.2.7).
    Name { directory: Vec<u8> },
    /// MLSD
    Facts { facts: Facts, rights: Rights },
}

impl Format {
    fn write(&self, entry: &Entry, out: &mut Vec<u8>) {
        match self {
            Format::Long { now } => listing::list_line(entry, *now, out),
            Format::Name { directory } => {
                out.extend_from_slice(directory);
                listing::name_line(entry, out);
            }
            Format::Facts { facts, rights } => listing::facts_line(entry, facts, rights, out),
        }
    }
}

/// The lines of a listing, made as they are sent.
#[derive(Debug)]
pub(super) struct ListingLines {
    source: Source,
    format: Format,
}

#[derive(Debug)]
enum Source {
    Directory(Tree, Listing),
    One(Entry),
    Nothing,
}

impl ListingLines {
    fn open(
        tree: Tree,
        vfs: &Vfs,
        path: &VirtualPath,
        format: Format,
    ) -> Result<ListingLines, VfsError> {
        let entry = vfs.metadata(path)?;
        let source = match entry.kind {
            Kind::Dir => Source::Directory(tree, vfs.list(path)?),
            Kind::File | Kind::Symlink | Kind::Other => Source::One(entry),
        };
        Ok(ListingLines { source, format })
    }
}

impl Produce for ListingLines {
    fn produce(&mut self, out: &mut Vec<u8>) -> Result<bool, TransferError> {
        match std::mem::replace(&mut self.source, Source::Nothing) {
            Source::Nothing => Ok(false),
            Source::One(entry) => {
                self.format.write(&entry, out);
                Ok(false)
            }
            Source::Directory(tree, mut listing) => {
                let enough = out.len() + CHUNK;
                let more = tree.act(|vfs| {
                    for entry in listing.entries(vfs) {
                        self.format.write(&entry?, out);
                        if out.len() >= enough {
                            return Ok(true);
                        }
                    }
                    Ok(false)
                });
                let more = more.map_err(|error| TransferError::Read(io::Error::other(error)))?;
                if more {
                    self.source = Source::Directory(tree, listing);
                }
                Ok(more)
            }
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Session<S> {
    pub(super) async fn list(&mut self, argument: Option<&[u8]>) -> Result<Answer, ControlError> {
        let format = Format::Long {
            now: SystemTime::now(),
        };
        self.send_listing("LIST", argument, format).await
    }

    pub(super) async fn nlst(&mut self, argument: Option<&[u8]>) -> Result<Answer, ControlError> {
        let mut directory = argument.unwrap_or_default().to_vec();
        if directory.last().is_some_and(|&last| last != b'/') {
            directory.push(b'/');
        }
        self.send_listing("NLST", argument, Format::Name { directory })
            .await
    }

    /// Of directories only (RFC 3659 §7.2).
    pub(super) async fn mlsd(&mut self, argument: Option<&[u8]>) -> Result<Answer, ControlError> {
        let format = match self.facts_format() {
            Ok(format) => format,
            Err(refusal) => return Ok(Err(refusal)),
        };
        self.send_listing("MLSD", argument, format).await
    }

    fn facts_format(&self) -> Result<Format, Reply> {
        let rights = self.user()?.account.rights;
        Ok(Format::Facts {
            facts: self.parameters.facts.clone(),
            rights,
        })
    }

    async fn send_listing(
        &mut self,
        verb: &'static str,
        argument: Option<&[u8]>,
        format: Format,
    ) -> Result<Answer, ControlError> {
        match self.open_listing(verb, argument, format).await {
            Ok(transfer) => self.transfer(transfer).await.map(Ok),
            Err(refusal) => Ok(Err(refusal)),
        }
    }

    async fn open_listing(
        &mut self,
        verb: &'static str,
        argument: Option<&[u8]>,
        mut format: Format,
    ) -> Result<Transfer, Reply> {
        let path = self.path_or_here(argument)?;
        self.has_data_connection()?;
        let tree = self.user()?.tree.clone();
        let lines = self
            .on_disk({
                let path = path.clone();
                let argument = argument.map(<[u8]>::to_vec);
                move |vfs| {
                    let mut lines = ListingLines::open(tree, vfs, &path, format.clone())?;
                    // NLST of a file answers with the name as it was asked for.
                    if let (Source::One(entry), Format::Name { directory }) =
                        (&mut lines.source, &mut format)
                    {
                        directory.clear();
                        entry.name = argument.unwrap_or_default();
                        lines.format = format;
                    }
                    Ok(lines)
                }
            })
            .await?;
        if let (Source::One(_), Format::Facts { .. }) = (&lines.source, &lines.format) {
            return Err(Reply::new(
                Code::ArgumentError,
                "MLSD is for directories; use MLST.",
            ));
        }
        let opening = "Here comes the listing.".to_owned();
        Ok(Transfer {
            verb,
            path,
            job: Job::Listing(lines),
            opening,
        })
    }

    /// One entry, over the control connection, under its whole name (RFC 3659 §7.3).
    pub(super) async fn mlst(&mut self, argument: Option<&[u8]>) -> Answer {
        let path = self.path_or_here(argument)?;
        let format = self.facts_format()?;
        let entry = self
            .on_disk(move |vfs| {
                let mut entry = vfs.metadata(&path)?;
                entry.name = path.as_bytes().to_vec();
                Ok(entry)
            })
            .await?;
        let mut line = vec![b' '];
        format.write(&entry, &mut line);
        without_line_end(&mut line);
        Ok(Reply::new(Code::ActionOkay, "End")
            .with_line(&b"Listing:"[..])
            .with_line(line))
    }

    /// STAT with a path: LIST over the control connection.
    pub(super) async fn stat_path(&mut self, argument: &[u8]) -> Answer {
        let path = self.path(argument)?;
        let format = Format::Long {
            now: SystemTime::now(),
        };
        let (code, lines, more) = self
            .on_disk(move |vfs| status_lines(vfs, &path, &format))
            .await?;
        let last = if more {
            "Cut short; LIST shows all."
        } else {
            "End of status."
        };
        let reply = Reply::new(code, last).with_line(&b"Status:"[..]);
        Ok(lines.into_iter().fold(reply, Reply::with_line))
    }

    fn path_or_here(&self, argument: Option<&[u8]>) -> Result<VirtualPath, Reply> {
        match argument {
            Some(argument) => self.path(argument),
            None => Ok(self.user()?.directory.clone()),
        }
    }
}

/// Lines without their ends, and whether there are more.
fn status_lines(
    vfs: &Vfs,
    path: &VirtualPath,
    format: &Format,
) -> Result<(Code, Vec<Vec<u8>>, bool), VfsError> {
    let line = |entry: &Entry| {
        let mut line = Vec::new();
        format.write(entry, &mut line);
        without_line_end(&mut line);
        line
    };
    let entry = vfs.metadata(path)?;
    if entry.kind != Kind::Dir {
        return Ok((Code::FileStatus, vec![line(&entry)], false));
    }
    let mut lines = Vec::new();
    for entry in vfs.list(path)?.entries(vfs) {
        let entry = entry?;
        if lines.len() == STAT_LINES {
            return Ok((Code::DirectoryStatus, lines, true));
        }
        lines.push(line(&entry));
    }
    Ok((Code::DirectoryStatus, lines, false))
}

fn without_line_end(line: &mut Vec<u8>) {
    if line.ends_with(b"\r\n") {
        line.truncate(line.len() - 2);
    }
}
