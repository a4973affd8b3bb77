//! The lines of a listing, made as they are sent: which entries, in which order, in which format.

mod budget;
mod choice;
mod format;
mod read;
mod stat;
mod taken;

pub(super) use self::format::Format;
pub(super) use self::stat::StatLines;

use self::choice::{Filter, Order};
use self::read::{Found, Source};
use super::listing;
use super::recursion::{Cut, Most, Recursion};
use crate::proto::glob;
use crate::proto::list_options::ListOptions;
use crate::transfer::{Produce, TransferError};
use crate::vfs::{Entry, ErrorKind, Kind, Tree, Vfs, VfsError, VirtualPath};
use std::io;

/// Bytes of listing made in one go.
const CHUNK: usize = 16 << 10;
/// Names read in one go, wanted or not.
const STEP: usize = 500;

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
        let order = Some(Order::of(options));
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
        let source = match look(vfs, path, argument) {
            Ok(entry) if !options.itself && is_directory(vfs, path, &entry) => {
                // Names stand below headings that say where they are.
                match most {
                    Some(most) => {
                        let label = if argument.is_empty() { b"." } else { argument };
                        recursion = Some(Box::new(Recursion::new(path.clone(), label, most)));
                    }
                    None => name(argument),
                }
                Source::directory(vfs.list(path)?)
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
                Source::directory(vfs.list(&parent)?)
            }
            Err(error) => return Err(error),
        };
        Ok(Lines {
            source,
            filter: Filter {
                pattern,
                hidden: options.all,
            },
            order,
            sorted: false,
            format,
            recursion,
            first: true,
        })
    }

    /// Opens what MLSD is about, if it is a directory: all of it, as it comes. For programs, which
    /// sort by themselves.
    pub(super) fn of_directory(
        vfs: &Vfs,
        path: &VirtualPath,
        format: Format,
    ) -> Result<Option<Lines>, VfsError> {
        if vfs.metadata(path)?.kind != Kind::Dir {
            return Ok(None);
        }
        Ok(Some(Lines {
            source: Source::directory(vfs.list(path)?),
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

    /// Appends lines, some KiB of them, and says whether there are more. It may also append none for
    /// now: what is to be sorted comes when all of it is there, and a pattern may pass over thousands.
    fn fill(&mut self, vfs: &Vfs, out: &mut Vec<u8>) -> Result<bool, VfsError> {
        let enough = out.len() + CHUNK;
        let mut names = STEP;
        // What a pattern has found is in several directories, or none.
        if let Some(recursion) = &self.recursion
            && self.first
            && self.filter.pattern.is_none()
        {
            listing::heading(&recursion.heading(), true, out);
            self.first = false;
        }
        while out.len() < enough {
            match self.next(vfs, &mut names)? {
                Found::One(entry) => self.format.write(&entry, out),
                Found::NotYet => return Ok(true),
                Found::End if self.descend(vfs, out) => {}
                Found::End => return Ok(false),
            }
            self.first = false;
        }
        Ok(true)
    }

    /// Goes on with another directory, if there is one, and writes its heading.
    fn descend(&mut self, vfs: &Vfs, out: &mut Vec<u8>) -> bool {
        let Some(recursion) = &mut self.recursion else {
            return false;
        };
        let Some(listing) = recursion.next(vfs) else {
            return false;
        };
        listing::heading(&recursion.heading(), self.first, out);
        self.source = Source::directory(listing);
        self.sorted = false;
        self.filter.pattern = None;
        if let Format::Name { directory } = &mut self.format {
            directory.clear();
        }
        true
    }
}

/// What `argument` names, which is at `path`: as lstat(2) has it, a link itself, unless the argument
/// can only mean a directory ("link/", "link/.", or nothing, for where the client is).
pub(super) fn look(vfs: &Vfs, path: &VirtualPath, argument: &[u8]) -> Result<Entry, VfsError> {
    match argument.rsplit(|&byte| byte == b'/').next() {
        None | Some(b"" | b"." | b"..") => vfs.metadata(path),
        Some(_) => vfs.link_metadata(path),
    }
}

/// What is asked for by name is listed also if a link leads to it, as other servers for Unix do.
fn is_directory(vfs: &Vfs, path: &VirtualPath, entry: &Entry) -> bool {
    match entry.kind {
        Kind::Dir => true,
        Kind::Symlink => vfs
            .metadata(path)
            .is_ok_and(|target| target.kind == Kind::Dir),
        Kind::File | Kind::Other | Kind::Unknown => false,
    }
}

#[cfg(test)]
mod tests;
