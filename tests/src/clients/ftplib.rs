//! Python's ftplib, by a small program of ours that uses it as applications do.

use super::{Client, Invocation, Login, Mode, Task};
use crate::lab::Family;

/// ftplib.
#[derive(Clone, Copy, Debug)]
pub struct Ftplib;

impl Client for Ftplib {
    fn program(&self) -> &'static str {
        "python3"
    }

    fn name(&self) -> &'static str {
        "ftplib"
    }

    fn speaks(&self, mode: Mode, family: Family) -> bool {
        mode.can_carry(family)
    }

    fn prompt(&self) -> &'static str {
        "*cmd* '"
    }

    fn invocation(&self, login: &Login<'_>, task: &Task<'_>) -> Invocation {
        let mut args = vec![
            "-c".to_owned(),
            include_str!("ftplib.py").to_owned(),
            login.host(),
            login.server.port().to_string(),
            login.user.to_owned(),
            login.password.to_owned(),
            login.mode.word().to_owned(),
        ];
        let path = |path: &std::path::Path| path.display().to_string();
        args.extend(match task {
            Task::Download { remote, local } => {
                ["download".to_owned(), (*remote).to_owned(), path(local)]
            }
            Task::ResumeDownload { remote, local } => [
                "resume-download".to_owned(),
                (*remote).to_owned(),
                path(local),
            ],
            Task::Upload { local, remote } => {
                ["upload".to_owned(), (*remote).to_owned(), path(local)]
            }
            Task::ResumeUpload {
                local,
                remote,
                held,
            } => [
                format!("resume-upload:{held}"),
                (*remote).to_owned(),
                path(local),
            ],
            Task::List { folder } => ["list".to_owned(), (*folder).to_owned(), String::new()],
        });
        args.push(match login.tls {
            None => "clear".to_owned(),
            Some(tls) => {
                let sessions = if tls.resume { "resume" } else { "new" };
                let start = if login.is_implicit() {
                    "implicit"
                } else {
                    "explicit"
                };
                format!("{}:{start}:{sessions}", tls.version.number())
            }
        });
        Invocation {
            args,
            input: String::new(),
        }
    }
}
