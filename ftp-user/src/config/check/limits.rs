//! The `[timeouts]` and `[limits]` sections.

use super::{
    super::{Limits, Timeouts, file},
    Check,
};

impl Check<'_> {
    pub(super) fn timeouts(&mut self, given: file::Timeouts) -> Timeouts {
        let mut timeouts = Timeouts::default();
        self.duration(given.idle, &mut timeouts.idle, 1);
        self.duration(given.login, &mut timeouts.login, 1);
        self.duration(given.stall, &mut timeouts.stall, 1);
        self.duration(given.drain, &mut timeouts.drain, 0);
        self.duration(given.restart, &mut timeouts.restart, 0);
        self.duration(given.takeover, &mut timeouts.takeover, 1);
        timeouts
    }

    pub(super) fn limits(&mut self, given: file::Limits) -> Limits {
        let mut limits = Limits {
            account: given.account,
            ..Limits::default()
        };
        let (most, what) = (1 << 24, "the number of sessions");
        self.number(given.sessions, &mut limits.sessions, 0..=most, what);
        let per_address = &mut limits.sessions_per_address;
        self.number(given.sessions_per_address, per_address, 0..=most, what);
        let (failures, what) = (&mut limits.login_failures, "the number of failed logins");
        self.number(given.login_failures, failures, 1..=1000, what);
        let (entries, what) = (&mut limits.recursive_entries, "the number of entries");
        self.number(given.recursive_entries, entries, 0..=1 << 20, what);
        let (depth, what) = (&mut limits.recursive_depth, "the number of directories");
        self.number(given.recursive_depth, depth, 0..=1 << 10, what);
        limits
    }
}
