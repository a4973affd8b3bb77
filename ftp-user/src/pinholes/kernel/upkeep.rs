//! What has to be looked after while the daemon runs: deadlines, the budget of reported denials,
//! and what the host is like (its addresses, whether it forwards), which may change at any time.

use std::{collections::HashSet, net::IpAddr, sync::Arc, time::Duration};

use aya::maps::{HashMap, MapData, PerCpuArray};
use ftp_ebpf::abi::{Address, policy};
use futures_util::StreamExt as _;
use rtnetlink::MulticastGroup;
use tokio::time::{Instant, MissedTickBehavior, interval};

use super::{
    events,
    explain::StartError,
    host::{self, HostError, Link},
    object::Object,
    shared_ports::SharedPorts,
    table::Table,
};
use crate::config::Stray;

/// How often deadlines and budgets are looked at.
const TICK: Duration = Duration::from_secs(1);

/// Keeps the kernel half's view of the host current.
pub(super) struct Upkeep {
    ports: Arc<SharedPorts>,
    local: HashMap<MapData, Address, u8>,
    budget: PerCpuArray<MapData, u32>,
    known: HashSet<IpAddr>,
    stray: Stray,
    bridged: bool,
}

impl Upkeep {
    /// Writes the host's present state, so that the locks start with the right one.
    pub(super) fn start(
        object: &mut Object,
        ports: Arc<SharedPorts>,
        stray: Stray,
        bridged: bool,
        links: &[Link],
    ) -> Result<Self, StartError> {
        let mut upkeep = Self {
            ports,
            local: object.local_addresses()?,
            budget: object.denial_budget()?,
            known: HashSet::new(),
            stray,
            bridged,
        };
        upkeep.describe(host::addresses(links), host::forwards()?);
        upkeep.grant();
        Ok(upkeep)
    }

    /// For as long as the daemon lives.
    pub(super) async fn run(mut self, table: Arc<Table>) {
        let mut tick = interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let groups = [
            MulticastGroup::Ipv4Ifaddr,
            MulticastGroup::Ipv6Ifaddr,
            MulticastGroup::Ipv4Netconf,
            MulticastGroup::Ipv6Netconf,
        ];
        // What the messages say does not matter: each means "look again", and so does a lost one.
        let mut changes = match rtnetlink::new_multicast_connection(&groups) {
            Ok((connection, _handle, messages)) => {
                tokio::spawn(connection);
                messages.left_stream()
            }
            Err(error) => {
                tracing::warn!(
                    %error,
                    "changes of this host's addresses and forwarding will not be noticed"
                );
                futures_util::stream::pending().right_stream()
            }
        };
        loop {
            tokio::select! {
                _ = tick.tick() => {
                    table.sweep(Instant::now());
                    self.grant();
                }
                Some(_) = changes.next() => {
                    if let Err(error) = self.look_again().await {
                        tracing::warn!(%error, "cannot tell what changed on this host");
                    }
                }
            }
        }
    }

    async fn look_again(&mut self) -> Result<(), HostError> {
        let links = host::links().await?;
        self.describe(host::addresses(&links), host::forwards()?);
        Ok(())
    }

    fn describe(&mut self, addresses: HashSet<IpAddr>, forwards: bool) {
        // New addresses first: until an address is listed, a forwarding host leaves it alone.
        for address in addresses.difference(&self.known) {
            if let Err(error) = self.local.insert(Address::from(*address), 1, 0) {
                tracing::error!(%address, %error, "cannot guard an address of this host");
            }
        }
        for address in self.known.difference(&addresses) {
            if let Err(error) = self.local.remove(&Address::from(*address)) {
                tracing::debug!(%address, %error, "cannot forget an address of this host");
            }
        }
        self.known = addresses;
        self.ports
            .set_policy(policy(self.stray, forwards, self.bridged));
    }

    fn grant(&mut self) {
        if let Err(error) = events::grant(&mut self.budget) {
            tracing::debug!(%error, "denials will not be reported");
        }
    }
}

/// What the kernel half is told about the host.
fn policy(stray: Stray, forwards: bool, bridged: bool) -> u64 {
    let mut bits = 0;
    if forwards || bridged {
        bits |= policy::CHECK_LOCAL;
    }
    let pass_stray = match stray {
        Stray::Auto => forwards,
        Stray::Pass => true,
        Stray::Drop => false,
    };
    if pass_stray {
        bits |= policy::PASS_STRAY;
    }
    bits
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_host_is_like_decides_what_is_policed() {
        let (check, pass) = (policy::CHECK_LOCAL, policy::PASS_STRAY);
        assert_eq!(policy(Stray::Auto, false, false), 0);
        assert_eq!(policy(Stray::Auto, true, false), check | pass);
        assert_eq!(
            policy(Stray::Auto, false, true),
            check,
            "a bridge masquerades nothing"
        );
        assert_eq!(policy(Stray::Drop, true, false), check);
        assert_eq!(policy(Stray::Pass, false, false), pass);
    }
}
