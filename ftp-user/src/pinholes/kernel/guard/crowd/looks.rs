//! When the servers' descriptors are looked at: a few times after each control connection, and never
//! more often than now and then. Pure, but for the clock's type.

use std::time::Duration;

use tokio::time::Instant;

/// When to look after a control connection has come: the server has not accepted it yet.
const LOOKS: [Duration; 4] = [
    Duration::from_millis(1),
    Duration::from_millis(20),
    Duration::from_millis(200),
    Duration::from_secs(1),
];

/// Between two looks, however many connections come.
const PAUSE: Duration = Duration::from_millis(20);

/// When to look at the servers.
pub(super) struct Looks {
    pub(super) due: Option<Instant>,
    next: usize,
    last: Instant,
}

impl Looks {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            due: None,
            next: 0,
            last: now,
        }
    }

    pub(super) fn arrived(&mut self, now: Instant) {
        // One that is due is not put off: connections may never stop coming.
        if self.due.is_none() {
            self.due = Some((now + LOOKS[0]).max(self.last + PAUSE));
        }
        self.next = 1;
    }

    pub(super) fn looked(&mut self, now: Instant) {
        self.last = now;
        self.due = LOOKS.get(self.next).map(|later| now + *later);
        self.next += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn looks_follow_arrivals_but_never_crowd_each_other() {
        let start = Instant::now();
        let ms = |ms| start + Duration::from_millis(ms);
        let mut looks = Looks::new(start);
        assert_eq!(looks.due, None);
        looks.arrived(ms(100));
        assert_eq!(looks.due, Some(ms(101)));
        looks.arrived(ms(100));
        looks.looked(ms(101));
        assert_eq!(looks.due, Some(ms(121)));
        looks.looked(ms(121));
        assert_eq!(looks.due, Some(ms(321)));
        looks.arrived(ms(322));
        assert_eq!(looks.due, Some(ms(321)), "not put off");
        looks.looked(ms(323));
        assert_eq!(looks.due, Some(ms(343)), "the newcomer gets its looks");
        for due in [543, 1543] {
            looks.looked(looks.due.unwrap());
            assert_eq!(looks.due, Some(ms(due)));
        }
        looks.looked(ms(1543));
        assert_eq!(looks.due, None, "and then there is peace");
        looks.arrived(ms(1544));
        assert_eq!(looks.due, Some(ms(1563)));
    }
}
