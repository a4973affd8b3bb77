//! One session: one task that reads commands, answers each, and runs at most one transfer.
//!
//! A file per command family; `dispatch` knows them all, `policy` says who may use which. Bytes on
//! the data connection are `transfer`'s, ports are `negotiate`'s, what a line means is `proto`'s.

mod activity;
mod combine;
mod data;
mod directory;
mod dispatch;
mod file;
mod hash;
mod info;
mod list;
mod list_lines;
mod listing;
mod login;
mod outcome;
mod parameters;
mod policy;
mod recursion;
mod refusals;
mod retrieve;
mod site;
mod state;
mod store;
mod tls;
mod told;
mod transfer;
mod virtual_host;
mod waiting;
mod watched;

#[cfg(test)]
mod tests;

use crate::auth::Failures;
use crate::config::TlsPolicy;
use crate::control::{Control, ControlError};
use crate::disk::{self, DiskError};
use crate::generation::{Generation, Newest};
use crate::negotiate::Negotiated;
use crate::pinholes::{Pinholes, SessionId};
use crate::proto::line::LineError;
use crate::proto::{Code, Reply};
use crate::vfs::{Vfs, VfsError};
pub use activity::Activity;
pub(crate) use activity::Seat;
use refusals::Refusals;
use state::{Login, Parameters, Pending, User};
use std::net::SocketAddr;
use std::sync::Arc;
use tls::Security;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::watch;
use tokio::time::Instant;
use told::Whose;
use virtual_host::Named;
use waiting::Waiting;

/// What all sessions share, whatever their settings.
#[derive(Debug)]
pub struct Shared {
    /// The settings that are in force.
    pub newest: Newest,
    /// What accounts use at this moment.
    pub activity: Activity,
    /// Who failed to log in not long ago.
    pub failures: Failures,
    /// Where data connections come in.
    pub pinholes: Pinholes,
    /// Whether the server goes on.
    pub stop: watch::Receiver<Stop>,
}

/// Whether the server goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stop {
    /// It does.
    No,
    /// Sessions end with 421: at once without a transfer, at the latest at this moment with one.
    By(Instant),
}

/// The two ends of the control connection, addresses unmapped.
#[derive(Debug, Clone, Copy)]
pub struct Ends {
    /// The client's.
    pub client: SocketAddr,
    /// Ours.
    pub server: SocketAddr,
}

/// An answer. Both sides are replies; `Err` is for `?`.
type Answer = Result<Reply, Reply>;
/// A line as the control connection gave it.
type Line = Result<Vec<u8>, LineError>;

struct Session<S> {
    shared: Arc<Shared>,
    /// Its settings: the newest when the session began, and when USER and PASS came.
    context: Arc<Generation>,
    id: SessionId,
    ends: Ends,
    control: Control<S>,
    waiting: Waiting,
    /// Since when nobody has been logged in, if nobody is.
    unknown_since: Instant,
    login: Login,
    login_failures: u32,
    /// Lines before the login that are no commands of ours.
    strange_lines: u32,
    refusals: Refusals,
    security: Security,
    /// The host that it is with, where there are several.
    named: Named,
    /// By which listener it came in, as [`Way`] has it.
    listener: u16,
    /// What TLS is asked of it.
    tls_policy: TlsPolicy,
    parameters: Parameters,
    pending: Pending,
    negotiated: Negotiated,
    /// What was negotiated before, until the client knows of it.
    replaced: Negotiated,
}

/// Why the loop of a session ended.
enum Event {
    Line(Line),
    TimedOut(&'static str),
    Stopped,
}

/// How a control connection starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// In the clear; AUTH TLS may follow.
    Clear,
    /// With TLS (implicit FTPS).
    Tls,
}

/// How a control connection came in.
#[derive(Debug, Clone, Copy)]
pub struct Way {
    /// By which listener, as [`Config::tls_policy`](crate::config::Config::tls_policy) counts them.
    pub listener: u16,
    /// How it starts.
    pub start: Start,
}

/// Runs one session to its end.
pub async fn run<S>(stream: S, id: SessionId, ends: Ends, way: Way, shared: Arc<Shared>)
where
    S: AsyncRead + AsyncWrite + Unpin + Send,
{
    let Way { listener, start } = way;
    let context = shared.newest.get();
    let tls_policy = context.config.tls_policy(listener.into());
    let client = ends.client;
    tracing::debug!(session = id, %client, "connected");
    let control = Control::new(stream, context.config.timeouts.stall);
    let mut session = Session {
        shared,
        context,
        id,
        ends,
        control,
        waiting: Waiting::default(),
        unknown_since: Instant::now(),
        login: Login::Nobody,
        login_failures: 0,
        strange_lines: 0,
        refusals: Refusals::default(),
        security: Security::default(),
        named: Named::default(),
        listener,
        tls_policy,
        parameters: Parameters::default(),
        pending: Pending::Nothing,
        negotiated: Negotiated::Nothing,
        replaced: Negotiated::Nothing,
    };
    let ended = disk::scope(session.serve(start)).await;
    session.tell_left_out();
    match ended {
        Ok(()) => session.control.close().await,
        Err(reason) => tracing::debug!(session = id, %client, %reason, "control connection lost"),
    }
    tracing::debug!(session = id, %client, "session ended");
}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Session<S> {
    async fn serve(&mut self, start: Start) -> Result<(), ControlError> {
        if start == Start::Tls {
            Box::pin(self.start_with_tls()).await?;
        }
        self.control.send(&self.greeting()).await?;
        loop {
            let line = match self.next_event().await? {
                Event::Line(line) => line,
                Event::TimedOut(why) => {
                    return self
                        .control
                        .send(&Reply::new(Code::ServiceUnavailable, why))
                        .await;
                }
                Event::Stopped => return self.control.send(&outcome::shutting_down()).await,
            };
            let reply = match line {
                // On the heap for as long as it takes: what is idle stays small.
                Ok(line) => Box::pin(self.answer(&line)).await?,
                Err(error) => self.strange(Reply::new(error.code(), error.to_string())),
            };
            self.control.send(&reply).await?;
            // The client does not wait for what closing a port takes.
            self.replaced = Negotiated::Nothing;
            if self.security.is_changing() {
                Box::pin(self.change_security()).await?;
            }
            // These two promise the end (RFC 959 §4.2.2).
            if matches!(reply.code(), Code::Closing | Code::ServiceUnavailable) {
                return Ok(());
            }
        }
    }

    async fn next_event(&mut self) -> Result<Event, ControlError> {
        let timeouts = &self.context.config.timeouts;
        let (deadline, why) = match self.login {
            Login::User(_) => (Instant::now() + timeouts.idle, "No command for too long."),
            Login::Nobody | Login::Named(_) => (
                self.unknown_since + timeouts.login,
                "No login for too long.",
            ),
        };
        let mut stop = self.shared.stop.clone();
        if *stop.borrow_and_update() != Stop::No {
            return Ok(Event::Stopped);
        }
        // Not only while it waits: somebody who always has another line ready gets no more time.
        if deadline <= Instant::now() {
            return Ok(Event::TimedOut(why));
        }
        if let Some(line) = self.waiting.next() {
            return Ok(Event::Line(line));
        }
        tokio::select! {
            biased;
            // Also when the server is gone without a word.
            _ = stop.changed() => Ok(Event::Stopped),
            line = self.control.next_line() => Ok(Event::Line(line?)),
            () = tokio::time::sleep_until(deadline) => Ok(Event::TimedOut(why)),
        }
    }

    fn user(&self) -> Result<&User, Reply> {
        match &self.login {
            Login::User(user) => Ok(user),
            Login::Nobody | Login::Named(_) => Err(outcome::not_logged_in()),
        }
    }

    /// Does file work of the user's.
    async fn on_disk<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Vfs) -> Result<T, VfsError> + Send + 'static,
    ) -> Result<T, Reply> {
        let long = self.user()?.tree.is_counted();
        self.with_files(long, work).await
    }

    /// Does what takes long although the disk does not.
    async fn on_a_thread<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Vfs) -> Result<T, VfsError> + Send + 'static,
    ) -> Result<T, Reply> {
        self.with_files(true, work).await
    }

    async fn with_files<T: Send + 'static>(
        &self,
        long: bool,
        work: impl FnOnce(&Vfs) -> Result<T, VfsError> + Send + 'static,
    ) -> Result<T, Reply> {
        let tree = self.user()?.tree.clone();
        match disk::run(long, move || tree.act(work)).await {
            Ok(done) => done.map_err(|error| {
                tracing::debug!(session = self.id, %error, "refused by the file system");
                outcome::of_vfs_error(&error)
            }),
            Err(DiskError::Crowded(crowded)) => {
                let Whose { session, client } = self.whose();
                tracing::warn!(session, %client, user = self.who(), "{crowded}");
                Err(outcome::crowded())
            }
            Err(DiskError::Worker(error)) => {
                let Whose { session, client } = self.whose();
                tracing::error!(session, %client, %error, "a file worker failed");
                Err(Reply::new(Code::LocalError, "Internal error."))
            }
        }
    }
}
