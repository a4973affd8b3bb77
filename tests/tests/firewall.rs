//! A host whose firewall drops everything by default: one rule on the daemon's mark, and no open
//! range. When the daemon dies, the range is shut.

use std::net::SocketAddr;

use anyhow::{Context, Result, ensure};
use ftp_tests::{
    files,
    frame::Segment,
    lab::{Family, Lab},
    namespace::NetNs,
    need_root,
    site::{Site, client_end, server_end},
    wire::Answer,
};

const MARK: i64 = 0x7068_6f6c;
/// Open in the firewall, and nobody listens: answers with RST, daemon or not.
const CANARY: u16 = 9;

/// Loads the rules an admin would; without connection tracking, so that every single packet needs
/// a rule of its own.
type Rules = fn(&NetNs) -> Result<()>;

fn nftables(server: &NetNs) -> Result<()> {
    server.nft(&format!(
        "table inet filter {{\n chain input {{\n  \
         type filter hook input priority filter; policy drop;\n  \
         iif lo accept\n  meta l4proto ipv6-icmp accept\n  \
         tcp dport {{ 21, {CANARY} }} accept\n  meta mark {MARK:#x} accept\n }}\n}}\n"
    ))
}

fn iptables(server: &NetNs) -> Result<()> {
    for tool in ["iptables", "ip6tables"] {
        let mark = format!("{MARK:#x}");
        let canary = CANARY.to_string();
        for line in [
            &["-P", "INPUT", "DROP"][..],
            &["-A", "INPUT", "-i", "lo", "-j", "ACCEPT"],
            &["-A", "INPUT", "-p", "ipv6-icmp", "-j", "ACCEPT"],
            &["-A", "INPUT", "-p", "tcp", "--dport", "21", "-j", "ACCEPT"],
            &[
                "-A", "INPUT", "-p", "tcp", "--dport", &canary, "-j", "ACCEPT",
            ],
            &["-A", "INPUT", "-m", "mark", "--mark", &mark, "-j", "ACCEPT"],
        ] {
            server.tool(tool, line, "")?;
        }
    }
    Ok(())
}

fn exercise(rules: Rules, attach: &str) -> Result<()> {
    let lab = Lab::new()?;
    rules(&lab.server)?;
    let site = Site::with_writer_in(lab, |settings| {
        settings
            .set("enforce.attach", attach)?
            .set("enforce.mark", MARK)
    })?;
    let content = site.put("down", 3_000_000)?;
    let wire = site.lab.client_wire()?;
    let mut holes = Vec::new();
    for family in Family::BOTH {
        let mut session = site.writer(family)?;
        files::ensure_equal("download", &session.retrieve("down")?, &content)?;
        session.store("STOR up", &content)?;
        files::ensure_same(&site.path("up"), &content)?;
        let hole = session.passive()?;
        holes.push((family, hole, session));
    }
    let admitted = site.count("pinhole-syn")?;
    ensure!(admitted == 4, "{admitted} SYNs counted of 4");
    let probe = |from, to: SocketAddr| {
        let canary = SocketAddr::new(to.ip(), CANARY);
        wire.probe(Segment::syn(from, to), canary)
    };
    for (family, hole, _session) in &holes {
        let from = client_end(*family, 1, wire.fresh_port());
        ensure!(probe(from, *hole)? == Answer::Nothing);
    }
    let Site { daemon, lab, .. } = site;
    daemon.kill9()?;
    for (family, hole, _session) in &holes {
        // Nothing is marked any more; neither the pinhole's client nor anybody else gets in.
        for n in [0, 1] {
            for port in [hole.port(), 30001, 30015] {
                let to = server_end(*family, port);
                let answer = probe(client_end(*family, n, wire.fresh_port()), to)?;
                ensure!(
                    answer == Answer::Nothing,
                    "{to} after the daemon's death: {answer:?}"
                );
            }
        }
    }
    drop(lab);
    Ok(())
}

#[test]
fn nftables_with_tcx() -> Result<()> {
    need_root!();
    exercise(nftables, "tcx")
}

#[test]
fn nftables_with_native_xdp() -> Result<()> {
    need_root!();
    exercise(nftables, "native")
}

#[test]
fn nftables_with_generic_xdp() -> Result<()> {
    need_root!();
    exercise(nftables, "generic")
}

#[test]
fn iptables_with_tcx() -> Result<()> {
    need_root!();
    exercise(iptables, "tcx")
}

/// The rule on the mark is what lets data in: without the mark the same firewall lets none in.
#[test]
fn without_a_mark_the_firewall_drops_data() -> Result<()> {
    need_root!();
    let lab = Lab::new()?;
    nftables(&lab.server)?;
    let site = Site::in_lab(lab, Ok)?;
    let wire = site.lab.client_wire()?;
    for family in Family::BOTH {
        let mut session = site.anonymous(family, 0)?;
        let hole = session.passive()?;
        let admitted = site.count("pinhole-syn")?;
        let from = client_end(family, 0, wire.fresh_port());
        let answer = site.syn(&wire, from, hole)?;
        ensure!(answer == Answer::Nothing, "{answer:?}");
        let admitted = site.count("pinhole-syn")? - admitted;
        ensure!(admitted == 1, "it was the lock that dropped it");
    }
    Ok(())
}

/// Only what was admitted carries the mark, not all that passes.
#[test]
fn nothing_else_is_marked() -> Result<()> {
    need_root!();
    let lab = Lab::new()?;
    lab.server.nft(&format!(
        "table inet count {{\n counter marked {{}}\n chain input {{\n  \
         type filter hook input priority filter;\n  \
         tcp dport != 30000-30015 meta mark {MARK:#x} counter name marked\n }}\n}}\n"
    ))?;
    let site = Site::in_lab(lab, |settings| settings.set("enforce.mark", MARK))?;
    site.put("file", 100_000)?;
    for family in Family::BOTH {
        site.anonymous(family, 0)?.retrieve("file")?;
    }
    let shown = site.lab.server.tool(
        "nft",
        &["-j", "list", "counter", "inet", "count", "marked"],
        "",
    )?;
    let shown: serde_json::Value = serde_json::from_slice(&shown.stdout)?;
    let packets = shown["nftables"]
        .as_array()
        .and_then(|items| {
            items
                .iter()
                .find_map(|item| item["counter"]["packets"].as_u64())
        })
        .context("nft shows no counter")?;
    ensure!(
        packets == 0,
        "{packets} packets outside of the range carry the mark"
    );
    Ok(())
}
