//! `pinhole check`: says what a configuration means, or what is wrong with it and where.

mod meaning;

use std::fmt::{self, Write as _};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::bail;
use serde_json::json;
use time::OffsetDateTime;

use super::doubts::doubts;
use super::{DEFAULT_CONFIG, config_file, explain};
use crate::auth::{Accounts, AuthError};
use crate::config::{Config, ConfigError, Problem, lines};
use crate::generation::{GenerationError, examine};
use crate::tls::Tls;
use crate::xferlog::Xferlog;

#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    /// The configuration [default: /etc/pinhole/pinhole.toml]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,

    /// For programs: {"ok", "config", "certificates": [{"file", "subject", "not_before",
    /// "not_after"}], "doubts"} or {"ok", "problems": [{"file", "line", "column", "message"}]}, where
    /// line and column are null for what is in no one line
    #[arg(long)]
    json: bool,

    /// Say only what is wrong, and that on standard error
    #[arg(long, short, conflicts_with = "json")]
    quiet: bool,
}

const EXAMPLES: &str = "\
Exit status: 0 if `pinhole serve` can use the file, 1 if not. What it names is looked at too: users file,
certificates, roots, transfer log. Nobody has to be able to log in where there is a [guard].

Examples:
  pinhole check
  pinhole check --config ./pinhole.toml
  pinhole check --json | jq .problems";

pub(super) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let file = config_file(args.config.as_deref()).unwrap_or_else(|| DEFAULT_CONFIG.into());
    let (text, code) = match check(&file) {
        Ok(_) if args.quiet => (String::new(), ExitCode::SUCCESS),
        Ok(checked) if args.json => (checked.json(), ExitCode::SUCCESS),
        Ok(checked) => (checked.summary(&file), ExitCode::SUCCESS),
        Err(unusable) if args.json => (unusable.json(&file), ExitCode::FAILURE),
        Err(unusable @ Unusable::Problems(_)) if !args.quiet => {
            (format!("{unusable}\n"), ExitCode::FAILURE)
        }
        // In words alone: whatever is wrong, the exit status is 1.
        Err(unusable) => bail!("{unusable}"),
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

impl fmt::Display for Unusable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Unusable::Problems(problems) => f.write_str(&lines(problems)),
            Unusable::Other(error) => f.write_str(&explain(error)),
        }
    }
}

impl Unusable {
    /// For programs. `file` is what was checked.
    fn json(&self, file: &Path) -> String {
        let problems: Vec<_> = match self {
            Unusable::Problems(problems) => problems
                .iter()
                .map(|problem| {
                    json!({
                        "file": problem.file.display().to_string(),
                        "line": problem.line,
                        "column": problem.column,
                        "message": problem.message,
                    })
                })
                .collect(),
            Unusable::Other(error) => vec![json!({
                "file": file.display().to_string(),
                "line": null,
                "column": null,
                "message": explain(error),
            })],
        };
        let value = json!({"ok": false, "problems": problems});
        format!("{value:#}\n")
    }
}

#[derive(Debug)]
struct Checked {
    config: Config,
    accounts: Accounts,
    tls: Option<Tls>,
    doubts: Vec<String>,
}

fn check(file: &Path) -> Result<Checked, Unusable> {
    let config = Config::load(file).map_err(|error| match error {
        ConfigError::Invalid(problems) => Unusable::Problems(problems),
        error @ ConfigError::Read { .. } => Unusable::Other(error.into()),
    })?;
    let (accounts, tls) = examine(&config).map_err(|error| match error {
        GenerationError::Accounts(AuthError::Invalid(problems)) => Unusable::Problems(problems),
        error => Unusable::Other(error.into()),
    })?;
    if accounts.is_empty() && !config.is_for_guard_alone() {
        return Err(Unusable::Other(GenerationError::Nobody.into()));
    }
    let xferlog = config.log.xferlog.as_deref().map(Xferlog::look);
    let xferlog = xferlog.transpose();
    xferlog.map_err(|error| Unusable::Other(error.into()))?;
    let doubts = doubts(&config, &accounts, tls.as_ref());
    Ok(Checked {
        config,
        accounts,
        tls,
        doubts,
    })
}

impl Checked {
    fn json(&self) -> String {
        let certificates = self.tls.iter().flat_map(Tls::validities);
        let certificates: Vec<_> = certificates
            .map(|(file, validity)| {
                json!({
                    "file": file.display().to_string(),
                    "subject": validity.subject,
                    "not_before": rfc3339(validity.not_before),
                    "not_after": rfc3339(validity.not_after),
                })
            })
            .collect();
        let value = json!({
            "ok": true,
            "config": self.config,
            "certificates": certificates,
            "doubts": self.doubts,
        });
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
}

/// Certificates' times are UTC, in whole seconds (RFC 5280 section 4.1.2.5).
fn rfc3339(at: OffsetDateTime) -> String {
    let (hour, minute, second) = at.to_hms();
    format!("{}T{hour:02}:{minute:02}:{second:02}Z", at.date())
}

#[cfg(test)]
mod tests;
