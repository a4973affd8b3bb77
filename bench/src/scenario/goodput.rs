//! What a flood into the passive range leaves of a transfer.

mod front;

use std::{
    net::{IpAddr, SocketAddr},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use ftp_tests::{
    frame::Flags,
    lab::{Family, Lab, Options, client_address, server_address},
};
use rustix::net::sockopt::set_socket_send_buffer_size;

use self::front::{FRONTS, Front};
use super::{Bench, Rounds, Scenario};
use crate::{
    client::{ANONYMOUS, Account, Client, Data},
    files::UPLOADS,
    kernel::{
        flood::{Flood, Generator},
        link::{Receiver, index, pin, two_cores},
    },
    row::Sample,
    server::{PASSIVE_PORTS, Server, Site},
};

const RATES: [u32; 4] = [0, 200_000, 400_000, 1_000_000];
/// How long the client waits for bytes before it looks at the clock again.
const GLANCE: Duration = Duration::from_millis(20);
/// From the flood's beginning to the window's.
const WARM: Duration = Duration::from_millis(300);
const SEND_BUFFER: usize = 1 << 19;
const ENDLESS: &str = "endless";

/// See [`Scenario::method`].
pub(crate) struct Goodput;

impl Scenario for Goodput {
    fn name(&self) -> &'static str {
        "goodput"
    }

    fn method(&self) -> &'static str {
        "Client and server in two network namespaces over a veth pair whose frames are single segments, as on a wire\n\
         (no segmentation offload). The server, all its processes, and the kernel thread that receives its packets\n\
         (threaded NAPI) have the last core; the client, its receiving thread and the sender of the flood have the\n\
         first: a server host of one core. A transfer is under way (RETR of a file without end, or STOR); then\n\
         0, 200,000, 400,000 or 1,000,000 SYNs per second from sources outside of the network go to random ports of\n\
         the passive range (the flood scenario's sender, waiting inside its program). 300 ms later the window\n\
         begins: bytes that the client has received, or that it could send from a full buffer of 1 MiB, in 0.7 s (2 s\n\
         without --quick), CLOCK_MONOTONIC. `kept` is that rate divided by the same contestant's with no flood, in the same\n\
         round. `sent` is the flood's true rate: a sender that shares its core with a busy client may fall behind what\n\
         was asked for. What finds no room in the receiver's ring (256 frames) is lost, the transfer's frames as well.\n\
         A thread shares the core with the server's processes, where a softirq, as most hosts have it, would not\n\
         let them run: that flatters those whose packets cost much.\n\
         vsftpd behind: the range open; open, and connection tracking (ESTABLISHED,RELATED first, then the range);\n\
         the tracking helper for FTP instead of the range (no TLS: it reads the control connection); pinhole guard\n\
         --ports with native XDP. Then pinhole serve with native XDP. Replies to the flood's sources go back\n\
         over the wire and cost the client's host, too."
    }

    fn rounds(&self, quick: bool) -> u32 {
        if quick { 2 } else { 11 }
    }

    fn prepare<'a>(&self, bench: &'a Bench) -> Result<Box<dyn Rounds + 'a>> {
        two_cores()?;
        bench.files().sparse(ENDLESS, 1 << 40)?;
        let vsftpd = bench.servers().find(|server| server.name() == "vsftpd");
        ensure!(
            vsftpd.is_some(),
            "every contestant but one is vsftpd, which cannot be had"
        );
        Ok(Box::new(Contestants { bench, vsftpd }))
    }
}

struct Contestants<'a> {
    bench: &'a Bench,
    vsftpd: Option<&'a dyn Server>,
}

impl Rounds for Contestants<'_> {
    fn round(&mut self, number: u32) -> Result<Vec<Sample>> {
        let mut fronts = FRONTS;
        fronts.rotate_left(number as usize % FRONTS.len());
        let mut samples = Vec::new();
        for front in fronts {
            match self.measure(front) {
                Ok(measured) => samples.extend(measured),
                Err(reason) => self
                    .bench
                    .leave_out(&format!("goodput, {}", front.name()), &reason),
            }
        }
        Ok(samples)
    }
}

impl Contestants<'_> {
    fn measure(&self, front: Front) -> Result<Vec<Sample>> {
        let (near, far) = two_cores()?;
        let lab = Lab::with(Options {
            offload: false,
            ..Options::default()
        })?;
        let gateway = client_address(Family::V4, 0);
        lab.server
            .ip(&format!("route add default via {gateway}\n"))?;
        let _receiver = Receiver::pinned(&lab.server, "s0", far)?;
        let _client_receiver = Receiver::pinned(&lab.client, "c0", near)?;
        let server = match front {
            Front::Own => self.bench.pinhole(),
            Front::Open | Front::Conntrack | Front::Helper | Front::Guard => {
                self.vsftpd.context("vsftpd cannot be had")?
            }
        };
        let listen = SocketAddr::new(server_address(Family::V4), 21);
        let running = server.start(&Site {
            namespace: &lab.server,
            clients: &lab.client,
            listen,
            interface: "s0",
            root: self.bench.files().root(),
            passive_ports: PASSIVE_PORTS,
            tls: None,
            attach: "native",
        })?;
        running.pin(far)?;
        let _guard = front.apply(self.bench.pinhole().program(), &lab)?;

        let stand = Under {
            lab: &lab,
            listen,
            near,
            window: Duration::from_millis(if self.bench.quick() { 700 } else { 2_000 }),
        };
        let mut samples = Vec::new();
        for upload in [false, true] {
            let account = if upload { server.uploader() } else { ANONYMOUS };
            let mut calm = None;
            for rate in RATES {
                let (bytes, flood) = stand.transfer(account, upload, rate)?;
                self.bench.files().clear_uploads()?;
                let verb = if upload { "STOR" } else { "RETR" };
                let case = format!("{verb}, {}", packets(rate));
                let calm = *calm.get_or_insert(bytes);
                samples.push(Sample::new(
                    &case,
                    front.name(),
                    "rate",
                    "MB/s",
                    bytes / 1e6,
                ));
                if rate > 0 {
                    ensure!(calm > 0.0, "nothing was transferred without any flood");
                    samples.push(Sample::new(&case, front.name(), "kept", "", bytes / calm));
                    samples.push(Sample::new(&case, front.name(), "sent", "k/s", flood / 1e3));
                }
            }
        }
        Ok(samples)
    }
}

fn packets(rate: u32) -> String {
    match rate {
        0 => "no flood".to_owned(),
        many if many % 1_000_000 == 0 => format!("{} M packets/s", many / 1_000_000),
        many => format!("{} k packets/s", many / 1_000),
    }
}

/// A server that is about to be flooded.
struct Under<'a> {
    lab: &'a Lab,
    listen: SocketAddr,
    near: usize,
    window: Duration,
}

impl Under<'_> {
    /// Bytes per second of a transfer, and packets per second of the flood.
    fn transfer(&self, account: Account, upload: bool, rate: u32) -> Result<(f64, f64)> {
        let interface = index(&self.lab.client, "c0")?;
        let (from, to) = self.lab.client_wire()?.macs();
        let IpAddr::V4(server) = server_address(Family::V4) else {
            bail!("the lab's IPv4 address is none");
        };
        let flood = Flood {
            flags: Flags::SYN,
            to: server,
            first_port: PASSIVE_PORTS.0,
            ports: 16_384,
            rate: Some(rate),
        };
        let generator = match rate {
            0 => None,
            _ => Some(Generator::load(flood, interface, from, to)?),
        };
        let near = self.near;
        self.lab.client.run(|| {
            let thread = rustix::thread::gettid().as_raw_nonzero().get();
            pin(thread.cast_unsigned(), near)?;
            let mut client = Client::login(self.listen, account, None)?;
            let stream = client.passive()?;
            stream.set_read_timeout(Some(GLANCE))?;
            stream.set_write_timeout(Some(GLANCE))?;
            // What is written to a full buffer has been acknowledged, but for its length.
            set_socket_send_buffer_size(&stream, SEND_BUFFER)?;
            let line = match upload {
                true => format!("STOR {UPLOADS}/endless\r\n"),
                false => format!("RETR {ENDLESS}\r\n"),
            };
            let mut data = client.begin(&line, stream)?;
            let mut measure = || self.window_of(&mut data, upload, generator.as_ref());
            match &generator {
                Some(generator) => generator.during(near, measure),
                None => measure(),
            }
        })?
    }

    /// Goes on transferring for a while, and returns the rates of the end of it.
    fn window_of(
        &self,
        data: &mut Data,
        upload: bool,
        generator: Option<&Generator>,
    ) -> Result<(f64, f64)> {
        let sent = || generator.map_or(Ok(0), Generator::sent);
        let zeros = vec![0; 1 << 16];
        let mut sink = Vec::new();
        let warm = Instant::now() + WARM;
        let end = warm + self.window;
        let mut moved = 0;
        let mut first = None;
        loop {
            let now = Instant::now();
            if first.is_none() && now >= warm {
                first = Some((now, sent()?));
                moved = 0;
            }
            if now >= end {
                break;
            }
            moved += match upload {
                true => data.send_some(&zeros)?,
                false => data.receive_some(&mut sink)?,
            } as u64;
        }
        let (then, before) = first.context("the window never began")?;
        let span = then.elapsed().as_secs_f64();
        let packets = sent()?.saturating_sub(before);
        Ok((moved as f64 / span, packets as f64 / span))
    }
}
