//! `pinhole guard`: the same pinholes for an FTP server that is already there.

mod release;

use std::path::{Path, PathBuf};
use std::thread;

use anyhow::{Context as _, anyhow};
use tokio::sync::{mpsc, watch};

use super::config_file;
use super::log::Logging;
use super::overrides::Locks;
use super::signals::{Hangup, Stop, TakeOver};
use super::{SettingsError, systemd};
use crate::config::{self, Config, ConfigError, OWN_NAMESPACE, OnExit, PortSet, Unresolved};
use crate::heap;
use crate::pinholes::kernel::{Guard, GuardOptions, Locked, enter};

#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    /// The configuration; of it, [guard], [enforce] and log.format count, and flags stand above them
    /// [default: /etc/pinhole/pinhole.toml if it is there]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,

    /// Where the FTP server takes control connections; may be repeated [default: 21]
    #[arg(long, value_name = "PORT")]
    control_port: Vec<PortSet>,

    /// Shut these ports whether or not a server listens there, such as '30000-50000,!33060'; may be
    /// repeated [default: only the ports that a session's process listens on, from that moment]
    #[arg(long, value_name = "PORTS")]
    ports: Vec<PortSet>,

    /// Drop nothing; count and report what would have been dropped (`pinhole status`)
    #[arg(long)]
    dry_run: bool,

    /// When the guard ends, killed or not: "open" leaves the host as before; "closed" leaves the
    /// kernel half at work, which the next start takes over [default: open]
    #[arg(long, value_enum)]
    on_exit: Option<OnExit>,

    /// A data port of nobody knows which client: "shut" it, or admit any one client that has a
    /// control connection to this host [default: shut]
    #[arg(long, value_enum)]
    unresolved: Option<Unresolved>,

    /// Guard this network namespace instead of our own; may be repeated: a name that `ip netns
    /// list` shows, a path such as /proc/1234/ns/net, or "self"
    #[arg(long, value_name = "NAME|PATH")]
    netns: Vec<String>,

    /// Take away what guards with --on-exit closed have left at work, in every network namespace
    /// (also those that are gone) or those of --netns, and guard nothing
    #[arg(long)]
    release: bool,

    #[command(flatten)]
    locks: Locks,
}

const EXAMPLES: &str = "\
Works with vsftpd, Pure-FTPd and ProFTPD as they are, with and without TLS: it watches their
sockets, not their words. When it ends, the host is as it was, unless told otherwise.

Examples:
  pinhole guard --dry-run                       the first day: what would be dropped?
  pinhole guard                                 guard what listens for data connections
  pinhole guard --ports 30000-50000             and shut the rest of PassivePortRange, too
  pinhole guard --control-port 21 --control-port 990
  pinhole guard --netns /proc/1234/ns/net       a server in a container, 1234 one of its processes
  pinhole guard --on-exit closed                stopped or killed, its kernel half works on
  pinhole guard --release                       until this";

impl Args {
    /// What is to be guarded: the configuration, with the flags above it.
    fn options(&self, config: Config) -> anyhow::Result<GuardOptions> {
        let Config {
            mut guard,
            mut enforce,
            ..
        } = config;
        if !self.control_port.is_empty() {
            guard.control_ports = all(&self.control_port)?;
        }
        if !self.ports.is_empty() {
            guard.ports = Some(all(&self.ports)?);
        }
        guard.dry_run |= self.dry_run;
        guard.on_exit = self.on_exit.unwrap_or(guard.on_exit);
        guard.unresolved = self.unresolved.unwrap_or(guard.unresolved);
        if !self.netns.is_empty() {
            guard.netns.clone_from(&self.netns);
        }
        if let Some(message) = guard.shut_control_port() {
            return Err(SettingsError(format!("--ports: {message}")).into());
        }
        enforce = guard.enforce(&enforce);
        self.locks.apply(&mut enforce)?;
        Ok(GuardOptions { guard, enforce })
    }
}

/// The ports of a flag that is repeated, in one set.
fn all(sets: &[PortSet]) -> anyhow::Result<PortSet> {
    let sets: Vec<_> = sets.iter().map(PortSet::to_string).collect();
    let joined = sets.join(",").parse();
    joined.map_err(|error| SettingsError(format!("{error}")).into())
}

pub(super) fn run(args: &Args, logging: &Logging) -> anyhow::Result<()> {
    let config = settings(args.config.as_deref());
    if args.release {
        return release::run(args, config, logging);
    }
    let config = config?;
    logging.start_for_long(config.log.format)?;
    let options = args.options(config)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(guard_all(&options))
}

/// The configuration, from the file if there is one. Users, certificates and roots are the server's:
/// a guard does not ask whether they are there.
fn settings(named: Option<&Path>) -> Result<Config, ConfigError> {
    match config_file(named) {
        Some(file) => Config::load_text(&file),
        None => Ok(Config::default()),
    }
}

/// How it gets what the server gets by a signal.
const RESTART: &str = "new settings, or a new version, take stopping it and starting it again; with \
                       on_exit = \"closed\" nothing is open meanwhile";

/// What a namespace's thread tells.
enum Told {
    Started(Vec<Locked>),
    Ended(anyhow::Result<()>),
}

/// One guard for each namespace, each on a thread inside it, until told to stop or one fails.
async fn guard_all(options: &GuardOptions) -> anyhow::Result<()> {
    let GuardOptions { guard, .. } = options;
    // A signal that is the server's must not open a guarded range.
    let (stop, mut hangup, mut take_over) = (Stop::new()?, Hangup::new()?, TakeOver::new()?);
    let (stop_all, stopping) = watch::channel(false);
    let (tell, mut told) = mpsc::unbounded_channel();
    let mut threads = Vec::with_capacity(guard.netns.len());
    for name in &guard.netns {
        let (name, options) = (name.clone(), options.clone());
        let (tell, stopping) = (tell.clone(), stopping.clone());
        let thread = thread::Builder::new().name("guard".to_owned());
        let thread = thread.spawn(move || {
            let ended = in_namespace(&name, || guard_here(&options, &name, &tell, stopping));
            let ended = ended.with_context(|| match name.as_str() {
                OWN_NAMESPACE => "cannot guard this host".to_owned(),
                name => format!("cannot guard the network namespace {name}"),
            });
            // Nobody listens any more when another one has failed.
            let _ = tell.send((name, Told::Ended(ended)));
        });
        threads.push(thread.context("cannot start a thread")?);
    }
    drop(tell);

    let stopped = stop.told();
    tokio::pin!(stopped);
    let (mut waiting, mut result) = (guard.netns.len(), Ok(()));
    loop {
        tokio::select! {
            () = &mut stopped => break,
            () = hangup.next() => tracing::warn!("SIGHUP does nothing to a guard: {RESTART}"),
            () = take_over.next() => tracing::warn!("SIGUSR2 does nothing to a guard: {RESTART}"),
            Some((name, said)) = told.recv() => match said {
                Told::Started(locked) => {
                    for locked in locked {
                        tracing::info!("{}{locked}", prefix(&name));
                    }
                    waiting -= 1;
                    if waiting == 0 {
                        ready(guard);
                    }
                }
                Told::Ended(ended) => {
                    result = ended;
                    break;
                }
            },
            else => break,
        }
    }
    // The threads hold the receiver until they have ended.
    let _ = stop_all.send(true);
    for thread in threads {
        thread
            .join()
            .map_err(|_| anyhow!("a guard's thread panicked"))?;
    }
    result?;
    match guard.on_exit {
        OnExit::Open => tracing::info!("stopped; the host is as before"),
        OnExit::Closed => tracing::info!(
            "stopped; the kernel half works on, until `pinhole guard --release` or the next start"
        ),
    }
    Ok(())
}

fn ready(guard: &config::Guard) {
    if guard.dry_run {
        tracing::warn!("dry run: nothing is dropped; `pinhole status` counts what would be");
    }
    heap::give_back();
    tracing::info!("{}", in_words(guard));
    tracing::info!("ready");
    systemd::ready(match guard.dry_run {
        true => "dry run: nothing is dropped",
        false => "on guard",
    });
}

/// Which ports it is about.
fn in_words(guard: &config::Guard) -> String {
    let shut = match guard.dry_run {
        false => "shut unless negotiated",
        true => "would be shut unless negotiated",
    };
    let range = guard.ports.as_ref().map(|ports| format!("{ports}, and "));
    format!(
        "control ports: {}; {shut}: {}whatever their sessions listen on",
        guard.control_ports,
        range.unwrap_or_default()
    )
}

/// Runs `work` on this thread, inside a namespace, from which the thread does not come back.
fn in_namespace<T: Send>(
    name: &str,
    work: impl FnOnce() -> anyhow::Result<T> + Send,
) -> anyhow::Result<T> {
    let entered = || {
        enter(name)?;
        work()
    };
    let done = thread::scope(|scope| scope.spawn(entered).join());
    done.map_err(|_| anyhow!("a guard's thread panicked"))?
}

fn guard_here(
    options: &GuardOptions,
    name: &str,
    tell: &mpsc::UnboundedSender<(String, Told)>,
    mut stopping: watch::Receiver<bool>,
) -> anyhow::Result<()> {
    // One thread: what is spawned stays in its namespace.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let mut guard = Guard::start(options).await?;
        let _ = tell.send((
            name.to_owned(),
            Told::Started(guard.locked().cloned().collect()),
        ));
        tokio::select! {
            () = guard.run() => {}
            // An error says that the sender is gone, which ends it as well.
            _ = stopping.wait_for(|stop| *stop) => {}
        }
        Ok(())
    })
}

/// Before a line about a namespace; nothing for our own.
fn prefix(name: &str) -> String {
    match name {
        OWN_NAMESPACE => String::new(),
        name => format!("{name}: "),
    }
}

#[cfg(test)]
mod tests;
