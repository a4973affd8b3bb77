//! Which interfaces get a lock, and of which kind. Choosing is pure; [`lock`] does it.

use std::{fmt, io, net::SocketAddr};

use aya::programs::loaded_programs;
use ftp_ebpf::packet::LinkLayer;
use serde::{Deserialize, Serialize};

use super::{
    bpf_link::{BpfLink, Hook},
    explain::{self, StartError},
    host::Link,
    object::{Object, ObjectError},
};
use crate::config::{Attach, Interfaces};

/// How a lock is attached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Mode {
    /// XDP in the driver: before the kernel allocates anything.
    Native,
    /// XDP in the network stack: works with every driver.
    Generic,
    /// Traffic control, ingress.
    Tcx,
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Native => "native XDP",
            Self::Generic => "generic XDP",
            Self::Tcx => "tcx",
        })
    }
}

/// A locked interface. Displays as the sentence that the log has of it.
#[derive(Clone, Debug)]
pub struct Locked {
    /// Its name.
    pub interface: String,
    /// How.
    pub mode: Mode,
    /// Why so.
    pub why: String,
}

impl fmt::Display for Locked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            interface,
            mode,
            why,
        } = self;
        write!(f, "locked {interface} with {mode} ({why})")
    }
}

/// Why an interface could not be locked.
#[derive(Debug, thiserror::Error)]
pub enum AttachError {
    /// Named, but not there.
    #[error("there is no interface `{name}` here: this host has {present}")]
    NoInterface {
        /// As named in the configuration.
        name: String,
        /// Those that exist.
        present: String,
    },
    /// Its packets have headers that no lock here reads.
    #[error(
        "interface `{name}` carries packets {}: leave it out of `enforce.interfaces`. Whoever \
         comes in there is not held off",
        if *needs_tcx {
            "without Ethernet headers, which only tcx (Linux 6.6) can lock"
        } else {
            "that begin neither with an Ethernet nor with an IP header"
        }
    )]
    Unreadable {
        /// Its name.
        name: String,
        /// Begins with the IP header, which only tcx can be told.
        needs_tcx: bool,
    },
    /// XDP takes one program an interface.
    #[error(
        "interface `{name}` already runs {program}, and takes only one XDP program: \
         detach that, or set `enforce.attach = \"tcx\"` (`--attach tcx`), which runs beside it"
    )]
    Occupied {
        /// Its name.
        name: String,
        /// The program that is there.
        program: String,
    },
    /// The driver has no XDP, or not with its present settings (MTU, queues).
    #[error(
        "the driver of interface `{name}` refuses native XDP ({source}): set \
         `enforce.attach = \"tcx\"` or `\"generic\"`"
    )]
    NoNative {
        /// Its name.
        name: String,
        /// The kernel's answer.
        source: io::Error,
    },
    /// tcx came with Linux 6.6. The older clsact would do, but outlives the daemon: a crash would
    /// leave the lock behind.
    #[error(
        "interface `{name}` cannot have a tcx lock before Linux 6.6: set \
         `enforce.attach = \"generic\"` or `\"native\"`"
    )]
    NoTcx {
        /// Its name.
        name: String,
    },
    /// Anything else.
    #[error("cannot attach {mode} to interface `{name}`")]
    Refused {
        /// Its name.
        name: String,
        /// What was tried.
        mode: Mode,
        /// The kernel's answer.
        source: io::Error,
    },
    /// A fault of the build.
    #[error(transparent)]
    Object(#[from] ObjectError),
}

/// A lock's link: the kernel detaches it when this is dropped, unless it is pinned.
pub(super) struct Attached {
    pub(super) index: u32,
    pub(super) mode: Mode,
    layer: LinkLayer,
    pub(super) link: BpfLink,
}

impl Attached {
    /// Puts the object's program into the link, where another process has put its own.
    pub(super) fn put_back(&self, object: &mut Object) -> Result<(), StartError> {
        let program = object.lock(self.mode, self.layer)?;
        let done = self.link.update(program);
        Ok(done.map_err(|source| AttachError::Refused {
            name: format!("number {}", self.index),
            mode: self.mode,
            source,
        })?)
    }
}

/// The link of an earlier lock of that kind on the interface with that number, to be taken over.
pub(super) type Predecessor<'a> = dyn Fn(u32, Mode) -> Option<BpfLink> + 'a;

/// Whether every interface that is named is there.
pub(super) fn all_there(links: &[Link], wanted: &Interfaces) -> Result<(), AttachError> {
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

/// The interfaces to lock: those named, or by themselves those that a control connection, and so
/// its data connections, can come in by.
pub(super) fn select<'a>(
    links: &'a [Link],
    wanted: &Interfaces,
    listen: &[SocketAddr],
) -> impl Iterator<Item = &'a Link> {
    links.iter().filter(move |link| match wanted {
        Interfaces::Named(names) => names.contains(&link.name),
        Interfaces::Auto => link.up && listen.iter().any(|address| reaches(link, address)),
    })
}

fn reaches(link: &Link, listen: &SocketAddr) -> bool {
    if listen.ip().is_unspecified() {
        !link.loopback && !link.addresses.is_empty()
    } else if listen.ip().is_loopback() {
        link.loopback
    } else {
        link.addresses.contains(&listen.ip())
    }
}

/// What to attach first, and why; `true` where another mode may be tried if the driver refuses.
fn choose(link: &Link, wanted: Attach, has_tcx: bool) -> (Mode, String, bool) {
    let configured = || "as configured".to_owned();
    let soft = if has_tcx { Mode::Tcx } else { Mode::Generic };
    if link.layer == Some(LinkLayer::None) {
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

/// Attaches the lock to one interface. With `mark`, traffic control runs behind native XDP, because
/// only an skb can carry a firewall mark; and in place of generic XDP, which would read every
/// packet a second time for nothing (and on Linux 6.18 hands traffic control packets that begin
/// with the IP header, where the Ethernet header is expected).
pub(super) fn lock(
    object: &mut Object,
    link: &Link,
    wanted: Attach,
    mark: bool,
    predecessor: &Predecessor<'_>,
) -> Result<(Locked, Vec<Attached>), AttachError> {
    let has_tcx = explain::kernel_is_at_least(6, 6);
    match link.layer {
        Some(LinkLayer::Ethernet) => {}
        Some(LinkLayer::None) if has_tcx => {}
        unreadable => {
            return Err(AttachError::Unreadable {
                name: link.name.clone(),
                needs_tcx: unreadable.is_some(),
            });
        }
    }
    let (mut mode, mut why, may_change) = choose(link, wanted, has_tcx);
    if mark && mode == Mode::Generic {
        mode = Mode::Tcx;
        why = "in place of generic XDP, which cannot set `enforce.mark`".to_owned();
    }
    let first = match attach(object, link, mode, predecessor) {
        Err(refused) if may_change => {
            mode = if has_tcx { Mode::Tcx } else { Mode::Generic };
            why = format!("auto: native XDP is not to be had ({refused})");
            attach(object, link, mode, predecessor)?
        }
        attached => attached?,
    };
    let mut attached = vec![first];
    if mark && mode != Mode::Tcx {
        attached.push(attach(object, link, Mode::Tcx, predecessor)?);
    }
    let locked = Locked {
        interface: link.name.clone(),
        mode,
        why,
    };
    Ok((locked, attached))
}

fn attach(
    object: &mut Object,
    on: &Link,
    mode: Mode,
    predecessor: &Predecessor<'_>,
) -> Result<Attached, AttachError> {
    let (index, layer) = (on.index, on.layer.unwrap_or(LinkLayer::Ethernet));
    let program = object.lock(mode, layer)?;
    // At no moment is there none. An earlier lock's link may be no good any more: its interface has
    // gone, and another one has its number.
    let taken = predecessor(index, mode).and_then(|link| match link.update(program) {
        Ok(()) => Some(link),
        Err(error) => {
            tracing::debug!(%error, "an earlier lock cannot be taken over");
            None
        }
    });
    let hook = match mode {
        Mode::Native => Hook::NativeXdp,
        Mode::Generic => Hook::GenericXdp,
        Mode::Tcx => Hook::FirstTcx,
    };
    let link = match taken {
        Some(link) => link,
        None => BpfLink::new(program, index, hook).map_err(|error| explain(on, mode, error))?,
    };
    Ok(Attached {
        index,
        mode,
        layer,
        link,
    })
}

fn explain(link: &Link, mode: Mode, source: io::Error) -> AttachError {
    let name = link.name.clone();
    match (mode, source.raw_os_error()) {
        (Mode::Native | Mode::Generic, Some(libc::EBUSY | libc::EEXIST)) => AttachError::Occupied {
            name,
            program: occupant(link),
        },
        (Mode::Native, Some(libc::EOPNOTSUPP | libc::EINVAL | libc::ERANGE)) => {
            AttachError::NoNative { name, source }
        }
        (Mode::Tcx, _) if !explain::kernel_is_at_least(6, 6) => AttachError::NoTcx { name },
        (Mode::Native | Mode::Generic | Mode::Tcx, _) => {
            AttachError::Refused { name, mode, source }
        }
    }
}

/// The first errno in an error and its causes.
pub(super) fn errno_of(error: &(dyn std::error::Error + 'static)) -> Option<i32> {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if let Some(error) = error.downcast_ref::<io::Error>() {
            return error.raw_os_error();
        }
        cause = error.source();
    }
    None
}

fn occupant(link: &Link) -> String {
    let Some(id) = link.xdp_program else {
        return "an XDP program".to_owned();
    };
    let name = loaded_programs()
        .filter_map(Result::ok)
        .find(|program| program.id() == id)
        .and_then(|program| program.name_as_str().map(str::to_owned))
        .unwrap_or_default();
    format!("the XDP program `{name}` (id {id})")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn link(name: &str, kind: Option<&str>, addresses: &[&str]) -> Link {
        Link {
            index: 1,
            name: name.to_owned(),
            layer: Some(LinkLayer::Ethernet),
            loopback: name == "lo",
            up: true,
            kind: kind.map(str::to_owned),
            bridge_port: false,
            xdp_program: None,
            addresses: addresses
                .iter()
                .map(|address| address.parse().unwrap())
                .collect(),
        }
    }

    fn tunnel() -> Link {
        let mut tunnel = link("wg0", Some("wireguard"), &["10.9.0.1"]);
        tunnel.layer = Some(LinkLayer::None);
        tunnel
    }

    fn names(links: &[Link], listen: &str) -> Vec<String> {
        let listen = [listen.parse().unwrap()];
        let selected = select(links, &Interfaces::Auto, &listen);
        selected.map(|link| link.name.clone()).collect()
    }

    #[test]
    fn auto_locks_the_interfaces_that_clients_come_in_by() {
        let mut down = link("eth9", None, &["192.0.2.9"]);
        down.up = false;
        let links = [
            link("lo", None, &["127.0.0.1", "::1"]),
            link("eth0", None, &["192.0.2.1"]),
            link("eth1", None, &["198.51.100.1", "2001:db8::1"]),
            link("port", Some("veth"), &[]),
            down,
            tunnel(),
        ];
        assert_eq!(names(&links, "[::]:21"), ["eth0", "eth1", "wg0"]);
        assert_eq!(names(&links, "[2001:db8::1]:21"), ["eth1"]);
        assert_eq!(names(&links, "127.0.0.1:2121"), ["lo"]);
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
        assert_eq!(select(&links, &named("eth0"), &[]).count(), 1);
        assert_eq!(select(&links, &named("eth1"), &[]).count(), 0);
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
