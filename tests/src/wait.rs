//! Waiting for something to become true, with a deadline. The only place that pauses.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};

/// How long anything that should happen soon may take on a slow, busy machine.
pub const SOON: Duration = Duration::from_secs(20);

/// Waits until `condition` holds; fails after [`SOON`], naming `what`.
pub fn until(what: &str, condition: impl FnMut() -> bool) -> Result<()> {
    until_within(SOON, what, condition)
}

/// Waits until `condition` holds; fails after `limit`, naming `what`.
pub fn until_within(
    limit: Duration,
    what: &str,
    mut condition: impl FnMut() -> bool,
) -> Result<()> {
    poll_within(limit, what, || Ok(condition().then_some(())))
}

/// Asks `condition` until it answers with a value; fails after `limit`, naming `what`, or as soon
/// as the condition itself fails.
pub fn poll_within<T>(
    limit: Duration,
    what: &str,
    mut condition: impl FnMut() -> Result<Option<T>>,
) -> Result<T> {
    let deadline = Instant::now() + limit;
    let mut pause = Duration::from_millis(1);
    loop {
        if let Some(value) = condition()? {
            return Ok(value);
        }
        if Instant::now() >= deadline {
            bail!("not within {limit:?}: {what}");
        }
        std::thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(20));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_condition_that_never_holds_names_itself() {
        let error = until_within(Duration::from_millis(5), "pigs fly", || false).unwrap_err();
        assert!(error.to_string().contains("pigs fly"), "{error}");
    }

    #[test]
    fn a_condition_that_comes_true_ends_the_wait() {
        let mut calls = 0;
        let met = until("third call", || {
            calls += 1;
            calls == 3
        });
        assert!(met.is_ok());
        assert_eq!(calls, 3);
    }
}
