//! tnftp, NetBSD's and macOS's ftp.

use super::{Client, Invocation, Login, Mode, Task};
use crate::lab::Family;

/// tnftp: told what to do on its standard input.
#[derive(Clone, Copy, Debug)]
pub struct Tnftp;

impl Client for Tnftp {
    fn program(&self) -> &'static str {
        "tnftp"
    }

    fn speaks(&self, mode: Mode, family: Family) -> bool {
        mode.can_carry(family)
    }

    fn prompt(&self) -> &'static str {
        "---> "
    }

    fn invocation(&self, login: &Login<'_>, task: &Task<'_>) -> Invocation {
        // Its exit status says nothing of transfers: what arrived is compared by every test.
        let extended = matches!(login.mode, Mode::Epsv | Mode::Eprt);
        let work = match task {
            Task::Download { remote, local } => format!("get {remote} {}", local.display()),
            Task::ResumeDownload { remote, local } => {
                format!("reget {remote} {}", local.display())
            }
            Task::Upload { local, remote } => format!("put {} {remote}", local.display()),
            Task::ResumeUpload {
                local,
                remote,
                held,
            } => format!("restart {held}\nput {} {remote}", local.display()),
            Task::List { folder } => format!("ls {folder}"),
        };
        let script = [
            format!("open {} {}", login.host(), login.server.port()),
            format!("user {} {}", login.user, login.password),
            format!("epsv4 {}", if extended { "on" } else { "off" }),
            "binary".to_owned(),
            work,
            "bye".to_owned(),
        ];
        let direction = if login.mode.is_active() { "-A" } else { "-p" };
        Invocation {
            // No auto-login, commands shown, no questions.
            args: [direction, "-n", "-v", "-d", "-i"]
                .map(str::to_owned)
                .into(),
            input: script.join("\n") + "\n",
        }
    }
}
