//! A lock is attached to an interface: XDP, native or generic, or tcx. Which it is to be, `choice`
//! says.

mod choice;
mod error;

use std::{fmt, io};

use aya::programs::loaded_programs;
use ftp_ebpf::packet::LinkLayer;
use serde::{Deserialize, Serialize};

use self::choice::choose;
pub(super) use self::choice::{Approach, all_there, select};
pub use self::error::{AttachError, Unreadable};
use super::{
    bpf_link::{BpfLink, Hook},
    explain::{self, StartError},
    host::{Layer, Link},
    object::Object,
};
use crate::config::Attach;

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
    let layer = match link.layer {
        Layer::Known(LinkLayer::None) if !has_tcx => Err(Unreadable::NeedsTcx),
        Layer::Known(layer) => Ok(layer),
        Layer::Outer => Err(Unreadable::Outer),
        Layer::Unknown => Err(Unreadable::Unknown),
    };
    let layer = layer.map_err(|why| AttachError::Unreadable {
        name: link.name.clone(),
        why,
    })?;
    let (mut mode, mut why, may_change) = choose(link, wanted, has_tcx);
    if mark && mode == Mode::Generic {
        mode = Mode::Tcx;
        why = "in place of generic XDP, which cannot set `enforce.mark`".to_owned();
    }
    let mut attach = |mode| attach(object, link, layer, mode, predecessor);
    let first = match attach(mode) {
        Err(refused) if may_change => {
            mode = if has_tcx { Mode::Tcx } else { Mode::Generic };
            why = format!("auto: native XDP is not to be had ({refused})");
            attach(mode)?
        }
        attached => attached?,
    };
    let mut attached = vec![first];
    if mark && mode != Mode::Tcx {
        attached.push(attach(Mode::Tcx)?);
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
    layer: LinkLayer,
    mode: Mode,
    predecessor: &Predecessor<'_>,
) -> Result<Attached, AttachError> {
    let index = on.index;
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
