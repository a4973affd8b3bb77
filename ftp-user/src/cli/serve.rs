//! `pinhole serve`: from flags and file to a running server, and from a signal to its end.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context as _;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::log::Logging;
use super::overrides::Overrides;
use super::signals::{Hangup, Stop};
use super::source::{self, Source};
use super::systemd;
use crate::config::Config;
use crate::generation::{Generation, Generations};
use crate::pinholes::Pinholes;
use crate::server::{self, Listener};

#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    /// The configuration [default: /etc/pinhole/pinhole.toml if it is there, else built-in
    /// defaults]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,

    #[command(flatten)]
    overrides: Overrides,
}

const EXAMPLES: &str = "\
Flags stand above the file.

Examples:
  pinhole serve
  pinhole serve --config ./pinhole.toml --interface eth0 --attach native
  pinhole serve --root /srv/ftp --passive-ports 30000-50000

Try it without root; ports are then open to anybody while they wait:
  pinhole serve --root . --listen 127.0.0.1:2121 --enforce off";

pub(super) fn run(args: &Args, logging: &Logging) -> anyhow::Result<()> {
    let given = systemd::sockets()?;
    let source = Source::new(args.config.clone(), args.overrides.clone(), &given);
    // All that can be wrong with settings and addresses is found before anything is attached.
    let config = source.read()?;
    logging.start(config.log.format)?;
    let first = Generation::load(config)?;
    source::say_doubts(&first);
    let listeners = match given.is_empty() {
        true => server::bind_all(&first.config)?,
        false => given,
    };
    allow_many_descriptors(first.config.limits.sessions);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("cannot start the async runtime")?;
    // On a worker, not on this thread: with each session it would have to be woken besides.
    runtime.block_on(async { tokio::spawn(serve(source, first, listeners)).await? })
}

async fn serve(source: Source, first: Generation, listeners: Vec<Listener>) -> anyhow::Result<()> {
    // Before anything is attached, so that a signal from now on ends in an orderly way.
    let (stop, hangup) = (Stop::new()?, Hangup::new()?);
    let pinholes = pinholes(&first.config).await?;
    let generations = Arc::new(Generations::new(first));
    let newest = generations.follow();
    tokio::spawn(source::reload_at(hangup, source, generations));
    tokio::spawn(systemd::feed_watchdog());
    systemd::ready();
    server::serve(listeners, newest, pinholes, stop.told()).await?;
    tracing::info!("stopped");
    Ok(())
}

/// The kernel's pinholes, or ordinary listeners where the admin does without enforcement. Never the
/// one in place of the other by itself.
async fn pinholes(config: &Config) -> anyhow::Result<Pinholes> {
    match config.enforce.enabled {
        true => Ok(Pinholes::kernel(config).await?),
        false => Ok(Pinholes::listeners(config)),
    }
}

/// Raises the limit of open files to what `limits.sessions` may need. The usual soft limit, 1024, is
/// there for select(2) alone; the hard one is raised where the daemon may.
fn allow_many_descriptors(sessions: usize) {
    /// Control connection; directory and file, data connection, both ends of a pipe.
    const EACH: u64 = 6;
    const OURS: u64 = 256;
    /// The kernel's own limit, unless fs.nr_open says otherwise.
    const MOST: u64 = 1 << 20;
    let wanted = match sessions {
        0 => MOST,
        sessions => (sessions as u64 * EACH + OURS).min(MOST),
    };
    let limit = getrlimit(Resource::Nofile);
    let raise = |to: Option<u64>| {
        let raised = Rlimit {
            current: to,
            maximum: to,
        };
        setrlimit(Resource::Nofile, raised).map(|()| to)
    };
    let enough = limit.maximum.is_none_or(|maximum| maximum >= wanted);
    let now = match enough {
        true => raise(limit.maximum),
        false => raise(Some(wanted)).or_else(|_| raise(limit.maximum)),
    };
    let now = now.unwrap_or(limit.current);
    if let Some(now) = now.filter(|now| *now < wanted) {
        tracing::warn!(
            "{now} files may be open (RLIMIT_NOFILE), which is enough for about {} sessions with \
             transfers; raise it (LimitNOFILE= in a systemd unit), or lower limits.sessions",
            now / EACH
        );
    }
}
