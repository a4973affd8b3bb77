//! The last words of a thread that panics, as an event like all others: the library prints them to
//! standard error itself, as text, past whoever carries the log.

use std::backtrace::{Backtrace, BacktraceStatus};
use std::panic::{self, PanicHookInfo};
use std::thread;

use tracing::Level;

use crate::stderr;

/// From now on panics are logged; where nothing is, the library tells of them as before.
pub(super) fn log() {
    let before = panic::take_hook();
    panic::set_hook(Box::new(move |panic| {
        match tracing::enabled!(Level::ERROR) {
            true => tell(panic),
            false => before(panic),
        }
    }));
}

fn tell(panic: &PanicHookInfo<'_>) {
    let place = panic.location().map(ToString::to_string);
    let thread = thread::current();
    // If RUST_BACKTRACE wants one.
    let backtrace = Backtrace::capture();
    let captured = backtrace.status() == BacktraceStatus::Captured;
    let backtrace = captured.then(|| backtrace.to_string());
    // panic! makes either of them.
    let words = panic.payload();
    let words = words
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| words.downcast_ref::<String>().map(String::as_str));
    tracing::error!(
        place,
        thread = thread.name(),
        backtrace,
        "this is a defect of Pinhole's (panic): {}",
        words.unwrap_or("without words")
    );
    // The process may end with it.
    stderr::flush();
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;
    use crate::cli::log::tests::logging;
    use crate::config::LogFormat;

    /// Set where the test is to panic.
    const CHILD: &str = "PINHOLE_TEST_PANICS";

    /// In a process of its own: there is one hook, and one log.
    #[test]
    fn a_panic_is_an_event_with_its_place() {
        if std::env::var_os(CHILD).is_some() {
            logging("info").start_for_long(LogFormat::Json).unwrap();
            let doomed = thread::Builder::new().name("doomed".to_owned());
            let doomed = doomed.spawn(|| panic!("as \"it\" should"));
            doomed.unwrap().join().unwrap_err();
            return;
        }
        let mut child = Command::new(std::env::current_exe().unwrap());
        let name = "cli::log::panics::tests::a_panic_is_an_event_with_its_place";
        child.args(["--exact", name, "--nocapture"]);
        child.env(CHILD, "1").env("RUST_BACKTRACE", "0");
        child.env_remove("JOURNAL_STREAM");
        let ended = child.output().unwrap();
        let said = String::from_utf8(ended.stderr).unwrap();
        assert!(ended.status.success(), "{said}");
        let events: Vec<serde_json::Value> = said
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect();
        let [event] = events.as_slice() else {
            unreachable!("{said}")
        };
        assert_eq!(event["level"], "ERROR");
        assert_eq!(event["thread"], "doomed");
        let message = event["message"].as_str().unwrap();
        assert!(message.ends_with("(panic): as \"it\" should"), "{said}");
        let place = event["place"].as_str().unwrap();
        assert!(place.contains("log/panics.rs:"), "{said}");
    }
}
