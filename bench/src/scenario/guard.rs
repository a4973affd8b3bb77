//! What the guard costs those who do not know of it: listen(2), TCP receives, transfers.

use std::{
    fs::File,
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use ftp_tests::namespace::NetNs;
use rustix::net::{AddressFamily, SocketType, bind, listen, socket, sockopt::set_socket_reuseaddr};

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

/// See [`Scenario::method`].
pub(crate) struct Guard;

impl Scenario for Guard {
    fn name(&self) -> &'static str {
        "guard"
    }

    fn method(&self) -> &'static str {
        "With pinhole guard --ports 30000-50000 --interface lo (auto: tcx) in the same network namespace, and without,\n\
         one right after the other in each round, in turning order; everything over loopback, CLOCK_MONOTONIC.\n\
         listen(2): around the call alone, 1,000 times, on a port of the range; the process has 128 more\n\
         descriptors than the benchmark itself, and either holds a control connection (FTP server: a pinhole is\n\
         opened and, at close, removed) or does not. TCP receive: one byte to and fro over one connection within\n\
         one thread, 20,000 times, per recv: the two sends are in it. Transfer: RETR of 256 MiB from\n\
         vsftpd, data discarded in the kernel; the best of five. `added` is the difference within a round."
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
                let without = self.measure()?;
                (self.guarded()?, without)
            }
            _ => (self.guarded()?, self.measure()?),
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
        let (first, last) = PASSIVE_PORTS;
        let mut command = self.namespace.command(self.bench.pinhole().program());
        command.args(["guard", "--interface", "lo", "--control-port", "21"]);
        command.args(["--control-port", &CONTROL_PORT.to_string()]);
        command.args(["--ports", &format!("{first}-{last}")]);
        let _guard = Running::start_saying(command, "ready", tempfile::tempdir()?)?;
        self.measure()
    }

    fn measure(&self) -> Result<Vec<Figure>> {
        let mut figures = self.namespace.run(|| {
            let figure = |case, time: Duration| Figure {
                case,
                metric: "time",
                unit: "µs",
                value: time.as_secs_f64() * 1e6,
            };
            Ok::<_, anyhow::Error>(vec![
                figure("listen(2), FTP server", listen_calls(true)?),
                figure("listen(2), others", listen_calls(false)?),
                figure("TCP receive", receives()?),
            ])
        })??;
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
        let port = PASSIVE_PORTS.0 + number;
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
    let (mut client, mut server) = connection(([127, 0, 0, 1], 0).into())?;
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
    let listener =
        TcpListener::bind(address).with_context(|| format!("cannot listen at {address}"))?;
    let client = TcpStream::connect(listener.local_addr()?)?;
    let (server, _) = listener.accept()?;
    Ok((client, server))
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
