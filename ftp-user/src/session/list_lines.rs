//! The lines of a listing, made as they are sent: which entries, in which order, in which format.

use super::recursion::{Cut, Most, Recursion};
use crate::auth::Rights;
use crate::proto::list_options::{ListOptions, Sort};
use crate::proto::listing::{self, Facts};
use crate::proto::{Code, glob};
use crate::transfer::{Produce, TransferError};
use crate::vfs::{Entry, ErrorKind, Kind, Listing, Tree, Vfs, VfsError, VirtualPath};
use std::cmp::Ordering;
use std::collections::VecDeque;
use std::io;
use std::time::SystemTime;

/// Bytes of listing made in one go.
const CHUNK: usize = 16 << 10;
/// Entries that are sorted, which takes them in memory at one time, some 30 MiB. Those of a larger
/// directory come as the file system has them.
const MOST_SORTED: usize = 100_000;
/// Lines of a STAT with a path. They go over the control connection, which has better to do.
const STAT_LINES: usize = 1000;

/// How an entry is written.
#[derive(Debug, Clone)]
pub(super) enum Format {
    /// LIST
    Long {
        /// What time it is.
        now: SystemTime,
    },
    /// NLST, each name behind a directory that the client named, so that it can be used as it is
    /// (RFC 1123 §4.1.2.7).
    Name {
        /// With a "/" at its end, or empty.
        directory: Vec<u8>,
    },
    /// MLSD
    Facts {
        /// Which ones.
        facts: Facts,
        /// For the "perm" fact.
        rights: Rights,
    },
}

impl Format {
    /// Appends the entry's line.
    pub(super) fn write(&self, entry: &Entry, out: &mut Vec<u8>) {
        match self {
            Format::Long { now } => listing::list_line(entry, *now, out),
            Format::Name { directory } => {
                out.extend_from_slice(directory);
                listing::name_line(entry, out);
            }
            Format::Facts { facts, rights } => listing::facts_line(entry, facts, rights, out),
        }
    }
}

/// Which entries of a directory are shown.
#[derive(Debug)]
struct Filter {
    pattern: Option<Vec<u8>>,
    /// Those whose name begins with a dot.
    hidden: bool,
}

impl Filter {
    fn passes(&self, name: &[u8]) -> bool {
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

/// A listing on its way, and the tree that it is of.
#[derive(Debug)]
pub(super) struct ListingLines {
    tree: Tree,
    lines: Lines,
}

impl ListingLines {
    /// Lines of this very tree.
    pub(super) fn new(tree: Tree, lines: Lines) -> ListingLines {
        ListingLines { tree, lines }
    }

    /// For one with directories below the first: tells of limits that are reached.
    pub(super) fn cut(&self) -> Option<Cut> {
        self.lines
            .recursion
            .as_ref()
            .map(|recursion| recursion.cut())
    }
}

impl Produce for ListingLines {
    fn produce(&mut self, out: &mut Vec<u8>) -> Result<bool, TransferError> {
        let filled = self.tree.act(|vfs| self.lines.fill(vfs, out));
        filled.map_err(|error| TransferError::Read(io::Error::other(error)))
    }
}

/// What a listing is of, and how it looks.
#[derive(Debug)]
pub(super) struct Lines {
    source: Source,
    filter: Filter,
    order: Option<Order>,
    /// What is to be sorted of this directory has been taken in.
    sorted: bool,
    format: Format,
    /// Says what comes behind this directory. In a box: every session has room for a listing.
    recursion: Option<Box<Recursion>>,
    /// Nothing has been written yet.
    first: bool,
}

#[derive(Debug)]
enum Source {
    /// What is sorted already, then what is still in the directory.
    Directory(VecDeque<Entry>, Listing),
    One(Entry),
    Nothing,
}

#[derive(Debug, Clone, Copy)]
enum Order {
    By(Sort),
    Reversed(Option<Sort>),
}

impl Order {
    fn of(options: ListOptions) -> Option<Order> {
        match (options.sort, options.reverse) {
            (None, false) => None,
            (Some(sort), false) => Some(Order::By(sort)),
            (sort, true) => Some(Order::Reversed(sort)),
        }
    }

    /// Among equals, and with nothing else asked for, by name.
    fn compare(self, a: &Entry, b: &Entry) -> Ordering {
        let by = |sort| match sort {
            Some(Sort::Time) => b.modified.cmp(&a.modified),
            Some(Sort::Size) => b.size.cmp(&a.size),
            None => Ordering::Equal,
        };
        let names = || a.name.cmp(&b.name);
        match self {
            Order::By(sort) => by(Some(sort)).then_with(names),
            Order::Reversed(sort) => by(sort).then_with(names).reverse(),
        }
    }
}

impl Lines {
    /// Opens what LIST, NLST or STAT is about. A pattern in the last name shows what it matches in its
    /// directory, unless there is a file of that very name.
    pub(super) fn open(
        vfs: &Vfs,
        path: &VirtualPath,
        argument: Option<&[u8]>,
        options: ListOptions,
        mut format: Format,
        most: Option<Most>,
    ) -> Result<Lines, VfsError> {
        let argument = argument.unwrap_or_default();
        let mut pattern = None;
        let most = most.filter(|_| options.recursive && !options.itself);
        let mut recursion = None;
        let mut name = |prefix: &[u8]| {
            if let Format::Name { directory } = &mut format {
                *directory = prefix.to_vec();
                if directory.last().is_some_and(|&last| last != b'/') {
                    directory.push(b'/');
                }
            }
        };
        let source = match vfs.metadata(path) {
            Ok(entry) if entry.kind == Kind::Dir && !options.itself => {
                // Names stand below headings that say where they are.
                match most {
                    Some(most) => {
                        let label = if argument.is_empty() { b"." } else { argument };
                        recursion = Some(Box::new(Recursion::new(path.clone(), label, most)));
                    }
                    None => name(argument),
                }
                Source::Directory(VecDeque::new(), vfs.list(path)?)
            }
            Ok(mut entry) => {
                // The name as it was asked for: what NLST says can be used as it is.
                if matches!(format, Format::Name { .. }) {
                    entry.name = argument.to_vec();
                }
                if entry.name.is_empty() || argument.is_empty() {
                    entry.name = b".".to_vec();
                }
                Source::One(entry)
            }
            Err(error) if error.kind() == ErrorKind::NotFound => {
                let Some(last) = path.file_name().filter(|last| glob::is_pattern(last)) else {
                    return Err(error);
                };
                pattern = Some(last.to_vec());
                let slash = argument.iter().rposition(|&byte| byte == b'/');
                let before = argument.get(..slash.map_or(0, |at| at + 1));
                let before = before.unwrap_or_default();
                name(before);
                let parent = path.parent();
                recursion = most.map(|most| Box::new(Recursion::new(parent.clone(), before, most)));
                Source::Directory(VecDeque::new(), vfs.list(&parent)?)
            }
            Err(error) => return Err(error),
        };
        Ok(Lines {
            source,
            filter: Filter {
                pattern,
                hidden: options.all,
            },
            order: Order::of(options),
            sorted: false,
            format,
            recursion,
            first: true,
        })
    }

    /// Opens what MLSD is about, if it is a directory: all of it, as it comes.
    pub(super) fn of_directory(
        vfs: &Vfs,
        path: &VirtualPath,
        format: Format,
    ) -> Result<Option<Lines>, VfsError> {
        if vfs.metadata(path)?.kind != Kind::Dir {
            return Ok(None);
        }
        Ok(Some(Lines {
            source: Source::Directory(VecDeque::new(), vfs.list(path)?),
            filter: Filter {
                pattern: None,
                hidden: true,
            },
            order: None,
            sorted: false,
            format,
            recursion: None,
            first: true,
        }))
    }

    /// The lines of a STAT, without their ends; the code that goes with them; and whether there are
    /// more.
    pub(super) fn for_stat(mut self, vfs: &Vfs) -> Result<(Code, Vec<Vec<u8>>, bool), VfsError> {
        let code = match self.source {
            Source::One(_) => Code::FileStatus,
            Source::Directory(..) | Source::Nothing => Code::DirectoryStatus,
        };
        self.sort(vfs)?;
        let mut lines = Vec::new();
        while let Some(entry) = self.next(vfs)? {
            if lines.len() == STAT_LINES {
                return Ok((code, lines, true));
            }
            let mut line = Vec::new();
            self.format.write(&entry, &mut line);
            without_line_end(&mut line);
            lines.push(line);
        }
        Ok((code, lines, false))
    }

    /// Takes in what is to be sorted, once for each directory.
    fn sort(&mut self, vfs: &Vfs) -> Result<(), VfsError> {
        let before = std::mem::replace(&mut self.sorted, true);
        let Some(order) = self.order.filter(|_| !before) else {
            return Ok(());
        };
        let Source::Directory(sorted, listing) = &mut self.source else {
            return Ok(());
        };
        let mut entries = listing.entries(vfs);
        while sorted.len() < MOST_SORTED {
            match entries.next() {
                Some(entry) => sorted.push_back(entry?),
                None => {
                    sorted.make_contiguous().sort_by(|a, b| order.compare(a, b));
                    break;
                }
            }
        }
        Ok(())
    }

    fn next(&mut self, vfs: &Vfs) -> Result<Option<Entry>, VfsError> {
        match &mut self.source {
            Source::Nothing => Ok(None),
            Source::One(_) => match std::mem::replace(&mut self.source, Source::Nothing) {
                Source::One(entry) => Ok(Some(entry)),
                Source::Directory(..) | Source::Nothing => Ok(None),
            },
            Source::Directory(sorted, listing) => loop {
                let entry = match sorted.pop_front() {
                    Some(entry) => entry,
                    None => match listing.entries(vfs).next() {
                        Some(entry) => entry?,
                        None => return Ok(None),
                    },
                };
                let recursion = self.recursion.as_mut();
                if recursion.is_some_and(|recursion| !recursion.admits_one()) {
                    return Ok(None);
                }
                if self.filter.passes(&entry.name) {
                    if let Some(recursion) = &mut self.recursion {
                        recursion.shown(&entry);
                    }
                    return Ok(Some(entry));
                }
            },
        }
    }

    /// Appends lines, some KiB of them, and says whether there are more.
    fn fill(&mut self, vfs: &Vfs, out: &mut Vec<u8>) -> Result<bool, VfsError> {
        let enough = out.len() + CHUNK;
        // What a pattern has found is in several directories, or none.
        if let Some(recursion) = &self.recursion
            && self.first
            && self.filter.pattern.is_none()
        {
            listing::heading(&recursion.heading(), true, out);
        }
        while out.len() < enough {
            self.sort(vfs)?;
            match self.next(vfs)? {
                Some(entry) => self.format.write(&entry, out),
                None if self.descend(vfs, out)? => {}
                None => return Ok(false),
            }
            self.first = false;
        }
        Ok(true)
    }

    /// Goes on with another directory, if there is one, and writes its heading.
    fn descend(&mut self, vfs: &Vfs, out: &mut Vec<u8>) -> Result<bool, VfsError> {
        let Some(recursion) = &mut self.recursion else {
            return Ok(false);
        };
        let Some(listing) = recursion.next(vfs)? else {
            return Ok(false);
        };
        listing::heading(&recursion.heading(), self.first, out);
        self.source = Source::Directory(VecDeque::new(), listing);
        self.sorted = false;
        self.filter.pattern = None;
        if let Format::Name { directory } = &mut self.format {
            directory.clear();
        }
        Ok(true)
    }
}

/// For a line that goes into a reply.
pub(super) fn without_line_end(line: &mut Vec<u8>) {
    if line.ends_with(b"\r\n") {
        line.truncate(line.len() - 2);
    }
}
