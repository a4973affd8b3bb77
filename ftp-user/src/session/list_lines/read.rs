//! What a listing is made of, entry by entry: read, chosen and sorted, as many names at a time as whoever
//! asks has room for.

use super::super::recursion::Recursion;
use super::Lines;
use super::taken::Taken;
use crate::vfs::{Entry, Listing, Next, Vfs, VfsError};

#[derive(Debug)]
pub(super) enum Source {
    /// What has been taken in to be sorted, then what is still in the directory.
    Directory(Taken, Listing),
    One(Entry),
    Nothing,
}

impl Source {
    pub(super) fn directory(listing: Listing) -> Source {
        Source::Directory(Taken::default(), listing)
    }
}

/// What comes next.
pub(super) enum Found<T> {
    One(T),
    /// So many names have been read as were to be; there may be more.
    NotYet,
    End,
}

impl Lines {
    /// The next entry that is shown. Takes from `names` each name that is read.
    pub(super) fn next(&mut self, vfs: &Vfs, names: &mut usize) -> Result<Found<Entry>, VfsError> {
        if !self.sort(vfs, names)? {
            return Ok(Found::NotYet);
        }
        let looks = self.looks();
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
                Source::One(entry) => Found::One(entry),
                Source::Directory(..) | Source::Nothing => Found::End,
            }),
            Source::Directory(taken, listing) => loop {
                let next = || match taken.pop() {
                    Some(entry) => Ok(Next::Found(entry)),
                    None => listing.next(vfs, looks, |name| filter.passes(name)),
                };
                let entry = match read(next, recursion, names)? {
                    Found::One(entry) => entry,
                    found @ (Found::NotYet | Found::End) => return Ok(found),
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
                return Ok(Found::One(entry));
            },
        }
    }

    /// Whether more than names has to be known.
    fn looks(&self) -> bool {
        let sorts_by_more = self.order.is_some_and(|order| order.sort.is_some());
        sorts_by_more || self.recursion.is_some() || self.format.says_more_than_names()
    }

    /// Takes in what is to be sorted, once for each directory, and says whether that is done.
    fn sort(&mut self, vfs: &Vfs, names: &mut usize) -> Result<bool, VfsError> {
        let (Some(order), false) = (self.order, self.sorted) else {
            return Ok(true);
        };
        let looks = self.looks();
        let filter = &self.filter;
        if let Source::Directory(taken, listing) = &mut self.source {
            let mut arranged = None;
            while !taken.is_full() {
                let next = || {
                    let next = listing.next(vfs, looks, |name| filter.passes(name))?;
                    Ok(next.map(|entry| taken.push(&entry)))
                };
                match read(next, &mut self.recursion, names)? {
                    Found::One(()) => {}
                    Found::NotYet => return Ok(false),
                    Found::End => {
                        arranged = Some(order);
                        break;
                    }
                }
            }
            taken.arrange(arranged);
        }
        self.sorted = true;
        Ok(true)
    }
}

/// Goes on to the `next` that passes.
fn read<T>(
    mut next: impl FnMut() -> Result<Next<T>, VfsError>,
    recursion: &mut Option<Box<Recursion>>,
    names: &mut usize,
) -> Result<Found<T>, VfsError> {
    while let Some(left) = names.checked_sub(1) {
        *names = left;
        match next()? {
            Next::Found(found) => return Ok(Found::One(found)),
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
