//! `pinhole guard`: the same pinholes for an FTP server that is already there.

use std::path::PathBuf;

use anyhow::bail;

use super::load_config;
use super::overrides::Locks;
use super::signals::Stop;
use super::systemd;
use crate::config::PortSet;
use crate::pinholes::kernel::{Guard, GuardOptions, MAX_CONTROL_PORTS};

#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    /// The configuration; of it, [enforce] counts [default: /etc/pinhole/pinhole.toml if it is there]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,

    /// Where the FTP server takes control connections; may be repeated
    #[arg(long, value_name = "PORT", default_value = "21")]
    control_port: Vec<u16>,

    /// Shut these ports whether or not a server listens there, such as '30000-50000,!33060'
    /// [default: only the ports that a session's process listens on, from that moment]
    #[arg(long, value_name = "PORTS")]
    ports: Option<PortSet>,

    /// Drop nothing; count and report what would have been dropped (`pinhole status`)
    #[arg(long)]
    dry_run: bool,

    #[command(flatten)]
    locks: Locks,
}

const EXAMPLES: &str = "\
Works with vsftpd, Pure-FTPd and ProFTPD as they are, with and without TLS: it watches their
sockets, not their words. When it ends, the host is as it was.

Examples:
  pinhole guard --dry-run                       the first day: what would be dropped?
  pinhole guard                                 guard what listens for data connections
  pinhole guard --ports 30000-50000             and shut the rest of PassivePortRange, too
  pinhole guard --control-port 21 --control-port 990";

pub(super) fn run(args: &Args) -> anyhow::Result<()> {
    let mut config = load_config(args.config.as_deref())?;
    args.locks.apply(&mut config.enforce)?;
    if args.control_port.len() > MAX_CONTROL_PORTS {
        bail!("at most {MAX_CONTROL_PORTS} control ports can be watched");
    }
    if args.control_port.contains(&0) {
        bail!("--control-port 0 is no port");
    }
    if let Some(port) = args.control_port.iter().find(|port| {
        args.ports
            .as_ref()
            .is_some_and(|ports| ports.contains(**port))
    }) {
        bail!("--ports has the control port {port} in it, which would shut the server off");
    }
    let options = GuardOptions {
        control_ports: args.control_port.clone(),
        ports: args.ports.clone(),
        enforce: config.enforce,
        dry_run: args.dry_run,
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    runtime.block_on(guard(&options))
}

async fn guard(options: &GuardOptions) -> anyhow::Result<()> {
    let stop = Stop::new()?;
    let guard = Guard::start(options).await?;
    for locked in guard.locked() {
        tracing::info!(
            "locked {} with {} ({})",
            locked.interface,
            locked.mode,
            locked.why
        );
    }
    if options.dry_run {
        tracing::warn!("dry run: nothing is dropped; `pinhole status` counts what would be");
    }
    tracing::info!("ready");
    systemd::ready();
    stop.told().await;
    drop(guard);
    tracing::info!("stopped; the host is as before");
    Ok(())
}
