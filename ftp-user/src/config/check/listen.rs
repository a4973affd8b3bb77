//! The addresses that are listened on, in the clear and inside TLS.

use std::net::SocketAddr;

use toml::Spanned;

use super::{
    super::values::{collide, not_an_address},
    Check,
};

impl Check<'_> {
    /// Addresses to listen on beside `others`.
    pub(super) fn listen(
        &mut self,
        given: &Spanned<Vec<Spanned<String>>>,
        others: &[SocketAddr],
    ) -> Vec<SocketAddr> {
        let mut addresses: Vec<SocketAddr> = Vec::new();
        for text in given.get_ref() {
            let address = match text.get_ref().parse::<SocketAddr>() {
                Ok(address) => address,
                Err(_) => {
                    self.problem(text.span(), not_an_address(text.get_ref()));
                    continue;
                }
            };
            let mut listed = others.iter().chain(&addresses);
            if let Some(other) = listed.find(|other| collide(**other, address)) {
                let message = if *other == address {
                    format!("{address} is listed twice")
                } else {
                    format!(
                        "{address} and {other} cannot be listened on at once: one covers the other"
                    )
                };
                self.problem(text.span(), message);
            }
            addresses.push(address);
        }
        addresses
    }
}
