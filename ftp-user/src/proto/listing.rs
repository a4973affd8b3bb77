//! Directory entries as text: LIST and NLST lines (RFC 959 section 4.1.3), facts (RFC 3659 section
//! 7) and timestamps (RFC 3659 section 2.3). Pure formatting: no clock (the caller says what time
//! it is), no disk, no sockets.

mod timestamp;

pub use timestamp::{parse_timestamp, timestamp};

use std::fmt;
use std::io::Write as _;
use std::time::{Duration, SystemTime};

use time::Month;

use crate::auth::Rights;
use crate::vfs::{Entry, Kind};
use timestamp::civil;

/// Appends the entry's line of a LIST: what `ls -ln` prints, in English and in UTC, with CRLF.
///
/// RFC 959 leaves the format open; this is the one that clients have learnt to read. Owner and
/// group are numbers: an account's tree need not belong to people whom this host knows.
pub fn list_line(entry: &Entry, now: SystemTime, out: &mut Vec<u8>) {
    let mode = Mode(entry);
    let modified = When {
        modified: entry.modified,
        now,
    };
    let Entry {
        nlink,
        uid,
        gid,
        size,
        ..
    } = entry;
    append(
        out,
        format_args!("{mode} {nlink:4} {uid:<8} {gid:<8} {size:12} {modified} "),
    );
    name_line(entry, out);
}

/// Appends the entry's line of an NLST: its name, with CRLF.
pub fn name_line(entry: &Entry, out: &mut Vec<u8>) {
    name(&entry.name, out);
    out.extend_from_slice(b"\r\n");
}

/// Appends the entry's line of an MLSD: the chosen facts, a space, the name, with CRLF. `rights`
/// are those of the account that looks, for the "perm" fact.
pub fn facts_line(entry: &Entry, facts: &Facts, rights: &Rights, out: &mut Vec<u8>) {
    for fact in facts.iter() {
        fact.append(entry, rights, out);
    }
    out.push(b' ');
    name_line(entry, out);
}

/// The facts that a session wants to see (OPTS MLST). At first, all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    chosen: [bool; Fact::ALL.len()],
}

impl Facts {
    /// Reads the argument of OPTS MLST: "fact;fact;", in any order and case. Facts that are not
    /// known are left out, as RFC 3659 section 7.9 wants it; the reply tells which were taken.
    pub fn parse(names: &[u8]) -> Facts {
        let wanted = |fact: Fact| {
            names.split(|&byte| byte == b';').any(|name| {
                name.trim_ascii()
                    .eq_ignore_ascii_case(fact.name().as_bytes())
            })
        };
        Facts {
            chosen: Fact::ALL.map(wanted),
        }
    }

    /// For FEAT: every fact there is, those chosen with a "*" (RFC 3659 section 7.8).
    pub fn feature(&self) -> String {
        let facts = Fact::ALL.iter().zip(self.chosen);
        facts
            .map(|(fact, chosen)| format!("{}{};", fact.name(), if chosen { "*" } else { "" }))
            .collect()
    }

    /// For the reply to OPTS MLST: the facts chosen.
    pub fn chosen(&self) -> String {
        self.iter()
            .map(|fact| format!("{};", fact.name()))
            .collect()
    }

    fn iter(&self) -> impl Iterator<Item = Fact> {
        let facts = Fact::ALL.into_iter().zip(self.chosen);
        facts.filter(|(_, chosen)| *chosen).map(|(fact, _)| fact)
    }
}

impl Default for Facts {
    fn default() -> Facts {
        Facts {
            chosen: [true; Fact::ALL.len()],
        }
    }
}

/// What can be told about an entry (RFC 3659 section 7.5, and the UNIX facts that servers agree
/// on).
#[derive(Debug, Clone, Copy)]
enum Fact {
    Type,
    Size,
    Modify,
    Perm,
    Unique,
    UnixMode,
    UnixOwner,
    UnixGroup,
}

impl Fact {
    const ALL: [Fact; 8] = [
        Fact::Type,
        Fact::Size,
        Fact::Modify,
        Fact::Perm,
        Fact::Unique,
        Fact::UnixMode,
        Fact::UnixOwner,
        Fact::UnixGroup,
    ];

    fn name(self) -> &'static str {
        match self {
            Fact::Type => "type",
            Fact::Size => "size",
            Fact::Modify => "modify",
            Fact::Perm => "perm",
            Fact::Unique => "unique",
            Fact::UnixMode => "UNIX.mode",
            Fact::UnixOwner => "UNIX.owner",
            Fact::UnixGroup => "UNIX.group",
        }
    }

    fn append(self, entry: &Entry, rights: &Rights, out: &mut Vec<u8>) {
        let name = self.name();
        match self {
            Fact::Type => append(out, format_args!("{name}={};", kind(entry.kind))),
            // Of a directory it would be no number of bytes that anybody can fetch.
            Fact::Size if entry.kind == Kind::File => {
                append(out, format_args!("{name}={};", entry.size));
            }
            Fact::Size => {}
            Fact::Modify => append(out, format_args!("{name}={};", timestamp(entry.modified))),
            Fact::Perm => append(out, format_args!("{name}={};", Perm(entry.kind, rights))),
            // Two names with the same value are one file (RFC 3659 section 7.5.2).
            Fact::Unique => append(out, format_args!("{name}={:x}g{:x};", entry.dev, entry.ino)),
            Fact::UnixMode => append(out, format_args!("{name}={:04o};", entry.mode)),
            Fact::UnixOwner => append(out, format_args!("{name}={};", entry.uid)),
            Fact::UnixGroup => append(out, format_args!("{name}={};", entry.gid)),
        }
    }
}

/// RFC 3659 section 7.5.1; "OS.unix=slink" is its example for what it has no type for.
fn kind(kind: Kind) -> &'static str {
    match kind {
        Kind::File => "file",
        Kind::Dir => "dir",
        Kind::Symlink => "OS.unix=slink",
        Kind::Other => "OS.unix=special",
    }
}

/// What the account may do with an entry of this kind (RFC 3659 section 7.5.5).
struct Perm<'a>(Kind, &'a Rights);

impl fmt::Display for Perm<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Perm(kind, rights) = *self;
        let (file, dir) = (kind == Kind::File, kind == Kind::Dir);
        let letters = [
            ('a', file && rights.append),
            ('c', dir && rights.write),
            ('d', rights.delete),
            ('e', dir && rights.list),
            ('f', rights.rename),
            ('l', dir && rights.list),
            ('m', dir && rights.mkdir),
            ('p', dir && rights.delete),
            ('r', file && rights.read),
            ('w', file && rights.write),
        ];
        for (letter, _) in letters.into_iter().filter(|(_, may)| *may) {
            write!(f, "{letter}")?;
        }
        Ok(())
    }
}

/// "drwxr-sr-t".
struct Mode<'a>(&'a Entry);

impl fmt::Display for Mode<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.0.kind {
            Kind::File => '-',
            Kind::Dir => 'd',
            Kind::Symlink => 'l',
            // Which special file it is is of no use to a client; all parsers know this letter.
            Kind::Other => 'p',
        };
        write!(f, "{kind}")?;
        for (shift, special, letters) in [(6, 0o4000, "sS"), (3, 0o2000, "sS"), (0, 0o1000, "tT")] {
            let bits = self.0.mode >> shift;
            let letter = |bit, letter| if bits & bit != 0 { letter } else { '-' };
            let mut both = letters.chars();
            let execute = match (self.0.mode & special != 0, bits & 1 != 0) {
                (true, true) => both.next(),
                (true, false) => both.nth(1),
                (false, _) => None,
            };
            let execute = execute.unwrap_or_else(|| letter(1, 'x'));
            write!(f, "{}{}{execute}", letter(4, 'r'), letter(2, 'w'))?;
        }
        Ok(())
    }
}

/// "Jan  2 15:04" within the last half year, "Jan  2  2006" outside of it, as `ls` does in the C
/// locale.
struct When {
    modified: SystemTime,
    now: SystemTime,
}

/// Half of the mean Gregorian year, 365.2425 days: what `ls` counts as six months.
const SIX_MONTHS: Duration = Duration::from_secs(31_556_952 / 2);

impl fmt::Display for When {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let date = civil(self.modified);
        let name = month_name(date.month());
        let recent = self
            .now
            .duration_since(self.modified)
            .is_ok_and(|age| age < SIX_MONTHS);
        if recent {
            let (hour, minute) = (date.hour(), date.minute());
            write!(f, "{name} {:2} {hour:02}:{minute:02}", date.day())
        } else {
            write!(f, "{name} {:2} {:5}", date.day(), date.year())
        }
    }
}

fn month_name(month: Month) -> &'static str {
    match month {
        Month::January => "Jan",
        Month::February => "Feb",
        Month::March => "Mar",
        Month::April => "Apr",
        Month::May => "May",
        Month::June => "Jun",
        Month::July => "Jul",
        Month::August => "Aug",
        Month::September => "Sep",
        Month::October => "Oct",
        Month::November => "Nov",
        Month::December => "Dec",
    }
}

/// A name byte for byte, but for the bytes that end lines: those become "?", as in `ls -q`. A file
/// whose name is "a\r\nb" shows as one line, and no client could ask for it anyway.
fn name(bytes: &[u8], out: &mut Vec<u8>) {
    let shown = bytes.iter().map(|&byte| match byte {
        b'\r' | b'\n' | 0 => b'?',
        byte => byte,
    });
    out.extend(shown);
}

fn append(out: &mut Vec<u8>, text: fmt::Arguments<'_>) {
    // Writing to memory does not fail.
    let _ = out.write_fmt(text);
}

#[cfg(test)]
mod tests;
