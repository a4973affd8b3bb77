//! curl.

use super::{Client, Invocation, Login, Mode, Task};
use crate::lab::Family;

/// curl: EPSV and EPRT unless told otherwise.
#[derive(Clone, Copy, Debug)]
pub struct Curl;

impl Client for Curl {
    fn program(&self) -> &'static str {
        "curl"
    }

    fn speaks(&self, mode: Mode, family: Family) -> bool {
        mode.can_carry(family)
    }

    fn prompt(&self) -> &'static str {
        "> "
    }

    fn invocation(&self, login: &Login<'_>, task: &Task<'_>) -> Invocation {
        let mut args: Vec<String> = ["-q", "-sS", "-v", "--globoff", "--max-time", "50"]
            .map(str::to_owned)
            .into();
        args.push("--user".to_owned());
        args.push(format!("{}:{}", login.user, login.password));
        match login.mode {
            Mode::Epsv => {}
            Mode::Pasv => args.push("--disable-epsv".to_owned()),
            Mode::Eprt => args.extend(["--ftp-port", "-"].map(str::to_owned)),
            Mode::Port => {
                args.extend(["--ftp-port", "-", "--disable-eprt"].map(str::to_owned));
            }
        }
        if let Some(tls) = login.tls {
            // Whose certificate it is, is not what is tested.
            args.extend(["--ssl-reqd", "--insecure"].map(str::to_owned));
            args.push(format!("--tlsv{}", tls.version.number()));
            args.extend(["--tls-max".to_owned(), tls.version.number().to_owned()]);
            if !tls.resume {
                args.push("--no-sessionid".to_owned());
            }
        }
        let url = |name: &str| format!("{}/{name}", login.url());
        let path = |path: &std::path::Path| path.display().to_string();
        let resume = ["-C".to_owned(), "-".to_owned()];
        match task {
            Task::Download { remote, local } => {
                args.extend(["-o".to_owned(), path(local), url(remote)]);
            }
            Task::ResumeDownload { remote, local } => {
                args.extend(resume);
                args.extend(["-o".to_owned(), path(local), url(remote)]);
            }
            Task::Upload { local, remote } => {
                args.extend(["-T".to_owned(), path(local), url(remote)]);
            }
            Task::ResumeUpload { local, remote, .. } => {
                args.extend(resume);
                args.extend(["-T".to_owned(), path(local), url(remote)]);
            }
            Task::List { folder } => args.push(format!("{}/", url(folder))),
        }
        Invocation {
            args,
            input: String::new(),
        }
    }
}
