//! RFC 4217 §7 and §9: data connections inside TLS, and whose session they have to resume.

use super::super::Session;
use super::super::told::Whose;
use super::super::transfer::Job;
use super::Security;
use crate::config::{Binding, Use};
use crate::proto::command::Protection;
use crate::proto::{Code, Reply};
use crate::tls::DataTls;
use crate::transfer::{
    DataConnection, Secured, TransferError, handshake, receive_secured, send_bytes_secured,
    send_file_secured, send_secured,
};

/// A data connection's TLS, and whose it has to be.
pub(in crate::session) struct Secure {
    tls: DataTls,
    binding: Binding,
    whose: Whose,
}

impl<S> Session<S> {
    /// Is a data connection as PROT has it good enough for the policy?
    pub(in crate::session) fn data_protection_suffices(&self) -> Result<(), Reply> {
        let private = match &self.security {
            Security::Clear | Security::Handshaking => false,
            Security::Tls(secured) => secured.data == Protection::Private,
        };
        let wrong = match (self.tls_policy.data, private) {
            (Use::Require, false) => {
                "Data connections must be protected here: AUTH TLS, PBSZ 0, PROT P."
            }
            (Use::Off, true) => "Data connections are not protected here: PROT C.",
            (Use::Off, false) | (Use::Allow, _) | (Use::Require, true) => return Ok(()),
        };
        Err(Reply::new(Code::WrongProtection, wrong))
    }

    /// TLS for the next data connection, if PROT P holds.
    pub(in crate::session) fn secure_data(&self) -> Result<Option<Secure>, Reply> {
        let Security::Tls(secured) = &self.security else {
            return Ok(None);
        };
        match secured.data {
            Protection::Clear | Protection::NotByTls => Ok(None),
            Protection::Private => match secured.tls.data(self.named.name()) {
                Ok(tls) => Ok(Some(Secure {
                    tls,
                    binding: secured.binding,
                    whose: self.whose(),
                })),
                Err(error) => {
                    let Whose { session, client } = self.whose();
                    tracing::error!(session, %client, %error, "no TLS for a data connection");
                    Err(Reply::new(Code::LocalError, "Internal error."))
                }
            },
        }
    }
}

/// Begins TLS on a data connection, as bound to the control connection's as it has to be.
pub(in crate::session) async fn begin(
    connection: &DataConnection,
    secure: Secure,
) -> Result<Secured, TransferError> {
    let Secure {
        tls,
        binding,
        whose,
    } = secure;
    let secured = handshake(connection, tls.connection).await?;
    match (tls.bond.holds(secured.handshake_kind()), binding) {
        (true, _) | (false, Binding::Off) => {}
        (false, Binding::Prefer) => {
            let Whose { session, client } = whose;
            tracing::info!(session, %client,
                "a data connection did not resume its control connection's TLS session");
        }
        (false, Binding::Require) => return Err(TransferError::NotResumed),
    }
    Ok(secured)
}

/// Moves a job's bytes inside TLS.
pub(in crate::session) async fn carry(
    connection: &DataConnection,
    job: Job,
    tls: Secured,
) -> Result<(), TransferError> {
    match job {
        Job::Bytes(bytes) => send_bytes_secured(connection, tls, bytes).await,
        Job::File(file, range) => send_file_secured(connection, tls, file, range).await,
        Job::Ascii(file) => send_secured(connection, tls, file).await,
        Job::Listing(lines) => send_secured(connection, tls, lines).await,
        Job::Deflated(made) => send_secured(connection, tls, made).await,
        Job::Receive(upload, how) => receive_secured(connection, tls, upload, how).await,
    }
}
