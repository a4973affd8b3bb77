//! Logging: tracing, to stderr.

use std::io::IsTerminal as _;

use anyhow::Context as _;
use tracing_subscriber::EnvFilter;

/// Starts logging with `filter`. Colours only for people: on a terminal, and not where NO_COLOR
/// says no (no-color.org).
pub(super) fn start(filter: &str) -> anyhow::Result<()> {
    let filter = EnvFilter::try_new(filter).with_context(|| {
        format!("\"{filter}\" is not a log level or filter (--log, PINHOLE_LOG)")
    })?;
    let plain = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal() && !plain)
        .with_target(false)
        .try_init()
        .map_err(|error| anyhow::anyhow!("cannot start logging: {error}"))
}
