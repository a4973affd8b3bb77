//! SITE CHMOD, UTIME, SYMLINK, QUOTA and HELP: what every server for Unix has under RFC 959 §4.1.3 SITE.

use super::told::Change;
use super::{Answer, Session};
use crate::proto::command::Site;
use crate::proto::{Code, Reply, help};
use crate::vfs::{Usage, Vfs};
use tokio::io::{AsyncRead, AsyncWrite};

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Session<S> {
    pub(super) async fn site(&mut self, site: Site) -> Answer {
        match site {
            Site::Help => Ok(help::site_help()),
            Site::Quota => {
                let usage = self.on_disk(Vfs::usage).await?;
                Ok(quota(&usage))
            }
            Site::Chmod(mode, path) => {
                let path = self.path(&path)?;
                let work = move |vfs: &Vfs| vfs.set_mode(&path, mode).map(|()| path);
                let path = self.on_disk(work).await?;
                self.changed("SITE CHMOD", &path, &Change::Mode(mode));
                Ok(Reply::new(Code::Okay, "Mode changed."))
            }
            Site::Utime {
                accessed,
                modified,
                path,
            } => {
                let path = self.path(&path)?;
                let work = move |vfs: &Vfs| {
                    let set = vfs.set_times(&path, accessed, modified);
                    set.map(|()| path)
                };
                let path = self.on_disk(work).await?;
                self.changed("SITE UTIME", &path, &Change::Plain);
                Ok(Reply::new(Code::Okay, "Times changed."))
            }
            Site::Symlink { target, link } => {
                let link = self.path(&link)?;
                let work = move |vfs: &Vfs| {
                    let made = vfs.make_link(&target, &link);
                    made.map(|()| (link, target))
                };
                let (link, target) = self.on_disk(work).await?;
                self.changed("SITE SYMLINK", &link, &Change::PointsTo(&target));
                Ok(Reply::new(Code::Okay, "Link made."))
            }
        }
    }
}

/// What an account keeps and may keep: a line for each limit that it has.
fn quota(usage: &Usage) -> Reply {
    let Usage {
        bytes,
        files,
        file_size,
    } = usage;
    let kept = |what, used: &Option<(u64, u64)>| {
        let (used, most) = (*used)?;
        let left = most.saturating_sub(used);
        Some(format!(" {what}: {used} of {most}, {left} left"))
    };
    let largest = file_size.map(|most| format!(" Largest file: {most} bytes"));
    let lines: Vec<String> = [kept("Bytes", bytes), kept("Files", files), largest]
        .into_iter()
        .flatten()
        .collect();
    if lines.is_empty() {
        return Reply::new(Code::Okay, "No quota.");
    }
    lines.into_iter().fold(
        Reply::new(Code::Okay, "End").with_line(&b"Quota:"[..]),
        |reply, line| reply.with_line(line.into_bytes()),
    )
}
