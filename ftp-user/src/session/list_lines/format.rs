//! An entry as LIST, NLST and MLSD write it.

use crate::auth::Rights;
use crate::proto::append;
use crate::session::listing::{self, Facts};
use crate::vfs::{Entry, Kind};
use std::time::SystemTime;

/// How an entry is written.
#[derive(Debug, Clone)]
pub(in crate::session) enum Format {
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
    pub(in crate::session) fn says_more_than_names(&self) -> bool {
        match self {
            Format::Name { .. } => false,
            Format::Long { .. } | Format::Facts { .. } => true,
        }
    }

    /// Whether there is a line for the entry. One of which only the name is known is left out of a
    /// LIST: a line that is made up would be believed, and one with question marks, as `ls` prints
    /// it, is read by few clients.
    pub(in crate::session) fn has_words_for(&self, entry: &Entry) -> bool {
        match self {
            Format::Long { .. } => entry.kind != Kind::Unknown,
            Format::Name { .. } | Format::Facts { .. } => true,
        }
    }

    /// Appends the entry's line.
    pub(in crate::session) fn write(&self, entry: &Entry, out: &mut Vec<u8>) {
        match self {
            Format::Long { now } => listing::list_line(entry, *now, out),
            Format::Name { directory } => {
                append::name(directory, out);
                listing::name_line(entry, out);
            }
            Format::Facts { facts, rights } => listing::facts_line(entry, facts, rights, out),
        }
    }

    /// Appends the entry's line without an end, for a reply: names byte for byte, as in a 257.
    pub(in crate::session) fn write_in_reply(&self, mut entry: Entry, out: &mut Vec<u8>) {
        let name = std::mem::take(&mut entry.name);
        let target = match self {
            Format::Long { .. } => std::mem::take(&mut entry.target),
            Format::Name { .. } | Format::Facts { .. } => Box::default(),
        };
        self.write(&entry, out);
        if out.ends_with(b"\r\n") {
            out.truncate(out.len() - 2);
        }
        out.extend_from_slice(&name);
        if !target.is_empty() {
            out.extend_from_slice(b" -> ");
            out.extend_from_slice(&target);
        }
    }
}
