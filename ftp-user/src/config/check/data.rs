//! The `[passive]` and `[active]` sections.

use super::{
    super::{Active, ForNetwork, Passive, PublicAddress, file},
    Check, set,
};

impl Check<'_> {
    pub(super) fn passive(&mut self, given: file::Passive) -> Passive {
        let mut passive = Passive::default();
        self.text(given.ports, &mut passive.ports, |text| {
            text.parse().map_err(|error| format!("ports: {error}"))
        });
        self.text(given.address, &mut passive.address, str::parse);
        for (network, address) in given.addresses {
            let (mut named, mut told) = (None, PublicAddress::Own);
            self.text(Some(network), &mut named, |text| text.parse().map(Some));
            self.text(Some(address), &mut told, str::parse);
            if let Some(network) = named {
                passive.addresses.push(ForNetwork {
                    network,
                    address: told,
                });
            }
        }
        self.duration(given.connect_timeout, &mut passive.connect_timeout, 1);
        self.duration(given.port_timeout, &mut passive.port_timeout, 0);
        passive
    }

    pub(super) fn active(&mut self, given: file::Active) -> Active {
        let mut active = Active::default();
        set(given.enabled, &mut active.enabled);
        set(given.from_port_20, &mut active.from_port_20);
        set(given.default_port, &mut active.default_port);
        self.duration(given.connect_timeout, &mut active.connect_timeout, 1);
        active
    }
}
