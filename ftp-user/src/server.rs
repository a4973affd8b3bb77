//! Listening sockets, admission of control connections, and the end of it all.
//!
//! What a control connection says is `session`'s.

mod admission;
mod listen;

pub use listen::{Listener, ServeError, bind_all};

use crate::auth::Failures;
use crate::control::ControlSocket;
use crate::generation::Newest;
use crate::hosts;
use crate::pinholes::{Pinholes, SessionId};
use crate::proto::{Code, Reply};
pub use crate::session::Start;
use crate::session::{self, Activity, Ends, Shared, Stop, Way};
use admission::Admission;
use socket2::{SockRef, TcpKeepalive};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;

/// How long to leave the kernel alone that cannot give us another descriptor.
const ACCEPT_BACKOFF: Duration = Duration::from_millis(200);
/// How long sessions get to say 421 once their transfers are over.
const FAREWELL: Duration = Duration::from_secs(5);
/// How often the log tells how many transfers are still waited for at the end.
const DRAIN_REPORT: Duration = Duration::from_secs(5);
/// A client whose host vanished is noticed after this long without traffic.
const KEEPALIVE: Duration = Duration::from_secs(120);

/// Asks the server to accept no more, because another process does.
#[derive(Debug)]
pub struct Relief {
    /// By this the other process is asked about quotas.
    pub quotas: UnixStream,
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
    let mut upkeep = JoinSet::new();
    upkeep.spawn(hosts::keep_fresh(shared.newest.clone()));
    let (open, mut arrivals) = accept_all(listeners)?;
    tracing::info!("ready");

    let mut sessions = Sessions {
        running: JoinSet::new(),
        next_id,
        admission: Arc::default(),
        shared: Arc::clone(&shared),
    };
    tokio::pin!(stop, alone);
    let mut is_alone = false;
    let relieved = loop {
        tokio::select! {
            biased;
            () = &mut stop => break None,
            () = &mut alone, if !is_alone => {
                is_alone = true;
                // Its sessions have stored what was not counted here.
                shared.activity.expire_counts();
            }
            Some(ended) = sessions.running.join_next() => report(ended),
            Some(arrival) = arrivals.recv() => sessions.begin(arrival),
            Some(relief) = relief.recv() => break Some(relief),
        }
    };
    // Nobody new. Those that have been accepted are this process's.
    drop(open);
    while let Some(arrival) = arrivals.recv().await {
        sessions.begin(arrival);
    }
    if let Some(Relief { quotas, reply }) = relieved {
        if let Err(error) = shared.activity.leave_counts(quotas) {
            tracing::error!(%error, "quotas are counted here and in the other process");
        }
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

type Arrival = (TcpStream, Ends, Way);

/// Accepts on all listeners until what comes first is dropped.
fn accept_all(
    listeners: Vec<Listener>,
) -> Result<(watch::Sender<()>, mpsc::Receiver<Arrival>), ServeError> {
    let (open, until) = watch::channel(());
    let (accepted, arrivals) = mpsc::channel(64);
    for (listener, number) in listeners.into_iter().zip(0..) {
        let Listener {
            socket,
            address,
            start,
        } = listener;
        let way = Way {
            listener: number,
            start,
        };
        let socket = TcpListener::from_std(socket)
            .map_err(|source| ServeError::Listen { address, source })?;
        match start {
            Start::Clear => tracing::info!("listening on {address}"),
            Start::Tls => tracing::info!("listening on {address} with implicit TLS"),
        }
        tokio::spawn(accept(socket, way, accepted.clone(), until.clone()));
    }
    Ok((open, arrivals))
}

/// The sessions that run.
struct Sessions {
    running: JoinSet<()>,
    next_id: SessionId,
    admission: Arc<Admission>,
    shared: Arc<Shared>,
}

impl Sessions {
    fn begin(&mut self, (stream, ends, way): Arrival) {
        let id = self.next_id;
        self.next_id += 1;
        let limits = &self.shared.newest.get().config.limits;
        match self.admission.admit(ends.client.ip(), limits) {
            Ok(ticket) => {
                let shared = Arc::clone(&self.shared);
                self.running.spawn(async move {
                    session::run(ControlSocket(stream), id, ends, way, shared).await;
                    drop(ticket);
                });
            }
            Err(why) => {
                tracing::warn!(client = %ends.client.ip(), why, "session refused");
                self.running.spawn(turn_away(stream, why));
            }
        }
    }

    async fn all_ended(&mut self) {
        while let Some(ended) = self.running.join_next().await {
            report(ended);
        }
    }

    /// Waits until they have ended, and cuts those that have not soon after `by`.
    async fn drain(&mut self, by: Instant) {
        let all_ended = async {
            let mut reports = tokio::time::interval(DRAIN_REPORT);
            // The first is at once.
            reports.tick().await;
            loop {
                tokio::select! {
                    ended = self.running.join_next() => match ended {
                        Some(ended) => report(ended),
                        None => break,
                    },
                    _ = reports.tick() => {
                        let seconds = by.saturating_duration_since(Instant::now()).as_secs();
                        let sessions = self.running.len();
                        tracing::info!(sessions, seconds, "waiting for transfers to end");
                    }
                }
            }
        };
        if tokio::time::timeout_at(by + FAREWELL, all_ended)
            .await
            .is_err()
        {
            let sessions = self.running.len();
            tracing::warn!(sessions, "cutting sessions that do not end");
            self.running.shutdown().await;
        }
    }
}

/// Counts quotas for the process before, on a thread of its own.
fn count_for(quotas: UnixStream, shared: Arc<Shared>) {
    let counting = move || {
        if let Err(error) = shared.activity.count_for(quotas) {
            tracing::warn!(%error, "the process before hears of quotas no more");
        }
    };
    let thread = std::thread::Builder::new().name("quotas".to_owned());
    if let Err(error) = thread.spawn(counting) {
        tracing::error!(%error, "cannot count quotas for the process before");
    }
}

fn report(ended: Result<(), tokio::task::JoinError>) {
    if let Err(error) = ended {
        tracing::error!(%error, "a session failed");
    }
}

/// Whoever has been accepted is handed on, also at the end.
async fn accept(
    listener: TcpListener,
    way: Way,
    arrivals: mpsc::Sender<Arrival>,
    mut until: watch::Receiver<()>,
) {
    let mut complained = false;
    loop {
        let accepted = tokio::select! {
            biased;
            _ = until.changed() => return,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, peer)) => {
                complained = false;
                match prepare(&stream, peer) {
                    Ok(ends) => {
                        if arrivals.send((stream, ends, way)).await.is_err() {
                            return;
                        }
                    }
                    // It ended before we looked at it.
                    Err(error) => tracing::debug!(%peer, %error, "lost before its first reply"),
                }
            }
            // accept(2): the connection ended, or the network told of an error of its own.
            Err(error) if !is_ours(&error) => tracing::debug!(%error, "accept"),
            Err(error) => {
                if !complained {
                    tracing::error!(%error, "cannot accept connections; will go on trying");
                }
                complained = true;
                tokio::time::sleep(ACCEPT_BACKOFF).await;
            }
        }
    }
}

/// Is this a shortage of ours, which trying again at once would not end?
fn is_ours(error: &io::Error) -> bool {
    use rustix::io::Errno;
    matches!(
        Errno::from_io_error(error),
        Some(Errno::MFILE | Errno::NFILE | Errno::NOBUFS | Errno::NOMEM | Errno::INVAL)
    )
}

fn prepare(stream: &TcpStream, peer: SocketAddr) -> io::Result<Ends> {
    // Replies are small and each is waited for.
    stream.set_nodelay(true)?;
    let socket = SockRef::from(stream);
    // The urgent byte of a Telnet Synch stays in its place in the line (RFC 854, RFC 959 §4.1.3).
    socket.set_out_of_band_inline(true)?;
    socket.set_tcp_keepalive(&TcpKeepalive::new().with_time(KEEPALIVE))?;
    Ok(Ends {
        client: unmapped(peer),
        server: unmapped(stream.local_addr()?),
    })
}

/// An IPv4 client of a dual-stack listener is an IPv4 client.
fn unmapped(address: SocketAddr) -> SocketAddr {
    match address.ip().to_canonical() {
        IpAddr::V4(v4) => SocketAddr::from((v4, address.port())),
        // As it is: it may name an interface.
        IpAddr::V6(_) => address,
    }
}

async fn turn_away(mut stream: TcpStream, why: &'static str) {
    let mut bytes = Vec::new();
    Reply::new(Code::ServiceUnavailable, why).encode(&mut bytes);
    // It is a courtesy; a client that does not take it is closed like any other.
    let _ = tokio::time::timeout(FAREWELL, stream.write_all(&bytes)).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mapped_addresses_are_unmapped() {
        let mapped = "[::ffff:192.0.2.1]:21".parse().unwrap();
        assert_eq!(unmapped(mapped), "192.0.2.1:21".parse().unwrap());
        let link_local = SocketAddr::V6(std::net::SocketAddrV6::new(
            "fe80::1".parse().unwrap(),
            21,
            0,
            3,
        ));
        assert_eq!(unmapped(link_local), link_local);
    }
}
