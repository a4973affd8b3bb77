//! The locks that are in place: on the interfaces that were there at the start, and on those that
//! come up later. Which interfaces and which kind of lock is `attach`'s to say.

use std::{
    cell::RefCell,
    collections::{BTreeMap, HashMap},
    os::fd::OwnedFd,
};

use tokio::sync::watch;

use super::{
    attach::{self, Approach, AttachError, Attached, Locked, Mode},
    bpf_link::BpfLink,
    explain::StartError,
    host::Link,
    object::Object,
};
use crate::config::{Attach, Enforce, Interfaces};

/// What becomes of the locks' links beyond this process.
pub(super) trait Keep {
    /// The link of an earlier lock of that kind on the interface with that number, to be taken
    /// over.
    fn predecessor(&self, index: u32, mode: Mode) -> Option<BpfLink>;
    /// Sees to it that the link outlives this process, where it shall.
    fn keep(&self, lock: Attached) -> Result<Attached, StartError> {
        Ok(lock)
    }
    /// The lock's interface has gone: nothing of it needs to outlive this process any more.
    fn forget(&self, _lock: &Attached) {}
}

/// Nothing is kept, nothing is found: locks end with the process.
pub(super) struct Nothing;

impl Keep for Nothing {
    fn predecessor(&self, _index: u32, _mode: Mode) -> Option<BpfLink> {
        None
    }
}

/// Taken over from the process before; locks end with this one.
pub(super) struct Inherited(RefCell<HashMap<(u32, Mode), BpfLink>>);

impl Inherited {
    pub(super) fn new(links: Vec<(u32, Mode, OwnedFd)>) -> Self {
        let links = links.into_iter();
        Self(RefCell::new(
            links
                .map(|(index, mode, link)| ((index, mode), link.into()))
                .collect(),
        ))
    }
}

impl Keep for Inherited {
    fn predecessor(&self, index: u32, mode: Mode) -> Option<BpfLink> {
        self.0.borrow_mut().remove(&(index, mode))
    }
}

/// Locks on interfaces. Dropping them detaches all that is not kept.
pub(super) struct Locks {
    interfaces: Interfaces,
    /// A guard may learn of more.
    approach: watch::Receiver<Approach>,
    attach: Attach,
    marks: bool,
    /// By the interface's number.
    locked: BTreeMap<u32, (Locked, Vec<Attached>)>,
    /// Interfaces that could not be locked, by number, and whether they were up then: told of once, and
    /// tried again when that is otherwise.
    refused: HashMap<u32, bool>,
}

impl Locks {
    /// Locks the interfaces that are there.
    ///
    /// # Errors
    ///
    /// An interface is named and missing, or refuses its lock. Those that are not named but found
    /// need to be readable to be locked; of others the log tells.
    pub(super) fn put(
        object: &mut Object,
        enforce: &Enforce,
        approach: watch::Receiver<Approach>,
        links: &[Link],
        keep: &impl Keep,
    ) -> Result<Self, StartError> {
        let mut locks = Self {
            interfaces: enforce.interfaces.clone(),
            approach,
            attach: enforce.attach,
            marks: enforce.mark.is_some(),
            locked: BTreeMap::new(),
            refused: HashMap::new(),
        };
        attach::all_there(links, &locks.interfaces)?;
        let approach = *locks.approach.borrow();
        let chosen: Vec<_> = attach::select(links, &locks.interfaces, approach).collect();
        for link in chosen {
            match locks.lock(object, link, keep) {
                Err(StartError::Attach(error @ AttachError::Unreadable { .. }))
                    if locks.interfaces == Interfaces::Auto =>
                {
                    tracing::warn!("left unlocked: {error}");
                    locks.refused.insert(link.index, link.up);
                }
                done => done?,
            }
        }
        Ok(locks)
    }

    /// Locks what has come up, and forgets what has gone. What is locked already stays as it is:
    /// some drivers reset the link when a program comes or goes.
    pub(super) fn follow(&mut self, object: &mut Object, links: &[Link], keep: &impl Keep) {
        let there: HashMap<u32, bool> = links.iter().map(|link| (link.index, link.up)).collect();
        self.refused
            .retain(|index, up| there.get(index) == Some(up));
        self.locked.retain(|index, (locked, attached)| {
            let stays = there.contains_key(index);
            if !stays {
                tracing::info!("interface {} is gone", locked.interface);
                attached.iter().for_each(|lock| keep.forget(lock));
            }
            stays
        });
        let approach = *self.approach.borrow();
        let chosen: Vec<_> = attach::select(links, &self.interfaces, approach).collect();
        for link in chosen {
            if self.locked.contains_key(&link.index) || self.refused.contains_key(&link.index) {
                continue;
            }
            match self.lock(object, link, keep) {
                Ok(()) => {
                    if let Some((locked, _)) = self.locked.get(&link.index) {
                        tracing::info!("{locked}");
                    }
                }
                Err(error) => {
                    self.refused.insert(link.index, link.up);
                    tracing::error!(
                        error = &error as &(dyn std::error::Error + 'static),
                        "interface {} has come up and is not locked; this is tried again when it goes down \
                         and comes up",
                        link.name
                    );
                }
            }
        }
    }

    /// The locked interfaces.
    pub(super) fn locked(&self) -> impl Iterator<Item = &Locked> {
        self.locked.values().map(|(locked, _)| locked)
    }

    /// The locks' links.
    pub(super) fn attached(&self) -> impl Iterator<Item = &Attached> {
        self.locked.values().flat_map(|(_, links)| links)
    }

    fn lock(
        &mut self,
        object: &mut Object,
        link: &Link,
        keep: &impl Keep,
    ) -> Result<(), StartError> {
        let predecessor = |index, mode| keep.predecessor(index, mode);
        let (locked, links) = attach::lock(object, link, self.attach, self.marks, &predecessor)?;
        let links: Result<Vec<_>, _> = links.into_iter().map(|link| keep.keep(link)).collect();
        self.locked.insert(link.index, (locked, links?));
        Ok(())
    }
}
