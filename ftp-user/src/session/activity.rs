//! What accounts use at this moment, over all of their sessions: how many there are, the rates they
//! share, and what they keep. Survives a change of the accounts' settings.

mod quotas;

use crate::auth::Account;
use crate::config::{AccountLimits, Uploads, amount, limit};
use crate::remains::{Teller, Told};
use crate::transfer::{Bucket, Rates};
use crate::vfs::{Quota, QuotaLimits, Rules};
use quotas::Quotas;
use std::collections::HashMap;
use std::num::NonZeroU64;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::mpsc::UnboundedSender;

/// What all accounts use that have limits. The others are not in it and cost nothing.
#[derive(Debug, Default)]
pub struct Activity {
    accounts: Mutex<HashMap<String, Arc<Usage>>>,
    /// What they keep.
    pub(crate) quotas: Quotas,
    teller: Teller,
}

/// What one account uses.
#[derive(Debug)]
struct Usage {
    name: String,
    teller: Teller,
    counts: Mutex<Counts>,
}

#[derive(Debug)]
struct Counts {
    sessions: usize,
    /// What the buckets were made for.
    limits: AccountLimits,
    upload: Option<Arc<Bucket>>,
    download: Option<Arc<Bucket>>,
    /// Of what is beneath this root.
    root: PathBuf,
    quota: Arc<Quota>,
}

/// The account has as many sessions as it may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct TooManySessions(pub(super) u64);

/// One of the sessions that an account may have; its drop makes room for another.
#[derive(Debug)]
pub(crate) struct Seat(Arc<Usage>);

/// A session of an account with limits.
#[derive(Debug)]
pub(super) struct Presence {
    _seat: Seat,
    quota: Arc<Quota>,
    /// What uploads keep to.
    pub(super) upload: Option<Arc<Rates>>,
    /// What downloads and listings keep to.
    pub(super) download: Option<Arc<Rates>>,
}

impl Activity {
    /// Counts one more session of an account, if it has limits.
    pub(super) fn enter(&self, account: &Account) -> Result<Option<Presence>, TooManySessions> {
        let limits = account.limits;
        if limits.is_default() {
            return Ok(None);
        }
        let usage = {
            let mut accounts = self.accounts();
            let usage = accounts.entry(account.name.clone());
            let quota = || self.quotas.of(&account.name, &account.root);
            let new = || Arc::new(Usage::new(account, quota(), self.teller.clone()));
            Arc::clone(usage.or_insert_with(new))
        };
        let mut counts = usage.lock();
        let most = limit(limits.sessions);
        if let Some(most) = most.filter(|most| counts.sessions as u64 >= most.get()) {
            return Err(TooManySessions(most.get()));
        }
        let seat = usage.seat(&mut counts);
        if counts.root != account.root {
            counts.quota = self.quotas.of(&account.name, &account.root);
        }
        counts.keep_to(account);
        let rates = |own, shared: &Option<Arc<Bucket>>| {
            let own = amount(own).map(|rate| Arc::new(Bucket::new(rate)));
            let buckets: Vec<_> = own.into_iter().chain(shared.clone()).collect();
            (!buckets.is_empty()).then(|| Arc::new(Rates { buckets }))
        };
        let upload = rates(limits.session_upload_rate, &counts.upload);
        let download = rates(limits.session_download_rate, &counts.download);
        let quota = Arc::clone(&counts.quota);
        drop(counts);
        Ok(Some(Presence {
            _seat: seat,
            quota,
            upload,
            download,
        }))
    }

    /// Counts a session of another process.
    pub(crate) fn seat(&self, name: &str) -> Seat {
        let usage = {
            let mut accounts = self.accounts();
            let usage = accounts.entry(name.to_owned());
            let new = || Arc::new(Usage::unknown(name, self.teller.clone()));
            Arc::clone(usage.or_insert_with(new))
        };
        let mut counts = usage.lock();
        usage.seat(&mut counts)
    }

    /// From now on, how many sessions there are is told; at first of all, then of each that changes.
    pub(crate) fn tell(&self, told: &UnboundedSender<Told>) {
        let accounts = self.accounts();
        self.teller.begin(told);
        for usage in accounts.values() {
            let counts = usage.lock();
            if counts.sessions > 0 {
                usage.tell(&counts);
            }
        }
    }

    #[cfg(test)]
    pub(crate) fn sessions(&self, name: &str) -> usize {
        let usage = self.accounts().get(name).cloned();
        usage.map_or(0, |usage| usage.lock().sessions)
    }

    fn accounts(&self) -> MutexGuard<'_, HashMap<String, Arc<Usage>>> {
        // A map is whole after every operation on it.
        self.accounts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Usage {
    fn new(account: &Account, quota: Arc<Quota>, teller: Teller) -> Usage {
        let limits = account.limits;
        Usage {
            name: account.name.clone(),
            teller,
            counts: Mutex::new(Counts {
                sessions: 0,
                limits,
                upload: bucket(amount(limits.upload_rate)),
                download: bucket(amount(limits.download_rate)),
                root: account.root.clone(),
                quota,
            }),
        }
    }

    /// Of an account that no session of this process has been of.
    fn unknown(name: &str, teller: Teller) -> Usage {
        Usage {
            name: name.to_owned(),
            teller,
            counts: Mutex::new(Counts {
                sessions: 0,
                limits: AccountLimits::default(),
                upload: None,
                download: None,
                root: PathBuf::new(),
                quota: Arc::default(),
            }),
        }
    }

    fn seat(self: &Arc<Self>, counts: &mut Counts) -> Seat {
        counts.sessions += 1;
        self.tell(counts);
        Seat(Arc::clone(self))
    }

    /// Under the lock: what is told last is so.
    fn tell(&self, counts: &Counts) {
        self.teller.tell(|| Told::Account {
            name: self.name.clone(),
            sessions: counts.sessions,
        });
    }

    fn lock(&self) -> MutexGuard<'_, Counts> {
        // Counts are whole after every operation on them.
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Counts {
    /// New settings get new buckets; sessions that run keep to those that they began with, and to the
    /// count of the root that they began with.
    fn keep_to(&mut self, account: &Account) {
        let limits = account.limits;
        self.root.clone_from(&account.root);
        if self.limits.upload_rate != limits.upload_rate {
            self.upload = bucket(amount(limits.upload_rate));
        }
        if self.limits.download_rate != limits.download_rate {
            self.download = bucket(amount(limits.download_rate));
        }
        self.limits = limits;
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut counts = self.0.lock();
        counts.sessions = counts.sessions.saturating_sub(1);
        self.0.tell(&counts);
    }
}

fn bucket(rate: Option<NonZeroU64>) -> Option<Arc<Bucket>> {
    rate.map(|rate| Arc::new(Bucket::new(rate)))
}

/// What a session's uploads have to keep to; `None` if nothing.
pub(super) fn rules(
    account: &Account,
    presence: Option<&Presence>,
    uploads: &Uploads,
) -> Option<Arc<Rules>> {
    let limits = QuotaLimits {
        bytes: amount(account.limits.quota_bytes),
        files: limit(account.limits.quota_files),
    };
    // Who can add nothing needs no count.
    let rights = account.rights;
    let adds = rights.write || rights.append || rights.mkdir;
    let quota = presence.filter(|_| adds && limits != QuotaLimits::default());
    let rules = Rules {
        file_size: amount(account.limits.file_size),
        quota: quota.map(|presence| (Arc::clone(&presence.quota), limits)),
        atomic: uploads.atomic,
        sync: uploads.sync,
        remove_aborted: uploads.remove_aborted,
    };
    (!rules.are_none()).then(|| Arc::new(rules))
}

#[cfg(test)]
mod tests;
