//! SITE CHMOD, UTIME, SYMLINK and HELP: what every server for Unix has under RFC 959 §4.1.3 SITE.

use super::{Answer, Session};
use crate::proto::command::Site;
use crate::proto::{Code, Reply, help};
use tokio::io::{AsyncRead, AsyncWrite};

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Session<S> {
    pub(super) async fn site(&mut self, site: Site) -> Answer {
        match site {
            Site::Help => Ok(help::site_help()),
            Site::Chmod(mode, path) => {
                let path = self.path(&path)?;
                self.on_disk(move |vfs| vfs.set_mode(&path, mode)).await?;
                Ok(Reply::new(Code::Okay, "Mode changed."))
            }
            Site::Utime {
                accessed,
                modified,
                path,
            } => {
                let path = self.path(&path)?;
                self.on_disk(move |vfs| vfs.set_times(&path, accessed, modified))
                    .await?;
                Ok(Reply::new(Code::Okay, "Times changed."))
            }
            Site::Symlink { target, link } => {
                let link = self.path(&link)?;
                self.on_disk(move |vfs| vfs.make_link(&target, &link))
                    .await?;
                Ok(Reply::new(Code::Okay, "Link made."))
            }
        }
    }
}
