//! What of a directory has been taken in so that it can be sorted. For an order by name that is the
//! names alone, in one piece of memory: all of 100,000 entries would be some 30 MiB for each session
//! that lists them, their names are three.

use super::choice::Order;
use crate::vfs::{Entry, Listing, Next, VfsError};
use std::collections::VecDeque;
use std::ffi::CStr;

/// Bytes in a name, at most (limits.h of Linux).
const NAME_MAX: usize = 255;

/// In the order in which they are shown, once [`Taken::arrange`] is done.
#[derive(Debug)]
pub(super) enum Taken {
    Names(Names),
    /// What they are sorted by has to be looked at.
    Entries(VecDeque<Entry>),
}

impl Taken {
    /// Nothing yet.
    pub(super) fn new(order: Option<Order>) -> Taken {
        match order {
            Some(Order { sort: Some(_), .. }) => Taken::Entries(VecDeque::new()),
            Some(Order { sort: None, .. }) | None => Taken::Names(Names::default()),
        }
    }

    pub(super) fn len(&self) -> usize {
        match self {
            Taken::Names(names) => names.starts.len(),
            Taken::Entries(entries) => entries.len(),
        }
    }

    /// Puts them in order, or leaves them as they came. Then they can be had.
    pub(super) fn arrange(&mut self, order: Option<Order>) {
        match self {
            Taken::Names(names) => names.arrange(order.map(|order| order.reverse)),
            Taken::Entries(entries) => {
                if let Some(order) = order {
                    let entries = entries.make_contiguous();
                    entries.sort_by(|a, b| order.compare(a, b));
                }
            }
        }
    }

    /// The first that is still there, out of what `listing` has read. May block on the disk.
    pub(super) fn next(&mut self, listing: &Listing) -> Option<Result<Next<Entry>, VfsError>> {
        match self {
            Taken::Names(names) => names.pop().map(|name| listing.look(name)),
            Taken::Entries(entries) => entries.pop_front().map(|entry| Ok(Next::Found(entry))),
        }
    }
}

/// Names, each with the NUL behind it that the kernel wants.
#[derive(Debug, Default)]
pub(super) struct Names {
    bytes: Vec<u8>,
    /// Where each begins, the last one first once they are in order: they are taken from the end.
    starts: Vec<usize>,
}

impl Names {
    pub(super) fn push(&mut self, name: &CStr) {
        self.starts.push(self.bytes.len());
        self.bytes.extend_from_slice(name.to_bytes_with_nul());
    }

    /// In the order of their bytes, the other way round if it is to be reversed, or as they came.
    fn arrange(&mut self, reverse: Option<bool>) {
        if let Some(reverse) = reverse {
            // Most are told apart by a few bytes behind what all of them begin with. What is behind a
            // name's NUL does not count: no other name is the same up to there.
            let bytes = &self.bytes;
            let from = |start: usize| bytes.get(start..).unwrap_or_default();
            let first = self.starts.first().map_or(&[][..], |&start| from(start));
            let shared = self.starts.iter().fold(NAME_MAX, |shared, &start| {
                let both = from(start).iter().zip(first).take(shared);
                both.take_while(|(a, b)| a == b).count()
            });
            self.starts.sort_by_cached_key(|&start| {
                let rest = from(start + shared);
                let mut few = [0; 8];
                few.iter_mut().zip(rest).for_each(|(to, from)| *to = *from);
                (u64::from_be_bytes(few), rest)
            });
            if reverse {
                return;
            }
        }
        self.starts.reverse();
    }

    fn pop(&mut self) -> Option<&CStr> {
        let start = self.starts.pop()?;
        let rest = self.bytes.get(start..)?;
        CStr::from_bytes_until_nul(rest).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn names_come_in_the_order_of_their_bytes(
            names in proptest::collection::hash_set("(ab)?[a-c\u{1}\u{ff}]{1,12}", 0..40),
            reverse in any::<Option<bool>>(),
        ) {
            let names: Vec<_> = names.into_iter().collect();
            let mut taken = Names::default();
            for name in &names {
                taken.push(&std::ffi::CString::new(name.as_str()).unwrap());
            }
            taken.arrange(reverse);
            let popped: Vec<_> = std::iter::from_fn(|| taken.pop().map(CStr::to_owned)).collect();
            let popped: Vec<_> = popped.iter().map(|name| name.to_str().unwrap()).collect();
            let mut expected: Vec<_> = names.iter().map(String::as_str).collect();
            if let Some(reverse) = reverse {
                expected.sort_unstable();
                if reverse {
                    expected.reverse();
                }
            }
            prop_assert_eq!(popped, expected);
        }
    }
}
