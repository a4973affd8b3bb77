//! What a verdict costs per packet, above a program that does nothing.

use std::{
    net::{SocketAddr, TcpListener, TcpStream},
    time::Duration,
};

use anyhow::{Context as _, Result, bail, ensure};
use ftp_ebpf::abi::{Claim, ClientMask, Pinhole, Tuple};
use ftp_tests::{
    frame::{Flags, Segment},
    namespace::NetNs,
};
use ftp_user::pinholes::kernel::{Object, Set, Settings, dry_run::Lock};

use super::{Bench, Rounds, Scenario};
use crate::{
    kernel::{Hook, Program},
    row::Sample,
    server::PASSIVE_PORTS,
};

/// See [`Scenario::method`].
pub(crate) struct Verdict;

impl Scenario for Verdict {
    fn name(&self) -> &'static str {
        "verdict"
    }

    fn method(&self) -> &'static str {
        "BPF_PROG_TEST_RUN of the product's XDP and tcx programs, loaded as the daemon loads them and not\n\
         attached, each next to an empty program of the same kind (r0 = pass; exit) over the same frame:\n\
         1,000,000 repeats, mean as the kernel measures it, in whole nanoseconds. Ports 30000-50000 are guarded.\n\
         Everything is warm, which flatters both; the empty program's time is the harness itself. Cases:\n\
         closed: SYN to a guarded port without pinhole. established: ACK on a live connection, after the first\n\
         look-up has filled the cache. unguarded: SYN to port 22. not-tcp: UDP to a guarded port. pinhole-syn:\n\
         SYN that its pinhole admits, repeated by the port that took it. stray: ACK to a guarded port without\n\
         connection, so with the kernel's socket look-up."
    }

    fn rounds(&self, quick: bool) -> u32 {
        if quick { 5 } else { 25 }
    }

    fn prepare<'a>(&self, bench: &'a Bench) -> Result<Box<dyn Rounds + 'a>> {
        Ok(Box::new(Loaded::new(if bench.quick() {
            100_000
        } else {
            1_000_000
        })?))
    }
}

/// A frame, and whether it passes.
struct Case {
    name: &'static str,
    frame: Vec<u8>,
    passes: bool,
}

struct Loaded {
    object: Object,
    hooks: [(&'static str, Lock, Program); 2],
    cases: Vec<Case>,
    repeat: u32,
    namespace: NetNs,
    // The connection of the `established` case.
    _connection: (TcpStream, TcpStream),
}

impl Loaded {
    fn new(repeat: u32) -> Result<Self> {
        let namespace = NetNs::new("bench")?;
        let mut object =
            Object::load(&Settings::default()).context("cannot load the eBPF object")?;
        let ports = object.ports()?;
        let (first, last) = PASSIVE_PORTS;
        for port in first..=last {
            ports.set(Set::Guarded, port, true);
        }
        let connection = namespace.run(|| connect(first))??;
        let (here, there) = (connection.0.local_addr()?, connection.0.peer_addr()?);

        let waiting = SocketAddr::new(there.ip(), last);
        let tuple = Tuple {
            client: here.ip().into(),
            server: waiting.ip().into(),
            client_port_be: here.port().to_be(),
            server_port_be: waiting.port().to_be(),
        };
        ports.set(Set::Waiting, waiting.port(), true);
        let row = Pinhole {
            session: 1,
            deadline_ns: u64::MAX,
            claim: Claim::FREE,
        };
        object
            .pinholes()?
            .insert(tuple.key(&ClientMask::EXACT), row, 0)
            .context("cannot open a pinhole in the table")?;

        let middle = SocketAddr::new(there.ip(), first + (last - first) / 2);
        let cases = vec![
            case("closed", here, middle, Flags::SYN, false)?,
            case("established", here, there, Flags::ACK, true)?,
            case(
                "unguarded",
                here,
                SocketAddr::new(there.ip(), 22),
                Flags::SYN,
                true,
            )?,
            Case {
                name: "not-tcp",
                frame: udp(here, middle)?,
                passes: true,
            },
            case("pinhole-syn", here, waiting, Flags::SYN, true)?,
            case("stray", here, middle, Flags::ACK, false)?,
        ];
        let hooks = [
            (
                "xdp",
                Lock::Xdp,
                Program::empty(Hook::Xdp).context("cannot load an empty XDP program")?,
            ),
            (
                "tcx",
                Lock::Tcx,
                Program::empty(Hook::Tcx).context("cannot load an empty tcx program")?,
            ),
        ];
        Ok(Self {
            object,
            hooks,
            cases,
            repeat,
            namespace,
            _connection: connection,
        })
    }
}

impl Rounds for Loaded {
    fn round(&mut self, _number: u32) -> Result<Vec<Sample>> {
        let Self {
            object,
            hooks,
            cases,
            repeat,
            namespace,
            ..
        } = self;
        // A test run sees the sockets of the namespace that the calling thread is in.
        namespace.run(|| {
            let mut samples = Vec::new();
            for (hook, lock, empty) in &*hooks {
                for case in &*cases {
                    samples.extend(measure(object, *lock, hook, empty, case, *repeat)?);
                }
            }
            Ok(samples)
        })?
    }
}

fn measure(
    object: &mut Object,
    lock: Lock,
    hook: &str,
    empty: &Program,
    case: &Case,
    repeat: u32,
) -> Result<[Sample; 2]> {
    let floor = empty
        .run(&case.frame, repeat)
        .context("cannot run the empty program")?;
    let ours = object.dry_run(lock, &case.frame, repeat)?;
    ensure!(
        ours.passed == case.passes,
        "{hook}: {} should {}",
        case.name,
        if case.passes { "pass" } else { "be dropped" }
    );
    let nanoseconds = |time: Duration| time.as_nanos() as f64;
    let (ours, floor) = (nanoseconds(ours.duration), nanoseconds(floor));
    let subject = format!("pinhole {hook}");
    Ok([
        Sample::new(case.name, &subject, "per packet", "ns", ours).against("empty program", floor),
        Sample::new(case.name, &subject, "above empty", "ns", ours - floor),
    ])
}

/// Both ends of a connection to `port` on loopback.
fn connect(port: u16) -> Result<(TcpStream, TcpStream)> {
    let listener =
        TcpListener::bind(("127.0.0.1", port)).context("cannot listen in the bench namespace")?;
    let client = TcpStream::connect(listener.local_addr()?)
        .context("cannot connect in the bench namespace")?;
    let (server, _) = listener.accept()?;
    Ok((client, server))
}

fn case(
    name: &'static str,
    from: SocketAddr,
    to: SocketAddr,
    flags: Flags,
    passes: bool,
) -> Result<Case> {
    let frame = Segment {
        from,
        to,
        flags,
        seq: 1,
        ack: 1,
    }
    .frame([2; 6], [4; 6])?;
    Ok(Case {
        name,
        frame,
        passes,
    })
}

fn udp(from: SocketAddr, to: SocketAddr) -> Result<Vec<u8>> {
    let (SocketAddr::V4(from), SocketAddr::V4(to)) = (from, to) else {
        bail!("the verdict scenario speaks IPv4");
    };
    let builder = etherparse::PacketBuilder::ethernet2([2; 6], [4; 6])
        .ipv4(from.ip().octets(), to.ip().octets(), 64)
        .udp(from.port(), to.port());
    let mut frame = Vec::with_capacity(builder.size(64));
    builder.write(&mut frame, &[0; 64])?;
    Ok(frame)
}
