//! Logging: tracing, to stderr, for people or for programs, and as the journal wants it.

mod panics;

use std::fmt;
use std::io::{IsTerminal as _, Write as _};
use std::sync::{LazyLock, OnceLock};

use anyhow::Context as _;
use rustix::fs::fstat;
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::{FormatTime as _, SystemTime};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

use super::SettingsError;
use crate::config::LogFormat;
use crate::stderr::{self, Stderr};

/// What the command line says of logs.
#[derive(Debug, clap::Args)]
pub(super) struct Logging {
    /// What to log to stderr: off, error, warn, info, debug, trace, or a filter such as
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

    /// The one that is used, once there is a log.
    #[arg(skip)]
    started: OnceLock<LogFormat>,
}

impl Logging {
    /// Starts for a program that runs for long and has better to do than to wait for whoever reads.
    pub(super) fn start_for_long(&self, format: LogFormat) -> anyhow::Result<()> {
        stderr::carry().context("cannot start a thread for the log")?;
        self.start(format)
    }

    /// Starts, in `format` unless the command line names another. Colours only for people: on a
    /// terminal, and not where NO_COLOR says no (no-color.org).
    pub(super) fn start(&self, format: LogFormat) -> anyhow::Result<()> {
        let filter = self.filter()?;
        let plain = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        let builder = tracing_subscriber::fmt()
            .with_env_filter(filter)
            .with_writer(|| Stderr)
            .with_target(false);
        let format = self.log_format.unwrap_or(format);
        let started = match (format, *TO_JOURNAL) {
            // The journal knows the time.
            (LogFormat::Text, true) => builder
                .with_ansi(false)
                .without_time()
                .map_event_format(WithPriority)
                .try_init(),
            (LogFormat::Text, false) => builder
                .with_ansi(std::io::stderr().is_terminal() && !plain)
                .try_init(),
            (LogFormat::Json, true) => builder
                .json()
                .flatten_event(true)
                .map_event_format(WithPriority)
                .try_init(),
            (LogFormat::Json, false) => builder.json().flatten_event(true).try_init(),
        };
        started.map_err(|error| anyhow::anyhow!("cannot start logging: {error}"))?;
        self.started.get_or_init(|| format);
        panics::log();
        Ok(())
    }

    /// A bare word has to be a level: for the library it may also be a module, and whoever mistypes a
    /// level would have no log at all.
    fn filter(&self) -> anyhow::Result<EnvFilter> {
        let mut bare = self
            .log
            .split(',')
            .filter(|word| !word.is_empty() && !word.contains(['=', '[', '{']));
        let unknown = bare.find(|word| word.parse::<LevelFilter>().is_err());
        let filter = match unknown {
            None => EnvFilter::try_new(&self.log).ok(),
            Some(_) => None,
        };
        filter.ok_or_else(|| {
            let unknown = unknown.unwrap_or(&self.log);
            let message = format!(
                "\"{unknown}\" is not a log level or filter (--log, PINHOLE_LOG): off, error, warn, \
                 info, debug or trace, and MODULE=LEVEL after a comma"
            );
            SettingsError(message).into()
        })
    }

    /// The last words of a program that ends with an error, as the lines before them are; without any,
    /// as the command line says.
    pub(super) fn last_words(&self, why: &str) {
        let priority = match *TO_JOURNAL {
            true => priority(Level::ERROR),
            false => "",
        };
        let format = self.started.get().copied().or(self.log_format);
        let said = match format.unwrap_or_default() {
            LogFormat::Text => format!("pinhole: {why}"),
            LogFormat::Json => in_json(why),
        };
        let lines = said.lines().map(|line| format!("{priority}{line}\n"));
        // It takes all there is.
        let _ = Stderr.write_all(lines.collect::<String>().as_bytes());
    }
}

/// An object like those of events, whatever the level of the log.
fn in_json(message: &str) -> String {
    let mut timestamp = String::new();
    // A string takes what is written.
    let _ = SystemTime.format_time(&mut Writer::new(&mut timestamp));
    let text = serde_json::Value::from;
    format!(
        r#"{{"timestamp":{},"level":"{}","message":{}}}"#,
        text(timestamp),
        Level::ERROR,
        text(message.to_owned())
    )
}

/// Whether stderr goes to the journal: systemd.exec(5), $JOURNAL_STREAM.
static TO_JOURNAL: LazyLock<bool> = LazyLock::new(|| {
    let stream = std::env::var("JOURNAL_STREAM").unwrap_or_default();
    fstat(std::io::stderr())
        .is_ok_and(|found| stream == format!("{}:{}", found.st_dev, found.st_ino))
});

/// How the journal is told a line's priority: sd-daemon(3).
fn priority(level: Level) -> &'static str {
    match level {
        Level::ERROR => "<3>",
        Level::WARN => "<4>",
        Level::INFO => "<6>",
        Level::DEBUG | Level::TRACE => "<7>",
    }
}

/// A format with the priority before each line.
struct WithPriority<F>(F);

impl<S, N, F> FormatEvent<S, N> for WithPriority<F>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
    F: FormatEvent<S, N>,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        writer.write_str(priority(*event.metadata().level()))?;
        self.0.format_event(context, writer, event)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    pub(super) fn logging(log: &str) -> Logging {
        Logging {
            log: log.to_owned(),
            log_format: None,
            started: OnceLock::new(),
        }
    }

    #[test]
    fn a_level_that_is_none_is_refused() {
        for good in [
            "",
            "off",
            "warn",
            "INFO",
            "info,ftp_user::session=debug",
            "info,ftp_user=trace,",
        ] {
            assert!(logging(good).filter().is_ok(), "{good}");
        }
        for (bad, named) in [
            ("warning", "warning"),
            ("info,verbose", "verbose"),
            ("ftp_user=debug,loud", "loud"),
            ("ftp_user=loud", "ftp_user=loud"),
            ("a=b=c", "a=b=c"),
        ] {
            let error = logging(bad).filter().unwrap_err().to_string();
            assert!(
                error.starts_with(&format!("\"{named}\" is not a log ")),
                "{error}"
            );
        }
    }

    #[test]
    fn last_words_are_an_object_where_events_are() {
        let said: serde_json::Value = serde_json::from_str(&in_json("a \"b\"\nc")).unwrap();
        assert_eq!(said["message"], "a \"b\"\nc");
        assert_eq!(said["level"], "ERROR");
        assert!(said["timestamp"].as_str().unwrap().ends_with('Z'), "{said}");
    }
}
