//! Users and groups of the host: from a name or number to everything that a file operation is
//! judged by. Asks the host's databases (nsswitch).

use std::ffi::CString;

use nix::unistd::{Group, User, getgrouplist};
use rustix::process::{Gid, Uid};

use crate::config::Principal;
use crate::vfs::Owner;

/// Says what this host does not know of `uid` and `gid`, or why nobody's files can be used with them.
pub(crate) fn look_up(uid: Option<&Principal>, gid: Option<&Principal>) -> Result<(), String> {
    owner(uid, gid).map(drop)
}

/// The user `uid` of the host with its groups, and with `gid` as its group if that is given.
/// `None` where neither is given. An error is a sentence for the admin.
pub(super) fn owner(
    uid: Option<&Principal>,
    gid: Option<&Principal>,
) -> Result<Option<Owner>, String> {
    let uid = match (uid, gid) {
        (Some(uid), _) => uid,
        (None, None) => return Ok(None),
        (None, Some(gid)) => return Err(format!("gid = {gid} needs a uid beside it")),
    };
    let entry = match uid {
        Principal::Id(id) => User::from_uid((*id).into()),
        Principal::Name(name) => User::from_name(name),
    };
    let entry = entry.map_err(|error| format!("the user {uid} cannot be looked up: {error}"))?;
    let gid = gid.map(group).transpose()?;
    let number = match (entry, uid) {
        (Some(entry), _) => return of_entry(&entry, gid).map(Some),
        (None, Principal::Id(id)) => *id,
        (None, Principal::Name(name)) => return Err(format!("this host has no user \"{name}\"")),
    };
    let uid = not_root(number)?;
    let group =
        gid.ok_or_else(|| format!("this host knows no user {number}: give a gid as well"))?;
    let gid = Gid::from_raw(group);
    Ok(Some(Owner {
        uid,
        gid,
        groups: vec![gid],
    }))
}

/// The user of this very entry, of several that may have its number; in the group `gid` if that is
/// given.
pub(super) fn of_entry(entry: &User, gid: Option<u32>) -> Result<Owner, String> {
    let group = gid.unwrap_or(entry.gid.as_raw());
    Ok(Owner {
        uid: not_root(entry.uid.as_raw())?,
        gid: Gid::from_raw(group),
        groups: groups(&entry.name, group)?,
    })
}

fn not_root(number: u32) -> Result<Uid, String> {
    match number {
        0 => Err(
            "uid 0 passes over all file permissions: leave uid out to use the daemon's own user"
                .to_owned(),
        ),
        number => Ok(Uid::from_raw(number)),
    }
}

fn group(gid: &Principal) -> Result<u32, String> {
    match gid {
        Principal::Id(id) => Ok(*id),
        Principal::Name(name) => match Group::from_name(name) {
            Ok(Some(entry)) => Ok(entry.gid.as_raw()),
            Ok(None) => Err(format!("this host has no group \"{name}\"")),
            Err(error) => Err(format!("the group {name} cannot be looked up: {error}")),
        },
    }
}

fn groups(name: &str, group: u32) -> Result<Vec<Gid>, String> {
    let failed = |error: &dyn std::fmt::Display| {
        format!("the groups of the user {name} cannot be looked up: {error}")
    };
    let text = CString::new(name).map_err(|error| failed(&error))?;
    let groups = getgrouplist(&text, group.into()).map_err(|error| failed(&error))?;
    let groups = groups.into_iter();
    Ok(groups.map(|group| Gid::from_raw(group.as_raw())).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(number: u32) -> Principal {
        Principal::Id(number)
    }

    fn name(text: &str) -> Principal {
        Principal::Name(text.to_owned())
    }

    #[test]
    fn names_and_numbers_are_the_same_user() {
        // There on every Debian, and not root.
        let by_name = owner(Some(&name("daemon")), None).unwrap().unwrap();
        let by_number = owner(Some(&id(by_name.uid.as_raw())), None)
            .unwrap()
            .unwrap();
        assert_eq!(by_name, by_number);
        assert!(by_name.groups.contains(&by_name.gid));
        let other = owner(Some(&name("daemon")), Some(&name("root")))
            .unwrap()
            .unwrap();
        assert_eq!(other.gid, Gid::ROOT);
        assert!(other.groups.contains(&Gid::ROOT));
    }

    #[test]
    fn of_two_names_with_one_number_each_has_its_own_groups() {
        let number = User::from_name("bin").unwrap().unwrap().uid;
        let mut second = User::from_name("daemon").unwrap().unwrap();
        let own = second.gid.as_raw();
        second.uid = number;
        let made = of_entry(&second, None).unwrap();
        let (uid, gid) = (made.uid.as_raw(), made.gid.as_raw());
        assert_eq!((uid, gid), (number.as_raw(), own));
        assert!(made.groups.contains(&Gid::from_raw(own)));
        let first = owner(Some(&id(number.as_raw())), None).unwrap().unwrap();
        assert_ne!((first.gid, first.groups), (made.gid, made.groups));
    }

    #[test]
    fn numbers_need_no_entry_but_then_a_group() {
        let unknown = id(3_999_999_999);
        let made = owner(Some(&unknown), Some(&id(7))).unwrap().unwrap();
        assert_eq!((made.uid.as_raw(), made.gid.as_raw()), (3_999_999_999, 7));
        assert_eq!(made.groups, [Gid::from_raw(7)]);
        assert_eq!(owner(None, None), Ok(None));
        let said = |uid: Option<&Principal>, gid: Option<&Principal>| owner(uid, gid).unwrap_err();
        assert!(said(Some(&unknown), None).contains("give a gid"));
        assert!(said(None, Some(&id(7))).contains("needs a uid"));
        assert!(said(Some(&name("no such user")), None).contains("no user \"no such user\""));
        assert!(said(Some(&id(1)), Some(&name("no such group"))).contains("no group"));
        assert!(said(Some(&id(0)), None).contains("passes over"));
        assert!(said(Some(&name("root")), None).contains("passes over"));
    }
}
