//! What hosts put in front of a passive range, ours and what people use today.

use std::fmt::Write as _;

use anyhow::{Context as _, Result};
use ftp_tests::{
    lab::{Family, Lab, client_address, server_address},
    namespace::NetNs,
};

use super::Bench;
use crate::{
    kernel::{
        Program,
        bpf::{Attached, Mode, XdpAction},
        link::index,
        statistics::Runs,
    },
    server::{Running, Server as _, Site},
};

/// A means to keep packets out.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Lock {
    Bare(Mode),
    /// Reads the ports of IPv4 and TCP, and knows nothing else.
    PortFilter,
    Pinhole(Attach),
    NftIngress,
    IptablesRaw,
    IptablesInput,
    IptablesConntrack,
    RulePerHole,
    Open,
    OpenConntrack,
}

/// How our server attaches.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Attach {
    Native,
    Generic,
    Tcx,
}

/// The ports that are hit.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Range {
    pub(super) first: u16,
    pub(super) count: u16,
    /// Openings for one client that are there all the time.
    pub(super) waiting: u16,
}

/// What must live as long as the lock is to hold.
pub(super) struct Applied {
    program: Option<(Program, Attached)>,
    server: Option<Running>,
}

/// Those that floods are tried on: where openings wait, only those that can have any.
pub(super) fn of_floods(waiting: bool) -> Vec<Lock> {
    match waiting {
        false => vec![
            Lock::Bare(Mode::Native),
            Lock::PortFilter,
            Lock::Pinhole(Attach::Native),
            Lock::Bare(Mode::Generic),
            Lock::Pinhole(Attach::Generic),
            Lock::Pinhole(Attach::Tcx),
            Lock::NftIngress,
            Lock::IptablesRaw,
            Lock::IptablesInput,
            Lock::IptablesConntrack,
            Lock::Open,
            Lock::OpenConntrack,
        ],
        true => vec![
            Lock::Bare(Mode::Native),
            Lock::PortFilter,
            Lock::Pinhole(Attach::Native),
            Lock::NftIngress,
            Lock::RulePerHole,
        ],
    }
}

impl Applied {
    /// How often its programs have run, and for how long; `None` where there is none of ours.
    pub(super) fn runs(&self) -> Result<Option<Runs>> {
        match (&self.program, &self.server) {
            (Some((program, _)), _) => Runs::of_program(program).map(Some),
            (None, Some(server)) => Runs::of_process(server.pid()).map(Some),
            (None, None) => Ok(None),
        }
    }
}

impl Lock {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Bare(Mode::Native) => "bare XDP_DROP",
            Self::Bare(Mode::Generic) => "bare XDP_DROP, generic",
            Self::PortFilter => "XDP_DROP by port",
            Self::Pinhole(Attach::Native) => "pinhole, native",
            Self::Pinhole(Attach::Generic) => "pinhole, generic",
            Self::Pinhole(Attach::Tcx) => "pinhole, tcx",
            Self::NftIngress => "nft netdev ingress",
            Self::IptablesRaw => "iptables raw",
            Self::IptablesInput => "iptables INPUT",
            Self::IptablesConntrack => "iptables INPUT + conntrack",
            Self::RulePerHole => "iptables, a rule per hole",
            Self::Open => "range open",
            Self::OpenConntrack => "range open + conntrack",
        }
    }

    /// Puts it in front of the lab's server.
    pub(super) fn apply(self, bench: &Bench, lab: &Lab, range: Range) -> Result<Applied> {
        let mut applied = Applied {
            program: None,
            server: None,
        };
        let server = &lab.server;
        let last = range.first + range.count - 1;
        let ports = format!("{}:{last}", range.first);
        match self {
            Self::Bare(mode) => {
                applied.program = Some(attach(server, Program::always(XdpAction::Drop)?, mode)?);
            }
            Self::PortFilter => {
                let program = Program::port_filter(range.first, last)?;
                applied.program = Some(attach(server, program, Mode::Native)?);
            }
            Self::Pinhole(attach) => applied.server = Some(serve(bench, lab, attach, range)?),
            Self::NftIngress => server.nft(&nft_ingress(range))?,
            Self::IptablesRaw => {
                iptables(
                    server,
                    &format!("-t raw -A PREROUTING -p tcp --dport {ports} -j DROP"),
                )?;
            }
            Self::IptablesInput => {
                iptables(server, &format!("-A INPUT -p tcp --dport {ports} -j DROP"))?;
            }
            Self::IptablesConntrack => {
                iptables(server, ESTABLISHED)?;
                iptables(server, &format!("-A INPUT -p tcp --dport {ports} -j DROP"))?;
            }
            Self::RulePerHole => restore(server, range)?,
            Self::Open => {}
            Self::OpenConntrack => {
                iptables(server, ESTABLISHED)?;
                iptables(
                    server,
                    &format!("-A INPUT -p tcp --dport {ports} -j ACCEPT"),
                )?;
            }
        }
        Ok(applied)
    }
}

/// What a host with connection tracking has first.
pub(super) const ESTABLISHED: &str =
    "-A INPUT -m conntrack --ctstate ESTABLISHED,RELATED -j ACCEPT";

/// Runs iptables, whichever variant the machine's is.
pub(super) fn iptables(namespace: &NetNs, arguments: &str) -> Result<()> {
    let arguments: Vec<&str> = ["-w"]
        .into_iter()
        .chain(arguments.split_whitespace())
        .collect();
    namespace.tool("iptables", &arguments, "").map(drop)
}

fn attach(namespace: &NetNs, program: Program, mode: Mode) -> Result<(Program, Attached)> {
    let interface = index(namespace, "s0")?;
    let attached = namespace.run(|| program.attach(interface, mode))?;
    Ok((program, attached.context("cannot attach to s0")?))
}

fn serve(bench: &Bench, lab: &Lab, attach: Attach, range: Range) -> Result<Running> {
    bench.pinhole().start(&Site {
        namespace: &lab.server,
        clients: &lab.client,
        listen: std::net::SocketAddr::new(server_address(Family::V4), 21),
        interface: "s0",
        root: bench.files().root(),
        passive_ports: (range.first, range.first + range.count - 1),
        tls: None,
        attach: match attach {
            Attach::Native => "native",
            Attach::Generic => "generic",
            Attach::Tcx => "tcx",
        },
    })
}

fn nft_ingress(range: Range) -> String {
    let last = range.first + range.count - 1;
    let client = client_address(Family::V4, 0);
    let mut holes = String::new();
    if range.waiting > 0 {
        let elements: Vec<String> = (range.first..range.first + range.waiting)
            .map(|port| format!("{client} . {port}"))
            .collect();
        // Writing to a String cannot fail.
        let _ = writeln!(
            holes,
            " set holes {{ type ipv4_addr . inet_service; elements = {{ {} }}; }}",
            elements.join(", ")
        );
    }
    let accept = match range.waiting {
        0 => "",
        _ => "  ip saddr . tcp dport @holes accept\n",
    };
    format!(
        "table netdev bench {{\n{holes} chain guard {{\n  type filter hook ingress device s0 priority 0;\n\
         {accept}  tcp dport {}-{last} drop\n }}\n}}\n",
        range.first
    )
}

fn restore(namespace: &NetNs, range: Range) -> Result<()> {
    let client = client_address(Family::V4, 0);
    let last = range.first + range.count - 1;
    let mut rules = "*filter\n".to_owned();
    for port in range.first..range.first + range.waiting {
        rules += &format!("-A INPUT -p tcp -s {client} --dport {port} -j ACCEPT\n");
    }
    rules += &format!(
        "-A INPUT -p tcp --dport {}:{last} -j DROP\nCOMMIT\n",
        range.first
    );
    namespace
        .tool("iptables-restore", &["-w"], &rules)
        .map(drop)
}
