//! Floods into the passive range: what a packet costs the host that throws it away, and how many it can
//! throw away.

use std::{
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, anyhow, ensure};
use ftp_tests::{
    frame::Flags,
    lab::{Family, Lab, client_address, server_address},
};

use super::{
    Bench, Rounds, Scenario,
    lock::{self, Applied, Lock, Range},
};
use crate::{
    client::{ANONYMOUS, Client},
    kernel::{
        Program,
        bpf::{Mode, XdpAction},
        flood::{Flood, Generator},
        link::{Receiver, index, two_cores},
        statistics,
    },
    row::{Sample, compare},
    server::PASSIVE_PORTS,
};

/// Packets per second where it is asked what each costs.
const PACE: u32 = 1_000_000;

/// Pinholes that wait in the open set, each on a port of its own.
const OPEN: u16 = 1_024;

/// See [`Scenario::method`].
pub(crate) struct FloodScenario;

impl Scenario for FloodScenario {
    fn name(&self) -> &'static str {
        "flood"
    }

    fn method(&self) -> &'static str {
        "Two network namespaces and a veth pair, made anew for each subject. The sender is an XDP program that the\n\
         kernel runs over live frames (BPF_PROG_TEST_RUN) on the first core: 54 bytes of TCP over\n\
         IPv4, right checksums, 16,384 sources outside of the network, 16,384 source ports, destination ports at\n\
         random in the passive range. The receiver's NAPI is a kernel thread (threaded) on the last core; GRO is\n\
         on. Floods are of two kinds. One of a million packets a second, paced inside the sender's program, which all\n\
         but the open range with connection tracking and a rule per hole keep up with: `per packet` is the CPU time of\n\
         the receiving thread (/proc/TID/schedstat) per packet that the interface received, over a window that begins\n\
         when the flood has run for a while; the thread's wake-ups are in it, as is all that veth does around the\n\
         program. `in program`, in a second window: of XDP and tcx programs the kernel's own count of time per run\n\
         (BPF_ENABLE_STATS); the counting is in it, which bare XDP_DROP shows. The other flood is as fast as the\n\
         sender can, for `received`: packets per second, a lower bound where the sender is the limit. What a packet\n\
         costs is not taken there: sender and receiver then fight for the cache lines of the ring between them and of\n\
         the pages that go back, the more the faster the sender is, which no card does. What the ring could not take is\n\
         not received and not counted.\n\
         The RSTs of an open range are dropped at the sender's end by XDP on the first core.\n\
         SYN, closed: nothing waits. ACK, closed: the same with ACK, no connection. SYN, open set: destinations are\n\
         1,024 ports, on almost each of which a pinhole waits for a client that is not the source.\n\
         Subjects: bare programs that drop everything without a look; XDP_DROP by port: one that reads EtherType,\n\
         version, protocol and destination port and drops a range, nothing else: the sender wrote the packet on\n\
         another core, and whoever drops by port fetches it from there; pinhole serve, by attach mode; nft: a netdev\n\
         chain at ingress with one range rule, for the open set a set of address and port; iptables: one range rule\n\
         in raw PREROUTING, or in INPUT, or there after one for ESTABLISHED,RELATED; range open: a host without any\n\
         rule or listener, without and with connection tracking. A veth pair is no network card: a card's driver\n\
         costs its own on top of each, and only drivers with native XDP drop this early."
    }

    fn rounds(&self, quick: bool) -> u32 {
        if quick { 2 } else { 11 }
    }

    fn prepare<'a>(&self, bench: &'a Bench) -> Result<Box<dyn Rounds + 'a>> {
        two_cores()?;
        Ok(Box::new(Subjects { bench }))
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
struct Case {
    name: &'static str,
    flags: Flags,
    range: Range,
}

const CASES: [Case; 3] = [
    Case {
        name: "SYN, closed",
        flags: Flags::SYN,
        range: Range {
            first: PASSIVE_PORTS.0,
            count: 16_384,
            waiting: 0,
        },
    },
    Case {
        name: "ACK, closed",
        flags: Flags::ACK,
        range: Range {
            first: PASSIVE_PORTS.0,
            count: 16_384,
            waiting: 0,
        },
    },
    Case {
        name: "SYN, open set",
        flags: Flags::SYN,
        range: Range {
            first: PASSIVE_PORTS.0,
            count: OPEN,
            waiting: 1_000,
        },
    },
];

struct Subjects<'a> {
    bench: &'a Bench,
}

impl Rounds for Subjects<'_> {
    fn round(&mut self, _number: u32) -> Result<Vec<Sample>> {
        let mut samples = Vec::new();
        for case in CASES.into_iter().filter(|case| self.bench.wants(case.name)) {
            let mut figures = Vec::new();
            for lock in lock::of_floods(case.range.waiting > 0) {
                match self.measure(case, lock) {
                    Ok(measured) => figures.extend(measured),
                    Err(reason) => {
                        let what = format!("flood, {}, {}", case.name, lock.name());
                        self.bench.leave_out(&what, &reason);
                    }
                }
            }
            samples.extend(compare(figures));
        }
        Ok(samples)
    }
}

impl Subjects<'_> {
    fn measure(&self, case: Case, lock: Lock) -> Result<Vec<Sample>> {
        let (near, far) = two_cores()?;
        let lab = Lab::new()?;
        // Replies to sources that do not exist go back to where they came from.
        let gateway = client_address(Family::V4, 0);
        lab.server
            .ip(&format!("route add default via {gateway}\n"))?;
        let receiver = Receiver::pinned(&lab.server, "s0", far)?;
        let echo = Receiver::pinned(&lab.client, "c0", near)?;
        let locked = lock.apply(self.bench, &lab, case.range)?;
        let waiting = match (lock, case.range.waiting) {
            (Lock::Pinhole(_), count) if count > 0 => wait_for_clients(&lab, count)?,
            _ => Vec::new(),
        };
        // After the sessions, which it would cut off.
        let drop_all = Program::always(XdpAction::Drop)?;
        let client_interface = index(&lab.client, "c0")?;
        let _replies_dropped = lab
            .client
            .run(|| drop_all.attach(client_interface, Mode::Native))?
            .context("cannot drop replies at the sender's end")?;

        let server: std::net::Ipv4Addr = match server_address(Family::V4) {
            std::net::IpAddr::V4(address) => address,
            std::net::IpAddr::V6(_) => return Err(anyhow!("the lab's IPv4 address is none")),
        };
        let (from, to) = lab.client_wire()?.macs();
        let generator = |rate| {
            let flood = Flood {
                flags: case.flags,
                to: server,
                first_port: case.range.first,
                ports: case.range.count,
                rate,
            };
            Generator::load(flood, client_interface, from, to)
        };
        let window = if self.bench.quick() { 300 } else { 1_000 };
        let window = Duration::from_millis(window);
        let (paced, flat_out) = (generator(Some(PACE))?, generator(None)?);
        let (cost, in_program, rate) = lab.client.run(|| {
            let (packets, cost, in_program) = paced.during(near, || {
                let Received { packets, cost, .. } = receive(&receiver, window)?;
                Ok((packets, cost, in_programs(&locked, window)?))
            })?;
            ensure!(packets > 0, "not one packet was received");
            let cost = cost.as_nanos() as f64 / packets as f64;
            let most = flat_out.during(near, || receive(&receiver, window))?;
            let rate = most.packets as f64 / most.span.as_secs_f64() / 1e6;
            Ok((cost, in_program, rate))
        })??;
        drop((locked, waiting, echo));
        let name = lock.name();
        let mut samples = vec![
            Sample::new(case.name, name, "per packet", "ns", cost),
            Sample::new(case.name, name, "received", "M/s", rate),
        ];
        if let Some(time) = in_program {
            let time = time.as_secs_f64() * 1e9;
            samples.push(Sample::new(case.name, name, "in program", "ns", time));
        }
        Ok(samples)
    }
}

/// Sessions with a pinhole each that nobody comes to.
fn wait_for_clients(lab: &Lab, count: u16) -> Result<Vec<Client>> {
    let server = std::net::SocketAddr::new(server_address(Family::V4), 21);
    lab.client.run(|| {
        (0..count)
            .map(|_| {
                let mut client = Client::login(server, ANONYMOUS, None)?;
                client.expect("PASV\r\n", 227)?;
                Ok(client)
            })
            .collect()
    })?
}

/// What was received in the middle of a flood.
struct Received {
    packets: u64,
    /// Of the receiving thread.
    cost: Duration,
    span: Duration,
}

/// Looks at what is received while a flood is under way.
fn receive(receiver: &Receiver, window: Duration) -> Result<Received> {
    thread::sleep(Duration::from_millis(100));
    let (began, first) = (Instant::now(), receiver.look()?);
    thread::sleep(window);
    let (span, last) = (began.elapsed(), receiver.look()?);
    Ok(Received {
        packets: last.0 - first.0,
        cost: last.1.saturating_sub(first.1),
        span,
    })
}

/// How long a run of the lock's program takes while a flood is under way, where it is one that the kernel
/// counts.
fn in_programs(locked: &Applied, window: Duration) -> Result<Option<Duration>> {
    if locked.runs()?.is_none() {
        return Ok(None);
    }
    let _counted = statistics::count()?;
    let before = locked.runs()?.unwrap_or_default();
    thread::sleep(window);
    Ok(locked.runs()?.and_then(|after| after.since(before)))
}
