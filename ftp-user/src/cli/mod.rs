//! The command line: what `pinhole` is told to do, and how it says what went wrong. No product
//! logic.

mod check;
mod doubts;
mod guard;
mod log;
mod overrides;
mod prompt;
mod reference;
mod restart;
mod serve;
mod signals;
mod source;
mod status;
mod systemd;
mod trace;
mod user;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{CommandFactory as _, Parser, Subcommand};

use self::log::Logging;
use crate::config::{Config, ConfigError, LogFormat};
use crate::generation::GenerationError;
use crate::pinholes::inspect::announce;
use crate::stderr;

/// Where the configuration is looked for if nobody names another file.
const DEFAULT_CONFIG: &str = "/etc/pinhole/pinhole.toml";

/// An FTP server whose data ports exist only while a session has negotiated them.
#[derive(Debug, Parser)]
#[command(name = "pinhole", version, about, after_help = EXAMPLES, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,

    #[command(flatten)]
    logging: Logging,
}

const EXAMPLES: &str = "\
Examples:
  pinhole serve --root /srv/ftp                 everybody may read /srv/ftp
  pinhole user add alice --root /srv/alice      alice may do everything in /srv/alice
  pinhole check --config pinhole.toml           what would this file mean?

See `pinhole serve --help` for trying it without root.";

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve FTP until SIGTERM or SIGINT
    Serve(serve::Args),
    /// Add, change, remove and list the users with passwords
    User(user::Args),
    /// Give the same protection to an FTP server that is already there
    Guard(guard::Args),
    /// Show the pinholes that wait and the packets that were dropped
    Status(status::Args),
    /// Show every data connection, step by step, with the time that each step took
    Trace(trace::Args),
    /// Say what a configuration means, or what is wrong with it and where
    Check(check::Args),
    /// Write the manual pages and the shells' completions into a directory: for packages
    #[command(hide = true)]
    Reference(reference::Args),
}

/// Reads the command line, does what it says, and tells the shell how it went.
pub fn main() -> ExitCode {
    let Cli { command, logging } = Cli::parse();
    let done = run(command, &logging).unwrap_or_else(|error| {
        logging.last_words(&explain(&error));
        match is_of_settings(&error) {
            true => ExitCode::from(EX_CONFIG),
            false => ExitCode::FAILURE,
        }
    });
    stderr::flush();
    done
}

/// sysexits(3): settings that cannot be used. It is no use to start again with the same
/// (RestartPreventExitStatus= in a systemd unit).
const EX_CONFIG: u8 = 78;

/// Settings that are wrong beside others: flags, or the sockets that were given.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct SettingsError(String);

/// Whether it is for the admin to mend, and for nobody else.
fn is_of_settings(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| {
        cause.is::<ConfigError>() || cause.is::<GenerationError>() || cause.is::<SettingsError>()
    })
}

fn run(command: Command, logging: &Logging) -> anyhow::Result<ExitCode> {
    // Those who run for long say in their configuration how they log.
    let started = match &command {
        Command::Serve(_) | Command::Guard(_) => {
            announce();
            Ok(())
        }
        Command::User(_)
        | Command::Status(_)
        | Command::Trace(_)
        | Command::Check(_)
        | Command::Reference(_) => logging.start(LogFormat::default()),
    };
    started?;
    match command {
        Command::Serve(args) => serve::run(&args, logging).map(|()| ExitCode::SUCCESS),
        Command::User(args) => user::run(&args).map(|()| ExitCode::SUCCESS),
        Command::Guard(args) => guard::run(&args, logging).map(|()| ExitCode::SUCCESS),
        Command::Status(args) => status::run(&args).map(|()| ExitCode::SUCCESS),
        Command::Trace(args) => trace::run(&args).map(|()| ExitCode::SUCCESS),
        Command::Check(args) => check::run(&args),
        Command::Reference(args) => {
            reference::run(&args, Cli::command()).map(|()| ExitCode::SUCCESS)
        }
    }
}

/// The error with its causes, leaving out causes that it has named itself.
fn explain(error: &anyhow::Error) -> String {
    let mut said = String::new();
    for cause in error.chain().map(ToString::to_string) {
        if said.is_empty() {
            said = cause;
        } else if !said.contains(&cause) {
            said = format!("{said}: {cause}");
        }
    }
    said
}

/// The file to read: the one named, else the usual one if it is there.
fn config_file(named: Option<&Path>) -> Option<PathBuf> {
    let usual = || Some(PathBuf::from(DEFAULT_CONFIG)).filter(|usual| usual.exists());
    named.map(Path::to_owned).or_else(usual)
}

/// The configuration, from the file if there is one.
fn load_config(named: Option<&Path>) -> anyhow::Result<Config> {
    match config_file(named) {
        Some(file) => Ok(Config::load(&file)?),
        None => Ok(Config::default()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
    }

    #[test]
    fn causes_are_said_once() {
        let cause = std::io::Error::other("disk on fire");
        let error = anyhow::Error::new(cause).context("cannot read: disk on fire");
        assert_eq!(explain(&error), "cannot read: disk on fire");
        let error = anyhow::anyhow!("disk on fire").context("cannot read");
        assert_eq!(explain(&error), "cannot read: disk on fire");
    }

    #[test]
    fn a_named_file_is_read_even_if_it_is_not_there() {
        let missing = load_config(Some(Path::new("/nowhere/pinhole.toml")));
        let said = missing.map_err(|error| explain(&error)).unwrap_err();
        assert!(
            said.starts_with("/nowhere/pinhole.toml: cannot read"),
            "{said}"
        );
    }
}
