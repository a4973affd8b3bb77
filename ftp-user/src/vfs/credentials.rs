//! As whom files are made, read and changed: credentials that a thread wears while it works on an
//! account's tree. The only place that changes a thread's credentials.
//!
//! The kernel keeps credentials per thread; libc's `setresuid` changes all of them, so the thread's
//! own calls are used. The effective ids are changed, not only the file system's (`setfsuid`): a
//! change of the effective user away from root clears the *whole* effective capability set
//! (capabilities(7)), also `CAP_SYS_RESOURCE`, which would pass over disk quotas and reserved
//! blocks; and it reports errors. The real user stays, so no account can signal or trace us.

use std::cell::Cell;
use std::marker::PhantomData;
use std::ptr;
use std::sync::OnceLock;

use rustix::fs::Mode;
use rustix::io::Errno;
use rustix::process::{Gid, Uid, getegid, geteuid, getgroups};
use rustix::thread::{
    CapabilitySet, UnshareFlags, capabilities, set_thread_groups, set_thread_res_gid,
    set_thread_res_uid, unshare_unsafe,
};

/// What an account's files are made, read and changed with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Credentials {
    /// `None`: the daemon's own user.
    pub owner: Option<Owner>,
    /// Permission bits that new files and directories do not get; `None`: the daemon's own.
    pub umask: Option<Mode>,
}

/// A user of the host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Owner {
    /// The user.
    pub uid: Uid,
    /// The group of new files.
    pub gid: Gid,
    /// Supplementary groups.
    pub groups: Vec<Gid>,
}

/// Why credentials cannot be worn.
#[derive(Debug, thiserror::Error)]
pub enum CredentialsError {
    /// The kernel does not let us.
    #[error(
        "this process may not take on another user's ids ({0}): run it as root, or grant it \
         CAP_SETUID and CAP_SETGID"
    )]
    Refused(Errno),
    /// They would change nothing: files would be opened with more rights than the user's.
    #[error(
        "with another user's ids this process keeps {0:?}, so file permissions would not hold: \
         run it as root, or without those capabilities"
    )]
    Mighty(CapabilitySet),
    /// A thread cannot have a umask of its own.
    #[error("a umask per account needs unshare(CLONE_FS), which was refused: {0}")]
    Umask(Errno),
}

/// What passes over file permissions: `CAP_FS_MASK` in the kernel's include/linux/capability.h.
const MIGHTY: CapabilitySet = CapabilitySet::CHOWN
    .union(CapabilitySet::DAC_OVERRIDE)
    .union(CapabilitySet::DAC_READ_SEARCH)
    .union(CapabilitySet::FOWNER)
    .union(CapabilitySet::FSETID)
    .union(CapabilitySet::LINUX_IMMUTABLE)
    .union(CapabilitySet::MKNOD)
    .union(CapabilitySet::MAC_OVERRIDE);

impl Credentials {
    /// Wears them once, and says what is in the way: for the start, so that no session has to.
    pub fn try_on(&self) -> Result<(), CredentialsError> {
        let refused = CredentialsError::Refused;
        if self.umask.is_some() {
            part_thread().map_err(CredentialsError::Umask)?;
        }
        let worn = self.wear().map_err(refused)?;
        let kept = capabilities(None).map_err(refused)?.effective & MIGHTY;
        drop(worn);
        if self.owner.is_some() && !kept.is_empty() {
            return Err(CredentialsError::Mighty(kept));
        }
        Ok(())
    }

    /// The same for users who are known only when they log in: wears a user's who owns nothing.
    pub fn try_on_anybodys() -> Result<(), CredentialsError> {
        // The kernel's own for whom it has no number (/proc/sys/kernel/overflowuid).
        const NOBODY: u32 = 65_534;
        let nobody = Credentials {
            owner: Some(Owner {
                uid: Uid::from_raw(NOBODY),
                gid: Gid::from_raw(NOBODY),
                groups: Vec::new(),
            }),
            umask: None,
        };
        match nobody.try_on() {
            // This user namespace has no such number, which says nothing about others.
            Err(CredentialsError::Refused(Errno::INVAL)) => Ok(()),
            tried => tried,
        }
    }

    /// This thread's credentials until the guard is dropped. A thread that wears these very ones
    /// already goes on wearing them; one that wears others is refused.
    pub(super) fn wear(&self) -> Result<Worn, Errno> {
        let these: *const Credentials = self;
        if WORN.get() == these {
            return Ok(Worn::default());
        }
        if !WORN.get().is_null() {
            return Err(Errno::PERM);
        }
        WORN.set(these);
        let mut worn = Worn {
            outermost: true,
            ..Worn::default()
        };
        if let Some(owner) = &self.owner {
            let own = own()?;
            // The user last: with it goes the right to change the others.
            set_thread_groups(&owner.groups)?;
            // From the first change on, so that whatever is changed is changed back. Before it, there
            // is nothing to change back, and perhaps no right to.
            worn.own = Some(own);
            set_thread_res_gid(None, owner.gid, None)?;
            set_thread_res_uid(None, owner.uid, None)?;
        }
        if let Some(umask) = self.umask {
            part_thread()?;
            worn.umask = Some(rustix::process::umask(umask));
        }
        Ok(worn)
    }
}

/// The daemon's umask: what the thread had that was parted first.
static UMASK: OnceLock<Mode> = OnceLock::new();

/// Gives this thread a umask that it shares with no other: the daemon's.
///
/// The kernel gives a new thread the very one of the thread that starts it (clone(2), `CLONE_FS`),
/// and tokio starts a thread from whichever has work for it: one that wears an account's, perhaps.
/// So every thread that makes files does this when it starts, and the process's first before there
/// is any other. Fails where a seccomp filter hides unshare(2): then no account can have a umask
/// either, and all threads share the daemon's.
pub fn part_thread() -> Result<(), Errno> {
    thread_local! {
        static PARTED: Cell<bool> = const { Cell::new(false) };
    }
    if PARTED.get() {
        return Ok(());
    }
    // SAFETY: CLONE_FS parts the thread's umask, working directory and root from the other threads'.
    // No descriptor and no memory is concerned, and nothing here changes the working directory.
    unsafe { unshare_unsafe(UnshareFlags::FS) }?;
    // Nobody else sees the one in between any more.
    let inherited = rustix::process::umask(Mode::RWXG | Mode::RWXO);
    rustix::process::umask(*UMASK.get_or_init(|| inherited));
    PARTED.set(true);
    Ok(())
}

/// The umask that the daemon was started with, for what it starts. `None`: no thread was parted, so
/// all have it.
pub fn own_umask() -> Option<Mode> {
    UMASK.get().copied()
}

thread_local! {
    /// Whose credentials this thread wears. Compared, never followed.
    static WORN: Cell<*const Credentials> = const { Cell::new(ptr::null()) };
}

/// Credentials on this thread; its drop puts the daemon's own back.
#[derive(Debug, Default)]
#[must_use = "they are taken off at once otherwise"]
pub(super) struct Worn {
    outermost: bool,
    own: Option<&'static Owner>,
    umask: Option<Mode>,
    /// Credentials are the thread's: the guard stays on it.
    _thread: PhantomData<*const ()>,
}

impl Drop for Worn {
    fn drop(&mut self) {
        if self.outermost {
            WORN.set(ptr::null());
        }
        if let Some(umask) = self.umask {
            rustix::process::umask(umask);
        }
        let Some(own) = self.own else { return };
        // The user first: with it comes the right to change the others.
        let restored = set_thread_res_uid(None, own.uid, None)
            .and_then(|()| set_thread_res_gid(None, own.gid, None))
            .and_then(|()| set_thread_groups(&own.groups));
        if let Err(errno) = restored {
            // The next account's work on this thread would be done as this one.
            tracing::error!(%errno, "cannot take an account's user off a thread; ending now");
            crate::stderr::flush();
            std::process::abort();
        }
    }
}

/// The daemon's own ids, which never change. First asked for before any thread wears others.
fn own() -> Result<&'static Owner, Errno> {
    static OWN: OnceLock<Owner> = OnceLock::new();
    if let Some(own) = OWN.get() {
        return Ok(own);
    }
    let groups = getgroups()?;
    Ok(OWN.get_or_init(|| Owner {
        uid: geteuid(),
        gid: getegid(),
        groups,
    }))
}

#[cfg(test)]
mod tests;
