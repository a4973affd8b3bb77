//! What accounts use at this moment, over all of their sessions: how many there are, the rates they
//! share, and what they keep. Survives a change of the accounts' settings.

use crate::auth::Account;
use crate::config::{AccountLimits, Uploads, amount, limit};
use crate::transfer::{Bucket, Rates};
use crate::vfs::{Quota, QuotaLimits, Rules};
use std::collections::HashMap;
use std::num::NonZeroU64;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// What all accounts use that have limits. The others are not in it and cost nothing.
#[derive(Debug, Default)]
pub struct Activity {
    accounts: Mutex<HashMap<String, Arc<Usage>>>,
}

/// What one account uses.
#[derive(Debug)]
struct Usage {
    counts: Mutex<Counts>,
    quota: Arc<Quota>,
}

#[derive(Debug)]
struct Counts {
    sessions: u64,
    /// What the buckets were made for.
    limits: AccountLimits,
    upload: Option<Arc<Bucket>>,
    download: Option<Arc<Bucket>>,
}

/// The account has as many sessions as it may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct TooManySessions(pub(super) u64);

/// A session of an account with limits; its drop makes room for another.
#[derive(Debug)]
pub(super) struct Presence {
    usage: Arc<Usage>,
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
            // A map is whole after every operation on it.
            let mut accounts = self.accounts.lock().unwrap_or_else(PoisonError::into_inner);
            let usage = accounts.entry(account.name.clone());
            Arc::clone(usage.or_insert_with(|| Arc::new(Usage::new(limits))))
        };
        let mut counts = usage.lock();
        let most = limit(limits.sessions);
        if let Some(most) = most.filter(|most| counts.sessions >= most.get()) {
            return Err(TooManySessions(most.get()));
        }
        counts.sessions += 1;
        counts.keep_to(limits);
        let rates = |own, shared: &Option<Arc<Bucket>>| {
            let own = amount(own).map(|rate| Arc::new(Bucket::new(rate)));
            let buckets: Vec<_> = own.into_iter().chain(shared.clone()).collect();
            (!buckets.is_empty()).then(|| Arc::new(Rates { buckets }))
        };
        let upload = rates(limits.session_upload_rate, &counts.upload);
        let download = rates(limits.session_download_rate, &counts.download);
        drop(counts);
        Ok(Some(Presence {
            usage,
            upload,
            download,
        }))
    }
}

impl Usage {
    fn new(limits: AccountLimits) -> Usage {
        Usage {
            counts: Mutex::new(Counts {
                sessions: 0,
                limits,
                upload: bucket(amount(limits.upload_rate)),
                download: bucket(amount(limits.download_rate)),
            }),
            quota: Arc::default(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Counts> {
        // Counts are whole after every operation on them.
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Counts {
    /// New settings get new buckets; sessions that run keep to those that they began with.
    fn keep_to(&mut self, limits: AccountLimits) {
        if self.limits.upload_rate != limits.upload_rate {
            self.upload = bucket(amount(limits.upload_rate));
        }
        if self.limits.download_rate != limits.download_rate {
            self.download = bucket(amount(limits.download_rate));
        }
        self.limits = limits;
    }
}

impl Drop for Presence {
    fn drop(&mut self) {
        let mut counts = self.usage.lock();
        counts.sessions = counts.sessions.saturating_sub(1);
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
    let quota = presence.filter(|_| limits != QuotaLimits::default());
    let rules = Rules {
        file_size: amount(account.limits.file_size),
        quota: quota.map(|presence| (Arc::clone(&presence.usage.quota), limits)),
        atomic: uploads.atomic,
        sync: uploads.sync,
        remove_aborted: uploads.remove_aborted,
    };
    (!rules.are_none()).then(|| Arc::new(rules))
}
