//! The kernel shows the guard nothing of what an interrupt brings to a CPU on which a bpf(2) call is at
//! work: the guard notices, and looks for itself.

use std::{
    sync::atomic::{AtomicBool, Ordering::Relaxed},
    thread,
};

use anyhow::{Context as _, Result, ensure};
use ftp_tests::{
    control::Control,
    daemon,
    guarded::{FIRST, Guarded, Scene},
    lab::{self, Family},
    need_root,
    peer::Brand,
    skip, wait,
};
use ftp_user::pinholes::inspect::Tables;
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

#[test]
fn a_session_whose_beginning_was_hidden_is_guarded() -> Result<()> {
    need_root!();
    let cpus = sched_getaffinity(None)?;
    let mut cpus = (0..CpuSet::MAX_CPU).filter(|cpu| cpus.is_set(*cpu));
    let (Some(here), Some(there)) = (cpus.next(), cpus.next()) else {
        skip!("one CPU cannot interrupt another");
    };
    let guarded = Scene::of(Brand::Scripted).start()?;
    if receive_on(&guarded, there).is_err() {
        skip!("this kernel does not steer received packets to a CPU");
    }
    let tables = Tables::of_process(guarded.guard.pid())?;
    let controls = || tables.controls()?.context("a guard");
    let over = AtomicBool::new(false);
    let mut session = thread::scope(|scope| {
        // 16 KiB with each call.
        let reader = scope.spawn(|| -> Result<()> {
            stay_on(there)?;
            while !over.load(Relaxed) {
                tables.is_dry_run()?;
            }
            Ok(())
        });
        let client = scope.spawn(|| -> Result<Control> {
            stay_on(here)?;
            wait::poll_within(wait::SOON, "a session's beginning is hidden", || {
                let session = guarded.scripted(Family::V4, 0)?;
                if controls()?.seen == 0 {
                    return Ok(Some(session));
                }
                drop(session);
                guarded.until_no_session().map(|()| None)
            })
        });
        let session = client.join();
        over.store(true, Relaxed);
        reader.join().ok().context("the reader panicked")??;
        session.ok().context("the client panicked")?
    })?;
    wait::poll_within(wait::SOON, "the guard knows that there is one", || {
        Ok(controls()?.older.then_some(()))
    })?;
    session.expect("LISTEN 30000", 200)?;
    let hole = (lab::server_address(Family::V4), FIRST).into();
    guarded.ensure_only(Family::V4, 0, hole)?;
    let pid = guarded.guard.pid().to_string();
    let shown = daemon::pinhole(&["status", "--pid", &pid], "")?.successful()?;
    let shown = shown.transcript();
    ensure!(shown.contains("that the kernel did not show: "), "{shown}");
    wait::until("the guard warns", || {
        let said = |line: &str| line.contains("has not shown the guard");
        guarded.guard.has_said(said)
    })?;
    drop(session);
    guarded.until_no_session()
}

fn stay_on(cpu: usize) -> Result<()> {
    let mut only = CpuSet::new();
    only.set(cpu);
    Ok(sched_setaffinity(None, &only)?)
}

/// Has packets that come to the server processed on one CPU (Documentation/networking/scaling.rst), in an
/// interrupt of whatever runs there.
fn receive_on(guarded: &Guarded<'_>, cpu: usize) -> Result<()> {
    let place = "/sys/class/net/s0/queues/rx-0/rps_cpus";
    let script = format!(
        "mount -t sysfs none /sys && echo {:x} > {place}",
        1_u64 << cpu
    );
    let steer = ["--mount", "sh", "-c", &script];
    guarded.lab.server.tool("unshare", &steer, "").map(drop)
}
