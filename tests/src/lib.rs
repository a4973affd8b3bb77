//! The harness of Pinhole's end-to-end tests: network namespaces, the daemon, real clients, raw
//! packets and counters. Scenarios live in `tests/`; nothing here knows what a scenario wants.
//!
//! Three rules keep the suite honest. Nothing sleeps to synchronise: it waits for a condition
//! until a deadline ([`wait::until`]). A claim that nothing was answered rests on a canary that was
//! ([`wire::Wire::probe`]), not on a short silence. And nothing outlives the test process, even
//! when it is killed: namespaces are file descriptors, children die with their parent.

pub mod bpffs;
pub mod cases;
pub mod certificate;
pub mod clients;
pub mod control;
pub mod counters;
pub mod crowd;
pub mod daemon;
pub mod debian;
pub mod files;
pub mod frame;
pub mod guarded;
pub mod lab;
pub mod maps;
pub mod namespace;
pub mod peer;
pub mod process;
pub mod pypi;
pub mod settings;
pub mod site;
pub mod trace;
pub mod tunnel;
pub mod wait;
pub mod wire;

/// Leaves the test with its reason said; fails instead where `PINHOLE_NO_SKIP=1` (CI sets it).
///
/// The test must return `anyhow::Result<()>`.
#[macro_export]
macro_rules! skip {
    ($($reason:tt)*) => {{
        let reason = format!($($reason)*);
        if std::env::var_os("PINHOLE_NO_SKIP").is_some_and(|value| value == "1") {
            anyhow::bail!("would be skipped, and PINHOLE_NO_SKIP=1 forbids it: {reason}");
        }
        eprintln!("SKIPPED {}:{}: {reason}", file!(), line!());
        return Ok(());
    }};
}

/// Skips a test that needs root (namespaces, raw sockets, eBPF) when there is none.
#[macro_export]
macro_rules! need_root {
    () => {
        if !rustix::process::geteuid().is_root() {
            $crate::skip!("needs root: it makes network namespaces and loads eBPF programs");
        }
    };
}
