//! Listening sockets, admission of control connections, and the end of it all.
//!
//! What a control connection says is `session`'s.

mod accept;
mod admission;
mod expiry;
mod listen;
mod remains;
mod sessions;

pub use listen::{Listener, ServeError, bind_all};

use crate::auth::Failures;
use crate::generation::Newest;
use crate::hosts;
use crate::pinholes::{Pinholes, SessionId};
pub use crate::session::Start;
use crate::session::{Activity, Shared, Stop};
use accept::accept_all;
use sessions::{Sessions, report};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;

/// Asks the server to accept no more, because another process does.
#[derive(Debug)]
pub struct Relief {
    /// By this the other process is asked about quotas.
    pub quotas: UnixStream,
    /// By this the other process is told of the sessions that are left.
    pub remains: OwnedFd,
    /// Answered, once that is so, with the number of the session that would have been next.
    pub reply: oneshot::Sender<SessionId>,
}

/// What is told to a server while it runs.
#[derive(Debug)]
pub struct Orders<Stop, Alone> {
    /// Resolves when it has to stop.
    pub stop: Stop,
    /// Resolves when the process before, if there was one, has ended.
    pub alone: Alone,
    /// By this the process before, if there was one, asks about quotas.
    pub quotas: Option<UnixStream>,
    /// By this the process before, if there was one, tells of the sessions that are left there.
    pub remains: Option<OwnedFd>,
    /// Asks it to accept no more.
    pub relief: mpsc::Receiver<Relief>,
}

/// Serves on `listeners`, those that start in the clear first, until it is told to stop; then ends
/// every session with 421. Transfers may go on for `timeouts.drain`. Logs `listening on ADDR` for
/// each, and `ready`. Sessions are numbered from `next_id` on.
///
/// Relieved, it ends with its last session, or stops after `timeouts.restart`.
pub async fn serve(
    listeners: Vec<Listener>,
    newest: Newest,
    pinholes: Pinholes,
    next_id: SessionId,
    orders: Orders<impl Future<Output = ()>, impl Future<Output = ()>>,
) -> Result<(), ServeError> {
    let Orders {
        stop,
        alone,
        quotas,
        remains,
        mut relief,
    } = orders;
    let (stop_sessions, stopping) = watch::channel(Stop::No);
    let shared = Arc::new(Shared {
        newest,
        activity: Activity::default(),
        failures: Failures::default(),
        pinholes,
        stop: stopping,
    });
    if let Some(quotas) = quotas {
        count_for(quotas, Arc::clone(&shared));
    }
    let admission = Arc::default();
    if let Some(remains) = remains {
        remains::hear(remains, &shared, &admission).await;
    }
    let mut upkeep = JoinSet::new();
    upkeep.spawn(hosts::keep_fresh(shared.newest.clone()));
    let reminding = upkeep.spawn(expiry::remind(shared.newest.clone()));
    let (open, mut arrivals) = accept_all(listeners)?;
    tracing::info!("ready");

    let mut sessions = Sessions {
        running: JoinSet::new(),
        next_id,
        admission,
        shared: Arc::clone(&shared),
    };
    tokio::pin!(stop, alone);
    let mut is_alone = false;
    let relieved = loop {
        tokio::select! {
            biased;
            () = &mut stop => break None,
            // Before those who arrive, and there is no end to these in a flood: until it is answered
            // no pinhole is opened, and the other process waits to accept.
            Some(relief) = relief.recv() => break Some(relief),
            () = &mut alone, if !is_alone => {
                is_alone = true;
                // Its sessions have stored what was not counted here.
                shared.activity.quotas.expire();
            }
            Some(ended) = sessions.running.join_next() => report(ended),
            Some(arrival) = arrivals.recv() => sessions.begin(arrival),
        }
    };
    // Nobody new. Those that have been accepted are this process's.
    drop(open);
    while let Some(arrival) = arrivals.recv().await {
        sessions.begin(arrival);
    }
    if let Some(Relief {
        quotas,
        remains,
        reply,
    }) = relieved
    {
        // The other process says what there is to be said of its own.
        reminding.abort();
        if let Err(error) = remains::tell(remains, &shared, &sessions.admission) {
            tracing::error!(%error, "sessions that are left here count in this process only");
        }
        leave_quotas(quotas, &shared).await;
        // Who asked has gone only if the process ends.
        let _ = reply.send(sessions.next_id);
        tracing::info!(
            sessions = sessions.running.len(),
            "relieved: another process accepts"
        );
        let most = shared.newest.get().config.timeouts.restart;
        tokio::select! {
            () = &mut stop => {}
            () = sessions.all_ended() => return Ok(()),
            () = tokio::time::sleep(most), if !most.is_zero() => {}
        }
    }
    // Then everybody out.
    let by = Instant::now() + shared.newest.get().config.timeouts.drain;
    tracing::info!(sessions = sessions.running.len(), "stopping");
    stop_sessions.send_replace(Stop::By(by));
    sessions.drain(by).await;
    Ok(())
}

/// Has the other process count quotas. Changes that are under way count here, so they are waited for,
/// but not for as long as a disk that hangs: nobody accepts meanwhile.
async fn leave_quotas(quotas: UnixStream, shared: &Arc<Shared>) {
    const LONGEST: Duration = Duration::from_secs(2);

    let shared = Arc::clone(shared);
    let leave = tokio::task::spawn_blocking(move || shared.activity.quotas.leave(quotas));
    match tokio::time::timeout(LONGEST, leave).await {
        Ok(left) => {
            if let Err(error) = left.unwrap_or_else(|error| Err(error.into())) {
                tracing::error!(%error, "quotas are counted here and in the other process");
            }
        }
        Err(_) => tracing::warn!(
            "a change to an account's files takes long; until it is over, its \
            quota is counted here and in the other process"
        ),
    }
}

/// Counts quotas for the process before, on a thread of its own.
fn count_for(quotas: UnixStream, shared: Arc<Shared>) {
    let counting = move || {
        if let Err(error) = shared.activity.quotas.count_for(quotas) {
            tracing::warn!(%error, "the process before hears of quotas no more");
        }
    };
    let thread = std::thread::Builder::new().name("quotas".to_owned());
    if let Err(error) = thread.spawn(counting) {
        tracing::error!(%error, "cannot count quotas for the process before");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::channel::Channel;
    use crate::config::{Anonymous, Config};
    use crate::generation::{Generation, Generations};
    use std::net::TcpStream;
    use std::task::Poll;

    #[tokio::test]
    async fn relief_does_not_wait_for_those_who_arrive() {
        let root = tempfile::tempdir().unwrap();
        let mut config = Config {
            listen: vec!["127.0.0.1:0".parse().unwrap()],
            anonymous: Some(Anonymous::new(root.path())),
            ..Config::default()
        };
        config.enforce.enabled = false;
        let listeners = bind_all(&config, Vec::new()).unwrap();
        let connect = |_| TcpStream::connect(listeners[0].address).unwrap();
        let _clients: Vec<_> = (0..8).map(connect).collect();
        let pinholes = Pinholes::listeners(&config);
        let generations = Generations::new(Generation::load(config).unwrap());

        let (relieve, relief) = mpsc::channel(1);
        let (reply, relieved) = oneshot::channel();
        let (quotas, _counts) = UnixStream::pair().unwrap();
        let (remains, _hears) = Channel::pair().unwrap();
        let mut order = Some(Relief {
            quotas,
            remains,
            reply,
        });
        let mut looks = 0;
        let mut passed_over = 0;
        // The server looks at it first of all, each time.
        let stop = std::future::poll_fn(|_| {
            looks += 1;
            match order.take_if(|_| looks == 2) {
                // It was woken by the clients: they have arrived.
                Some(order) => relieve.try_send(order).unwrap(),
                None if looks > 2 && relieve.capacity() > 0 => return Poll::Ready(()),
                None => passed_over += usize::from(looks > 2),
            }
            Poll::Pending
        });
        let orders = Orders {
            stop,
            alone: std::future::pending(),
            quotas: None,
            remains: None,
            relief,
        };
        let newest = generations.follow();
        serve(listeners, newest, pinholes, 1, orders).await.unwrap();
        assert!(relieved.await.unwrap() > 1, "nobody had arrived");
        assert_eq!(passed_over, 0);
    }
}
