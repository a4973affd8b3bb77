//! Opening one port for one client: what a PASV would wait for, and what a standing opening takes of memory.

mod memory;

use std::{
    fmt::Write as _,
    net::Ipv4Addr,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use ftp_ebpf::abi::{Claim, ClientMask, Pinhole, Tuple};
use ftp_tests::namespace::NetNs;
use ftp_user::pinholes::kernel::{Object, Set, Settings};

use self::memory::{BY, grown, kernel_memory, table_memory};
use super::{Bench, Rounds, Scenario};
use crate::{
    nftables::Nftables,
    row::{Sample, compare, quantile},
};

const STANDING: [u32; 4] = [0, 1_000, 10_000, 100_000];
const CAPACITY: u32 = 131_072;

/// See [`Scenario::method`].
pub(crate) struct Open;

impl Scenario for Open {
    fn name(&self) -> &'static str {
        "open"
    }

    fn method(&self) -> &'static str {
        "Opens one port for one client while 0, 1,000, 10,000 or 100,000 such openings stand; CLOCK_MONOTONIC around\n\
         what a server would have to wait for before it answers PASV; median within a round.\n\
         pinhole: the row in the kernel's table by bpf(2) and the port's bit, as the server does it, 1,000 times,\n\
         each removed again outside of the clock. libnftables: nft_run_cmd_from_buffer in this process, `add element`\n\
         to a set of address and port, 100 times. nft: the same by starting nft, 10 times. iptables: starting\n\
         iptables -I INPUT with address and port, 5 times, by each variant that is there; at 100,000 rules it is\n\
         left out, because putting them there takes longer than a run may. Each in a network namespace of its own.\n\
         Memory per opening, by 10,000 of them: pinhole's is what the kernel accounts for the table (memlock in\n\
         fdinfo; beside it the table has 2 MiB, full or not). The others': growth of Slab, VmallocUsed and Percpu in\n\
         /proc/meminfo; whatever else the machine does then is in it. nft's set is the same as libnftables'."
    }

    fn rounds(&self, quick: bool) -> u32 {
        if quick { 3 } else { 15 }
    }

    fn prepare<'a>(&self, bench: &'a Bench) -> Result<Box<dyn Rounds + 'a>> {
        Ok(Box::new(Subjects { bench }))
    }
}

#[derive(Clone, Copy)]
enum Subject {
    Pinhole,
    Libnftables,
    Nft,
    Iptables(&'static str),
}

const SUBJECTS: [Subject; 5] = [
    Subject::Pinhole,
    Subject::Libnftables,
    Subject::Nft,
    Subject::Iptables("iptables-nft"),
    Subject::Iptables("iptables-legacy"),
];

struct Subjects<'a> {
    bench: &'a Bench,
}

impl Rounds for Subjects<'_> {
    fn round(&mut self, _number: u32) -> Result<Vec<Sample>> {
        let mut samples = Vec::new();
        for standing in STANDING {
            let case = format!("{standing} standing");
            let mut figures = Vec::new();
            for subject in SUBJECTS {
                if let (Subject::Iptables(_), 100_000) = (subject, standing) {
                    continue;
                }
                let name = subject.name();
                match subject.measure(standing) {
                    Ok((time, memory)) => {
                        let micros = time.as_secs_f64() * 1e6;
                        figures.push(Sample::new(&case, name, "time", "µs", micros));
                        if let Some(bytes) = memory {
                            figures.push(Sample::new(
                                "memory",
                                name,
                                "per opening",
                                "bytes",
                                bytes,
                            ));
                        }
                    }
                    Err(reason) => self
                        .bench
                        .leave_out(&format!("open, {case}, {name}"), &reason),
                }
            }
            samples.extend(compare(figures));
        }
        Ok(samples)
    }
}

impl Subject {
    fn name(self) -> &'static str {
        match self {
            Self::Pinhole => "pinhole",
            Self::Libnftables => "libnftables",
            Self::Nft => "nft add element",
            Self::Iptables("iptables-legacy") => "iptables-legacy -I",
            Self::Iptables(_) => "iptables-nft -I",
        }
    }

    /// The median time of an opening, and the bytes that one takes.
    fn measure(self, standing: u32) -> Result<(Duration, Option<f64>)> {
        let namespace = NetNs::new("open")?;
        match self {
            Self::Pinhole => pinhole(standing),
            Self::Libnftables => {
                let memory = nft_set(&namespace, standing)?;
                let times = namespace.run(|| {
                    let nftables = Nftables::new()?;
                    times(standing, 100, |number| {
                        let (client, port) = end(number);
                        nftables.run(&format!(
                            "add element ip bench holes {{ {client} . {port} }}"
                        ))
                    })
                })??;
                Ok((times, memory))
            }
            Self::Nft => {
                nft_set(&namespace, standing)?;
                let time = times(standing, 10, |number| {
                    let (client, port) = end(number);
                    let element = format!("{{ {client} . {port} }}");
                    let arguments = ["add", "element", "ip", "bench", "holes", &element];
                    namespace.tool("nft", &arguments, "").map(drop)
                })?;
                Ok((time, None))
            }
            Self::Iptables(program) => {
                let before = kernel_memory()?;
                let mut rules = "*filter\n".to_owned();
                for number in 0..standing {
                    let (client, port) = end(number);
                    // Writing to a String cannot fail.
                    let _ = writeln!(
                        rules,
                        "-A INPUT -p tcp -s {client} --dport {port} -j ACCEPT"
                    );
                }
                rules += "COMMIT\n";
                namespace.tool(&format!("{program}-restore"), &[], &rules)?;
                let memory = grown(before, standing)?;
                let time = times(standing, 5, |number| {
                    let (client, port) = end(number);
                    let rule = format!("-w -I INPUT -p tcp -s {client} --dport {port} -j ACCEPT");
                    let arguments: Vec<&str> = rule.split_whitespace().collect();
                    namespace.tool(program, &arguments, "").map(drop)
                })?;
                Ok((time, memory))
            }
        }
    }
}

/// A client's address and a port, another pair for each number.
fn end(number: u32) -> (Ipv4Addr, u16) {
    let (client, port) = (number / 20_000, number % 20_000);
    let [_, _, high, low] = (client + 1).to_be_bytes();
    (
        Ipv4Addr::new(10, 90, high, low),
        30_000 + u16::try_from(port).unwrap_or(0),
    )
}

/// The median of opening so many, beyond those that stand.
fn times(standing: u32, count: u32, mut open: impl FnMut(u32) -> Result<()>) -> Result<Duration> {
    let mut seconds = Vec::new();
    for number in standing..standing + count {
        let began = Instant::now();
        open(number)?;
        seconds.push(began.elapsed().as_secs_f64());
    }
    seconds.sort_by(f64::total_cmp);
    let median = quantile(&seconds, 0.5).context("nothing was measured")?;
    Ok(Duration::from_secs_f64(median))
}

fn pinhole(standing: u32) -> Result<(Duration, Option<f64>)> {
    let settings = Settings {
        max_pinholes: CAPACITY,
        ..Settings::default()
    };
    let mut object = Object::load(&settings).context("cannot load the eBPF object")?;
    let ports = object.ports()?;
    let mut table = object.pinholes()?;
    let row = Pinhole {
        session: 1,
        deadline_ns: u64::MAX,
        claim: Claim::FREE,
    };
    let empty = table_memory()?;
    let key = |number| {
        let (client, port) = end(number);
        Tuple {
            client: std::net::IpAddr::V4(client).into(),
            server: std::net::IpAddr::V4(Ipv4Addr::new(10, 77, 0, 1)).into(),
            client_port_be: 0,
            server_port_be: port.to_be(),
        }
        .key(&ClientMask::EXACT)
    };
    for number in 0..standing {
        table
            .insert(key(number), row, 0)
            .context("the table is full")?;
        ports.set(Set::Waiting, end(number).1, true);
    }
    let full = table_memory()?;
    let time = times(standing, 1_000, |number| {
        table
            .insert(key(number), row, 0)
            .context("the table is full")?;
        ports.set(Set::Waiting, end(number).1, true);
        Ok(())
    })?;
    let grown = full.saturating_sub(empty) as f64 / f64::from(standing);
    let memory = (standing == BY).then_some(grown);
    Ok((time, memory))
}

/// A set of so many openings; the bytes that one takes.
fn nft_set(namespace: &NetNs, standing: u32) -> Result<Option<f64>> {
    let before = kernel_memory()?;
    let elements: Vec<String> = (0..standing)
        .map(|number| {
            let (client, port) = end(number);
            format!("{client} . {port}")
        })
        .collect();
    let elements = match elements.is_empty() {
        true => String::new(),
        false => format!("elements = {{ {} }}; ", elements.join(", ")),
    };
    namespace.nft(&format!(
        "table ip bench {{\n set holes {{ type ipv4_addr . inet_service; {elements}}}\n\
         chain input {{\n  type filter hook input priority 0;\n  ip saddr . tcp dport @holes accept\n }}\n}}\n"
    ))?;
    grown(before, standing)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_openings_are_the_same() {
        let ends: std::collections::BTreeSet<_> = (0..110_000).map(end).collect();
        assert_eq!(ends.len(), 110_000);
    }
}
