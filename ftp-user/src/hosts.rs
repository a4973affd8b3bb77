//! The addresses of hosts that the configuration names (`passive.address`): asked for again and again,
//! and the last good answer is kept.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, ToSocketAddrs as _};
use std::sync::{PoisonError, RwLock};
use std::time::Duration;

use crate::generation::Newest;

/// Between two rounds of questions: what dynamic DNS services have as their time to live.
const EVERY: Duration = Duration::from_secs(60);

/// What is known of hosts by name.
#[derive(Debug, Default)]
pub struct Hosts(RwLock<HashMap<String, Ipv4Addr>>);

impl Hosts {
    /// The last good answer.
    pub fn get(&self, name: &str) -> Option<Ipv4Addr> {
        let known = self.0.read().unwrap_or_else(PoisonError::into_inner);
        known.get(name).copied()
    }

    /// Asks for these names. Blocks as long as the resolver does.
    pub fn refresh<'a>(&self, names: impl Iterator<Item = &'a str>) {
        self.refresh_by(names, resolve);
    }

    fn refresh_by<'a>(
        &self,
        names: impl Iterator<Item = &'a str>,
        resolve: impl Fn(&str) -> io::Result<Ipv4Addr>,
    ) {
        for name in names {
            let before = self.get(name);
            match resolve(name) {
                Ok(address) if before == Some(address) => {}
                Ok(address) => {
                    tracing::info!("passive.address: {name} is {address}");
                    let mut known = self.0.write().unwrap_or_else(PoisonError::into_inner);
                    known.insert(name.to_owned(), address);
                }
                Err(error) => match before {
                    Some(last) => {
                        tracing::warn!(%error, "passive.address: {name} is not found; it stays {last}");
                    }
                    None => {
                        let then = "PASV will be answered 425 (EPSV needs no address)";
                        tracing::error!(%error, "passive.address: {name} is not found; {then}");
                    }
                },
            }
        }
    }
}

fn resolve(name: &str) -> io::Result<Ipv4Addr> {
    let addresses = (name, 0).to_socket_addrs()?;
    let v4 = |address: IpAddr| match address {
        IpAddr::V4(v4) => Some(v4),
        IpAddr::V6(_) => None,
    };
    let mut v4s = addresses.filter_map(|address| v4(address.ip()));
    v4s.next()
        .ok_or_else(|| io::Error::other("it has no IPv4 address"))
}

/// Asks for the names of the newest configuration, for as long as the server runs.
pub(crate) async fn keep_fresh(newest: Newest) {
    loop {
        tokio::time::sleep(EVERY).await;
        let generation = newest.get();
        if generation.config.passive.hosts().next().is_none() {
            continue;
        }
        let asked = tokio::task::spawn_blocking(move || {
            generation.hosts.refresh(generation.config.passive.hosts());
        });
        if let Err(error) = asked.await {
            tracing::error!(%error, "host names could not be looked up");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::RefCell;

    #[test]
    fn the_last_good_answer_stays() {
        let hosts = Hosts::default();
        let answers = RefCell::new(vec![
            Err(io::Error::other("none yet")),
            Ok(Ipv4Addr::new(192, 0, 2, 1)),
            Err(io::Error::other("the resolver is gone")),
            Ok(Ipv4Addr::new(192, 0, 2, 2)),
        ]);
        let mut known = Vec::new();
        for _ in 0..4 {
            hosts.refresh_by(["a"].into_iter(), |_| answers.borrow_mut().remove(0));
            known.push(hosts.get("a").map(|address| address.octets()[3]));
        }
        assert_eq!(known, [None, Some(1), Some(1), Some(2)]);
        assert_eq!(hosts.get("b"), None);
    }

    #[test]
    fn this_host_is_found_by_name() {
        let hosts = Hosts::default();
        hosts.refresh(["localhost", "no.such.host.invalid"].into_iter());
        assert_eq!(hosts.get("localhost"), Some(Ipv4Addr::LOCALHOST));
        assert_eq!(hosts.get("no.such.host.invalid"), None);
    }
}
