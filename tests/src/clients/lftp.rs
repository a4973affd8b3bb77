//! lftp.

use super::{Client, Invocation, Login, Mode, Task};
use crate::lab::Family;

/// lftp: PASV and PORT over IPv4, EPSV and EPRT over IPv6, EPSV over IPv4 when asked.
#[derive(Clone, Copy, Debug)]
pub struct Lftp;

impl Client for Lftp {
    fn program(&self) -> &'static str {
        "lftp"
    }

    fn speaks(&self, mode: Mode, family: Family) -> bool {
        // It has no setting for EPRT over IPv4.
        mode.can_carry(family) && !(mode == Mode::Eprt && family == Family::V4)
    }

    fn prompt(&self) -> &'static str {
        "---> "
    }

    fn invocation(&self, login: &Login<'_>, task: &Task<'_>) -> Invocation {
        let on = |yes: bool| if yes { "on" } else { "off" };
        let work = match task {
            Task::Download { remote, local } => {
                format!("get {remote} -o {}", local.display())
            }
            Task::ResumeDownload { remote, local } => {
                format!("get -c {remote} -o {}", local.display())
            }
            Task::Upload { local, remote } => format!("put {} -o {remote}", local.display()),
            Task::ResumeUpload { local, remote, .. } => {
                format!("put -c {} -o {remote}", local.display())
            }
            Task::List { folder } => format!("ls {folder}"),
        };
        let script = [
            "debug 5".to_owned(),
            "set cmd:fail-exit on".to_owned(),
            "set net:max-retries 1".to_owned(),
            "set net:timeout 20".to_owned(),
            "set ftp:use-abor off".to_owned(),
            match login.tls {
                None => "set ftp:ssl-allow off".to_owned(),
                // It always resumes.
                Some(tls) => format!(
                    "set ftp:ssl-force on; set ftp:ssl-protect-data on; \
                     set ssl:verify-certificate off; \
                     set ssl:priority NORMAL:-VERS-ALL:+VERS-TLS{}",
                    tls.version.number()
                ),
            },
            format!("set ftp:passive-mode {}", on(!login.mode.is_active())),
            format!("set ftp:prefer-epsv {}", on(login.mode == Mode::Epsv)),
            format!("open -u {},{} {}", login.user, login.password, login.url()),
            work,
        ];
        Invocation {
            args: vec!["--norc".to_owned(), "-c".to_owned(), script.join("; ")],
            input: String::new(),
        }
    }
}
