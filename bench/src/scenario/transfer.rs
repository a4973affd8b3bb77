//! Transfers of one large file and of many small ones: how fast a server moves bytes, and what of the CPU it
//! takes to do so.

mod case;

use std::{
    fs::File,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};

use self::case::{Case, LARGE, LARGE_QUICK_TLS, SMALL_COUNT, STREAMS, What};
use super::{
    Bench, Rounds, Scenario, ceiling,
    stand::{Network, Stand, at_once},
};
use crate::{
    client::{ANONYMOUS, Client, Connector, Source},
    cpu,
    files::UPLOADS,
    row::{CEILING, Sample, compare},
};

/// Bytes of the transfer before each, that does not count.
const WARM: u64 = 1 << 26;
/// Bytes of each of the many small ones.
const SMALL: usize = 4 << 10;
/// No contestant's small files take longer: what was done by then counts.
const LONGEST: Duration = Duration::from_secs(5);
const LONGEST_QUICK: Duration = Duration::from_millis(1500);
const MANY: &str = "small";

/// See [`Scenario::method`].
pub(crate) struct Transfer;

impl Scenario for Transfer {
    fn name(&self) -> &'static str {
        "transfer"
    }

    fn method(&self) -> &'static str {
        "RETR and STOR over the loopback interface of a network namespace made for each server and round, to and\n\
         from a tmpfs; TCP congestion control reno on both sides. The servers of a round take turns case by case,\n\
         and who goes first turns from round to round. 1 GiB (with --quick and TLS 256 MiB) by one stream, or by\n\
         eight sessions at once with an eighth each, without TLS three times in a row; files of 4 KiB (10,000, with\n\
         --quick 1,000), each with a PASV and a data connection of its own, by one session or eight, for 5 s at most\n\
         (1.5 s). Uploads are removed in between, outside of the clock. A shorter transfer\n\
         of the kind, not counted, goes before each. CLOCK_MONOTONIC: large files from sending RETR or STOR (data\n\
         connection open, TLS not yet begun on it) to hearing 226; small ones from the first PASV to the last 226;\n\
         with eight sessions until the last is done.\n\
         The client is ours and the same for all, its threads on the same cores as the server. Without TLS it\n\
         copies nothing (MSG_TRUNC, sendfile), so the figure is the server's: a real client is slower with any of\n\
         them. `ceiling` is that client against a thread of ours that knows no FTP and does nothing but sendfile\n\
         or discard in the kernel: no server that writes what it gets to a file can reach it; with TLS, against a\n\
         thread that only encrypts the same bytes again and again, or decrypts and drops, by the same rustls, hands\n\
         shaken before the clock: only a server with a faster library for TLS can reach it. TLS is rustls with\n\
         AES-128-GCM first and offers to resume the control connection's session; both ends do cryptography on this\n\
         machine, so a server that is faster than the client shows no more than the client's rate. The client's\n\
         CPU time says how near: 1 / (s/GB) is the rate at which one of its streams fills a core.\n\
         CPU time: the server's whole process tree by /proc/PID/task/*/schedstat and, for children that ended,\n\
         by the clock tick; the client's by CLOCK_PROCESS_CPUTIME_ID; per 10^9 bytes. The kernel charges work of\n\
         the network stack to whoever runs, on loopback mostly to the sender.\n\
         Pinhole enforces with --attach auto; the others have no lock at all, as they ship. Logging of transfers\n\
         is off everywhere. Anonymous sessions; Pinhole's uploads are a password user's, the login is not timed."
    }

    fn rounds(&self, quick: bool) -> u32 {
        if quick { 3 } else { 15 }
    }

    fn prepare<'a>(&self, bench: &'a Bench) -> Result<Box<dyn Rounds + 'a>> {
        let files = bench.files();
        for size in [LARGE, LARGE_QUICK_TLS, WARM] {
            for streams in STREAMS {
                let each = size / streams as u64;
                files.random(&each.to_string(), each)?;
            }
        }
        files.many(MANY, SMALL_COUNT, SMALL)?;
        Ok(Box::new(Pairs { bench }))
    }
}

/// What a case took.
struct Took {
    bytes: u64,
    time: Duration,
    server: Duration,
    client: Duration,
}

struct Pairs<'a> {
    bench: &'a Bench,
}

impl Rounds for Pairs<'_> {
    fn round(&mut self, number: u32) -> Result<Vec<Sample>> {
        let mut stands = Vec::new();
        for server in self.bench.turn(number) {
            match Stand::open(self.bench, server, Network::Loopback, true) {
                Ok(stand) => stands.push((stand, Connector::new()?)),
                Err(reason) => self
                    .bench
                    .leave_out(&format!("transfer, {}", server.name()), &reason),
            }
        }
        let mut samples = Vec::new();
        for case in Case::all(self.bench.quick()) {
            let name = case.name();
            if !self.bench.wants(&name) {
                continue;
            }
            let mut rates = Vec::new();
            for (stand, connector) in &stands {
                let took = self.measure(stand, connector, case);
                self.bench.files().clear_uploads()?;
                match took {
                    Ok(took) => rates.extend(samples_of(&name, stand.server.name(), &took)),
                    Err(reason) => {
                        let what = format!("transfer, {name}, {}", stand.server.name());
                        self.bench.leave_out(&what, &reason);
                    }
                }
            }
            if let (What::Large(size), Some((stand, _))) = (case.what, stands.first()) {
                rates.push(self.ceiling(stand, case, &name, size)?);
            }
            samples.extend(compare(rates));
        }
        Ok(samples)
    }
}

fn samples_of(name: &str, server: &str, took: &Took) -> [Sample; 3] {
    let bytes = took.bytes as f64;
    let per_gigabyte = |time: Duration| time.as_secs_f64() / (bytes / 1e9);
    let rate = bytes / 1e6 / took.time.as_secs_f64();
    [
        Sample::new(name, server, "rate", "MB/s", rate),
        Sample::new(
            name,
            server,
            "server CPU",
            "s/GB",
            per_gigabyte(took.server),
        ),
        Sample::new(
            name,
            server,
            "client CPU",
            "s/GB",
            per_gigabyte(took.client),
        ),
    ]
}

impl Pairs<'_> {
    fn ceiling(&self, stand: &Stand<'_>, case: Case, name: &str, size: u64) -> Result<Sample> {
        let file = self.file(size / case.streams as u64)?;
        let each = size / case.streams as u64;
        let time = stand.within(|| match case.tls {
            false => ceiling::plain(&file, each, case.streams, case.upload),
            true => ceiling::tls(
                &file,
                each,
                case.streams,
                case.upload,
                self.bench.certificate(),
            ),
        })?;
        let rate = size as f64 / 1e6 / time.as_secs_f64();
        Ok(Sample::new(name, CEILING, "rate", "MB/s", rate))
    }

    fn file(&self, size: u64) -> Result<File> {
        let path = self.bench.files().root().join(size.to_string());
        File::open(&path).with_context(|| format!("cannot open {}", path.display()))
    }

    fn measure(&self, stand: &Stand<'_>, connector: &Connector, case: Case) -> Result<Took> {
        let account = match case.upload {
            true => stand.server.uploader(),
            false => ANONYMOUS,
        };
        let tls = case.tls.then_some(connector);
        let mut sessions = stand.sessions(case.streams, account, tls)?;
        // The first of each kind pays for what the others find warm.
        let warm = Case {
            what: match case.what {
                What::Large(_) => What::Large(WARM),
                What::Small(_) => What::Small(case.streams as u32),
            },
            ..case
        };
        self.run(stand, &mut sessions, warm)?;
        // Not everybody lets an anonymous session overwrite.
        self.bench.files().clear_uploads()?;
        let (server, client) = (stand.running.cpu()?, cpu::own());
        let (mut bytes, mut time) = (0, Duration::ZERO);
        for _ in 0..case.times() {
            let (more, longer) = self.run(stand, &mut sessions, case)?;
            bytes += more;
            time += longer;
            self.bench.files().clear_uploads()?;
        }
        let took = Took {
            bytes,
            time,
            client: cpu::own().saturating_sub(client),
            server: stand.running.cpu()?.saturating_sub(server),
        };
        for session in sessions {
            session.quit()?;
        }
        Ok(took)
    }

    /// How many bytes went, in what time.
    fn run(
        &self,
        stand: &Stand<'_>,
        sessions: &mut [Client],
        case: Case,
    ) -> Result<(u64, Duration)> {
        match case.what {
            What::Large(size) => self.large(stand, sessions, case.upload, size),
            What::Small(count) => self.small(stand, sessions, case.upload, count),
        }
    }

    fn large(
        &self,
        stand: &Stand<'_>,
        sessions: &mut [Client],
        upload: bool,
        size: u64,
    ) -> Result<(u64, Duration)> {
        let each = size / sessions.len() as u64;
        let file = self.file(each)?;
        let work = |number: usize, client: &mut Client| match upload {
            true => client.store(&format!("{UPLOADS}/{number}"), Source::File(&file, each)),
            false => {
                let (bytes, time) = client.fetch(&format!("RETR {each}\r\n"))?;
                ensure!(bytes == each, "{bytes} bytes came, the file has {each}");
                Ok(time)
            }
        };
        let (times, all) = stand.within(|| at_once(sessions, work))?;
        let time = match times[..] {
            [only] => only,
            _ => all,
        };
        Ok((size, time))
    }

    fn small(
        &self,
        stand: &Stand<'_>,
        sessions: &mut [Client],
        upload: bool,
        count: u32,
    ) -> Result<(u64, Duration)> {
        let each = count / sessions.len() as u32;
        let content = vec![b'x'; SMALL];
        let limit = if self.bench.quick() {
            LONGEST_QUICK
        } else {
            LONGEST
        };
        let over = Instant::now() + limit;
        let work = |number: usize, client: &mut Client| {
            let mut done = 0;
            while done < each && Instant::now() < over {
                let file = number as u32 * each + done;
                if upload {
                    client.store(&format!("{UPLOADS}/{file}"), Source::Memory(&content))?;
                } else {
                    let (bytes, _) = client.fetch(&format!("RETR {MANY}/{file}\r\n"))?;
                    ensure!(bytes == SMALL as u64, "{bytes} bytes came of 4 KiB");
                }
                done += 1;
            }
            Ok(u64::from(done))
        };
        let (done, time) = stand.within(|| at_once(sessions, work))?;
        Ok((done.iter().sum::<u64>() * SMALL as u64, time))
    }
}
