//! Logging: tracing, to stderr, for people or for programs.

use std::io::IsTerminal as _;

use anyhow::Context as _;
use tracing_subscriber::EnvFilter;

use crate::config::LogFormat;

/// What the command line says of logs.
#[derive(Debug, clap::Args)]
pub(super) struct Logging {
    /// What to log to stderr: error, warn, info, debug, trace, or a filter such as
    /// "info,ftp_user::session=debug"
    #[arg(
        long,
        global = true,
        value_name = "LEVEL",
        env = "PINHOLE_LOG",
        default_value = "info"
    )]
    log: String,

    /// How: text, or json, an object on each line [default: log.format of the configuration, else
    /// text]
    #[arg(long, global = true, value_name = "FORMAT", env = "PINHOLE_LOG_FORMAT")]
    log_format: Option<LogFormat>,
}

impl Logging {
    /// Starts, in `format` unless the command line names another. Colours only for people: on a
    /// terminal, and not where NO_COLOR says no (no-color.org).
    pub(super) fn start(&self, format: LogFormat) -> anyhow::Result<()> {
        let filter = EnvFilter::try_new(&self.log).with_context(|| {
            format!(
                "\"{}\" is not a log level or filter (--log, PINHOLE_LOG)",
                self.log
            )
        })?;
        let plain = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        let builder = tracing_subscriber::fmt()
            .with_env_filter(filter)
            .with_writer(std::io::stderr)
            .with_target(false);
        let started = match self.log_format.unwrap_or(format) {
            LogFormat::Text => builder
                .with_ansi(std::io::stderr().is_terminal() && !plain)
                .try_init(),
            LogFormat::Json => builder.json().flatten_event(true).try_init(),
        };
        started.map_err(|error| anyhow::anyhow!("cannot start logging: {error}"))
    }
}
