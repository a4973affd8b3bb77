//! What a listing is made of, entry by entry: read, chosen and sorted, as many names at a time as whoever
//! asks has room for.

use super::super::recursion::Recursion;
use super::Lines;
use super::choice::Filter;
use crate::vfs::{Entry, Listing, Next, Vfs, VfsError};
use std::collections::VecDeque;

/// Entries that are sorted, which takes them in memory at one time, some 30 MiB. Those of a larger
/// directory come as the file system has them.
const MOST_SORTED: usize = 100_000;

#[derive(Debug)]
pub(super) enum Source {
    /// What is sorted already, then what is still in the directory.
    Directory(VecDeque<Entry>, Listing),
    One(Entry),
    Nothing,
}

/// What comes next.
pub(super) enum Found {
    Entry(Entry),
    /// So many names have been read as were to be; there may be more.
    NotYet,
    End,
}

impl Lines {
    /// The next entry that is shown. Takes from `names` each name that is read.
    pub(super) fn next(&mut self, vfs: &Vfs, names: &mut usize) -> Result<Found, VfsError> {
        if !self.sort(vfs, names)? {
            return Ok(Found::NotYet);
        }
        let Lines {
            source,
            filter,
            format,
            recursion,
            ..
        } = self;
        match source {
            Source::Nothing => Ok(Found::End),
            Source::One(_) => Ok(match std::mem::replace(source, Source::Nothing) {
                Source::One(entry) => Found::Entry(entry),
                Source::Directory(..) | Source::Nothing => Found::End,
            }),
            Source::Directory(sorted, listing) => loop {
                let entry = match sorted.pop_front() {
                    Some(entry) => entry,
                    None => match read(listing, vfs, filter, recursion, names)? {
                        Found::Entry(entry) => entry,
                        found @ (Found::NotYet | Found::End) => return Ok(found),
                    },
                };
                if !admitted(recursion) {
                    return Ok(Found::End);
                }
                if !format.has_words_for(&entry) {
                    continue;
                }
                if let Some(recursion) = recursion {
                    recursion.shown(&entry);
                }
                return Ok(Found::Entry(entry));
            },
        }
    }

    /// Takes in what is to be sorted, once for each directory, and says whether that is done.
    fn sort(&mut self, vfs: &Vfs, names: &mut usize) -> Result<bool, VfsError> {
        let (Some(order), false) = (self.order, self.sorted) else {
            return Ok(true);
        };
        if let Source::Directory(sorted, listing) = &mut self.source {
            while sorted.len() < MOST_SORTED {
                match read(listing, vfs, &self.filter, &mut self.recursion, names)? {
                    Found::Entry(entry) => sorted.push_back(entry),
                    Found::NotYet => return Ok(false),
                    Found::End => {
                        sorted.make_contiguous().sort_by(|a, b| order.compare(a, b));
                        break;
                    }
                }
            }
        }
        self.sorted = true;
        Ok(true)
    }
}

/// Reads on to the next entry that passes.
fn read(
    listing: &mut Listing,
    vfs: &Vfs,
    filter: &Filter,
    recursion: &mut Option<Box<Recursion>>,
    names: &mut usize,
) -> Result<Found, VfsError> {
    while let Some(left) = names.checked_sub(1) {
        *names = left;
        match listing.next(vfs, |name| filter.passes(name))? {
            Next::Entry(entry) => return Ok(Found::Entry(entry)),
            Next::Passed if admitted(recursion) => {}
            Next::Passed | Next::End => return Ok(Found::End),
        }
    }
    Ok(Found::NotYet)
}

/// May the name that was read count?
fn admitted(recursion: &mut Option<Box<Recursion>>) -> bool {
    recursion
        .as_mut()
        .is_none_or(|recursion| recursion.admits_one())
}
