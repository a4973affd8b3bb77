//! What of a directory has been taken in so that it can be sorted. Each entry is looked at as soon as it
//! has been read, while the kernel has it at hand: once all have been read, to come back to each takes a
//! third longer. And it is packed: as they are, 100,000 entries would be 20 MiB for each session that
//! lists them.

use super::budget::{ALL, Part};
use super::choice::Order;
use crate::proto::list_options::Sort;
use crate::vfs::{Entry, Kind};
use std::cmp::Ordering;
use std::time::SystemTime;

/// Entries that are sorted. Those of a larger directory come as the file system has them; and so do all
/// beyond what the sessions may keep together.
const MOST: usize = 100_000;
/// Bytes of their names, and of what links say, that make a directory as large.
const MOST_WORDS: usize = 16 << 20;
/// Bytes in a name, at most (limits.h of Linux).
const NAME_MAX: usize = 255;

/// Entries, to be had in order once [`Taken::arrange`] is done.
#[derive(Debug)]
pub(super) struct Taken {
    rows: Vec<Row>,
    /// For each row its name, and behind it what it says if it is a link.
    words: Vec<u8>,
    /// Which rows are still to come, the next one last.
    coming: Vec<usize>,
    /// Of what the sessions may keep. Given back behind all of the above.
    part: Part,
}

/// An [`Entry`] without its words.
#[derive(Debug)]
struct Row {
    size: u64,
    modified: SystemTime,
    nlink: u64,
    dev: u64,
    ino: u64,
    mode: u32,
    uid: u32,
    gid: u32,
    /// Where its name begins, where that ends and its target begins, and where that ends.
    words: [u32; 3],
    kind: Kind,
}

impl Default for Taken {
    fn default() -> Taken {
        Taken {
            rows: Vec::new(),
            words: Vec::new(),
            coming: Vec::new(),
            part: Part::of(&ALL),
        }
    }
}

impl Taken {
    /// Whether there is no room for more.
    pub(super) fn is_full(&mut self) -> bool {
        let bytes = self.rows.capacity() * size_of::<Row>() + self.words.capacity();
        self.rows.len() >= MOST || self.words.len() >= MOST_WORDS || !self.part.covers(bytes)
    }

    pub(super) fn push(&mut self, entry: &Entry) {
        let Entry {
            ref name,
            kind,
            ref target,
            size,
            modified,
            mode,
            uid,
            gid,
            nlink,
            dev,
            ino,
        } = *entry;
        let begins = self.words.len();
        self.words.extend_from_slice(name);
        let between = self.words.len();
        self.words.extend_from_slice(target);
        // `MOST_WORDS` and one entry more are far from what fits.
        let words = [begins, between, self.words.len()]
            .map(|place| u32::try_from(place).unwrap_or(u32::MAX));
        self.rows.push(Row {
            size,
            modified,
            nlink,
            dev,
            ino,
            mode,
            uid,
            gid,
            words,
            kind,
        });
    }

    /// Puts them in order, or leaves them as they came. Then they can be had.
    pub(super) fn arrange(&mut self, order: Option<Order>) {
        let mut coming: Vec<usize> = (0..self.rows.len()).collect();
        if let Some(Order { sort, reverse }) = order {
            self.by_name(&mut coming);
            match sort {
                Some(Sort::Time) => self.by(&mut coming, |a, b| b.modified.cmp(&a.modified)),
                Some(Sort::Size) => self.by(&mut coming, |a, b| b.size.cmp(&a.size)),
                None => {}
            }
            if reverse {
                coming.reverse();
            }
        }
        coming.reverse();
        self.coming = coming;
    }

    /// The first one that is still to come.
    pub(super) fn pop(&mut self) -> Option<Entry> {
        let row = self.rows.get(self.coming.pop()?)?;
        let [begins, between, ends] = row.words;
        Some(Entry {
            name: self.said(begins, between).to_vec(),
            kind: row.kind,
            target: self.said(between, ends).into(),
            size: row.size,
            modified: row.modified,
            mode: row.mode,
            uid: row.uid,
            gid: row.gid,
            nlink: row.nlink,
            dev: row.dev,
            ino: row.ino,
        })
    }

    fn said(&self, from: u32, to: u32) -> &[u8] {
        self.words
            .get(from as usize..to as usize)
            .unwrap_or_default()
    }

    fn name(&self, row: usize) -> &[u8] {
        self.rows
            .get(row)
            .map_or(&[], |row| self.said(row.words[0], row.words[1]))
    }

    /// Among equals, they stay as they are.
    fn by(&self, rows: &mut [usize], compare: impl Fn(&Row, &Row) -> Ordering) {
        rows.sort_by(|&a, &b| match (self.rows.get(a), self.rows.get(b)) {
            (Some(a), Some(b)) => compare(a, b),
            _ => Ordering::Equal,
        });
    }

    /// In the order of their bytes. Most are told apart by a few bytes behind what all of them begin with.
    fn by_name(&self, rows: &mut [usize]) {
        let first = self.name(0);
        let shared = rows.iter().fold(NAME_MAX, |shared, &row| {
            let both = self.name(row).iter().zip(first).take(shared);
            both.take_while(|(a, b)| a == b).count()
        });
        rows.sort_by_cached_key(|&row| {
            let rest = self.name(row).get(shared..).unwrap_or_default();
            let mut few = [0; 8];
            few.iter_mut().zip(rest).for_each(|(to, from)| *to = *from);
            (u64::from_be_bytes(few), rest)
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::time::{Duration, UNIX_EPOCH};

    fn entry(name: String, number: u64) -> Entry {
        Entry {
            target: name.bytes().rev().collect(),
            name: name.into_bytes(),
            kind: Kind::Symlink,
            size: number % 3,
            modified: UNIX_EPOCH + Duration::from_secs(number % 2),
            mode: 0o640,
            uid: 1,
            gid: 2,
            nlink: 3,
            dev: 4,
            ino: number,
        }
    }

    proptest! {
        #[test]
        fn entries_come_whole_and_in_order(
            names in proptest::collection::hash_set("(ab)?[a-c\u{1}\u{ff}]{1,12}", 0..40),
            order in any::<Option<(u8, bool)>>(),
        ) {
            let order = order.map(|(sort, reverse)| Order {
                sort: [None, Some(Sort::Time), Some(Sort::Size)][usize::from(sort % 3)],
                reverse,
            });
            let mut entries: Vec<_> = names.into_iter().zip(0..).map(|(n, i)| entry(n, i)).collect();
            let mut taken = Taken::default();
            for entry in &entries {
                taken.push(entry);
            }
            taken.arrange(order);
            let popped: Vec<_> = std::iter::from_fn(|| taken.pop()).collect();
            entries.sort_by(|a, b| {
                let Some(Order { sort, reverse }) = order else {
                    return Ordering::Equal;
                };
                let by = match sort {
                    None => Ordering::Equal,
                    Some(Sort::Time) => b.modified.cmp(&a.modified),
                    Some(Sort::Size) => b.size.cmp(&a.size),
                };
                let order = by.then_with(|| a.name.cmp(&b.name));
                if reverse { order.reverse() } else { order }
            });
            prop_assert_eq!(popped, entries);
        }
    }

    #[test]
    fn a_few_long_words_fill_it_as_many_short_ones_do() {
        let mut taken = Taken::default();
        let mut long = entry("x".repeat(NAME_MAX), 0);
        long.target = vec![b'y'; 4095].into();
        let mut count = 0;
        while !taken.is_full() {
            taken.push(&long);
            count += 1;
        }
        assert_eq!(count, MOST_WORDS.div_ceil(NAME_MAX + 4095));
        taken.arrange(None);
        assert_eq!(taken.pop(), Some(long));
    }
}
