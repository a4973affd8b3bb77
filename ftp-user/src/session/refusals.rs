//! How many of a session's refusals are logged. What is refused costs a client next to nothing, so that one
//! alone could fill a disk, or have journald leave out the lines of everybody else.

use super::Session;
use super::told::Whose;
use std::time::Duration;
use tokio::time::Instant;

/// Lines that may come at once.
const AT_ONCE: u32 = 10;
/// In which time there may be one more.
const ONE_MORE: Duration = Duration::from_secs(1);

/// What a session has had logged of what it was refused.
#[derive(Debug, Default)]
pub(super) struct Refusals {
    /// Until when it has used up lines: each takes [`ONE_MORE`]. Nothing is logged while that is too
    /// far ahead.
    used: Option<Instant>,
    /// Those that were not logged, and not told of.
    left_out: u64,
}

impl Refusals {
    /// Whether one more may be logged now.
    fn admit(&mut self, now: Instant) -> bool {
        let used = self.used.map_or(now, |used| used.max(now)) + ONE_MORE;
        let admitted = used <= now + ONE_MORE * AT_ONCE;
        match admitted {
            true => self.used = Some(used),
            false => self.left_out += 1,
        }
        admitted
    }
}

impl<S> Session<S> {
    /// Whether a refusal is to be logged: to be asked for each. Before the first one after others that
    /// were not, how many those were is.
    pub(super) fn logs_refusal(&mut self) -> bool {
        let admitted = self.refusals.admit(Instant::now());
        if admitted {
            self.tell_left_out();
        }
        admitted
    }

    /// Logs how many refusals were not logged, if there are any; at the end of a session, too.
    pub(super) fn tell_left_out(&mut self) {
        let left_out = std::mem::take(&mut self.refusals.left_out);
        if left_out > 0 {
            let Whose { session, client } = self.whose();
            let user = self.who();
            tracing::warn!(session, %client, user, left_out, "more was refused than is logged");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn some_at_once_then_one_each_second() {
        let start = Instant::now();
        let mut refusals = Refusals::default();
        let mut admitted = |after: Duration| {
            let admitted = (0..100).filter(|_| refusals.admit(start + after));
            let admitted = admitted.count();
            (admitted, std::mem::take(&mut refusals.left_out))
        };
        assert_eq!(admitted(Duration::ZERO), (10, 90));
        assert_eq!(admitted(Duration::from_millis(999)), (0, 100));
        assert_eq!(admitted(Duration::from_secs(3)), (3, 97));
        // What is not used is not saved up without end.
        assert_eq!(admitted(Duration::from_secs(1000)), (10, 90));
    }
}
