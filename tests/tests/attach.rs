//! Every way to attach: it is attached as asked, transfers work, the lock holds, and nothing of it
//! is left afterwards.

use anyhow::{Context, Result, ensure};
use ftp_tests::{
    counters, files,
    frame::Segment,
    lab::{Family, Lab, Options},
    namespace::NetNs,
    need_root,
    site::{Site, client_end, server_end},
    wire::Answer,
};
use serde_json::Value;

const LEN: usize = 8_000_003;

/// What hangs on an interface for XDP, as `ip` shows it.
#[derive(Debug, PartialEq, Eq)]
enum Xdp {
    Nothing,
    Native,
    Generic,
}

fn xdp_of(namespace: &NetNs, interface: &str) -> Result<Xdp> {
    let shown = namespace.tool("ip", &["-j", "link", "show", "dev", interface], "")?;
    let links: Value = serde_json::from_slice(&shown.stdout)?;
    // enum xdp_attached: 1 is the driver, 2 the network stack (include/uapi/linux/if_link.h).
    match links[0]["xdp"]["mode"].as_u64() {
        None => Ok(Xdp::Nothing),
        Some(1) => Ok(Xdp::Native),
        Some(2) => Ok(Xdp::Generic),
        Some(other) => anyhow::bail!("XDP mode {other}"),
    }
}

fn exercise(options: Options, attach: &str, said: &str, expected: Xdp) -> Result<()> {
    let site = Site::with_writer_in(Lab::with(options)?, |settings| {
        settings.set("enforce.attach", attach)
    })?;
    let found = xdp_of(&site.lab.server, "s0")?;
    ensure!(
        found == expected,
        "{found:?} is attached instead of {expected:?}"
    );
    ensure!(
        site.daemon
            .has_said(|line| line.contains("s0") && line.contains(said)),
        "it does not say that s0 is locked by {said}"
    );
    let before = (
        counters::tcp_ext(&site.lab.client, "TCPSynRetrans")?,
        counters::tcp_ext(&site.lab.server, "TCPSynRetrans")?,
    );
    let content = site.put("down", LEN)?;
    for family in Family::BOTH {
        transfers(&site, family, &content).with_context(|| format!("{family:?}"))?;
        locks(&site, family).with_context(|| format!("{family:?}"))?;
    }
    let after = (
        counters::tcp_ext(&site.lab.client, "TCPSynRetrans")?,
        counters::tcp_ext(&site.lab.server, "TCPSynRetrans")?,
    );
    ensure!(
        before == after,
        "SYNs were sent again: {before:?}, {after:?}"
    );

    let wire = site.lab.client_wire()?;
    let Site { daemon, lab, .. } = site;
    daemon.stop()?;
    ensure!(
        xdp_of(&lab.server, "s0")? == Xdp::Nothing,
        "XDP is still attached"
    );
    for family in Family::BOTH {
        // Nothing drops any more: the kernel itself answers.
        let from = client_end(family, 0, wire.fresh_port());
        let closed = server_end(family, 30003);
        let answer = wire.probe(Segment::syn(from, closed), server_end(family, 9))?;
        ensure!(answer.is_reset(), "{answer:?}");
    }
    Ok(())
}

fn transfers(site: &Site, family: Family, content: &[u8]) -> Result<()> {
    let mut session = site.writer(family)?;
    let fetched = session.retrieve("down")?;
    files::ensure_equal("passive download", &fetched, content)?;
    session.store("STOR up", content)?;
    files::ensure_same(&site.path("up"), content)?;
    let listing = session.listing("NLST")?;
    ensure!(listing == b"down\r\nup\r\n" || listing == b"up\r\ndown\r\n");

    let active = session.listen()?;
    session.port_to(&active)?;
    session.send(b"RETR down\r\n")?;
    let (mut data, from) = active.accept()?;
    ensure!(
        from.ip() == server_end(family, 0).ip(),
        "connected from {from}"
    );
    let mut fetched = Vec::new();
    std::io::Read::read_to_end(&mut data, &mut fetched)?;
    session.expect_reply(150)?;
    session.expect_reply(226)?;
    files::ensure_equal("active download", &fetched, content)
}

fn locks(site: &Site, family: Family) -> Result<()> {
    let wire = site.lab.client_wire()?;
    let mut session = site.anonymous(family, 0)?;
    let hole = session.passive()?;
    let syn = |n, to| site.syn(&wire, client_end(family, n, wire.fresh_port()), to);
    let before = site.count("wrong-client")?;
    ensure!(syn(1, hole)? == Answer::Nothing);
    ensure!(site.count("wrong-client")? == before + 1);
    let other = (30000..=30015).find(|port| *port != hole.port());
    let closed = server_end(family, other.context("sixteen ports")?);
    let before = site.count("closed")?;
    ensure!(syn(0, closed)? == Answer::Nothing);
    ensure!(site.count("closed")? == before + 1);
    ensure!(syn(0, hole)? == Answer::SYN_ACK);
    Ok(())
}

#[test]
fn native() -> Result<()> {
    need_root!();
    exercise(Options::default(), "native", "native", Xdp::Native)
}

#[test]
fn generic() -> Result<()> {
    need_root!();
    exercise(Options::default(), "generic", "generic", Xdp::Generic)
}

#[test]
fn tcx() -> Result<()> {
    need_root!();
    exercise(Options::default(), "tcx", "tcx", Xdp::Nothing)
}

#[test]
fn auto_takes_tcx_on_veth() -> Result<()> {
    need_root!();
    exercise(Options::default(), "auto", "tcx", Xdp::Nothing)
}

#[test]
fn native_without_offload() -> Result<()> {
    need_root!();
    let options = Options {
        offload: false,
        ..Options::default()
    };
    exercise(options, "native", "native", Xdp::Native)
}

#[test]
fn native_with_jumbo_frames() -> Result<()> {
    need_root!();
    let options = Options {
        mtu: Some(9000),
        ..Options::default()
    };
    exercise(options, "native", "native", Xdp::Native)
}

#[test]
fn another_xdp_program_is_named_and_left_alone() -> Result<()> {
    need_root!();
    let lab = Lab::new()?;
    let first = Site::in_lab(lab, |settings| settings.set("enforce.attach", "native"))?;
    // A second daemon: the first one's program is in its way.
    let root = tempfile::tempdir()?;
    let settings = ftp_tests::settings::Settings::anonymous(root.path())?
        .listen(&["10.77.0.1:2121".parse()?])?
        .set("passive.ports", "31000-31015")?
        .set("enforce.attach", "native")?;
    let Err(error) = ftp_tests::daemon::Daemon::start(&first.lab.server, &settings) else {
        anyhow::bail!("a second native XDP program was attached");
    };
    let error = format!("{error:#}");
    ensure!(
        error.contains("s0") && error.contains("tcx") && error.contains("xdp_admit"),
        "it names neither the interface, nor the program, nor the way out:\n{error}"
    );
    ensure!(xdp_of(&first.lab.server, "s0")? == Xdp::Native);
    let mut session = first.anonymous(Family::V4, 0)?;
    session.listing("LIST")?;
    // And with tcx both work side by side.
    let settings = settings.set("enforce.attach", "tcx")?;
    let second = ftp_tests::daemon::Daemon::start(&first.lab.server, &settings)?;
    session.listing("LIST")?;
    second.stop()
}
