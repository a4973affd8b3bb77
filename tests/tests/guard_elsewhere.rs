//! Servers that are not where the guard is started: in a network namespace of their own, behind a
//! proxy, behind a host that hands their packets on.

use std::{
    fs,
    io::{BufRead as _, BufReader},
    process::{Child, Stdio},
};

use anyhow::{Context, Result, ensure};
use ftp_tests::{
    control::Control,
    daemon, files,
    guarded::{FIRST, guard_in, syn},
    lab::{self, Family, Lab, Options},
    namespace::NetNs,
    need_root,
    peer::{self, Brand, Setup},
    process,
    site::control_address,
    wire::Answer,
};
use ftp_user::pinholes::inspect::Tables;

#[test]
fn a_server_in_another_network_namespace_is_guarded_there() -> Result<()> {
    need_root!();
    let lab = Lab::new()?;
    let root = peer::folder()?;
    let content = files::noise(3, 200_000);
    fs::write(root.path().join("file"), &content)?;
    let _server =
        Brand::Vsftpd.start(&Setup::new(&lab.server, root.path(), (FIRST, FIRST + 15)))?;
    let host = NetNs::new("host")?;
    let guard = guard_in(&host, &["--netns", &lab.server.path(), "--interface", "s0"])?;
    let elsewhere = guard_in(&host, &["--interface", "lo"])?;
    let wire = lab.client_wire()?;
    for family in Family::BOTH {
        let from = lab::client_address(family, 0);
        let mut session = Control::anonymous(&lab.client, from, control_address(family))?;
        let hole = session.passive()?;
        ensure!(syn(&wire, 1, hole)? == Answer::Nothing, "a stranger got in");
        for (guard, sees) in [(&guard, true), (&elsewhere, false)] {
            let controls = Tables::of_process(guard.pid())?.controls()?;
            let seen = controls.context("a guard")?.seen;
            ensure!((seen > 0) == sees, "{seen} control connections, {sees}");
        }
        files::ensure_equal("the download", &session.fetch("RETR file", hole)?, &content)?;
    }
    ensure!(Tables::of_process(guard.pid())?.counters()?["pinhole-syn"] == 2);
    guard.stop()
}

#[test]
fn status_tells_the_namespaces_of_one_guard_apart() -> Result<()> {
    need_root!();
    let (one, other) = (NetNs::new("one")?, NetNs::new("other")?);
    let guard = guard_in(
        &one,
        &[
            "--netns",
            "self",
            "--netns",
            &other.path(),
            "--interface",
            "lo",
        ],
    )?;
    ensure!(
        guard.has_said(|line| line.contains("control ports: 21; ")),
        "{}",
        guard.log()
    );
    let pid = guard.pid().to_string();
    let status = |flag: &[&str]| -> Result<String> {
        let args = [&["status", "--pid", &pid], flag].concat();
        let shown = one.tool(daemon::binary()?.to_str().context("a path")?, &args, "")?;
        Ok(shown.transcript())
    };
    let (text, json) = (status(&[])?, status(&["--json"])?);
    for (namespace, name) in [(&one, " (this one)\n"), (&other, "\n")] {
        let number = namespace.inode()?;
        let line = format!("pinhole guard, process {pid}, network namespace {number}{name}");
        ensure!(text.contains(&line), "{line}: {text}");
        let member = format!("\"namespace\": {number}");
        ensure!(json.matches(&member).count() == 1, "{member}: {json}");
    }
    guard.stop()
}

/// A process of that name that listens on port 21, until its standard input is closed.
struct Listening(Child);

impl Listening {
    fn start(namespace: &NetNs, name: &str) -> Result<Listening> {
        const PROGRAM: &str = "\
import socket, sys
open('/proc/self/comm', 'w').write(sys.argv[1])
listener = socket.create_server(('', 21))
print('listening', flush=True)
sys.stdin.read()
";
        let mut command = namespace.command("python3");
        command.args(["-c", PROGRAM, name]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut listening = Listening(process::spawn(command).context("cannot start python3")?);
        let stdout = listening.0.stdout.take().context("a pipe")?;
        let mut line = String::new();
        BufReader::new(stdout).read_line(&mut line)?;
        ensure!(line == "listening\n", "it said {line:?}");
        Ok(listening)
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        // Nobody is left to hear of an error here.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_proxy_that_takes_the_connections_is_named() -> Result<()> {
    need_root!();
    let lab = Lab::new()?;
    for name in ["docker-proxy", "another"] {
        let proxy = Listening::start(&lab.server, name)?;
        let guard = guard_in(&lab.server, &["--interface", "s0"])?;
        let said = format!(
            "{name} (pid {}) takes the connections to port 21",
            proxy.0.id()
        );
        ensure!(
            guard.has_said(|line| line.contains(&said)) == (name == "docker-proxy"),
            "{}",
            guard.log()
        );
    }
    Ok(())
}

/// The guard's words about it, on a host with these rules.
fn said_of_dnat(lab: &Lab, rules: &str) -> Result<Option<String>> {
    lab.server.nft(rules)?;
    let guard = guard_in(&lab.server, &["--interface", "s0"])?;
    let log = guard.log();
    let words = log.lines().find(|line| line.contains("DNAT"));
    Ok(words.map(str::to_owned))
}

/// A chain as Docker makes it.
fn hands_on(matches: &str) -> String {
    format!(
        "table ip nat\ndelete table ip nat\ntable ip nat {{\n chain DOCKER {{\n  \
         {matches} dnat to {}:21\n }}\n chain PREROUTING {{\n  \
         type nat hook prerouting priority dstnat;\n  \
         fib daddr type local jump DOCKER\n }}\n}}\n",
        lab::GUEST4
    )
}

#[test]
fn a_host_that_hands_connections_on_is_told_so() -> Result<()> {
    need_root!();
    // It forwards, and masquerades: no rule of that kind concerns the guard.
    let lab = Lab::with(Options {
        guest: true,
        ..Options::default()
    })?;
    ensure!(said_of_dnat(&lab, "")?.is_none(), "there is none yet");
    let certain = said_of_dnat(&lab, &hands_on("iifname != docker0 tcp dport 21"))?;
    let certain = certain.context("nothing was said")?;
    for words in ["on to another", "table nat, chain DOCKER", "--netns"] {
        ensure!(certain.contains(words), "{certain}");
    }
    let other = said_of_dnat(&lab, &hands_on("tcp dport 80"))?;
    ensure!(other.is_none(), "another port: {other:?}");
    // A set tells its ports elsewhere.
    let perhaps = hands_on("tcp dport { 21, 80 }");
    let said = said_of_dnat(&lab, &perhaps)?.context("nothing was said")?;
    ensure!(said.contains("If it hands"), "{said}");
    {
        let _server = Listening::start(&lab.server, "vsftpd")?;
        let said = said_of_dnat(&lab, &perhaps)?;
        ensure!(said.is_none(), "the server is here: {said:?}");
    }
    lab.server.nft("delete table ip nat\n")?;
    let to = format!("{}:21", lab::GUEST4);
    let rule = [
        "-t",
        "nat",
        "-A",
        "PREROUTING",
        "-p",
        "tcp",
        "--dport",
        "20:21",
    ];
    let rule = [&rule[..], &["-j", "DNAT", "--to-destination", &to]].concat();
    lab.server.tool("iptables", &rule, "")?;
    let said = said_of_dnat(&lab, "")?.context("nothing was said of iptables")?;
    ensure!(said.contains("chain PREROUTING"), "{said}");
    lab.server.sysctl("net/ipv4/ip_forward", "0")?;
    let said = said_of_dnat(&lab, &hands_on("tcp dport 21"))?;
    ensure!(said.is_none(), "the host does not forward: {said:?}");
    Ok(())
}
