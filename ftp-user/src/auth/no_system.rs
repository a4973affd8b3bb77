//! Users of the host, in a build without PAM: there are none, and a configuration that wants them is
//! refused.

use std::net::IpAddr;
use std::sync::Arc;

use super::{Account, AuthError, Password};
use crate::config::Config;

/// There is none.
#[derive(Debug)]
pub(super) enum System {}

impl System {
    /// `None` where the configuration wants none.
    pub(super) fn load(config: &Config) -> Result<Option<System>, AuthError> {
        match config.pam {
            None => Ok(None),
            Some(_) => Err(AuthError::NoPam),
        }
    }

    /// Is never asked.
    pub(super) async fn verify(
        &self,
        _name: &[u8],
        _password: Password,
        _client: IpAddr,
    ) -> Option<Arc<Account>> {
        match *self {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Pam;

    #[test]
    fn a_configuration_that_wants_pam_is_told_how() {
        let config = Config {
            pam: Some(Pam::default()),
            ..Config::default()
        };
        let error = System::load(&config).unwrap_err();
        assert!(error.to_string().contains("--pam"), "{error}");
    }
}
