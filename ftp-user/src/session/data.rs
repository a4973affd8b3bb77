//! RFC 959 §4.1.2 PASV PORT, RFC 2428 EPSV EPRT: where the next data connection comes from.

use super::told::Whose;
use super::{Answer, Session};
use crate::negotiate::{self, Asking, CheckedPeer, Negotiated, PassiveError, PeerError};
use crate::pinholes::PassivePort;
use crate::proto::address::Family;
use crate::proto::command::EpsvArgument;
use crate::proto::{Code, Reply};
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::io::{AsyncRead, AsyncWrite};

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Session<S> {
    pub(super) async fn pasv(&mut self) -> Answer {
        self.not_after_epsv_all()?;
        let client = self.ends.client.ip();
        let context = Arc::clone(&self.context);
        let public = match context.public_address(client) {
            Ok(public) => public,
            Err(host) => {
                if self.logs_refusal() {
                    tracing::warn!(session = self.id, %client, host, "no passive port: the host \
                        name in passive.address is not known");
                }
                return Err(Reply::new(
                    Code::CannotOpenData,
                    "This server's address is not known at the moment; use EPSV.",
                ));
            }
        };
        let mut earlier = std::mem::take(&mut self.negotiated);
        let opened = negotiate::pasv(self.asking(&mut earlier)?, public).await;
        self.passive(opened, earlier)
    }

    pub(super) async fn epsv(&mut self, argument: EpsvArgument) -> Answer {
        let family = match argument {
            EpsvArgument::All => {
                self.parameters.epsv_all = true;
                return Ok(Reply::new(Code::Okay, "From now on EPSV only."));
            }
            EpsvArgument::Any => None,
            EpsvArgument::Family(family) => Some(family),
        };
        let mut earlier = std::mem::take(&mut self.negotiated);
        let opened = negotiate::epsv(self.asking(&mut earlier)?, family).await;
        self.passive(opened, earlier)
    }

    fn asking<'a>(&'a self, earlier: &'a mut Negotiated) -> Result<Asking<'a>, Reply> {
        Ok(Asking {
            pinholes: &self.shared.pinholes,
            session: self.id,
            client: self.ends.client.ip(),
            server: self.ends.server.ip(),
            ports: self.user()?.account.passive_ports.as_ref(),
            earlier,
        })
    }

    fn passive(
        &mut self,
        opened: Result<(PassivePort, Reply), PassiveError>,
        earlier: Negotiated,
    ) -> Answer {
        self.replaced = earlier;
        match opened {
            Ok((port, reply)) => {
                self.negotiated = Negotiated::Passive(port);
                Ok(reply)
            }
            Err(error) => {
                if self.logs_refusal() {
                    let Whose { session, client } = self.whose();
                    tracing::warn!(session, %client, %error, "no passive port");
                }
                Err(Reply::from(&error))
            }
        }
    }

    /// PORT and EPRT. A refused one changes nothing.
    pub(super) fn active(&mut self, asked: SocketAddr) -> Answer {
        self.not_after_epsv_all()?;
        if !self.context.config.active.enabled {
            return Err(Reply::new(
                Code::NotImplemented,
                "Active mode is switched off; use PASV or EPSV.",
            ));
        }
        match CheckedPeer::check(asked, self.ends.client, &self.user()?.account.fxp) {
            Ok(peer) => {
                let (client, to) = (self.ends.client.ip(), peer.address());
                if to.ip() != client.to_canonical() {
                    tracing::info!(session = self.id, %client, %to, "data connection to another host");
                }
                self.negotiated = Negotiated::Active(peer);
                Ok(Reply::new(Code::Okay, "Will connect to your port."))
            }
            Err(error) => {
                if self.logs_refusal() {
                    let Whose { session, client } = self.whose();
                    tracing::warn!(session, %client, %asked, %error, "PORT or EPRT refused");
                }
                Err(error.into())
            }
        }
    }

    /// To EPSV and EPRT: the list of families that would do (RFC 2428 §2, §3) has the control
    /// connection's own.
    pub(super) fn other_family(&self) -> Reply {
        PeerError::OtherFamily(Family::of(self.ends.client.ip()).number()).into()
    }

    fn not_after_epsv_all(&self) -> Result<(), Reply> {
        if self.parameters.epsv_all {
            return Err(Reply::new(
                Code::BadSequence,
                "Not after EPSV ALL; use EPSV.",
            ));
        }
        Ok(())
    }
}
