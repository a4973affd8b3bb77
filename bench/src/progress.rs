//! How far a scenario is, and how long it will still take: what its rounds have taken so far says that.
//! An estimate over the last seconds, which progress bars make by themselves, knows nothing of rounds of
//! minutes.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use indicatif::{HumanDuration, ProgressBar, ProgressState, ProgressStyle};

/// A scenario under way, as the terminal shows it: a bar, or lines where there is no terminal.
pub(crate) struct Progress {
    name: String,
    rounds: u32,
    longest: Option<Duration>,
    began: Instant,
    bar: ProgressBar,
    /// From the beginning to the expected end.
    expected: Arc<Mutex<Option<Duration>>>,
}

impl Progress {
    /// Begins now. No round begins after `longest`.
    pub(crate) fn of(name: &str, rounds: u32, longest: Option<Duration>) -> Self {
        let bar = ProgressBar::new(u64::from(rounds));
        let expected = Arc::new(Mutex::new(None));
        let known = Arc::clone(&expected);
        let left = move |state: &ProgressState, text: &mut dyn std::fmt::Write| {
            let expected = *known.lock().unwrap_or_else(PoisonError::into_inner);
            // What cannot be shown is not worth an end.
            let _ = text.write_str(&left(expected, state.elapsed()));
        };
        if let Ok(style) =
            ProgressStyle::with_template("{prefix:>12}  {bar:30} round {pos} of {len}{left}")
        {
            bar.set_style(style.with_key("left", left));
        }
        bar.set_prefix(name.to_owned());
        bar.enable_steady_tick(Duration::from_millis(200));
        Self {
            name: name.to_owned(),
            rounds,
            longest,
            began: Instant::now(),
            bar,
            expected,
        }
    }

    /// Whether there is time for another round after `done` of them. There always is for the first.
    pub(crate) fn has_time(&self, done: u32) -> bool {
        let late = |longest| self.began.elapsed() > longest;
        done == 0 || !self.longest.is_some_and(late)
    }

    /// So many rounds are over.
    pub(crate) fn done(&self, rounds: u32) {
        let elapsed = self.began.elapsed();
        let expected = expected(elapsed, rounds, self.rounds, self.longest);
        *self.expected.lock().unwrap_or_else(PoisonError::into_inner) = Some(expected);
        self.bar.set_position(u64::from(rounds));
        if self.bar.is_hidden() {
            let (name, all, left) = (&self.name, self.rounds, left(Some(expected), elapsed));
            eprintln!("{name:>12}  round {rounds} of {all}{left}");
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

/// How long all rounds take that there will be, if they take as long as the first `done`.
fn expected(elapsed: Duration, done: u32, rounds: u32, longest: Option<Duration>) -> Duration {
    let each = elapsed / done.max(1);
    let mut will_be = rounds;
    if let Some(longest) = longest
        && !each.is_zero()
    {
        // The last one begins within that time.
        let begin_within = longest.as_nanos() / each.as_nanos() + 1;
        will_be = will_be.min(u32::try_from(begin_within).unwrap_or(u32::MAX));
    }
    each * will_be.max(done)
}

fn left(expected: Option<Duration>, elapsed: Duration) -> String {
    let Some(expected) = expected else {
        return String::new();
    };
    let left = HumanDuration(expected.saturating_sub(elapsed));
    format!(", {left} left")
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    #[test]
    fn rounds_to_come_take_as_long_as_those_before() {
        assert_eq!(expected(3 * MINUTE, 1, 15, None), 45 * MINUTE);
        assert_eq!(expected(6 * MINUTE, 3, 15, None), 30 * MINUTE);
        assert_eq!(expected(6 * MINUTE, 3, 3, None), 6 * MINUTE);
        assert_eq!(expected(Duration::ZERO, 1, 3, Some(MINUTE)), Duration::ZERO);
    }

    #[test]
    fn none_begins_once_the_longest_time_is_over() {
        // At 0, 3, 6, 9 and 12 minutes.
        let fifteen = Some(14 * MINUTE);
        assert_eq!(expected(3 * MINUTE, 1, 15, fifteen), 15 * MINUTE);
        assert_eq!(expected(3 * MINUTE, 1, 2, fifteen), 6 * MINUTE);
        // It took longer than that already.
        assert_eq!(expected(3 * MINUTE, 1, 15, Some(MINUTE)), 3 * MINUTE);
    }

    #[test]
    fn nothing_is_said_before_anything_is_known() {
        assert_eq!(left(None, MINUTE), "");
        assert_eq!(left(Some(3 * MINUTE), MINUTE), ", 2 minutes left");
        assert_eq!(left(Some(MINUTE), 3 * MINUTE), ", 0 seconds left");
    }
}
