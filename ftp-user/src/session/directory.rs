//! RFC 959 §4.1.1 CWD CDUP, §4.1.3 PWD MKD RMD, and appendix II.

use super::state::Login;
use super::told::Change;
use super::{Answer, Session};
use crate::proto::text::quoted_path;
use crate::proto::{Code, Reply};
use crate::vfs::VirtualPath;
use tokio::io::{AsyncRead, AsyncWrite};

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Session<S> {
    /// A path as a command names it, from the working directory on.
    pub(super) fn path(&self, argument: &[u8]) -> Result<VirtualPath, Reply> {
        let joined = self.user()?.directory.join(argument);
        joined.map_err(|error| super::outcome::of_vfs_error(&error))
    }

    pub(super) fn pwd(&self) -> Answer {
        Ok(named(
            &self.user()?.directory,
            b" is the working directory.",
        ))
    }

    pub(super) async fn cwd(&mut self, argument: &[u8]) -> Answer {
        let path = self.path(argument)?;
        self.enter_directory(path).await
    }

    /// Replies as CWD does: RFC 959 §5.4 lists 200, but 250 is what its own text and every client
    /// go by.
    pub(super) async fn cdup(&mut self) -> Answer {
        let path = self.user()?.directory.parent();
        self.enter_directory(path).await
    }

    async fn enter_directory(&mut self, path: VirtualPath) -> Answer {
        let path = self
            .on_disk(move |vfs| vfs.directory(&path).map(|()| path))
            .await?;
        if let Login::User(user) = &mut self.login {
            user.directory = path;
        }
        Ok(Reply::new(Code::ActionOkay, "Directory changed."))
    }

    pub(super) async fn mkd(&mut self, argument: &[u8]) -> Answer {
        let path = self.path(argument)?;
        let path = self
            .on_disk(move |vfs| vfs.make_dir(&path).map(|()| path))
            .await?;
        self.changed("MKD", &path, &Change::Plain);
        Ok(named(&path, b" created."))
    }

    pub(super) async fn rmd(&mut self, argument: &[u8]) -> Answer {
        let path = self.path(argument)?;
        let path = self
            .on_disk(move |vfs| vfs.remove_dir(&path).map(|()| path))
            .await?;
        self.changed("RMD", &path, &Change::Plain);
        Ok(Reply::new(Code::ActionOkay, "Directory removed."))
    }
}

/// A 257: the name first, quoted (RFC 959 appendix II).
fn named(path: &VirtualPath, text: &[u8]) -> Reply {
    let mut line = quoted_path(path.as_bytes());
    line.extend_from_slice(text);
    Reply::bytes(Code::PathCreated, line)
}
