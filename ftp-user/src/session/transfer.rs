//! RFC 959 §4.1.3 ABOR, §5.2 and §6: a transfer from its data connection to its last reply.

mod connect;
mod job;

pub(super) use self::job::Job;

use self::connect::{Source, connect};
use self::job::perform;
use super::tls::Secure;
use super::told::{Whose, shown};
use super::watched::{End, Watched};
use super::{Answer, Session, outcome};
use crate::auth::Accounts;
use crate::control::ControlError;
use crate::negotiate::{CheckedPeer, Negotiated};
use crate::proto::command::TypeCode;
use crate::proto::{Code, Reply};
use crate::transfer::{DataConnection, Monitor, TransferError};
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
        let Watched {
            outcome: moved,
            end,
        } = self.watch(&monitor, work).await;
        let took = started.elapsed();
        // By itself: devices take one reply from one segment, and would miss the last one in it.
        let end = match self.control.release().await {
            Ok(()) => end,
            Err(lost) => end.and(Err(lost)),
        };
        let is_short = cut.is_some_and(|cut| cut.is_short());
        let (ended, reply) = tell(&moved, &end, is_short);
        let (user, path) = (self.who(), shown(&transfer.path));
        tracing::info!(session = self.id, client = %self.ends.client.ip(), user,
            verb = transfer.verb, path = &*path, bytes = monitor.bytes(),
            seconds = took.as_secs_f64(), ended,
            reply = end.is_ok().then(|| reply.number()), "transfer");
        if self.context.xferlog.is_on() {
            let (verb, path) = (transfer.verb, transfer.path);
            let written = self.write_down(verb, path, monitor.bytes(), took, moved.is_ok());
            Box::pin(written).await;
        }
        match end? {
            End::Abor => self.after_abor(&reply).await,
            End::Itself | End::Stop => Ok(reply),
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
        let Watched { outcome, end } = self.watch(monitor, connect).await;
        Ok(match (end?, outcome) {
            (End::Itself, Ok(socket)) => Ok((socket, secure)),
            (End::Itself, Err(error)) => {
                if self.logs_refusal() {
                    let Whose { session, client } = self.whose();
                    tracing::warn!(session, %client, %error, "no data connection");
                }
                Err(Reply::new(
                    Code::CannotOpenData,
                    "Cannot open the data connection.",
                ))
            }
            (End::Abor, _) => Err(self.after_abor(&outcome::aborted()).await?),
            (End::Stop, _) => Err(outcome::shutting_down()),
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

/// What is said of a transfer that is over, in the log and to a client that is still there. Whoever wanted
/// it to end, what is done is done.
fn tell(
    moved: &Result<(), TransferError>,
    end: &Result<End, ControlError>,
    is_short: bool,
) -> (String, Reply) {
    match (moved, end) {
        (Ok(()), _) if is_short => ("complete".to_owned(), outcome::cut_short()),
        (Ok(()), _) => {
            let reply = Reply::new(Code::TransferComplete, "Transfer complete.");
            ("complete".to_owned(), reply)
        }
        (Err(error), Ok(End::Itself)) => (error.to_string(), outcome::of_transfer_error(error)),
        (Err(_), Ok(End::Abor)) => ("aborted by the client".to_owned(), outcome::aborted()),
        (Err(_), Ok(End::Stop)) => {
            let ended = "cut by the server's end".to_owned();
            (ended, outcome::shutting_down())
        }
        (Err(_), Err(lost)) => (lost.to_string(), outcome::aborted()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_moved_before_the_end_is_complete() {
        let ends = [
            Ok(End::Itself),
            Ok(End::Abor),
            Ok(End::Stop),
            Err(ControlError::Closed),
        ];
        let said = ends.map(|end| {
            let (ended, reply) = tell(&Ok(()), &end, false);
            let broken = tell(&Err(TransferError::Aborted), &end, false);
            assert_eq!((&*ended, reply.number()), ("complete", 226));
            (broken.0, broken.1.number())
        });
        let of_itself = outcome::of_transfer_error(&TransferError::Aborted).number();
        assert_eq!(
            said.each_ref().map(|said| said.1),
            [of_itself, 426, 421, 426]
        );
        assert_eq!(said[1].0, "aborted by the client");
        assert_eq!(said[3].0, ControlError::Closed.to_string());
    }
}
