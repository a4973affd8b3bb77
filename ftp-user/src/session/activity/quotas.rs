//! What accounts keep, by account and root, counted here or by another process. What a quota is and how
//! it is counted is `vfs`'s.

use crate::vfs::{Counter, Quota, lend};
use std::collections::HashMap;
use std::io;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// What all accounts keep.
#[derive(Debug, Default)]
pub(crate) struct Quotas(Mutex<Counted>);

#[derive(Debug, Default)]
struct Counted {
    by_root: HashMap<(String, PathBuf), Arc<Quota>>,
    /// Another process counts.
    elsewhere: Option<Arc<Counter>>,
}

impl Quotas {
    /// What an account keeps beneath a root.
    pub(super) fn of(&self, account: &str, root: &Path) -> Arc<Quota> {
        let mut counted = self.lock();
        let Counted { by_root, elsewhere } = &mut *counted;
        let key = (account.to_owned(), root.to_owned());
        let quota = by_root.entry(key).or_insert_with(|| {
            let quota = Arc::new(Quota::default());
            if let Some(counter) = elsewhere {
                quota.leave_to(counter, account, root.to_owned());
            }
            quota
        });
        Arc::clone(quota)
    }

    /// Has everything counted again by the account's next session.
    pub(crate) fn expire(&self) {
        for quota in self.lock().by_root.values() {
            quota.expire();
        }
    }

    /// From here on another process counts, which is asked by this socket. Blocks until all changes
    /// that are under way are over, and holds up nobody meanwhile.
    pub(crate) fn leave(&self, socket: UnixStream) -> io::Result<()> {
        let counter = Arc::new(Counter::new(socket)?);
        let known = {
            let mut counted = self.lock();
            counted.elsewhere = Some(Arc::clone(&counter));
            counted.by_root.clone()
        };
        for ((account, root), quota) in known {
            quota.leave_to(&counter, &account, root);
        }
        Ok(())
    }

    /// Counts for another process, which asks by this socket, until it has ended. Blocks.
    pub(crate) fn count_for(&self, socket: UnixStream) -> io::Result<()> {
        lend(socket, |account, root| {
            let quota = self.of(account, &root);
            quota.begin_at(&root);
            quota
        })
    }

    fn lock(&self) -> MutexGuard<'_, Counted> {
        // A map is whole after every operation on it.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
