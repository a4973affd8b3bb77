//! What has to be looked after while the daemon runs: deadlines, the budget of reported denials,
//! and what the host is like (its addresses, whether it forwards), which may change at any time.

use std::{collections::HashSet, io, net::IpAddr, sync::Arc, time::Duration};

use aya::maps::{HashMap, MapData, MapError, PerCpuArray};
use ftp_ebpf::abi::{Address, policy};
use rtnetlink::sys::{
    self as netlink, AsyncSocket as _, AsyncSocketExt as _, TokioSocket, protocols::NETLINK_ROUTE,
};
use tokio::{
    sync::watch,
    time::{Instant, MissedTickBehavior, interval},
};

use super::{
    attach::{self, Approach},
    events,
    explain::StartError,
    host::{self, HostError, Link},
    object::Object,
    shared_ports::SharedPorts,
    table::Table,
};
use crate::config::{Interfaces, Stray};

/// How often deadlines and budgets are looked at.
const TICK: Duration = Duration::from_secs(1);

/// Keeps the kernel half's view of the host current.
pub(super) struct Upkeep {
    ports: Arc<SharedPorts>,
    local: HashMap<MapData, Address, u8>,
    budget: PerCpuArray<MapData, u32>,
    known: HashSet<IpAddr>,
    situation: Situation,
}

/// What decides the policy beside the host's present state.
#[derive(Clone, Debug)]
pub(super) struct Situation {
    /// As configured.
    pub(super) stray: Stray,
    /// Which interfaces are locked, as configured.
    pub(super) interfaces: Interfaces,
    /// What decides it where it is not configured.
    pub(super) approach: watch::Receiver<Approach>,
    /// Nothing is dropped.
    pub(super) dry_run: bool,
    /// The guard admits every client with a control connection where it knows no better.
    pub(super) admit_peers: bool,
}

impl Upkeep {
    /// Writes the host's present state, so that the locks start with the right one.
    pub(super) fn start(
        object: &mut Object,
        ports: Arc<SharedPorts>,
        situation: Situation,
        links: &[Link],
    ) -> Result<Self, StartError> {
        let local = object.local_addresses()?;
        let mut upkeep = Self {
            ports,
            // What an earlier guard has left.
            known: local.keys().flatten().map(IpAddr::from).collect(),
            local,
            budget: object.denial_budget()?,
            situation,
        };
        upkeep.describe(links, host::forwards()?);
        upkeep.grant();
        Ok(upkeep)
    }

    /// For as long as the daemon lives. What the interfaces are like after a change of theirs, or of
    /// which ones count, goes to `seen`.
    pub(super) async fn run(mut self, table: Option<Arc<Table>>, seen: watch::Sender<Vec<Link>>) {
        let mut tick = interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut changes = match Changes::watch() {
            Ok(changes) => Some(changes),
            Err(error) => {
                tracing::warn!(
                    %error,
                    "changes of this host's interfaces, addresses and forwarding will not be noticed"
                );
                None
            }
        };
        // What has changed since it was listed.
        self.look(&seen).await;
        loop {
            tokio::select! {
                _ = tick.tick() => {
                    if let Some(table) = &table {
                        table.sweep(Instant::now());
                    }
                    self.grant();
                }
                () = Changes::next(&mut changes) => self.look(&seen).await,
                // The policy first, the locks after it.
                Ok(()) = self.situation.approach.changed() => self.look(&seen).await,
            }
        }
    }

    async fn look(&mut self, seen: &watch::Sender<Vec<Link>>) {
        match self.look_again().await {
            Ok(links) => drop(seen.send_replace(links)),
            Err(error) => tracing::warn!(%error, "cannot tell what changed on this host"),
        }
    }

    async fn look_again(&mut self) -> Result<Vec<Link>, HostError> {
        let links = host::links().await?;
        self.describe(&links, host::forwards()?);
        Ok(links)
    }

    fn describe(&mut self, links: &[Link], forwards: bool) {
        let addresses = host::addresses(links);
        // New addresses first: until an address is listed, a forwarding host leaves it alone.
        let mut refused = self.list(&addresses);
        for address in self.known.difference(&addresses) {
            if let Err(error) = self.local.remove(&Address::from(*address)) {
                tracing::debug!(%address, %error, "cannot forget an address of this host");
            }
        }
        self.known.retain(|address| addresses.contains(address));
        if refused.is_some() {
            // There may be room for them now. If not, they are tried again at the next change.
            refused = self.list(&addresses);
        }
        if let Some((address, error)) = refused {
            tracing::error!(%address, %error, "cannot guard an address of this host");
        }
        let bridged = self.situation.is_bridged(links);
        self.ports
            .set_policy(policy(&self.situation, forwards, bridged));
    }

    /// Lists those that are not, and says of one that could not be.
    fn list(&mut self, addresses: &HashSet<IpAddr>) -> Option<(IpAddr, MapError)> {
        let mut refused = None;
        for address in addresses {
            if self.known.contains(address) {
                continue;
            }
            match self.local.insert(Address::from(*address), 1, 0) {
                Ok(()) => drop(self.known.insert(*address)),
                Err(error) => refused = Some((*address, error)),
            }
        }
        refused
    }

    fn grant(&mut self) {
        if let Err(error) = events::grant(&mut self.budget) {
            tracing::debug!(%error, "denials will not be reported");
        }
    }
}

/// Tells that something about interfaces, addresses or forwarding has changed.
struct Changes {
    socket: TokioSocket,
    /// Not to be asked before, so that an error that stays does not keep a processor busy.
    rest: Instant,
}

impl Changes {
    /// Multicast groups of rtnetlink (include/uapi/linux/rtnetlink.h): LINK, IPV4_IFADDR,
    /// IPV6_IFADDR, IPV4_NETCONF, IPV6_NETCONF.
    const GROUPS: [u32; 5] = [1, 5, 9, 24, 25];

    fn watch() -> io::Result<Self> {
        let mut socket = TokioSocket::new(NETLINK_ROUTE)?;
        let groups = Self::GROUPS
            .iter()
            .fold(0, |bits, group| bits | 1 << (group - 1));
        socket
            .socket_mut()
            .bind(&netlink::SocketAddr::new(0, groups))?;
        let rest = Instant::now();
        Ok(Self { socket, rest })
    }

    /// Resolves when it is time to look again. What the messages say does not matter, and neither
    /// does an error: it means that some were lost. Cancel-safe.
    async fn next(changes: &mut Option<Self>) {
        match changes {
            Some(Self { socket, rest }) => {
                tokio::time::sleep_until(*rest).await;
                if let Err(error) = socket.recv_from_full().await {
                    tracing::debug!(%error, "messages about changes of this host were lost");
                    *rest = Instant::now() + TICK;
                }
                // One look shows all that has changed so far: a container's start is many messages.
                while socket.socket_ref().recv_from_full().is_ok() {}
            }
            None => std::future::pending().await,
        }
    }
}

impl Situation {
    /// Whether a locked interface is a port of a bridge, and so sees packets for others.
    fn is_bridged(&self, links: &[Link]) -> bool {
        let approach = *self.approach.borrow();
        attach::select(links, &self.interfaces, approach).any(|link| link.bridge_port)
    }
}

/// What the kernel half is told about the host.
fn policy(situation: &Situation, forwards: bool, bridged: bool) -> u64 {
    let mut bits = if situation.dry_run {
        policy::DRY_RUN
    } else {
        0
    };
    if situation.admit_peers {
        bits |= policy::ADMIT_PEERS;
    }
    if forwards || bridged {
        bits |= policy::CHECK_LOCAL;
    }
    let pass_stray = match situation.stray {
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
        let bits = |stray, forwards, bridged, dry_run| {
            let situation = Situation {
                stray,
                interfaces: Interfaces::Auto,
                approach: watch::channel(Approach::default()).1,
                dry_run,
                admit_peers: false,
            };
            policy(&situation, forwards, bridged)
        };
        assert_eq!(bits(Stray::Auto, false, false, false), 0);
        assert_eq!(bits(Stray::Auto, true, false, false), check | pass);
        assert_eq!(
            bits(Stray::Auto, false, true, false),
            check,
            "a bridge masquerades nothing"
        );
        assert_eq!(bits(Stray::Drop, true, false, false), check);
        assert_eq!(bits(Stray::Pass, false, false, false), pass);
        assert_eq!(bits(Stray::Auto, false, false, true), policy::DRY_RUN);
    }
}
