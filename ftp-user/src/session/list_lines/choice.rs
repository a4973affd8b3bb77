//! Which entries of a directory LIST and NLST show, and in which order.

use crate::proto::glob;
use crate::proto::list_options::{ListOptions, Sort};

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
    /// By name if by nothing else, and among equals.
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
}
