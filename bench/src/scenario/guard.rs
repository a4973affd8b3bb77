//! What the guard costs those who do not know of it: listen(2), TCP receives, transfers.

use std::{
    fs::File,
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use ftp_tests::namespace::NetNs;
use rustix::net::{
    AddressFamily, SocketType, bind, connect, listen, socket, sockopt::set_socket_reuseaddr,
};

use super::{
    Bench, Rounds, Scenario,
    stand::{Network, Stand},
};
use crate::{
    client::ANONYMOUS,
    row::{Sample, quantile},
    server::{PASSIVE_PORTS, Running},
};

const NAME: &str = "268435456";
const SIZE: u64 = 1 << 28;
/// Where this process takes a control connection: vsftpd has port 21.
const CONTROL_PORT: u16 = 2121;
const DESCRIPTORS: usize = 128;
/// Where programs listen that are no FTP servers: outside of what is guarded.
const OTHER_PORTS: u16 = 55_000;
/// An interface by which nothing comes: a guard that locks it costs what its tracepoints cost.
const ASIDE: &str = "aside";

/// See [`Scenario::method`].
pub(crate) struct Guard;

impl Scenario for Guard {
    fn name(&self) -> &'static str {
        "guard"
    }

    fn method(&self) -> &'static str {
        "With pinhole guard --ports 30000-50000 --interface lo (auto: tcx) in the same network namespace, and without,\n\
         one right after the other in each round, in turning order; everything over loopback, CLOCK_MONOTONIC.\n\
         listen(2): around the call alone, 1,000 times; the process has 128 more descriptors than the benchmark\n\
         itself. FTP server: it holds a control connection, and listens on ports of the range (a pinhole is opened\n\
         and, at close, removed). Others: it holds none, and listens elsewhere, while there is no session on the\n\
         host, and while vsftpd has one. TCP receive: one byte to and fro over one connection between ports that are\n\
         not guarded, within one thread, 20,000 times, per recv: the two sends are in it. The guard locks another\n\
         interface, or lo: then each of these packets passes a lock. Transfer: RETR of 256 MiB from vsftpd, data\n\
         discarded in the kernel; the best of five. `added` is the difference within a round."
    }

    fn rounds(&self, quick: bool) -> u32 {
        if quick { 5 } else { 21 }
    }

    fn prepare<'a>(&self, bench: &'a Bench) -> Result<Box<dyn Rounds + 'a>> {
        bench.files().random(NAME, SIZE)?;
        let vsftpd = bench.servers().find(|server| server.name() == "vsftpd");
        let stand = match vsftpd {
            Some(vsftpd) => Some(Stand::open(bench, vsftpd, Network::Loopback, false)?),
            None => None,
        };
        let namespace = match &stand {
            Some(stand) => stand.clients().clone(),
            None => NetNs::new("guard")?,
        };
        namespace.ip(&format!(
            "link add {ASIDE} type veth peer name {ASIDE}-end\n"
        ))?;
        Ok(Box::new(OnAndOff {
            bench,
            stand,
            namespace,
        }))
    }
}

struct OnAndOff<'a> {
    bench: &'a Bench,
    stand: Option<Stand<'a>>,
    namespace: NetNs,
}

/// One figure with its names.
struct Figure {
    case: &'static str,
    metric: &'static str,
    unit: &'static str,
    value: f64,
}

impl Rounds for OnAndOff<'_> {
    fn round(&mut self, number: u32) -> Result<Vec<Sample>> {
        let (with, without) = match number % 2 {
            0 => {
                let without = self.unguarded()?;
                (self.guarded()?, without)
            }
            _ => (self.guarded()?, self.unguarded()?),
        };
        let mut samples = Vec::new();
        for (with, without) in with.iter().zip(&without) {
            let Figure {
                case, metric, unit, ..
            } = with;
            samples.push(
                Sample::new(case, "pinhole guard", metric, unit, with.value)
                    .against("without", without.value),
            );
            samples.push(Sample::new(case, "without", metric, unit, without.value));
            if *unit != "MB/s" {
                let added = with.value - without.value;
                samples.push(Sample::new(case, "pinhole guard", "added", unit, added));
            }
        }
        Ok(samples)
    }
}

impl OnAndOff<'_> {
    fn guarded(&self) -> Result<Vec<Figure>> {
        let mut figures = {
            let _guard = self.guard(ASIDE)?;
            self.watched()?
        };
        let _guard = self.guard("lo")?;
        figures.extend(self.locked()?);
        Ok(figures)
    }

    fn unguarded(&self) -> Result<Vec<Figure>> {
        let mut figures = self.watched()?;
        figures.extend(self.locked()?);
        Ok(figures)
    }

    fn guard(&self, interface: &str) -> Result<Running> {
        let (first, last) = PASSIVE_PORTS;
        let mut command = self.namespace.command(self.bench.pinhole().program());
        command.args(["guard", "--interface", interface, "--control-port", "21"]);
        command.args(["--control-port", &CONTROL_PORT.to_string()]);
        command.args(["--ports", &format!("{first}-{last}")]);
        Running::start_saying(command, "ready", tempfile::tempdir()?)
    }

    /// What the tracepoints may cost.
    fn watched(&self) -> Result<Vec<Figure>> {
        let mut figures = vec![
            time(
                "listen(2), others",
                self.namespace.run(|| listen_calls(false))??,
            ),
            time("TCP receive", self.namespace.run(receives)??),
        ];
        if let Some(stand) = &self.stand {
            let _session = stand.sessions(1, ANONYMOUS, None)?;
            let took = self.namespace.run(|| listen_calls(false))??;
            figures.push(time("listen(2), others, during a session", took));
        }
        let took = self.namespace.run(|| listen_calls(true))??;
        figures.push(time("listen(2), FTP server", took));
        Ok(figures)
    }

    /// What the lock may cost.
    fn locked(&self) -> Result<Vec<Figure>> {
        let took = self.namespace.run(receives)??;
        let mut figures = vec![time("TCP receive through the lock", took)];
        if let Some(stand) = &self.stand {
            figures.push(Figure {
                case: "RETR, vsftpd",
                metric: "rate",
                unit: "MB/s",
                value: download(stand)?,
            });
        }
        Ok(figures)
    }
}

fn time(case: &'static str, time: Duration) -> Figure {
    Figure {
        case,
        metric: "time",
        unit: "µs",
        value: time.as_secs_f64() * 1e6,
    }
}

/// The median time of listen(2).
fn listen_calls(ftp_server: bool) -> Result<Duration> {
    let null = File::open("/dev/null").context("cannot open /dev/null")?;
    let descriptors: Vec<File> = (0..DESCRIPTORS)
        .map(|_| null.try_clone())
        .collect::<std::io::Result<_>>()?;
    let control = match ftp_server {
        true => Some(connection(([127, 0, 0, 1], CONTROL_PORT).into())?),
        false => None,
    };
    let local = control
        .as_ref()
        .map_or(Ok(([127, 0, 0, 1], 0).into()), |(_, server)| {
            server.local_addr()
        })?;
    let mut seconds = Vec::new();
    for number in 0..1_000 {
        let socket = socket(AddressFamily::INET, SocketType::STREAM, None)?;
        set_socket_reuseaddr(&socket, true)?;
        let first = if ftp_server {
            PASSIVE_PORTS.0
        } else {
            OTHER_PORTS
        };
        let port = first + number;
        bind(&socket, &SocketAddr::new(local.ip(), port))
            .with_context(|| format!("cannot bind port {port}"))?;
        let began = Instant::now();
        listen(&socket, 1).context("listen(2)")?;
        seconds.push(began.elapsed().as_secs_f64());
    }
    drop((control, descriptors));
    median(seconds)
}

/// The median of a hundredth of the receives each, per receive.
fn receives() -> Result<Duration> {
    let (mut client, mut server) = connection_from(
        ([127, 0, 0, 1], OTHER_PORTS).into(),
        ([127, 0, 0, 1], OTHER_PORTS + 1).into(),
    )?;
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    let mut byte = [0];
    let mut seconds = Vec::new();
    for _ in 0..100 {
        let began = Instant::now();
        for _ in 0..100 {
            client.write_all(&byte)?;
            server.read_exact(&mut byte)?;
            server.write_all(&byte)?;
            client.read_exact(&mut byte)?;
        }
        seconds.push(began.elapsed().as_secs_f64() / 200.0);
    }
    median(seconds)
}

/// Both ends of a connection to `address`.
fn connection(address: SocketAddr) -> Result<(TcpStream, TcpStream)> {
    connection_from(SocketAddr::new(address.ip(), 0), address)
}

/// Both ends of a connection from one address to another.
fn connection_from(from: SocketAddr, to: SocketAddr) -> Result<(TcpStream, TcpStream)> {
    let listener = TcpListener::bind(to).with_context(|| format!("cannot listen at {to}"))?;
    let client = socket(AddressFamily::INET, SocketType::STREAM, None)?;
    set_socket_reuseaddr(&client, true)?;
    bind(&client, &from).with_context(|| format!("cannot bind {from}"))?;
    connect(&client, &to).with_context(|| format!("cannot connect from {from} to {to}"))?;
    let (server, _) = listener.accept()?;
    Ok((client.into(), server))
}

/// Megabytes per second.
fn download(stand: &Stand<'_>) -> Result<f64> {
    let mut sessions = stand.sessions(1, ANONYMOUS, None)?;
    stand.within(|| {
        let mut best = 0.0_f64;
        for _ in 0..5 {
            let (bytes, time) = sessions[0].fetch(&format!("RETR {NAME}\r\n"))?;
            best = best.max(bytes as f64 / 1e6 / time.as_secs_f64());
        }
        Ok(best)
    })
}

fn median(mut seconds: Vec<f64>) -> Result<Duration> {
    seconds.sort_by(f64::total_cmp);
    let median = quantile(&seconds, 0.5).context("nothing was measured")?;
    Ok(Duration::from_secs_f64(median))
}
