//! The new process's side.

use std::fs::File;
use std::io;
use std::net::TcpListener;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;

use super::{Fixed, HandoverError, New, Old, PROTOCOL, VARIABLE};
use crate::channel::Channel;
use crate::config::Config;
use crate::pinholes::{Estate, Heirs, Pinholes};
use crate::server::Listener;
use crate::session::Start;

/// The end of the channel that another process of the daemon has started this one with.
pub fn inherited() -> io::Result<Option<OwnedFd>> {
    if std::env::var_os(VARIABLE).is_none() {
        return Ok(None);
    }
    let channel = io::stdin().as_fd().try_clone_to_owned()?;
    rustix::stdio::dup2_stdin(File::open("/dev/null")?)?;
    Ok(Some(channel))
}

/// What the process before leaves to the server.
#[derive(Debug)]
pub struct Taken {
    /// The number of the next session.
    pub next_session: u64,
    /// By this it asks about quotas; somebody has to answer.
    pub quotas: Option<UnixStream>,
    /// By this it tells of the sessions that are left there.
    pub remains: Option<OwnedFd>,
}

impl Default for Taken {
    /// There was no process before.
    fn default() -> Taken {
        Taken {
            next_session: 1,
            quotas: None,
            remains: None,
        }
    }
}

/// A process that is about to take over.
#[derive(Debug)]
pub struct Arrival {
    channel: Arc<Channel>,
    fixed: Fixed,
    /// The listeners were given by the service manager, and stand in place of the configured ones.
    pub given: bool,
    listeners: Vec<Listener>,
}

impl Arrival {
    /// Hears what the process before offers. In a runtime.
    pub async fn meet(channel: OwnedFd) -> Result<Arrival, HandoverError> {
        let channel = Channel::new(channel)?;
        let pid = std::process::id();
        channel.send(&New::Hello { pid }, None).await?;
        let (protocol, version, fixed, given) = match hear(&channel).await? {
            (
                Old::Offer {
                    protocol,
                    version,
                    fixed,
                    given,
                },
                _,
            ) => (protocol, version, fixed, given),
            _ => return Err(HandoverError::Protocol),
        };
        let mut arrival = Arrival {
            channel: Arc::new(channel),
            fixed,
            given,
            listeners: Vec::new(),
        };
        if protocol != PROTOCOL {
            let error = HandoverError::Version(version);
            arrival.failed(&error.to_string()).await;
            return Err(error);
        }
        loop {
            match hear(&arrival.channel).await? {
                (Old::Listener { implicit_tls }, Some(socket)) => {
                    let start = match implicit_tls {
                        true => Start::Tls,
                        false => Start::Clear,
                    };
                    let listener = Listener::given(TcpListener::from(socket), start)?;
                    arrival.listeners.push(listener);
                }
                (Old::Offered, _) => return Ok(arrival),
                _ => return Err(HandoverError::Protocol),
            }
        }
    }

    /// The listeners of the process before.
    pub fn listeners(&self) -> io::Result<Vec<Listener>> {
        self.listeners.iter().map(Listener::try_clone).collect()
    }

    /// Whether the process before can be followed by one with these settings.
    pub fn check(&self, config: &Config) -> Result<(), HandoverError> {
        match self.fixed.differences(&Fixed::of(config)).as_slice() {
            [] => Ok(()),
            names => Err(HandoverError::Fixed(names.join(", "))),
        }
    }

    /// Everything is ready but for what the process before leaves: that.
    pub async fn prepared(&self) -> Result<Estate, HandoverError> {
        self.channel.send(&New::Prepared, None).await?;
        Ok(Estate::receive(&self.channel).await?)
    }

    /// Everything is taken. Returns when the process before accepts no more; from then on this one
    /// has to.
    pub async fn taken(&self) -> Result<Taken, HandoverError> {
        self.channel.send(&New::Taken, None).await?;
        let mut remains = None;
        loop {
            match self.channel.receive().await? {
                Some((Old::Remains, socket)) => remains = socket,
                Some((Old::Go { next_session }, quotas)) => {
                    return Ok(Taken {
                        next_session,
                        quotas: quotas.map(UnixStream::from),
                        remains,
                    });
                }
                Some(_) => return Err(HandoverError::Protocol),
                // It has died of something else: if it did not want this one, it would have ended
                // it. Whoever serves now, it is not that one.
                None => {
                    tracing::warn!("the process before ended while it handed over");
                    return Ok(Taken::default());
                }
            }
        }
    }

    /// Tells the process before why this one ends.
    pub async fn failed(&self, why: &str) {
        let why = why.to_owned();
        // If it does not hear, the log has it.
        let _ = self.channel.send(&New::Failed { why }, None).await;
    }

    /// Serves the sessions of the process before until that has ended.
    pub async fn serve(&self, pinholes: &Pinholes, heirs: Heirs) {
        pinholes.serve_predecessor(&self.channel, heirs).await;
        tracing::info!("the process before has ended");
    }
}

async fn hear(channel: &Channel) -> Result<(Old, Option<OwnedFd>), HandoverError> {
    channel.receive().await?.ok_or(HandoverError::Ended)
}
