//! The process that has taken over, as the one that it took over from sees it: it keeps the table,
//! opens pinholes for the sessions that still run here, and sends their connections.
//!
//! Its side of this is `predecessor`.

use std::{
    collections::HashMap,
    net::{IpAddr, TcpStream},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use serde::{Deserialize, Serialize};
use tokio::sync::{mpsc, oneshot};

use crate::{
    channel::Channel,
    config::PortSet,
    pinholes::{OpenError, SessionId},
};

/// What is asked of the process that has taken over.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Request {
    Open {
        id: u64,
        session: SessionId,
        client: IpAddr,
        server: IpAddr,
        /// As a configuration has them.
        ports: Option<String>,
    },
    Close {
        id: u64,
    },
}

/// What it answers.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Answer {
    Opened {
        id: u64,
        port: u16,
    },
    Refused {
        id: u64,
        why: Refusal,
    },
    /// With the connection.
    Connected {
        id: u64,
    },
    /// The pinhole's time is over.
    Closed {
        id: u64,
    },
}

/// Why it opened none.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Refusal {
    NoPort,
    Other(String),
}

/// The process that has taken over.
pub(super) struct Successor {
    requests: mpsc::UnboundedSender<Request>,
    waiting: Mutex<HashMap<u64, Waiting>>,
}

struct Waiting {
    /// Until it is answered.
    opened: Option<oneshot::Sender<Result<u16, Refusal>>>,
    connection: oneshot::Sender<TcpStream>,
}

impl Successor {
    /// Pinholes that it has taken over wait here on, under their numbers. The future is to be
    /// polled for as long as sessions run here.
    pub(super) fn new(
        channel: Arc<Channel>,
        taken: HashMap<u64, oneshot::Sender<TcpStream>>,
    ) -> (Arc<Self>, impl Future<Output = ()> + Send + use<>) {
        let (requests, asked) = mpsc::unbounded_channel();
        let taken = taken.into_iter().map(|(id, connection)| {
            let opened = None;
            (id, Waiting { opened, connection })
        });
        let successor = Arc::new(Self {
            requests,
            waiting: Mutex::new(taken.collect()),
        });
        // The table holds the other end: this ends with it, or with the channel.
        let weak = Arc::downgrade(&successor);
        let work = async move {
            let heard = async {
                loop {
                    let answer = channel.receive::<Answer>().await;
                    let Some(successor) = weak.upgrade() else {
                        return;
                    };
                    match answer {
                        Ok(Some((answer, with))) => successor.hear(answer, with.map(Into::into)),
                        Ok(None) => {
                            tracing::error!(
                                "the process that took over has ended: the sessions that are left \
                                 here can open no passive ports"
                            );
                            return;
                        }
                        Err(error) => {
                            tracing::error!(%error, "cannot hear the process that took over");
                            return;
                        }
                    }
                }
            };
            tokio::select! {
                () = heard => {}
                () = ask(&channel, asked) => {}
            }
            if let Some(successor) = weak.upgrade() {
                // Whoever waits hears of it by that.
                successor.lock().clear();
            }
        };
        (successor, work)
    }

    /// Has a pinhole opened under the number `id`, unused so far. Whoever gives up, closes it.
    pub(super) async fn open(
        &self,
        id: u64,
        session: SessionId,
        (client, server): (IpAddr, IpAddr),
        ports: Option<&PortSet>,
        connection: oneshot::Sender<TcpStream>,
        patience: Duration,
    ) -> Result<u16, OpenError> {
        let (opened, answer) = oneshot::channel();
        let waiting = Waiting {
            opened: Some(opened),
            connection,
        };
        self.lock().insert(id, waiting);
        let request = Request::Open {
            id,
            session,
            client,
            server,
            ports: ports.map(ToString::to_string),
        };
        if self.requests.send(request).is_err() {
            // Nobody is left to answer.
            self.lock().remove(&id);
        }
        match answer.await {
            Ok(Ok(port)) => Ok(port),
            Ok(Err(Refusal::NoPort)) => Err(OpenError::NoPort(patience)),
            Ok(Err(Refusal::Other(why))) => Err(OpenError::Successor(why)),
            Err(_) => Err(OpenError::Successor("it has ended".to_owned())),
        }
    }

    /// Has a pinhole closed, if it still waits.
    pub(super) fn close(&self, id: u64) -> bool {
        let waits = self.lock().remove(&id).is_some();
        if waits {
            self.forget(id);
        }
        waits
    }

    /// Has a pinhole closed for which nobody waits here any more.
    pub(super) fn forget(&self, id: u64) {
        // With that process, its pinholes are gone.
        let _ = self.requests.send(Request::Close { id });
    }

    fn hear(&self, answer: Answer, connection: Option<TcpStream>) {
        let mut waiting = self.lock();
        match answer {
            Answer::Opened { id, port } => {
                let opened = waiting.get_mut(&id).and_then(|one| one.opened.take());
                // One who has given up closes it.
                let _ = opened.map(|opened| opened.send(Ok(port)));
            }
            Answer::Refused { id, why } => {
                let opened = waiting.remove(&id).and_then(|one| one.opened);
                let _ = opened.map(|opened| opened.send(Err(why)));
            }
            Answer::Connected { id } => {
                if let (Some(one), Some(connection)) = (waiting.remove(&id), connection) {
                    // A session that has just given up has no use for it.
                    let _ = one.connection.send(connection);
                }
            }
            Answer::Closed { id } => drop(waiting.remove(&id)),
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<u64, Waiting>> {
        // A map is whole after every operation on it.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn ask(channel: &Channel, mut asked: mpsc::UnboundedReceiver<Request>) {
    while let Some(request) = asked.recv().await {
        if let Err(error) = channel.send(&request, None).await {
            tracing::error!(%error, "cannot ask the process that took over");
            return;
        }
    }
}
