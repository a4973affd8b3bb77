//! The control connection goes into TLS, and out of it by CCC.

use super::super::waiting::Waiting;
use super::super::{Session, Stop};
use super::{ControlPlane, Secured, Security};
use crate::config::Use;
use crate::control::ControlError;
use crate::proto::command::Protection;
use tokio::io::{AsyncRead, AsyncWrite};

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Session<S> {
    /// Implicit TLS. Clients of it expect private data connections without saying PROT P.
    pub(in crate::session) async fn start_with_tls(&mut self) -> Result<(), ControlError> {
        let data = match self.tls_policy.data {
            Use::Off => Protection::Clear,
            Use::Allow | Use::Require => Protection::Private,
        };
        self.handshake(data).await
    }

    /// After the reply that promised it: into TLS, or out of it.
    pub(in crate::session) async fn change_security(&mut self) -> Result<(), ControlError> {
        match &mut self.security {
            Security::Clear => Ok(()),
            Security::Handshaking => {
                // What came behind AUTH in the clear may be anybody's: lines that waited are lost,
                // and so is what the control connection has read.
                self.waiting = Waiting::default();
                self.handshake(Protection::Clear).await
            }
            Security::Tls(secured) => {
                secured.control = ControlPlane::Clear;
                self.control.clear().await
            }
        }
    }

    async fn handshake(&mut self, data: Protection) -> Result<(), ControlError> {
        let (Some(tls), Some(settings)) = (&self.context.tls, &self.context.config.tls) else {
            return Err(ControlError::Closed);
        };
        let (tls, binding) = (tls.session(), settings.session_binding);
        let deadline = self.unknown_since + self.context.config.timeouts.login;
        let mut stop = self.shared.stop.clone();
        let secured = tokio::select! {
            biased;
            // There is no way to say 421 inside half a handshake.
            _ = stop.wait_for(|stop| *stop != Stop::No) => Err(ControlError::Closed),
            secured = tokio::time::timeout_at(deadline, self.control.secure(tls.control(self.named.name()))) => {
                secured.unwrap_or(Err(ControlError::HandshakeTimeout))
            }
        };
        if let Err(error) = &secured {
            tracing::info!(session = self.id, client = %self.ends.client.ip(), %error,
                "TLS handshake failed");
        }
        secured?;
        self.named_in_tls();
        self.security = Security::Tls(Box::new(Secured {
            tls,
            binding,
            control: ControlPlane::Protected,
            pbsz: false,
            data,
            unsaid: data,
        }));
        Ok(())
    }
}
