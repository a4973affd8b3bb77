//! How many sessions there may be at one time, in all and from one address; IPv6 addresses of one host
//! are one.

use crate::config::Limits;
use crate::origin;
use crate::remains::{Teller, Told};
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::mpsc::UnboundedSender;

/// Counts sessions against the limits.
#[derive(Debug, Default)]
pub(super) struct Admission {
    counts: Mutex<Counts>,
    teller: Teller,
}

#[derive(Debug, Default)]
struct Counts {
    all: usize,
    /// By the network that an address stands for.
    by_address: HashMap<IpAddr, usize>,
}

impl Admission {
    /// Lets a session in, or says why not. The limits may be others each time; who is in stays.
    pub(super) fn admit(
        self: &Arc<Self>,
        client: IpAddr,
        limits: &Limits,
    ) -> Result<Ticket, &'static str> {
        let reached = |limit: usize, count: usize| limit != 0 && count >= limit;
        let client = origin::network(client);
        let mut counts = self.lock();
        if reached(limits.sessions, counts.all) {
            return Err("Too many sessions; try again later.");
        }
        let here = counts.by_address.get(&client).copied().unwrap_or(0);
        if reached(limits.sessions_per_address, here) {
            return Err("Too many sessions from your address.");
        }
        counts.add(client);
        Ok(self.ticket(client))
    }

    /// Counts a session of another process.
    pub(super) fn guest(self: &Arc<Self>, client: IpAddr) -> Ticket {
        let client = origin::network(client);
        self.lock().add(client);
        self.ticket(client)
    }

    /// From now on, how many there are is told; at first of all, then of each that changes. Nobody is
    /// admitted any more.
    pub(super) fn tell(&self, told: &UnboundedSender<Told>) {
        let counts = self.lock();
        self.teller.begin(told);
        for (&client, &sessions) in &counts.by_address {
            self.teller.tell(|| Told::Address { client, sessions });
        }
    }

    fn ticket(self: &Arc<Self>, client: IpAddr) -> Ticket {
        Ticket {
            admission: Arc::clone(self),
            client,
        }
    }

    fn lock(&self) -> MutexGuard<'_, Counts> {
        // Counts are whole after every operation on them.
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Counts {
    fn add(&mut self, client: IpAddr) {
        self.all += 1;
        *self.by_address.entry(client).or_default() += 1;
    }

    /// How many of the address are left.
    fn remove(&mut self, client: IpAddr) -> usize {
        self.all = self.all.saturating_sub(1);
        let Entry::Occupied(mut here) = self.by_address.entry(client) else {
            return 0;
        };
        *here.get_mut() = here.get().saturating_sub(1);
        match *here.get() {
            0 => here.remove(),
            left => left,
        }
    }
}

/// One admitted session; its drop makes room.
#[derive(Debug)]
pub(super) struct Ticket {
    admission: Arc<Admission>,
    client: IpAddr,
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let client = self.client;
        let mut counts = self.admission.lock();
        let sessions = counts.remove(client);
        // Under the lock: what is told last is so.
        self.admission
            .teller
            .tell(|| Told::Address { client, sessions });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    fn limits(sessions: usize, sessions_per_address: usize) -> Limits {
        Limits {
            sessions,
            sessions_per_address,
            ..Config::default().limits
        }
    }

    #[test]
    fn limits_hold_until_a_session_ends() {
        let (a, b) = ("192.0.2.1".parse().unwrap(), "192.0.2.2".parse().unwrap());
        let (admission, limits) = (Arc::new(Admission::default()), limits(2, 1));
        let first = admission.admit(a, &limits).unwrap();
        let refused = admission.admit(a, &limits).unwrap_err();
        assert!(refused.contains("your address"));
        let _second = admission.admit(b, &limits).unwrap();
        assert!(admission.admit("::1".parse().unwrap(), &limits).is_err());
        drop(first);
        assert!(admission.admit(a, &limits).is_ok());
        assert_eq!(admission.lock().by_address.len(), 1);
    }

    #[test]
    fn a_host_has_one_limit_for_all_of_its_addresses() {
        let (admission, limits) = (Arc::new(Admission::default()), limits(0, 2));
        let admit = |client: &str| admission.admit(client.parse().unwrap(), &limits);
        let first = admit("2001:db8::1").unwrap();
        let _guest = admission.guest("2001:db8::2".parse().unwrap());
        assert!(admit("2001:db8::3").is_err());
        let _neighbour = admit("2001:db8:0:1::1").unwrap();
        drop(first);
        assert!(admit("2001:db8::3").is_ok());
    }

    #[test]
    fn zero_is_no_limit() {
        let admission = Arc::new(Admission::default());
        let client = "192.0.2.1".parse().unwrap();
        let admit = |_| admission.admit(client, &limits(0, 0)).unwrap();
        let tickets: Vec<_> = (0..100).map(admit).collect();
        assert_eq!(admission.lock().all, tickets.len());
        // A lower limit turns nobody out.
        assert!(admission.admit(client, &limits(100, 0)).is_err());
    }
}
