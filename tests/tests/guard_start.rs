//! How the guard starts, what it says then, why it may not, and which signals do not end it.

use std::net::TcpListener;

use anyhow::{Context, Result, ensure};
use ftp_tests::{
    daemon::{self, Daemon},
    guarded::guard_in,
    lab::{Family, Lab},
    need_root,
    site::server_end,
    wait,
};
use rustix::process::Signal;

#[test]
fn a_guard_that_cannot_test_itself_says_so() -> Result<()> {
    need_root!();
    let lab = Lab::new()?;
    lab.server.ip("link set lo down\n")?;
    let refused = guard_in(&lab.server, &["--interface", "s0"]).err();
    let refused = format!("{:#}", refused.context("it started without loopback")?);
    ensure!(
        refused.contains("self-test: cannot connect on 127.0.0.1") && refused.contains("firewall"),
        "{refused}"
    );
    Ok(())
}

#[test]
fn a_firewall_without_ipv6_is_no_reason_not_to_start() -> Result<()> {
    need_root!();
    let lab = Lab::new()?;
    let rules = "table ip6 t {\n chain c {\n type filter hook input priority 0; policy accept;\n \
                 iif lo tcp flags & (syn | ack) == syn reject with tcp reset\n }\n}\n";
    lab.server.nft(rules)?;
    let guard = guard_in(&lab.server, &["--interface", "s0"])?;
    ensure!(
        guard.has_said(|line| line.contains("cannot connect on ::1") && line.contains("firewall")),
        "{}",
        guard.log()
    );
    guard.stop()
}

#[test]
fn a_kernel_whose_structures_are_not_known_is_an_error() -> Result<()> {
    need_root!();
    let lab = Lab::new()?;
    let binary = daemon::binary()?.display().to_string();
    let start = |types: &str| {
        // A /sys/kernel/btf of this process's own.
        let script = format!(
            "mount -t tmpfs none /sys/kernel/btf && {types} && exec {binary} guard --interface s0"
        );
        let mut command = lab.server.command("unshare");
        command.args(["--mount", "sh", "-c", &script]);
        let refused = Daemon::start_command(command, tempfile::tempdir()?).err();
        anyhow::Ok(refused.context("it started")?.to_string())
    };
    let missing = start("true")?;
    ensure!(
        missing.contains("cannot read /sys/kernel/btf/vmlinux") && missing.contains("DEBUG_INFO"),
        "{missing}"
    );
    let wrong = start("head -c 65536 /dev/urandom > /sys/kernel/btf/vmlinux")?;
    ensure!(wrong.contains("cannot make sense of"), "{wrong}");
    Ok(())
}

#[test]
fn the_servers_signals_do_not_end_a_guard() -> Result<()> {
    need_root!();
    let lab = Lab::new()?;
    let guard = guard_in(&lab.server, &["--interface", "s0"])?;
    for (signal, name) in [(Signal::HUP, "SIGHUP"), (Signal::USR2, "SIGUSR2")] {
        guard.signal(signal)?;
        wait::until("the guard says that it takes a restart", || {
            guard.has_said(|line| line.contains(name) && line.contains("starting it again"))
        })
        .with_context(|| guard.log())?;
    }
    guard.stop()
}

#[test]
fn a_dry_run_does_not_say_that_anything_is_shut() -> Result<()> {
    need_root!();
    let lab = Lab::new()?;
    let _other = lab
        .server
        .run(|| TcpListener::bind(server_end(Family::V4, 30005)))??;
    let flags = ["--interface", "s0", "--ports", "30000-30015", "--dry-run"];
    let guard = guard_in(&lab.server, &flags)?;
    let said = |what: &str| guard.has_said(|line| line.contains(what));
    ensure!(
        said("port 30005, inside") && said("would be shut out"),
        "{}",
        guard.log()
    );
    ensure!(!said("are shut out"), "{}", guard.log());
    let _later = lab
        .server
        .run(|| TcpListener::bind(server_end(Family::V4, 30006)))??;
    wait::until("the guard says what would become of it", || {
        guard.has_said(|line| line.contains("data port 30006 would stay shut"))
    })
    .with_context(|| guard.log())?;
    guard.stop()
}
