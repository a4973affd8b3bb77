//! Limits of sessions and the memory of failed logins for two processes at a time: the old one tells the
//! new one how many sessions are left in it, at the handover and whenever that changes. The new one
//! counts them like its own until the old one has ended.
//!
//! A login in the old process, by a connection that it had accepted before, keeps to what is left there
//! and is told; it is not refused for sessions that the new one has.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::hash::Hash;
use std::io;
use std::net::IpAddr;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};

use super::admission::{Admission, Ticket};
use crate::channel::Channel;
use crate::remains::Told;
use crate::session::{Seat, Shared};

/// How long nobody is accepted because the old process has not said what there is.
const PATIENCE: Duration = Duration::from_secs(5);

/// Tells what is left here by `socket`, from now on to this process's end.
pub(super) fn tell(socket: OwnedFd, shared: &Shared, admission: &Admission) -> io::Result<()> {
    let channel = Channel::new(socket)?;
    let (sender, mut told) = mpsc::unbounded_channel();
    shared.failures.tell(&sender);
    shared.activity.tell(&sender);
    admission.tell(&sender);
    // The receiver is two lines below.
    let _ = sender.send(Told::Whole);
    tokio::spawn(async move {
        while let Some(told) = told.recv().await {
            if let Err(error) = channel.send(&told, None).await {
                tracing::warn!(%error, "the other process hears of this one's sessions no more");
                return;
            }
        }
    });
    Ok(())
}

/// Hears by `socket` what is left in the process before, until that has ended; returns when it has said
/// what there is.
pub(super) async fn hear(socket: OwnedFd, shared: &Arc<Shared>, admission: &Arc<Admission>) {
    let channel = match Channel::new(socket) {
        Ok(channel) => channel,
        Err(error) => {
            tracing::error!(%error, "sessions of the process before are not counted");
            return;
        }
    };
    let mut remains = Remains {
        shared: Arc::clone(shared),
        admission: Arc::clone(admission),
        addresses: HashMap::new(),
        accounts: HashMap::new(),
    };
    let (tell_whole, whole) = oneshot::channel();
    tokio::spawn(async move {
        let mut tell_whole = Some(tell_whole);
        loop {
            match channel.receive().await {
                Ok(Some((Told::Whole, _))) => drop(tell_whole.take()),
                Ok(Some((told, _))) => remains.take_in(told),
                Ok(None) => return,
                Err(error) => {
                    tracing::warn!(%error, "the process before is heard no more");
                    return;
                }
            }
        }
    });
    let heard = async { drop::<Result<(), _>>(whole.await) };
    if tokio::time::timeout(PATIENCE, heard).await.is_err() {
        tracing::warn!("the process before has not said what sessions are left there");
    }
}

/// What is left in the process before. Its drop takes it out of all counts.
struct Remains {
    shared: Arc<Shared>,
    admission: Arc<Admission>,
    addresses: HashMap<IpAddr, Vec<Ticket>>,
    accounts: HashMap<String, Vec<Seat>>,
}

impl Remains {
    fn take_in(&mut self, told: Told) {
        match told {
            Told::Address { client, sessions } => {
                let one = || self.admission.guest(client);
                set(self.addresses.entry(client), sessions, one);
            }
            Told::Account { name, sessions } => {
                let one = || self.shared.activity.seat(&name);
                set(self.accounts.entry(name.clone()), sessions, one);
            }
            Told::Failed(failed) => self.shared.failures.remember(&failed),
            Told::Whole => {}
        }
    }
}

/// Makes it so many.
fn set<K: Eq + Hash, T>(entry: Entry<'_, K, Vec<T>>, count: usize, one: impl FnMut() -> T) {
    match entry {
        Entry::Occupied(entry) if count == 0 => drop(entry.remove()),
        entry => entry.or_default().resize_with(count, one),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::Failures;
    use crate::config::{Anonymous, Config, Limits};
    use crate::generation::{Generation, Generations};
    use crate::pinholes::Pinholes;
    use crate::session::{Activity, Stop};
    use tokio::sync::watch;

    fn process() -> (Arc<Shared>, Arc<Admission>) {
        let root = tempfile::tempdir().unwrap();
        let mut config = Config {
            anonymous: Some(Anonymous::new(root.path())),
            ..Config::default()
        };
        config.enforce.enabled = false;
        let pinholes = Pinholes::listeners(&config);
        let generations = Generations::new(Generation::load(config).unwrap());
        let shared = Shared {
            newest: generations.follow(),
            activity: Activity::default(),
            failures: Failures::default(),
            pinholes,
            stop: watch::channel(Stop::No).1,
        };
        (Arc::new(shared), Arc::default())
    }

    fn limits(sessions: usize, sessions_per_address: usize) -> Limits {
        Limits {
            sessions,
            sessions_per_address,
            ..Config::default().limits
        }
    }

    /// Waits until so many sessions are counted, and no more.
    async fn until(admission: &Arc<Admission>, sessions: usize) {
        let client = "192.0.2.1".parse().unwrap();
        let refused = |most| admission.admit(client, &limits(most, 0)).is_err();
        let counted = async {
            while !((sessions == 0 || refused(sessions)) && !refused(sessions + 1)) {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(20), counted)
            .await
            .unwrap();
    }

    #[tokio::test]
    async fn what_is_left_in_one_process_counts_in_the_other_until_it_ends() {
        let (old, new) = (process(), process());
        let many = 0x0a00_0000..0x0a00_0000 + 10_000_u32;
        let admit = |address: u32| {
            let client = IpAddr::V4(address.into());
            old.1.admit(client, &limits(0, 0)).unwrap()
        };
        let mut tickets: Vec<_> = many.map(admit).collect();
        let seats = [old.0.activity.seat("alice"), old.0.activity.seat("alice")];
        let client = "192.0.2.7".parse().unwrap();
        drop(old.0.failures.attempt(client, b"alice").await.unwrap());

        let (here, there) = Channel::pair().unwrap();
        tell(here, &old.0, &old.1).unwrap();
        hear(there, &new.0, &new.1).await;
        // It is known when this returns.
        let first = new.1.admit("10.0.0.0".parse().unwrap(), &limits(0, 1));
        assert!(first.is_err());
        until(&new.1, 10_000).await;
        let attempt = new.0.failures.attempt(client, b"alice");
        let waits = tokio::time::timeout(Duration::ZERO, attempt).await;
        assert!(waits.is_err());
        assert_eq!(new.0.activity.sessions("alice"), 2);

        // Then what changes.
        drop(seats);
        tickets.truncate(1);
        until(&new.1, 1).await;
        assert_eq!(new.0.activity.sessions("alice"), 0);
        tickets.clear();
        until(&new.1, 0).await;

        // However a process ends, nothing of it is left.
        let (here, there) = Channel::pair().unwrap();
        let here = Channel::new(here).unwrap();
        let sessions = 3;
        let name = "bob".to_owned();
        let account = Told::Account { name, sessions };
        for told in [account, Told::Address { client, sessions }, Told::Whole] {
            here.send(&told, None).await.unwrap();
        }
        hear(there, &new.0, &new.1).await;
        until(&new.1, 3).await;
        drop(here);
        until(&new.1, 0).await;
        assert_eq!(new.0.activity.sessions("bob"), 0);
    }
}
