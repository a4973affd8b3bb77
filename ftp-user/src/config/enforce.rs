//! `[enforce]`: the locks in front of the passive ports.

use std::num::NonZeroU32;

use serde::{Deserialize, Serialize, Serializer};

/// The kernel half: who may reach a passive port.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Enforce {
    /// `false`: no eBPF, ordinary listeners.
    pub enabled: bool,
    /// Where packets are judged.
    pub interfaces: Interfaces,
    /// How the program is attached.
    pub attach: Attach,
    /// The firewall mark on admitted data packets.
    pub mark: Option<NonZeroU32>,
    /// Leading bits that a data connection's IPv4 address shares with the client's: 1 to 32.
    pub client_prefix_v4: u8,
    /// The same for IPv6: 1 to 128.
    pub client_prefix_v6: u8,
    /// Segments that belong to no connection.
    pub stray: Stray,
    /// Rows in the kernel's table.
    pub max_pinholes: u32,
}

impl Default for Enforce {
    fn default() -> Enforce {
        Enforce {
            enabled: true,
            interfaces: Interfaces::Auto,
            attach: Attach::Auto,
            mark: None,
            client_prefix_v4: 32,
            client_prefix_v6: 128,
            stray: Stray::Auto,
            max_pinholes: 131_072,
        }
    }
}

/// Which interfaces are guarded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Interfaces {
    /// Every one by which an address that is listened on can be reached.
    Auto,
    /// These; at least one.
    Named(Vec<String>),
}

/// How the program is attached to an interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Attach {
    /// Native on hardware and virtio, tcx elsewhere.
    Auto,
    /// XDP in the driver, before the kernel allocates anything.
    Native,
    /// XDP on every driver, later and slower.
    Generic,
    /// The traffic control hook: cheapest for transfers on veth, bridges and lo.
    Tcx,
}

/// What happens to segments to a guarded port that belong to no connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Stray {
    /// Pass where the host forwards, drop elsewhere.
    Auto,
    /// Always drop.
    Drop,
    /// Always pass: the kernel answers with RST.
    Pass,
}

impl Serialize for Interfaces {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Interfaces::Auto => serializer.serialize_str("auto"),
            Interfaces::Named(names) => names.serialize(serializer),
        }
    }
}
