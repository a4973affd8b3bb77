//! Two CPUs at one pinhole at the same instant, thousands of times, with BPF_PROG_TEST_RUN on each:
//! closer together than any two frames from outside can be brought (`race.rs` has those).

use std::{
    hint,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
};

use anyhow::{Context, Result, ensure};
use aya::{
    maps::{HashMap, MapData},
    programs::{TestRun, TestRunOptions, Xdp},
};
use ftp_ebpf::abi::{Claim, Pinhole, PinholeKey};
use ftp_tests::{
    cases::{Packet, client, server},
    lab::Family,
    namespace::NetNs,
    need_root, skip,
};
use ftp_user::pinholes::kernel::{Object, Set, Settings};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

const ROUNDS: u64 = 40_000;
const PORT: u16 = 30010;
const XDP_PASS: u32 = 2;
/// Far away, on a clock that starts with the machine.
const NEVER_NS: u64 = u64::MAX / 2;

/// Two CPUs this process may use, if there are two.
fn two_cpus() -> Result<Option<[usize; 2]>> {
    let allowed = sched_getaffinity(None)?;
    let mut cpus = (0..CpuSet::MAX_CPU).filter(|cpu| allowed.is_set(*cpu));
    Ok(cpus.next().zip(cpus.next()).map(|(a, b)| [a, b]))
}

fn pin_to(cpu: usize) -> Result<()> {
    let mut set = CpuSet::new();
    set.set(cpu);
    sched_setaffinity(None, &set).with_context(|| format!("cannot run on CPU {cpu}"))
}

fn key(family: Family, port: u16) -> PinholeKey {
    PinholeKey {
        client: client(family).into(),
        server: server(family).into(),
        port_be: port.to_be(),
        zero: 0,
    }
}

const fn fresh(session: u64) -> Pinhole {
    Pinhole {
        session,
        deadline_ns: NEVER_NS,
        claim: Claim::FREE,
    }
}

fn passes(program: &Xdp, frame: &[u8]) -> Result<bool> {
    let ran = program.test_run(TestRunOptions {
        data_in: Some(frame),
        repeat: 1,
        ..Default::default()
    })?;
    Ok(ran.return_value == XDP_PASS)
}

/// Another CPU that does something once for each round that is announced.
#[derive(Default)]
struct Rounds {
    announced: AtomicU64,
    done: AtomicU64,
    over: AtomicBool,
}

impl Rounds {
    /// Waits for the round after `last`; `None` when there is none.
    fn next(&self, last: u64) -> Option<u64> {
        while self.announced.load(Ordering::Acquire) == last {
            if self.over.load(Ordering::Relaxed) {
                return None;
            }
            hint::spin_loop();
        }
        Some(last + 1)
    }

    /// Lets the other CPU start, and starts a moment later itself: another moment in each round, so
    /// that every order of their steps comes up.
    fn announce(&self, round: u64) {
        self.announced.store(round, Ordering::Release);
        for _ in 0..round % 97 {
            hint::spin_loop();
        }
    }

    /// Waits until the other CPU has done its part; an error if it gave up.
    fn until_done(&self, round: u64) -> Result<()> {
        while self.done.load(Ordering::Acquire) != round {
            ensure!(!self.over.load(Ordering::Relaxed), "the other CPU gave up");
            hint::spin_loop();
        }
        Ok(())
    }
}

struct Setting {
    object: Object,
    rows: HashMap<MapData, PinholeKey, Pinhole>,
}

fn load() -> Result<Setting> {
    let mut object = Object::load(&Settings {
        max_pinholes: 64,
        ..Settings::default()
    })?;
    let ports = object.ports()?;
    for port in [PORT, PORT + 1] {
        ports.set(Set::Guarded, port, true);
        ports.set(Set::Waiting, port, true);
    }
    Ok(Setting {
        rows: object.pinholes()?,
        object,
    })
}

/// Runs `here` on one CPU and `there` on another, `ROUNDS` times at the same instant; `judge` hears
/// the round and both results, and prepares the next.
fn duel(
    program: &Xdp,
    cpus: [usize; 2],
    here: &[u8],
    there: impl Fn(&Xdp, u64) -> Result<bool> + Sync,
    mut judge: impl FnMut(u64, Option<[bool; 2]>) -> Result<()>,
) -> Result<()> {
    let rounds = Rounds::default();
    let passed_there = AtomicBool::new(false);
    thread::scope(|scope| {
        let (rounds, passed_there, there) = (&rounds, &passed_there, &there);
        let other = scope.spawn(move || -> Result<()> {
            let duty = || -> Result<()> {
                pin_to(cpus[1])?;
                let mut last = 0;
                while let Some(round) = rounds.next(last) {
                    passed_there.store(there(program, round)?, Ordering::Relaxed);
                    rounds.done.store(round, Ordering::Release);
                    last = round;
                }
                Ok(())
            };
            let ended = duty();
            rounds.over.store(true, Ordering::Relaxed);
            ended
        });
        let mine = (|| -> Result<()> {
            pin_to(cpus[0])?;
            judge(0, None)?;
            for round in 1..=ROUNDS {
                rounds.announce(round);
                let passed = passes(program, here)?;
                rounds.until_done(round)?;
                judge(round, Some([passed, passed_there.load(Ordering::Relaxed)]))?;
            }
            Ok(())
        })();
        rounds.over.store(true, Ordering::Relaxed);
        other.join().ok().context("the other CPU panicked")??;
        mine
    })
}

fn in_namespace(work: impl FnOnce([usize; 2]) -> Result<()> + Send) -> Result<()> {
    need_root!();
    let Some(cpus) = two_cpus()? else {
        skip!("there is one CPU only: nothing can race");
    };
    // One test at a time: each needs both CPUs for itself.
    static CPUS: Mutex<()> = Mutex::new(());
    let _alone = CPUS.lock().unwrap_or_else(PoisonError::into_inner);
    // On a thread of its own, whose CPU may be chosen, and without anybody's sockets.
    NetNs::new("claims")?.run(|| work(cpus))?
}

#[test]
fn one_of_two_syns_at_the_same_instant_gets_the_pinhole() -> Result<()> {
    in_namespace(|cpus| {
        for family in Family::BOTH {
            let mut setting = load()?;
            let syn = |port| Packet::syn(family, PORT).from(client(family), port).frame();
            let (first, second) = (syn(40_001), syn(40_002));
            let mut won = [0_u64; 2];
            let rows = &mut setting.rows;
            let program = setting.object.xdp()?;
            duel(
                program,
                cpus,
                &first,
                |program, _| passes(program, &second),
                |round, passed| {
                    if let Some(passed) = passed {
                        ensure!(
                            passed[0] != passed[1],
                            "round {round}: let through: {passed:?}"
                        );
                        let claim = rows.get(&key(family, PORT), 0)?.claim;
                        let winner = if passed[0] { 40_001_u16 } else { 40_002 };
                        ensure!(claim.is_by(winner.to_be()), "round {round}: {claim:?}");
                        won[usize::from(passed[1])] += 1;
                    }
                    rows.insert(key(family, PORT), fresh(round), 0)?;
                    Ok(())
                },
            )?;
            // Were one always first there would be no race.
            ensure!(won.iter().all(|won| *won > ROUNDS / 100), "{won:?}");
        }
        Ok(())
    })
}

/// The kernel uses a removed row's memory again at once: a SYN that has found the old row must not
/// take the new one, which may be another client's.
#[test]
fn a_syn_for_a_removed_pinhole_does_not_take_its_successor() -> Result<()> {
    in_namespace(|cpus| {
        for family in Family::BOTH {
            let mut setting = load()?;
            let syn = Packet::syn(family, PORT)
                .from(client(family), 40_001)
                .frame();
            let (old, new) = (key(family, PORT), key(family, PORT + 1));
            // One handle removes on the other CPU, one looks here.
            let shared = Mutex::new(setting.rows);
            let program = setting.object.xdp()?;
            let lock = || {
                shared
                    .lock()
                    .map_err(|_| anyhow::anyhow!("the table's other user panicked"))
            };
            let mut met = 0_u64;
            duel(
                program,
                cpus,
                &syn,
                |_, round| {
                    let mut rows = lock()?;
                    rows.remove(&old)?;
                    rows.insert(new, fresh(round), 0)?;
                    Ok(false)
                },
                |round, passed| {
                    let mut rows = lock()?;
                    if let Some(passed) = passed {
                        let claim = rows.get(&new, 0)?.claim;
                        ensure!(
                            claim == Claim::FREE,
                            "round {round}: the successor is taken: {claim:?}"
                        );
                        met += u64::from(passed[0]);
                        rows.remove(&new)?;
                    }
                    rows.insert(old, fresh(round), 0)?;
                    Ok(())
                },
            )?;
            // Sometimes the SYN came first, sometimes the removal.
            ensure!((1..ROUNDS).contains(&met), "the SYN came first {met} times");
        }
        Ok(())
    })
}
