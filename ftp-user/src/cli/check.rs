//! `pinhole check`: says what a configuration means, or what is wrong with it and where.

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::bail;
use serde_json::json;

use super::doubts::doubts;
use super::{DEFAULT_CONFIG, config_file};
use crate::auth::{Accounts, AuthError};
use crate::config::{
    self, Config, ConfigError, ForNetwork, Interfaces, OnExit, Problem, PublicAddress, TlsPolicy,
    Unresolved, Use,
};
use crate::tls::Tls;

#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    /// The configuration [default: /etc/pinhole/pinhole.toml]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,

    /// For programs: {"ok", "config", "doubts"} or {"ok", "problems": [{"file", "line", "column",
    /// "message"}]}
    #[arg(long)]
    json: bool,
}

const EXAMPLES: &str = "\
Exit status: 0 if the file can be used, 1 if not. The users file that it names is checked too.

Examples:
  pinhole check
  pinhole check --config ./pinhole.toml
  pinhole check --json | jq .problems";

pub(super) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let Some(file) = config_file(args.config.as_deref()) else {
        bail!("there is no {DEFAULT_CONFIG}; name a file with --config");
    };
    let (text, code) = match check(&file) {
        Ok(checked) if args.json => (checked.json(), ExitCode::SUCCESS),
        Ok(checked) => (checked.summary(&file), ExitCode::SUCCESS),
        Err(Unusable::Problems(problems)) if args.json => {
            (problems_json(&problems), ExitCode::FAILURE)
        }
        Err(Unusable::Problems(problems)) => {
            let lines: String = problems
                .iter()
                .map(|problem| format!("{problem}\n"))
                .collect();
            (lines, ExitCode::FAILURE)
        }
        Err(Unusable::Other(error)) => return Err(error),
    };
    std::io::stdout().lock().write_all(text.as_bytes())?;
    Ok(code)
}

#[derive(Debug)]
enum Unusable {
    /// With their places.
    Problems(Vec<Problem>),
    /// A file that cannot be read, for instance.
    Other(anyhow::Error),
}

#[derive(Debug)]
struct Checked {
    config: Config,
    accounts: Accounts,
    doubts: Vec<String>,
}

fn check(file: &Path) -> Result<Checked, Unusable> {
    let config = Config::load(file).map_err(|error| match error {
        ConfigError::Invalid(problems) => Unusable::Problems(problems),
        error @ ConfigError::Read { .. } => Unusable::Other(error.into()),
    })?;
    let accounts = Accounts::load(&config).map_err(|error| match error {
        AuthError::Invalid(problems) => Unusable::Problems(problems),
        error => Unusable::Other(error.into()),
    })?;
    let doubts = doubts(&config, &accounts);
    if let Some(settings) = &config.tls {
        Tls::load(settings).map_err(|error| Unusable::Other(error.into()))?;
    }
    Ok(Checked {
        config,
        accounts,
        doubts,
    })
}

impl Checked {
    fn json(&self) -> String {
        let value = json!({"ok": true, "config": self.config, "doubts": self.doubts});
        format!("{value:#}\n")
    }

    fn summary(&self, file: &Path) -> String {
        let mut out = format!("{} can be used. It means:\n", file.display());
        for (what, means) in self.meaning() {
            // Writing to memory does not fail.
            let _ = writeln!(out, "  {what:17} {means}");
        }
        for doubt in &self.doubts {
            let _ = writeln!(out, "warning: {doubt}");
        }
        out
    }

    /// The accounts with limits of their own.
    fn own_limits(&self) -> Vec<String> {
        /// All of them are in the users file; here it is about what the settings mean.
        const MOST: usize = 20;
        let general = self.config.limits.account;
        let anonymous = self.accounts.anonymous();
        let mut own: Vec<String> = self
            .accounts
            .users()
            .chain(anonymous.as_deref())
            .filter(|account| account.limits != general)
            .map(|account| format!("{}: {}", account.name, account.limits))
            .collect();
        own.sort();
        if let Some(more) = own.len().checked_sub(MOST).filter(|more| *more > 0) {
            own.truncate(MOST);
            own.push(format!("and {more} more with limits of their own"));
        }
        own
    }

    fn meaning(&self) -> Vec<(&'static str, String)> {
        let Config {
            listen,
            passive,
            active,
            enforce,
            timeouts,
            limits,
            ..
        } = &self.config;
        let time = |duration| humantime::format_duration(duration).to_string();
        let listen: Vec<String> = listen.iter().map(ToString::to_string).collect();
        let users = self.accounts.users().count();
        let anonymous = match &self.config.anonymous {
            Some(anonymous) => format!("read-only in {}", anonymous.root.display()),
            None => "nobody".to_owned(),
        };
        let host_users = match &self.config.pam {
            Some(pam) => format!(
                "from uid {} on, in their homes, by the PAM service \"{}\"",
                pam.min_uid, pam.service
            ),
            None => "nobody".to_owned(),
        };
        let mut address = match &passive.address {
            PublicAddress::Own => String::new(),
            address => format!("; PASV names {address}"),
        };
        for own in &passive.addresses {
            let ForNetwork {
                network,
                address: named,
            } = own;
            address += &format!(", to {network} {named}");
        }
        let mut meaning = vec![
            ("listen", listen.join(", ")),
            ("greeting", format!("220 {}", self.config.greeting)),
            ("TLS", tls_meaning(self.config.tls.as_ref())),
            ("password users", users.to_string()),
            ("users of the host", host_users),
            ("anonymous", anonymous),
            (
                "passive ports",
                format!(
                    "{} ({}), each open for up to {}{address}",
                    passive.ports,
                    passive.ports.len(),
                    time(passive.connect_timeout)
                ),
            ),
            (
                "active mode",
                match (active.enabled, active.from_port_20) {
                    (false, _) => "refused".to_owned(),
                    (true, true) => "to the client itself, from port 20".to_owned(),
                    (true, false) => "to the client itself, from any port".to_owned(),
                },
            ),
        ];
        if enforce.enabled {
            let interfaces = match &enforce.interfaces {
                Interfaces::Auto => "every interface that clients can come in by".to_owned(),
                Interfaces::Named(names) => names.join(", "),
            };
            let attach = format!("{:?}", enforce.attach).to_lowercase();
            let mark = enforce
                .mark
                .map(|mark| format!(", marks admitted packets {mark:#x}"));
            let mark = mark.unwrap_or_default();
            meaning.push((
                "enforced on",
                format!("{interfaces} (attach: {attach}{mark})"),
            ));
            let (v4, v6) = (enforce.client_prefix_v4, enforce.client_prefix_v6);
            let who =
                format!("who shares /{v4} (IPv4) or /{v6} (IPv6) with the control connection");
            meaning.push(("data connections", who));
        } else {
            meaning.push((
                "enforced on",
                "nothing: ports are open to anybody while they wait".into(),
            ));
        }
        let limit = |number: usize| match number {
            0 => "any number".to_owned(),
            number => number.to_string(),
        };
        meaning.push((
            "sessions",
            format!(
                "{}; from one address {}",
                limit(limits.sessions),
                limit(limits.sessions_per_address)
            ),
        ));
        meaning.push(("each account", limits.account.to_string()));
        for own in self.own_limits() {
            meaning.push(("", own));
        }
        meaning.push((
            "timeouts",
            format!(
                "login {}, idle {}, stalled transfer {}, transfers at shutdown {}, \
                 sessions after SIGUSR2 {}",
                time(timeouts.login),
                time(timeouts.idle),
                time(timeouts.stall),
                time(timeouts.drain),
                match timeouts.restart.is_zero() {
                    true => "without limit".to_owned(),
                    false => time(timeouts.restart).to_string(),
                }
            ),
        ));
        if self.config.guard != config::Guard::default() {
            meaning.push(("pinhole guard", guard_meaning(&self.config.guard)));
        }
        meaning
    }
}

fn guard_meaning(guard: &config::Guard) -> String {
    let ports = match &guard.ports {
        Some(ports) => format!("shuts {ports}"),
        None => "shuts what servers listen on for data".to_owned(),
    };
    let dry = match guard.dry_run {
        true => " (dry run: drops nothing)",
        false => "",
    };
    let unresolved = match guard.unresolved {
        Unresolved::Shut => "",
        Unresolved::AdmitControlPeers => ", admits control peers where it knows no better",
    };
    let on_exit = match guard.on_exit {
        OnExit::Open => "ends open",
        OnExit::Closed => "works on without its daemon",
    };
    format!(
        "control ports {}, {ports}{dry}{unresolved}, {on_exit}; network namespaces: {}",
        guard.control_ports,
        guard.netns.join(", ")
    )
}

fn tls_meaning(tls: Option<&config::Tls>) -> String {
    let Some(tls) = tls else {
        return "none: passwords and files are sent in the clear".to_owned();
    };
    let word = |used| match used {
        Use::Off => "off",
        Use::Allow => "allowed",
        Use::Require => "required",
    };
    let binding = format!("{:?}", tls.session_binding).to_lowercase();
    let implicit: Vec<String> = tls.listen.iter().map(ToString::to_string).collect();
    let implicit = match implicit.as_slice() {
        [] => String::new(),
        addresses => format!("; implicit on {}", addresses.join(", ")),
    };
    let words = |policy: &TlsPolicy| {
        let (control, data) = (word(policy.control), word(policy.data));
        format!("AUTH TLS {control}, PROT P {data}")
    };
    let own: String = tls
        .listeners
        .iter()
        .map(|own| format!("; on {}: {}", own.address, words(&own.policy)))
        .collect();
    let general = TlsPolicy {
        control: tls.mode,
        data: tls.data,
    };
    let names = match tls.check_server_name {
        true => "; a host that is named has to be the certificate's",
        false => "",
    };
    format!(
        "{} (session binding: {binding}){implicit}{own}{names}",
        words(&general)
    )
}

fn problems_json(problems: &[Problem]) -> String {
    let problems: Vec<_> = problems
        .iter()
        .map(|problem| {
            json!({
                "file": problem.file.display().to_string(),
                "line": problem.line,
                "column": problem.column,
                "message": problem.message,
            })
        })
        .collect();
    let value = json!({"ok": false, "problems": problems});
    format!("{value:#}\n")
}

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;
    use std::fmt::Display;
    use std::fs;
    use std::os::unix::ffi::OsStrExt as _;

    use super::*;

    fn checked(text: &str) -> Result<(Checked, PathBuf), Vec<Problem>> {
        let temporary = tempfile::tempdir().unwrap();
        // A folder whose name is not text must not make anything fail.
        let dir = temporary.path().join(OsStr::from_bytes(b"\xff"));
        fs::create_dir(&dir).unwrap();
        fs::create_dir(dir.join("files")).unwrap();
        fs::write(dir.join("users.toml"), "[[user]]\nname = 1\n").unwrap();
        let file = dir.join("pinhole.toml");
        fs::write(&file, text).unwrap();
        match check(&file) {
            Ok(checked) => Ok((checked, file)),
            Err(Unusable::Problems(problems)) => Err(problems),
            Err(Unusable::Other(error)) => unreachable!("{error}"),
        }
    }

    #[test]
    fn a_good_file_is_summed_up() {
        let text = "[anonymous]\nroot = \"files\"\nlimits.sessions = 7\n[enforce]\nmark = 0x12\n\
                    [limits.account]\nquota_bytes = \"1GiB\"\n";
        let (good, file) = checked(text).unwrap();
        let summary = good.summary(&file);
        for line in [
            "  listen            [::]:21\n",
            "  TLS               none: passwords and files are sent in the clear\n",
            "  passive ports     30000-50000 (20001), each open for up to 30s\n",
            "(attach: auto, marks admitted packets 0x12)\n",
            "  sessions          10000; from one address any number\n",
            "  each account      1GiB in all\n",
            "                    anonymous: 7 sessions, 1GiB in all\n",
        ] {
            assert!(summary.contains(line), "{summary}");
        }
        assert!(!summary.contains("warning"), "{summary}");
        let json: serde_json::Value = serde_json::from_str(&good.json()).unwrap();
        assert_eq!(json["ok"], true);
        assert_eq!(json["config"]["passive"]["ports"], "30000-50000");
        assert_eq!(json["config"]["timeouts"]["idle"], "5m");
        assert_eq!(json["config"]["enforce"]["interfaces"], "auto");
        assert_eq!(json["config"]["enforce"]["mark"], 0x12);
    }

    #[test]
    fn a_guard_is_summed_up_where_there_is_one() {
        let text = "[guard]\nports = \"40000-40009\"\non_exit = \"closed\"\ndry_run = true\n";
        let (good, file) = checked(text).unwrap();
        let summary = good.summary(&file);
        let line = "  pinhole guard     control ports 21, shuts 40000-40009 (dry run: drops nothing), \
                    works on without its daemon; network namespaces: self\n";
        assert!(summary.contains(line), "{summary}");
        let (plain, file) = checked("").unwrap();
        assert!(!plain.summary(&file).contains("guard"));
    }

    #[test]
    fn doubts_are_warnings() {
        let (odd, file) = checked("[enforce]\nenabled = false\n").unwrap();
        let summary = odd.summary(&file);
        assert!(summary.contains("warning: nobody can log in"), "{summary}");
        assert!(summary.contains("warning: enforcement is off"), "{summary}");
    }

    #[test]
    fn tls_is_summed_up_and_its_files_are_read() {
        let folder = tempfile::tempdir().unwrap();
        let tls = crate::tls::testing::settings(folder.path());
        let (certificate, key) = (tls.certificate.display(), tls.key.display());
        let text = |certificate: &dyn Display| {
            format!(
                "[tls]\ncertificate = \"{certificate}\"\nkey = \"{key}\"\nmode = \"require\"\n\
                 listen = [\"[::1]:990\"]\n"
            )
        };
        let (good, file) = checked(&text(&certificate)).unwrap();
        let summary = good.summary(&file);
        let line = "  TLS               AUTH TLS required, PROT P allowed (session binding: \
                    prefer); implicit on [::1]:990\n";
        assert!(summary.contains(line), "{summary}");

        let wrong = folder.path().join("pinhole.toml");
        fs::write(&wrong, text(&key)).unwrap();
        let Err(Unusable::Other(error)) = check(&wrong) else {
            unreachable!()
        };
        assert!(
            error.to_string().contains("holds no certificate"),
            "{error}"
        );
        let problems = checked(&text(&"/no/where")).unwrap_err();
        assert_eq!((problems[0].line, problems[0].column), (2, 15));
    }

    #[test]
    fn problems_of_both_files_are_found() {
        let problems = checked("lissten = 1\n").unwrap_err();
        let json: serde_json::Value = serde_json::from_str(&problems_json(&problems)).unwrap();
        assert_eq!(json["ok"], false);
        assert_eq!(json["problems"][0]["line"], 1);
        assert_eq!(json["problems"][0]["column"], 1);

        let problems = checked("users = \"users.toml\"\n").unwrap_err();
        assert!(problems[0].file.ends_with("users.toml"));
        assert_eq!((problems[0].line, problems[0].column), (2, 8));
    }
}
