//! `pinhole serve`: from flags and file to a running server, and from a signal to its end.

use std::io;
use std::num::NonZero;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context as _;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use tokio::runtime::Runtime;
use tokio::sync::{mpsc, oneshot, watch};

use super::log::Logging;
use super::overrides::Overrides;
use super::signals::{Hangup, Stop, TakeOver};
use super::source::{self, Source};
use super::{explain, restart, systemd};
use crate::disk;
use crate::generation::{Generation, Generations};
use crate::handover::{self, Arrival, Departure, Program, Taken};
use crate::heap;
use crate::pinholes::kernel::StartError;
use crate::pinholes::{Estate, Pinholes};
use crate::server::{self, Listener};
use crate::vfs::part_thread;

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
    let program = Program::of_this_process().context("cannot tell this program's file")?;
    heap::keep_no_large_blocks();
    let runtime = runtime().context("cannot start the async runtime")?;
    disk::rescue(runtime.handle().clone()).context("cannot start a thread")?;
    let channel = handover::inherited().context("cannot use the channel on standard input")?;
    let Some(channel) = channel else {
        let begun = Start::begin(args, logging, None)?;
        return runtime.block_on(on_a_worker(begun.serve(program)));
    };
    let before = runtime.block_on(Arrival::meet(channel));
    let before = Arc::new(before.context("cannot take over")?);
    let done = Start::begin(args, logging, Some(&before))
        .and_then(|begun| runtime.block_on(on_a_worker(begun.serve(program))));
    if let Err(error) = &done {
        runtime.block_on(before.failed(&explain(error)));
    }
    done
}

/// To be called while there is no other thread.
fn runtime() -> io::Result<Runtime> {
    let part = || {
        // Where it fails, no account can have a umask: the start says so (`Credentials::try_on`).
        let _ = part_thread();
    };
    part();
    // One of them stays free of work with files (`disk`): the others are as many as there are cores.
    let cores = std::thread::available_parallelism().map_or(1, NonZero::get);
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(cores + 1)
        .max_blocking_threads(disk::THREADS)
        .on_thread_start(part)
        .enable_all()
        .build()
}

/// Not on this thread, which would have to be woken besides for each session that begins and ends.
async fn on_a_worker(
    serving: impl Future<Output = anyhow::Result<()>> + Send + 'static,
) -> anyhow::Result<()> {
    tokio::spawn(serving).await?
}

/// All that can be wrong with settings and addresses has been found, and nothing is attached yet.
struct Start {
    source: Source,
    first: Generation,
    listeners: Vec<Listener>,
    given: bool,
    before: Option<Arc<Arrival>>,
}

impl Start {
    fn begin(
        args: &Args,
        logging: &Logging,
        before: Option<&Arc<Arrival>>,
    ) -> anyhow::Result<Start> {
        let (given, others) = match before {
            None => (systemd::sockets()?, Vec::new()),
            Some(before) if before.given => (before.listeners()?, Vec::new()),
            Some(before) => (Vec::new(), before.listeners()?),
        };
        let source = Source::new(args.config.clone(), args.overrides.clone(), &given);
        let config = source.read()?;
        logging.start_for_long(config.log.format)?;
        if let Some(before) = before {
            before.check(&config)?;
        }
        let first = Generation::load(config)?;
        source::say_doubts(&first);
        let (listeners, given) = match given.is_empty() {
            true => (server::bind_all(&first.config, others)?, false),
            false => (given, true),
        };
        allow_many_descriptors(first.config.limits.sessions);
        Ok(Start {
            source,
            first,
            listeners,
            given,
            before: before.cloned(),
        })
    }

    async fn serve(self, program: Program) -> anyhow::Result<()> {
        let Start {
            source,
            first,
            listeners,
            given,
            before,
        } = self;
        // Before anything is attached, so that a signal from now on ends in an orderly way.
        let (stop, hangup, take_over) = (Stop::new()?, Hangup::new()?, TakeOver::new()?);
        let prepared = Pinholes::prepare(&first.config).await;
        let prepared = prepared.map_err(or_without)?;
        let (ended, mut alone) = watch::channel(before.is_none());
        let (pinholes, taken) = match before {
            None => (prepared.lock(Estate::default())?.0, Taken::default()),
            Some(before) => {
                let estate = before.prepared().await?;
                let (pinholes, heirs) = prepared.lock(estate)?;
                let taken = before.taken().await?;
                let serving = pinholes.clone();
                tokio::spawn(async move {
                    before.serve(&serving, heirs).await;
                    ended.send_replace(true);
                });
                (pinholes, taken)
            }
        };
        pinholes.accept().await;
        let generations = Arc::new(Generations::new(first));
        let newest = generations.follow();
        let (relieve, relief) = mpsc::channel(1);
        let copies: Result<_, _> = listeners.iter().map(Listener::try_clone).collect();
        let departure = Departure {
            program,
            listeners: copies.context("cannot copy the listeners")?,
            given,
            pinholes: pinholes.clone(),
            relief: relieve,
        };
        let follow = Arc::clone(&generations);
        let (serving, stopping) = oneshot::channel();
        tokio::spawn(restart::at(
            take_over,
            departure,
            follow,
            alone.clone(),
            stopping,
        ));
        tokio::spawn(source::reload_at(hangup, source, generations));
        tokio::spawn(systemd::feed_watchdog());
        heap::give_back();
        let addresses: Vec<_> = listeners.iter().map(|at| at.address.to_string()).collect();
        systemd::ready(&format!("listening on {}", addresses.join(", ")));
        let orders = server::Orders {
            stop: async move {
                stop.told().await;
                drop(serving);
            },
            alone: async move { drop(alone.wait_for(|alone| *alone).await) },
            quotas: taken.quotas,
            remains: taken.remains,
            relief,
        };
        server::serve(listeners, newest, pinholes, taken.next_session, orders).await?;
        tracing::info!("stopped");
        Ok(())
    }
}

/// A server, unlike a guard, can do without its kernel half.
fn or_without(error: StartError) -> anyhow::Error {
    let cannot_load = matches!(
        error,
        StartError::Denied { .. } | StartError::OldKernel { .. }
    );
    let error = anyhow::Error::new(error);
    match cannot_load {
        true => error.context("cannot enforce (`--enforce off` serves without)"),
        false => error,
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vfs::{Credentials, Tree};
    use rustix::fs::Mode;
    use std::os::unix::fs::PermissionsExt as _;
    use std::path::Path;
    use std::{fs, thread};

    fn mode_of_a_new_file(path: &Path) -> u32 {
        fs::write(path, "").unwrap();
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn threads_that_an_accounts_thread_starts_have_the_daemons_umask() {
        let folder = tempfile::tempdir().unwrap();
        let runtime = runtime().unwrap();
        let usual = mode_of_a_new_file(&folder.path().join("usual"));
        assert_ne!(usual, 0o666, "the test needs a umask");
        let open = Credentials {
            owner: None,
            umask: Some(Mode::empty()),
        };
        let tree = Tree::open(folder.path(), Some(Arc::new(open)), None).unwrap();
        let path = folder.path().to_owned();
        let on_worker = runtime.spawn(async move {
            tree.act(|_| {
                // None is there that could do it: tokio starts it from here.
                let started = thread::current().id();
                let (name, seen) = (path.join("theirs"), path.join("ours"));
                let theirs = tokio::task::spawn_blocking(move || {
                    (thread::current().id() != started).then(|| mode_of_a_new_file(&name))
                });
                let ours = mode_of_a_new_file(&seen);
                // While this one still wears it.
                while !theirs.is_finished() {
                    thread::yield_now();
                }
                Ok((ours, theirs))
            })
            .unwrap()
        });
        let (ours, theirs) = runtime.block_on(on_worker).unwrap();
        assert_eq!(ours, 0o666);
        assert_eq!(runtime.block_on(theirs).unwrap(), Some(usual));
    }
}
