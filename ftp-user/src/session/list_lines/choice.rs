//! Which entries of a directory LIST and NLST show, and in which order.

use crate::proto::glob;
use crate::proto::list_options::{ListOptions, Sort};
use crate::vfs::Entry;
use std::cmp::Ordering;

/// Which entries of a directory are shown.
#[derive(Debug)]
pub(super) struct Filter {
    pub(super) pattern: Option<Vec<u8>>,
    /// Those whose name begins with a dot.
    pub(super) hidden: bool,
}

impl Filter {
    pub(super) fn passes(&self, name: &[u8]) -> bool {
        let shown = |pattern: &[u8]| {
            // As in a shell: a dot in front is matched by a dot only.
            (self.hidden || pattern.first() == Some(&b'.') || name.first() != Some(&b'.'))
                && glob::matches(pattern, name)
        };
        match &self.pattern {
            Some(pattern) => shown(pattern),
            None => self.hidden || name.first() != Some(&b'.'),
        }
    }
}

/// What comes first.
#[derive(Debug, Clone, Copy)]
pub(super) struct Order {
    /// By name if by nothing else.
    pub(super) sort: Option<Sort>,
    pub(super) reverse: bool,
}

impl Order {
    pub(super) fn of(options: ListOptions) -> Order {
        Order {
            sort: options.sort,
            reverse: options.reverse,
        }
    }

    /// Among equals, by name.
    pub(super) fn compare(self, a: &Entry, b: &Entry) -> Ordering {
        let by = match self.sort {
            Some(Sort::Time) => b.modified.cmp(&a.modified),
            Some(Sort::Size) => b.size.cmp(&a.size),
            None => Ordering::Equal,
        };
        let order = by.then_with(|| a.name.cmp(&b.name));
        if self.reverse { order.reverse() } else { order }
    }
}
