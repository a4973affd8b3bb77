//! `pinhole serve`: from flags and file to a running server, and from a signal to its end.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context as _, bail};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::doubts::{NOBODY, doubts, nobody_can_log_in};
use super::load_config;
use super::overrides::Overrides;
use super::signals::Stop;
use crate::auth::Accounts;
use crate::config::Config;
use crate::pinholes::Pinholes;
use crate::server;

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

pub(super) fn run(args: &Args) -> anyhow::Result<()> {
    let mut config = load_config(args.config.as_deref())?;
    args.overrides.apply(&mut config)?;
    let accounts = Accounts::load(&config)?;
    if nobody_can_log_in(&accounts) {
        bail!(NOBODY);
    }
    if let Some(anonymous) = accounts.anonymous() {
        anonymous.tree()?;
    }
    accounts.try_on()?;
    for doubt in doubts(&config, &accounts) {
        tracing::warn!("{doubt}");
    }
    allow_many_descriptors();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("cannot start the async runtime")?;
    runtime.block_on(serve(Arc::new(config), accounts))
}

async fn serve(config: Arc<Config>, accounts: Accounts) -> anyhow::Result<()> {
    // Before anything is attached, so that a signal from now on ends in an orderly way.
    let stop = Stop::new()?;
    let pinholes = pinholes(&config).await?;
    server::serve(config, accounts, pinholes, stop.told()).await?;
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

/// A transfer holds three descriptors and more; the usual soft limit, 1024, is there for select(2)
/// alone.
fn allow_many_descriptors() {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    if let Err(error) = setrlimit(Resource::Nofile, raised) {
        tracing::warn!(
            "the limit of open files stays at {:?}: {error}",
            limit.current
        );
    }
}
