//! PASV (RFC 959 §4.1.2) and EPSV (RFC 2428 §3): a pinhole, and the reply that names its port.

use super::Negotiated;
use crate::config::PortSet;
use crate::pinholes::{OpenError, PassivePort, Pinholes, SessionId};
use crate::proto::address::{Family, passive_text};
use crate::proto::reply::{Code, Reply};
use std::future::ready;
use std::net::{IpAddr, Ipv4Addr};
use std::pin::pin;

/// Why PASV or EPSV was refused.
#[derive(Debug, thiserror::Error)]
pub enum PassiveError {
    /// A 227 cannot name an IPv6 address.
    #[error("PASV cannot name an IPv6 address; use EPSV.")]
    PasvOverV6,
    /// EPSV for a family that the control connection does not have.
    #[error("Network protocol not supported, use ({0})")]
    OtherFamily(u8),
    /// No pinhole.
    #[error(transparent)]
    Open(#[from] OpenError),
}

impl From<&PassiveError> for Reply {
    fn from(error: &PassiveError) -> Reply {
        match error {
            PassiveError::PasvOverV6 => Reply::new(Code::CannotOpenData, error.to_string()),
            PassiveError::OtherFamily(_) => Reply::new(Code::FamilyNotSupported, error.to_string()),
            PassiveError::Open(OpenError::NoPort(_)) => Reply::new(
                Code::CannotOpenData,
                "No passive port is free; try again later.",
            ),
            // The details are the operator's.
            PassiveError::Open(_) => {
                Reply::new(Code::CannotOpenData, "Cannot open a passive port.")
            }
        }
    }
}

/// Who asks for a port.
#[derive(Debug)]
pub struct Asking<'a> {
    /// Where there is one.
    pub pinholes: &'a Pinholes,
    /// For whom.
    pub session: SessionId,
    /// Whose connection it is to admit.
    pub client: IpAddr,
    /// To where.
    pub server: IpAddr,
    /// Which it may be, if not any.
    pub ports: Option<&'a PortSet>,
    /// What this takes the place of. Its port is closed here only if there is none besides.
    pub earlier: &'a mut Negotiated,
}

impl Asking<'_> {
    async fn open(self) -> Result<PassivePort, OpenError> {
        let opened = self
            .pinholes
            .open(self.session, self.client, self.server, self.ports);
        let mut opened = pin!(opened);
        tokio::select! {
            biased;
            opened = &mut opened => return opened,
            () = ready(()) => {}
        }
        // It has to wait: the earlier port may be the only one left.
        *self.earlier = Negotiated::Nothing;
        opened.await
    }
}

/// Opens a pinhole and words the 227. `public` is the address that clients see where it is not the
/// control connection's own (NAT).
pub async fn pasv(
    asking: Asking<'_>,
    public: Option<Ipv4Addr>,
) -> Result<(PassivePort, Reply), PassiveError> {
    let IpAddr::V4(own) = asking.server else {
        return Err(PassiveError::PasvOverV6);
    };
    let port = asking.open().await?;
    let text = passive_text(public.unwrap_or(own), port.port());
    let reply = Reply::new(
        Code::EnteringPassive,
        format!("Entering Passive Mode {text}."),
    );
    Ok((port, reply))
}

/// Opens a pinhole and words the 229. It names no address, so NAT needs no help.
pub async fn epsv(
    asking: Asking<'_>,
    family: Option<Family>,
) -> Result<(PassivePort, Reply), PassiveError> {
    let ours = Family::of(asking.server);
    if family.is_some_and(|asked| asked != ours) {
        return Err(PassiveError::OtherFamily(ours.number()));
    }
    let port = asking.open().await?;
    let text = format!("Entering Extended Passive Mode (|||{}|)", port.port());
    Ok((port, Reply::new(Code::EnteringExtendedPassive, text)))
}
