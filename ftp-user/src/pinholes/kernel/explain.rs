//! Why the kernel half did not start, and what the administrator can do about it.

use std::io;

use aya::{programs::ProgramError, util::KernelVersion};

use super::{acceptor::AcceptorError, attach::AttachError, host::HostError, object::ObjectError};

/// The oldest kernel with everything that the programs use: XDP with more than one buffer.
const OLDEST_KERNEL: (u8, u8) = (5, 18);

/// Why the kernel half did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Loading needs capabilities that the process lacks.
    #[error(
        "loading eBPF programs is not permitted: this process lacks {missing}. Start it as root, \
         or give it these capabilities"
    )]
    Denied {
        /// The capabilities that are missing.
        missing: String,
        /// The kernel's answer. What the verifier has to say beside concerns code that the missing
        /// capability would have allowed.
        source: io::Error,
    },
    /// The kernel is too old.
    #[error(
        "this kernel ({running}) is older than Linux {}.{}, the first with XDP for packets in \
         several buffers, which Pinhole needs",
        OLDEST_KERNEL.0, OLDEST_KERNEL.1
    )]
    OldKernel {
        /// Its release.
        running: String,
        /// What was refused.
        source: Box<ObjectError>,
    },
    /// The kernel refused the object for another reason.
    #[error(transparent)]
    Object(ObjectError),
    /// An interface could not be locked.
    #[error(transparent)]
    Attach(#[from] AttachError),
    /// A pinhole of the process before could not be opened.
    #[error("cannot take a pinhole over from the process before")]
    Adopt(#[source] Box<crate::pinholes::OpenError>),
    /// No listener for data connections.
    #[error(transparent)]
    Acceptor(#[from] AcceptorError),
    /// The host could not be examined.
    #[error(transparent)]
    Host(#[from] HostError),
    /// The network namespace could not be opened.
    #[error("cannot open /proc/self/ns/net: is /proc mounted?")]
    Namespace(#[source] io::Error),
    /// The kernel's structures are not known.
    #[error(transparent)]
    Layout(#[from] super::layout::LayoutError),
    /// A tracepoint could not be watched.
    #[error("cannot watch the tracepoint {event}: is tracefs mounted at /sys/kernel/tracing?")]
    Tracepoint {
        /// Its category and name.
        event: String,
        /// aya's account.
        source: Box<ProgramError>,
    },
    /// Its attachment does not go with its descriptor.
    #[error("the kernel watches the tracepoint {event}, but not by a link: that needs Linux 5.15")]
    TracepointLink {
        /// Its category and name.
        event: String,
        /// aya's account.
        source: aya::programs::links::LinkError,
    },
    /// The guard does not see what it should.
    #[error(transparent)]
    SelfTest(#[from] super::guard::SelfTestError),
    /// What is to go on without the daemon cannot be kept.
    #[error(transparent)]
    Pins(#[from] super::guard::PinsError),
    /// The network namespace could not be found out.
    #[error(transparent)]
    GuardedNamespace(#[from] super::guard::NamespaceError),
    /// The socket lookup program could not be attached.
    #[error("cannot attach the socket lookup program to this network namespace")]
    Steer(#[source] Box<ProgramError>),
    /// Another Pinhole has the same ports.
    #[error(transparent)]
    Neighbour(super::neighbours::Neighbour),
}

impl From<ObjectError> for StartError {
    fn from(error: ObjectError) -> Self {
        let source = Box::new(error);
        match errno_of(&*source) {
            Some(errno @ (libc::EPERM | libc::EACCES)) if !missing_capabilities().is_empty() => {
                Self::Denied {
                    missing: missing_capabilities().join(", "),
                    source: io::Error::from_raw_os_error(errno),
                }
            }
            _ if !kernel_is_at_least(OLDEST_KERNEL.0, OLDEST_KERNEL.1) => Self::OldKernel {
                running: release(),
                source,
            },
            _ => Self::Object(*source),
        }
    }
}

/// Whether the running kernel is that version or a later one; unknown counts as later.
pub(super) fn kernel_is_at_least(major: u8, minor: u8) -> bool {
    KernelVersion::current().map_or(true, |running| {
        running >= KernelVersion::new(major, minor, 0)
    })
}

fn release() -> String {
    rustix::system::uname()
        .release()
        .to_string_lossy()
        .into_owned()
}

/// Of the capabilities that loading and attaching need, those that this process does not have.
fn missing_capabilities() -> Vec<&'static str> {
    use rustix::thread::{CapabilitySet, capabilities};
    let has = capabilities(None).map_or(CapabilitySet::empty(), |sets| sets.effective);
    if has.contains(CapabilitySet::SYS_ADMIN) && has.contains(CapabilitySet::NET_ADMIN) {
        return Vec::new();
    }
    [
        (CapabilitySet::BPF, "CAP_BPF"),
        (CapabilitySet::NET_ADMIN, "CAP_NET_ADMIN"),
        (CapabilitySet::PERFMON, "CAP_PERFMON"),
    ]
    .into_iter()
    .filter_map(|(capability, name)| (!has.contains(capability)).then_some(name))
    .collect()
}

/// Whether the kernel refused for want of a capability.
pub(super) fn is_denied(error: &(dyn std::error::Error + 'static)) -> bool {
    matches!(errno_of(error), Some(libc::EPERM | libc::EACCES))
}

/// The first errno in an error and its causes.
fn errno_of(error: &(dyn std::error::Error + 'static)) -> Option<i32> {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if let Some(error) = error.downcast_ref::<io::Error>() {
            return error.raw_os_error();
        }
        cause = error.source();
    }
    None
}
