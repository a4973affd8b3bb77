//! What accounts use at a moment, and what is left of it.

use super::*;
use crate::auth::{Rights, User};
use crate::config::{Bytes, Config};

const HASH: &str =
    "$argon2id$v=19$m=8,t=1,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc";

fn account(change: impl FnOnce(&mut User)) -> Account {
    let mut user = User::new("alice", HASH.parse().unwrap(), "/srv");
    change(&mut user);
    Account::of_user(&user, &Config::default()).unwrap()
}

#[test]
fn who_has_no_limits_is_not_in_it() {
    let activity = Activity::default();
    assert!(activity.enter(&account(|_| {})).unwrap().is_none());
    assert!(activity.accounts.lock().unwrap().is_empty());
}

#[test]
fn what_is_used_outlives_a_change_of_settings() {
    let activity = Activity::default();
    let enter = |sessions, root: &str, rate| {
        let account = account(|user| {
            user.limits.sessions = Some(sessions);
            user.limits.upload_rate = Some(Bytes(rate));
            user.root = root.into();
        });
        activity.enter(&account).map(Option::unwrap)
    };
    let first = enter(1, "/srv", 1000).unwrap();
    assert_eq!(enter(1, "/srv", 1000).map(drop), Err(TooManySessions(1)));
    let second = enter(2, "/srv", 1000).unwrap();
    assert!(Arc::ptr_eq(&first.quota, &second.quota));
    let bucket = |presence: &Presence| Arc::clone(&presence.upload.as_ref().unwrap().buckets[0]);
    assert!(Arc::ptr_eq(&bucket(&first), &bucket(&second)));
    let third = enter(3, "/srv", 2000).unwrap();
    assert!(!Arc::ptr_eq(&bucket(&first), &bucket(&third)));
    assert!(Arc::ptr_eq(&first.quota, &third.quota));
    // What lies beneath another root has not been counted.
    drop(third);
    let moved = enter(3, "/srv/other", 2000).unwrap();
    assert!(!Arc::ptr_eq(&first.quota, &moved.quota));
    drop((first, second, moved));
    assert!(enter(1, "/srv/other", 2000).is_ok());
}

#[test]
fn a_quota_is_for_those_who_can_add() {
    let ruled = |rights| {
        let account = account(|user| {
            user.limits.quota_files = Some(1);
            user.rights = rights;
        });
        let presence = Activity::default().enter(&account).unwrap();
        rules(&account, presence.as_ref(), &Uploads::default()).is_some()
    };
    assert!(ruled(Rights::ALL));
    assert!(!ruled(Rights::READ_ONLY));
}
