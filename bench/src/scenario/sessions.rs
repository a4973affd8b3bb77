//! Short sessions, as many as a server can take, and idle ones, in memory.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Result, anyhow, ensure};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::{
    Bench, Rounds, Scenario,
    stand::{Network, Stand},
};
use crate::{
    client::{ANONYMOUS, Client},
    row::{Sample, compare},
};

const FILE: &str = "1KiB";
const AT_ONCE: [usize; 3] = [1, 8, 64];
const IDLE: [usize; 3] = [100, 1_000, 10_000];
/// A server that has not taken the idle sessions by then is left out.
const OPENING: Duration = Duration::from_secs(20);

/// See [`Scenario::method`].
pub(crate) struct Sessions;

impl Scenario for Sessions {
    fn name(&self) -> &'static str {
        "sessions"
    }

    fn method(&self) -> &'static str {
        "Whole sessions over the loopback interface of a network namespace made for each server and round: connect,\n\
         USER and PASS (anonymous: no password is checked), TYPE I, PASV, RETR of 1 KiB, QUIT, each reply awaited. 1, 8 and\n\
         64 client threads begin the next session as soon as the last has ended, for one second (three without\n\
         --quick); sessions that end within it count, CLOCK_MONOTONIC. Client and server share the cores. Beside\n\
         the rate, the CPU time of the server's process tree per session.\n\
         Idle: 100, 1,000 and 10,000 anonymous sessions logged in and then silent; memory is the proportional set\n\
         size (smaps_rollup) of the process tree less what it was before the first, per session. Memory of the\n\
         kernel (sockets, processes) is not in it: it favours servers with a process for each session. 10,000 are\n\
         tried once in a run; a server that has not taken them within 20 seconds is left out, and said to be.\n\
         No TLS on offer. The others get no more than their configuration asks for: limits on instances are lifted."
    }

    fn rounds(&self, quick: bool) -> u32 {
        if quick { 3 } else { 15 }
    }

    fn prepare<'a>(&self, bench: &'a Bench) -> Result<Box<dyn Rounds + 'a>> {
        bench.files().random(FILE, 1 << 10)?;
        let limit = getrlimit(Resource::Nofile);
        setrlimit(
            Resource::Nofile,
            Rlimit {
                current: limit.maximum,
                ..limit
            },
        )?;
        Ok(Box::new(Pairs { bench }))
    }
}

struct Pairs<'a> {
    bench: &'a Bench,
}

impl Rounds for Pairs<'_> {
    fn round(&mut self, number: u32) -> Result<Vec<Sample>> {
        let span = Duration::from_secs(if self.bench.quick() { 1 } else { 3 });
        let mut samples = Vec::new();
        for at_once in AT_ONCE {
            let case = format!("{at_once} at once");
            samples.extend(self.each(number, &case, |stand| rate(stand, &case, at_once, span))?);
        }
        for count in IDLE {
            // The largest once: it takes the slower servers a minute of everybody's time.
            if count == 10_000 && number > 0 {
                continue;
            }
            let case = format!("{count} idle");
            samples.extend(self.each(number, &case, |stand| idle(stand, &case, count))?);
        }
        Ok(samples)
    }
}

impl Pairs<'_> {
    fn each(
        &self,
        number: u32,
        case: &str,
        measure: impl Fn(&Stand<'_>) -> Result<Vec<Sample>>,
    ) -> Result<Vec<Sample>> {
        let mut samples = Vec::new();
        if !self.bench.wants(case) {
            return Ok(samples);
        }
        for server in self.bench.turn(number) {
            let measured = Stand::open(self.bench, server, Network::Loopback, false)
                .and_then(|stand| measure(&stand));
            match measured {
                Ok(measured) => samples.extend(measured),
                Err(reason) => {
                    let what = format!("sessions, {case}, {}", server.name());
                    self.bench.leave_out(&what, &reason);
                }
            }
        }
        Ok(compare(samples))
    }
}

fn rate(stand: &Stand<'_>, case: &str, at_once: usize, span: Duration) -> Result<Vec<Sample>> {
    stand.within(|| session(stand))?;
    let cpu = stand.running.cpu()?;
    let done = AtomicU64::new(0);
    let began = Instant::now();
    let over = began + span;
    stand.within(|| {
        thread::scope(|scope| {
            let work = || -> Result<()> {
                loop {
                    session(stand)?;
                    if Instant::now() >= over {
                        return Ok(());
                    }
                    done.fetch_add(1, Ordering::Relaxed);
                }
            };
            let threads: Vec<_> = (0..at_once).map(|_| scope.spawn(work)).collect();
            threads.into_iter().try_for_each(|thread| {
                thread
                    .join()
                    .map_err(|_| anyhow!("a client's thread panicked"))?
            })
        })
    })?;
    let used = stand.running.cpu()?.saturating_sub(cpu);
    let done = done.into_inner();
    ensure!(done > 0, "not one session within {span:?}");
    let name = stand.server.name();
    // Those that were under way at the end have used CPU time, too.
    let all = done + at_once as u64;
    let per_session = used.as_secs_f64() * 1e6 / all as f64;
    Ok(vec![
        Sample::new(
            case,
            name,
            "sessions",
            "1/s",
            done as f64 / span.as_secs_f64(),
        ),
        Sample::new(case, name, "server CPU per session", "µs", per_session),
    ])
}

fn session(stand: &Stand<'_>) -> Result<()> {
    let mut client = Client::login(stand.listen, ANONYMOUS, None)?;
    let (bytes, _) = client.fetch(&format!("RETR {FILE}\r\n"))?;
    ensure!(bytes == 1 << 10, "{bytes} bytes came of 1 KiB");
    client.quit()
}

fn idle(stand: &Stand<'_>, case: &str, count: usize) -> Result<Vec<Sample>> {
    // One session comes and goes, so that what is allocated once is not the first one's.
    stand.within(|| session(stand))?;
    let before = stand.running.memory()?;
    let began = Instant::now();
    let sessions = stand.within(|| {
        let mut sessions = Vec::new();
        for number in 0..count {
            sessions.push(Client::login(stand.listen, ANONYMOUS, None)?);
            ensure!(
                began.elapsed() < OPENING,
                "only {} of {count} sessions were open after {OPENING:?}",
                number + 1
            );
        }
        Ok(sessions)
    })?;
    let grown = stand.running.memory()?.saturating_sub(before);
    drop(sessions);
    let per_session = grown as f64 / 1024.0 / count as f64;
    let name = stand.server.name();
    Ok(vec![Sample::new(
        case,
        name,
        "PSS per session",
        "KiB",
        per_session,
    )])
}
