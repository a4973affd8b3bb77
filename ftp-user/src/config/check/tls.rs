//! The `[tls]` section.

use std::net::SocketAddr;

use toml::Spanned;

use super::super::file;
use super::super::{Binding, ListenerTls, Tls, TlsPolicy, Use};
use super::Check;

impl Check<'_> {
    /// `others` are the addresses of `listen`.
    pub(super) fn tls(&mut self, given: file::Tls, others: &[SocketAddr]) -> Tls {
        let value = |given: &Option<Spanned<Use>>, default| {
            given.as_ref().map_or(default, |given| *given.get_ref())
        };
        let mode = value(&given.mode, Use::Allow);
        let data = value(&given.data, Use::Allow);
        let listen = match &given.listen {
            Some(listen) => self.listen(listen, others),
            None => Vec::new(),
        };
        let listeners: Vec<ListenerTls> = given
            .listener
            .iter()
            .map(|own| ListenerTls {
                address: *own.address.get_ref(),
                policy: TlsPolicy {
                    control: own.mode.unwrap_or(mode),
                    data: own.data.unwrap_or(data),
                },
            })
            .collect();
        for (index, own) in given.listener.iter().enumerate() {
            let address = own.address.get_ref();
            if !others
                .iter()
                .chain(&listen)
                .any(|listened| listened == address)
            {
                let message = format!(
                    "{address} is not listened on: name an address of `listen` or of tls.listen"
                );
                self.problem(own.address.span(), message);
            }
            let mut earlier = given.listener.iter().take(index);
            if earlier.any(|earlier| earlier.address.get_ref() == address) {
                self.problem(own.address.span(), format!("{address} has rules already"));
            }
        }
        let anybody = listeners.iter().any(|own| own.policy.control != Use::Off);
        if mode == Use::Off && listen.is_empty() && !anybody {
            let at = given.mode.as_ref().map(Spanned::span).unwrap_or_default();
            self.problem(
                at,
                "mode \"off\" and no `listen` leave no use for a certificate: leave [tls] out, \
                 or name an address such as listen = [\"[::]:990\"]",
            );
        }
        Tls {
            certificate: self.file(&given.certificate, "certificate", ""),
            key: self.file(&given.key, "private key", ""),
            mode,
            data,
            session_binding: given.session_binding.unwrap_or(Binding::Prefer),
            client_ca: given
                .client_ca
                .map(|path| self.file(&path, "clients' CA", "")),
            check_server_name: given.check_server_name.unwrap_or(false),
            listen,
            listeners,
        }
    }
}
