//! Which interfaces are to be locked, and by which kind of lock. Pure.

use std::net::{IpAddr, SocketAddr};

use ftp_ebpf::packet::LinkLayer;

use super::{
    super::host::{Layer, Link},
    AttachError, Mode,
};
use crate::config::{Attach, Interfaces};

/// Whether every interface that is named is there.
pub(in crate::pinholes::kernel) fn all_there(
    links: &[Link],
    wanted: &Interfaces,
) -> Result<(), AttachError> {
    let Interfaces::Named(names) = wanted else {
        return Ok(());
    };
    let missing = |name: &&String| !links.iter().any(|link| link.name == **name);
    match names.iter().find(missing) {
        None => Ok(()),
        Some(missing) => {
            let names: Vec<_> = links.iter().map(|link| link.name.as_str()).collect();
            Err(AttachError::NoInterface {
                name: missing.clone(),
                present: names.join(", "),
            })
        }
    }
}

/// Where control connections, and so data connections, come in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::pinholes::kernel) struct Approach {
    /// By loopback: something listens there and for nobody else.
    loopback: bool,
    /// By every other interface: whichever address is listened on, this host takes packets for it on
    /// each of them (the weak model of RFC 1122 section 3.3.4.2).
    outside: bool,
}

impl Approach {
    /// To these listeners.
    pub(in crate::pinholes::kernel) fn to(listeners: &[SocketAddr]) -> Self {
        listeners
            .iter()
            .fold(Self::default(), |approach, listener| {
                approach.and_to(listener.ip())
            })
    }

    /// And to one more.
    pub(in crate::pinholes::kernel) fn and_to(mut self, address: IpAddr) -> Self {
        match address.is_loopback() {
            true => self.loopback = true,
            false => self.outside = true,
        }
        self
    }

    /// An interface without an address counts, unless it only hands packets on to another one.
    fn is_by(self, link: &Link) -> bool {
        let unnumbered = link.addresses.is_empty();
        match link.loopback {
            true => self.loopback,
            false => self.outside && (!unnumbered || (link.layer != Layer::Unknown && !link.part)),
        }
    }
}

/// The interfaces to lock: those named, or by themselves those that a control connection or a data
/// connection can come in by.
pub(in crate::pinholes::kernel) fn select<'a>(
    links: &'a [Link],
    wanted: &Interfaces,
    approach: Approach,
) -> impl Iterator<Item = &'a Link> {
    links.iter().filter(move |link| match wanted {
        Interfaces::Named(names) => names.contains(&link.name),
        Interfaces::Auto => link.up && approach.is_by(link),
    })
}

/// What to attach first, and why; `true` where another mode may be tried if the driver refuses.
pub(super) fn choose(link: &Link, wanted: Attach, has_tcx: bool) -> (Mode, String, bool) {
    let configured = || "as configured".to_owned();
    let soft = if has_tcx { Mode::Tcx } else { Mode::Generic };
    if link.layer == Layer::Known(LinkLayer::None) {
        let why = "packets without Ethernet headers".to_owned();
        return (Mode::Tcx, why, false);
    }
    match (wanted, &link.kind) {
        (Attach::Native, _) => (Mode::Native, configured(), false),
        (Attach::Generic, _) => (Mode::Generic, configured(), false),
        (Attach::Tcx, _) => (Mode::Tcx, configured(), false),
        (Attach::Auto, _) if link.loopback => (
            soft,
            "auto: loopback has no driver that XDP could run in".to_owned(),
            false,
        ),
        (Attach::Auto, Some(kind)) => {
            let why = format!("auto: native XDP on a {kind} interface would slow transfers down");
            (soft, why, false)
        }
        (Attach::Auto, None) => (
            Mode::Native,
            "auto: hardware or virtio, drops before an skb exists".to_owned(),
            true,
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn link(name: &str, kind: Option<&str>, addresses: &[&str]) -> Link {
        Link {
            index: 1,
            name: name.to_owned(),
            layer: Layer::Known(LinkLayer::Ethernet),
            loopback: name == "lo",
            up: true,
            kind: kind.map(str::to_owned),
            bridge_port: false,
            part: false,
            xdp_program: None,
            addresses: addresses
                .iter()
                .map(|address| address.parse().unwrap())
                .collect(),
        }
    }

    fn tunnel() -> Link {
        let mut tunnel = link("wg0", Some("wireguard"), &["10.9.0.1"]);
        tunnel.layer = Layer::Known(LinkLayer::None);
        tunnel
    }

    fn names(links: &[Link], listen: &str) -> Vec<String> {
        let approach = Approach::to(&[listen.parse().unwrap()]);
        let selected = select(links, &Interfaces::Auto, approach);
        selected.map(|link| link.name.clone()).collect()
    }

    #[test]
    fn auto_locks_the_interfaces_that_clients_come_in_by() {
        let mut down = link("eth9", None, &["192.0.2.9"]);
        down.up = false;
        let mut port = link("port", Some("veth"), &[]);
        port.part = true;
        let mut can = link("can0", Some("can"), &[]);
        can.layer = Layer::Unknown;
        let links = [
            link("lo", None, &["127.0.0.1", "::1"]),
            link("eth0", None, &["192.0.2.1"]),
            link("eth1", None, &["198.51.100.1", "2001:db8::1"]),
            link("eth2", None, &[]),
            port,
            can,
            down,
            tunnel(),
        ];
        let all = ["eth0", "eth1", "eth2", "wg0"];
        assert_eq!(names(&links, "[::]:21"), all);
        assert_eq!(
            names(&links, "[2001:db8::1]:21"),
            all,
            "an address is reached by any interface"
        );
        assert_eq!(names(&links, "127.0.0.1:2121"), ["lo"]);
        let wider = Approach::to(&["[::1]:21".parse().unwrap()]).and_to([192, 0, 2, 1].into());
        assert_eq!(select(&links, &Interfaces::Auto, wider).count(), 5);
    }

    #[test]
    fn a_named_interface_must_be_there() {
        let links = [link("eth0", None, &[]), tunnel()];
        let named = |name: &str| Interfaces::Named(vec![name.to_owned()]);
        let missing = all_there(&links, &named("eth1")).unwrap_err().to_string();
        assert!(
            missing.contains("`eth1`") && missing.contains("eth0, wg0"),
            "{missing}"
        );
        all_there(&links, &named("wg0")).unwrap();
        let nobody = Approach::default();
        assert_eq!(select(&links, &named("eth0"), nobody).count(), 1);
        assert_eq!(select(&links, &named("eth1"), nobody).count(), 0);
    }

    #[test]
    fn auto_takes_native_on_hardware_and_tcx_elsewhere() {
        let hardware = link("eth0", None, &[]);
        let veth = link("veth0", Some("veth"), &[]);
        let auto = |link: &Link, has_tcx| choose(link, Attach::Auto, has_tcx).0;
        assert_eq!(auto(&hardware, true), Mode::Native);
        assert_eq!(auto(&veth, true), Mode::Tcx);
        assert_eq!(auto(&link("lo", None, &[]), true), Mode::Tcx);
        assert_eq!(auto(&veth, false), Mode::Generic);
        assert_eq!(choose(&veth, Attach::Native, true).0, Mode::Native);
        assert_eq!(choose(&tunnel(), Attach::Native, true).0, Mode::Tcx);
    }
}
