//! The table of packet cases over the decision itself, and over the programs as the kernel runs
//! them (BPF_PROG_TEST_RUN): all three must say what the table says.

use anyhow::{Result, ensure};
use ftp_ebpf::decide;
use ftp_tests::cases::{self, Case, Memory};

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

#[test]
fn on_the_host() -> Result<()> {
    let all = cases::all();
    let wrong: Vec<String> = all
        .iter()
        .filter_map(|case| {
            let memory = Memory::new(&case.host);
            let outcome = decide::admit(&case.frame.as_slice(), &memory);
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
        })
        .collect();
    report("decide", &wrong, all.len())
}
