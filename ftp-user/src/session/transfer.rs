//! RFC 959 §4.1.3 ABOR, §5.2 and §6: a transfer from its data connection to its last reply.

mod connect;
mod job;

pub(super) use self::job::Job;

use self::connect::{Source, connect};
use self::job::perform;
use super::tls::Secure;
use super::told::{Whose, shown};
use super::watched::Watched;
use super::{Answer, Session, outcome};
use crate::auth::Accounts;
use crate::control::ControlError;
use crate::negotiate::{CheckedPeer, Negotiated};
use crate::proto::command::TypeCode;
use crate::proto::{Code, Reply};
use crate::transfer::{DataConnection, Monitor};
use crate::vfs::VirtualPath;
use crate::xferlog::{Direction, Record};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::io::{AsyncRead, AsyncWrite};

/// A transfer that is ready but for its data connection.
pub(super) struct Transfer {
    pub(super) verb: &'static str,
    pub(super) path: VirtualPath,
    pub(super) job: Job,
    /// The text of the 150.
    pub(super) opening: String,
}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Session<S> {
    /// Refuses early, before a file is touched for nothing.
    pub(super) fn has_data_connection(&self) -> Result<(), Reply> {
        self.data_protection_suffices()?;
        match self.negotiated {
            Negotiated::Nothing if self.default_port().is_none() => Err(Reply::new(
                Code::CannotOpenData,
                "Use PASV, EPSV, PORT or EPRT first.",
            )),
            Negotiated::Nothing | Negotiated::Passive(_) | Negotiated::Active(_) => Ok(()),
        }
    }

    /// Where a transfer goes without PASV or PORT, if the admin wants that: to the client's control
    /// port (RFC 959 §3.2).
    fn default_port(&self) -> Option<CheckedPeer> {
        let active = &self.context.config.active;
        let wanted = active.enabled && active.default_port && !self.parameters.epsv_all;
        let client = self.ends.client;
        wanted
            .then(|| CheckedPeer::check(client, client, &[]).ok())
            .flatten()
    }

    /// ABOR without a transfer: a data connection that waits is closed (RFC 959 §4.1.3).
    pub(super) fn abor(&mut self) -> Answer {
        self.negotiated = Negotiated::Nothing;
        Ok(Reply::new(Code::TransferComplete, "No transfer to abort."))
    }

    /// Runs a transfer. Returns its last reply; those before it are sent.
    pub(super) async fn transfer(&mut self, transfer: Transfer) -> Result<Reply, ControlError> {
        let monitor = Monitor::default();
        let opened = match self.open_data(&monitor).await {
            Ok(Ok(opened)) => {
                // What moves at once, as small files do, is over before the client could do anything
                // with this: it is woken once.
                let opening = Reply::new(Code::OpeningData, transfer.opening);
                self.control.hold(&opening);
                match transfer.job.is_upload() {
                    // The client waits for it.
                    true => self.control.release().await.map(|()| Ok(opened)),
                    false => Ok(Ok(opened)),
                }
            }
            refused => refused,
        };
        let (socket, secure) = match opened {
            Ok(Ok(opened)) => opened,
            Ok(Err(refusal)) => {
                transfer.job.put_away(self.whose()).await;
                return Ok(refusal);
            }
            Err(lost) => {
                transfer.job.put_away(self.whose()).await;
                return Err(lost);
            }
        };
        let stall = self.context.config.timeouts.stall;
        let presence = self.user().ok().and_then(|user| user.presence.as_deref());
        let rates = presence.and_then(|presence| transfer.job.rates(presence));
        let connection = DataConnection::new(socket, monitor.clone(), stall, rates);

        let started = Instant::now();
        let (mode, level) = (self.parameters.mode, self.parameters.deflate_level);
        let cut = transfer.job.cut();
        let job = transfer.job.in_mode(mode, level);
        let work = perform(connection, job, secure, self.whose());
        let watched = self.watch(&monitor, work).await;
        let took = started.elapsed();
        // By itself: devices take one reply from one segment, and would miss the last one in it.
        let watched = match self.control.release().await {
            Ok(()) => watched,
            Err(lost) => watched.and(Err(lost)),
        };
        let (ended, reply) = match &watched {
            Ok(Watched::Done(Ok(()))) => (
                "complete".to_owned(),
                Some(match cut {
                    Some(cut) if cut.is_short() => outcome::cut_short(),
                    _ => Reply::new(Code::TransferComplete, "Transfer complete."),
                }),
            ),
            Ok(Watched::Done(Err(error))) => {
                (error.to_string(), Some(outcome::of_transfer_error(error)))
            }
            Ok(Watched::Aborted) => ("aborted by the client".to_owned(), Some(outcome::aborted())),
            Ok(Watched::Stopped) => (
                "cut by the server's end".to_owned(),
                Some(outcome::shutting_down()),
            ),
            Err(lost) => (lost.to_string(), None),
        };
        let (user, path) = (self.who(), shown(&transfer.path));
        tracing::info!(session = self.id, client = %self.ends.client.ip(), user,
            verb = transfer.verb, path = &*path, bytes = monitor.bytes(),
            seconds = took.as_secs_f64(), ended,
            reply = reply.as_ref().map(Reply::number), "transfer");
        if self.context.xferlog.is_on() {
            let complete = matches!(watched, Ok(Watched::Done(Ok(()))));
            let (verb, path) = (transfer.verb, transfer.path);
            Box::pin(self.write_down(verb, path, monitor.bytes(), took, complete)).await;
        }
        match (watched?, reply) {
            (Watched::Aborted, _) | (_, None) => self.aborted().await,
            (Watched::Done(_) | Watched::Stopped, Some(reply)) => Ok(reply),
        }
    }

    /// Waits for the data connection that was negotiated.
    async fn open_data(
        &mut self,
        monitor: &Monitor,
    ) -> Result<Result<(TcpStream, Option<Secure>), Reply>, ControlError> {
        let secure = match self.secure_data() {
            Ok(secure) => secure,
            Err(refusal) => return Ok(Err(refusal)),
        };
        let source = match std::mem::take(&mut self.negotiated) {
            Negotiated::Nothing => self.default_port().map(Source::DefaultPort),
            Negotiated::Passive(port) => Some(Source::Passive(port)),
            Negotiated::Active(peer) => Some(Source::Active(peer)),
        };
        let connect = connect(
            source,
            Arc::clone(&self.context.config),
            self.ends.server,
            monitor.clone(),
        );
        Ok(match self.watch(monitor, connect).await? {
            Watched::Done(Ok(socket)) => Ok((socket, secure)),
            Watched::Done(Err(error)) => {
                if self.logs_refusal() {
                    let Whose { session, client } = self.whose();
                    tracing::warn!(session, %client, %error, "no data connection");
                }
                Err(Reply::new(
                    Code::CannotOpenData,
                    "Cannot open the data connection.",
                ))
            }
            Watched::Aborted => Err(self.aborted().await?),
            Watched::Stopped => Err(outcome::shutting_down()),
        })
    }

    /// Adds a file's transfer, or its end, to the transfer log.
    pub(super) async fn write_down(
        &self,
        verb: &str,
        path: VirtualPath,
        bytes: u64,
        took: Duration,
        complete: bool,
    ) {
        let direction = match verb {
            "RETR" => Direction::Outgoing,
            "STOR" | "APPE" | "STOU" => Direction::Incoming,
            "DELE" => Direction::Deleted,
            // Listings.
            _ => return,
        };
        let Ok(user) = self.user() else { return };
        let record = Record {
            client: self.ends.client.ip(),
            took,
            bytes,
            path: path.as_bytes().to_vec(),
            ascii: self.parameters.type_code == TypeCode::Ascii,
            direction,
            user: user.guest.as_deref().unwrap_or(&user.account.name).into(),
            anonymous: Accounts::is_anonymous(user.account.name.as_bytes()),
            complete,
        };
        let xferlog = Arc::clone(&self.context.xferlog);
        if let Err(error) = tokio::task::spawn_blocking(move || xferlog.write(&record)).await {
            let Whose { session, client } = self.whose();
            tracing::error!(session, %client, %error, "a transfer could not be written down");
        }
    }
}
