//! The process that this one has taken over from: its sessions go on there, and their pinholes are
//! kept here, each by a task. When that process ends, however it does, they are gone.
//!
//! Its side of this is `successor`.

use std::{
    collections::HashMap,
    net::{IpAddr, TcpStream},
    os::fd::AsFd as _,
    sync::Arc,
};

use tokio::{
    sync::mpsc,
    task::{AbortHandle, JoinSet},
};

use super::{
    successor::{Answer, Refusal, Request},
    table::{Hole, Table},
};
use crate::{
    channel::Channel,
    config::PortSet,
    pinholes::{OpenError, SessionId},
};

type Answers = mpsc::UnboundedSender<(Answer, Option<TcpStream>)>;

/// Opens and closes pinholes for its sessions until it has ended. `adopted` are those that waited
/// when this process took over.
pub(super) async fn serve(channel: &Channel, table: &Arc<Table>, adopted: Vec<(u64, Hole)>) {
    let (answers, mut told) = mpsc::unbounded_channel::<(Answer, Option<TcpStream>)>();
    let tell = async {
        while let Some((answer, connection)) = told.recv().await {
            let with = connection.as_ref().map(|connection| connection.as_fd());
            if let Err(error) = channel.send(&answer, with).await {
                tracing::debug!(%error, "the process before does not hear");
                return;
            }
        }
    };
    let heard = async {
        let mut pinholes = Pinholes::default();
        for (id, hole) in adopted {
            let answers = answers.clone();
            pinholes.add(id, wait(id, hole, answers));
        }
        loop {
            match channel.receive().await {
                Ok(Some((Request::Close { id }, _))) => pinholes.remove(id),
                Ok(Some((request @ Request::Open { id, .. }, _))) => {
                    pinholes.add(id, open(request, Arc::clone(table), answers.clone()));
                }
                Ok(None) => return,
                Err(error) => {
                    tracing::error!(%error, "cannot hear the process before");
                    return;
                }
            }
        }
    };
    tokio::select! {
        () = heard => {}
        () = tell => {}
    }
}

/// A task for each pinhole, which closes it when it ends.
#[derive(Default)]
struct Pinholes {
    tasks: JoinSet<()>,
    by_id: HashMap<u64, AbortHandle>,
}

impl Pinholes {
    fn add(&mut self, id: u64, task: impl Future<Output = ()> + Send + 'static) {
        while self.tasks.try_join_next().is_some() {}
        self.by_id.retain(|_, task| !task.is_finished());
        self.by_id.insert(id, self.tasks.spawn(task));
    }

    fn remove(&mut self, id: u64) {
        if let Some(task) = self.by_id.remove(&id) {
            task.abort();
        }
    }
}

async fn open(request: Request, table: Arc<Table>, answers: Answers) {
    let Request::Open {
        id,
        session,
        client,
        server,
        ports,
    } = request
    else {
        return;
    };
    let opened = open_one(&table, session, (client, server), ports).await;
    let (answer, hole) = match opened {
        Ok(hole) => {
            let port = hole.port();
            (Answer::Opened { id, port }, Some(hole))
        }
        Err(why) => (Answer::Refused { id, why }, None),
    };
    // Nobody hears it when that process has just ended; then this task ends too.
    let _ = answers.send((answer, None));
    if let Some(hole) = hole {
        wait(id, hole, answers).await;
    }
}

async fn open_one(
    table: &Arc<Table>,
    session: SessionId,
    (client, server): (IpAddr, IpAddr),
    ports: Option<String>,
) -> Result<Hole, Refusal> {
    let ports: Option<PortSet> = match ports.map(|ports| ports.parse()).transpose() {
        Ok(ports) => ports,
        Err(error) => return Err(Refusal::Other(format!("its ports: {error}"))),
    };
    let opened = table.open(session, client, server, ports.as_ref()).await;
    opened.map_err(|error| match error {
        OpenError::NoPort(_) => Refusal::NoPort,
        OpenError::Kernel { .. } | OpenError::Listen { .. } | OpenError::Successor(_) => {
            Refusal::Other(error.to_string())
        }
    })
}

async fn wait(id: u64, mut hole: Hole, answers: Answers) {
    let answer = match hole.accept().await {
        Ok(connection) => (Answer::Connected { id }, Some(connection)),
        Err(_) => (Answer::Closed { id }, None),
    };
    let _ = answers.send(answer);
}
