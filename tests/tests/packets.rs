//! The table of packet cases over the decision itself, and over the programs as the kernel runs
//! them (BPF_PROG_TEST_RUN): all three must say what the table says.

use std::collections::BTreeMap;

use anyhow::{Result, ensure};
use ftp_ebpf::{
    decide,
    packet::LinkLayer,
    reason::{Action, Reason},
};
use ftp_tests::{
    cases::{self, Case, Loaded, Memory, Sockets, Verdict},
    need_root,
};
use ftp_user::pinholes::kernel::dry_run::Lock;

/// Fails with every case that went wrong, not only the first.
fn report(what: &str, wrong: &[String], of: usize) -> Result<()> {
    ensure!(
        wrong.is_empty(),
        "{what}: {} of {of} cases went wrong:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
    Ok(())
}

/// Who must have the case's pinholes after its packet.
fn claims_after(case: &Case) -> Vec<Option<u16>> {
    let mut claims: Vec<_> = case
        .host
        .holes
        .iter()
        .map(|hole| hole.taken.port())
        .collect();
    if let (Some(first), Some(_)) = (claims.first_mut(), case.takes) {
        *first = case.takes;
    }
    claims
}

/// What is wrong with the decision about a case's packet, if anything.
fn judge(case: &Case, packet: &[u8], link: LinkLayer) -> Option<String> {
    let memory = Memory::new(&case.host);
    let outcome = decide::admit(&packet, link, &memory);
    let (claims, expected) = (memory.claims(), claims_after(case));
    let right = outcome.reason == case.expected
        && outcome.took == case.takes.is_some()
        && claims == expected;
    (!right).then(|| {
        format!(
            "{}: {:?}, claims {claims:?}, instead of {:?}, claims {expected:?}",
            case.name, outcome.reason, case.expected
        )
    })
}

#[test]
fn on_the_host() -> Result<()> {
    let all = cases::all();
    let wrong: Vec<String> = all
        .iter()
        .filter_map(|case| judge(case, &case.frame, LinkLayer::Ethernet))
        .collect();
    report("decide", &wrong, all.len())
}

/// What comes out of a tunnel is judged as it would be behind an Ethernet header.
#[test]
fn on_the_host_without_ethernet_headers() -> Result<()> {
    let all = cases::all();
    let bare: Vec<(&Case, &[u8])> = all
        .iter()
        .filter_map(|case| Some((case, without_ethernet(&case.frame)?)))
        .collect();
    ensure!(
        bare.len() > all.len() * 3 / 4,
        "only {} of {} cases have an Ethernet header to take away",
        bare.len(),
        all.len()
    );
    let wrong: Vec<String> = bare
        .iter()
        .filter_map(|(case, packet)| judge(case, packet, LinkLayer::None))
        .collect();
    report("decide, without Ethernet headers", &wrong, bare.len())
}

/// The IP packet in an untagged frame, if its version is the one that the frame says.
fn without_ethernet(frame: &[u8]) -> Option<&[u8]> {
    let version = match frame.get(12..14)? {
        [0x08, 0x00] => 4,
        [0x86, 0xdd] => 6,
        _ => return None,
    };
    let packet = frame.get(14..)?;
    // One that is cut off so early is `Truncated` either way, and has no version to look at.
    packet
        .first()
        .is_none_or(|first| first >> 4 == version)
        .then_some(packet)
}

#[test]
fn through_the_loaded_programs() -> Result<()> {
    need_root!();
    let all = cases::all();
    let mut by_prefixes: BTreeMap<(u8, u8), Vec<&Case>> = BTreeMap::new();
    for case in &all {
        let group = by_prefixes.entry(case.host.prefixes).or_default();
        group.push(case);
    }
    let sockets = Sockets::open()?;
    let mut wrong = Vec::new();
    let mut runs = 0;
    for (prefixes, cases) in by_prefixes {
        // Programs look sockets up in the namespace of whoever runs them.
        sockets.namespace.run(|| -> Result<()> {
            let mut loaded = Loaded::new(prefixes)?;
            for case in cases {
                for lock in [Lock::Xdp, Lock::Tcx] {
                    if !can_test_run(lock, &case.frame) {
                        continue;
                    }
                    runs += 1;
                    let expected = Verdict {
                        passed: passes(case.expected),
                        counted: vec![case.expected],
                        claims: claims_after(case),
                    };
                    let found = loaded.run(lock, case)?;
                    if found != expected {
                        let name = &case.name;
                        wrong.push(format!("{lock:?}, {name}: {found:?}, not {expected:?}"));
                    }
                }
            }
            Ok(())
        })??;
    }
    ensure!(
        runs > 2 * all.len() * 4 / 5,
        "only {runs} of twice {} cases could be run",
        all.len()
    );
    report("loaded programs", &wrong, runs)
}

/// The kernel test-runs no frame without anything behind the Ethernet header, and tcx programs on no
/// packet without its network header (net/bpf/test_run.c). Such frames only the other runs judge.
fn can_test_run(lock: Lock, frame: &[u8]) -> bool {
    let network = match (lock, frame.get(12..14)) {
        (Lock::Tcx, Some([0x08, 0x00])) => 20,
        (Lock::Tcx, Some([0x86, 0xdd])) => 40,
        (Lock::Tcx | Lock::Xdp, _) => 1,
    };
    frame.len() >= 14 + network
}

fn passes(reason: Reason) -> bool {
    match reason.action() {
        Action::Pass | Action::Admit => true,
        Action::Drop => false,
    }
}
