//! Directory entries as text: LIST and NLST lines (RFC 959 section 4.1.3), and facts (RFC 3659 section
//! 7). Pure formatting: no clock (the caller says what time it is), no disk, no sockets.

use std::time::{Duration, SystemTime};

use time::Month;

use crate::auth::Rights;
use crate::proto::append::{self, name};
use crate::proto::timestamp::{append_timestamp, civil, year};
use crate::vfs::{Entry, Kind};

/// Appends the entry's line of a LIST: what `ls -ln` prints, in English and in UTC, with CRLF.
///
/// RFC 959 leaves the format open; this is the one that clients have learnt to read. Owner and
/// group are numbers: an account's tree need not belong to people whom this host knows.
pub(super) fn list_line(entry: &Entry, now: SystemTime, out: &mut Vec<u8>) {
    mode(entry, out);
    out.push(b' ');
    append::right(entry.nlink, 4, out);
    out.push(b' ');
    append::left(entry.uid.into(), 8, out);
    out.push(b' ');
    append::left(entry.gid.into(), 8, out);
    out.push(b' ');
    append::right(entry.size, 12, out);
    out.push(b' ');
    when(entry.modified, now, out);
    out.push(b' ');
    name(&entry.name, out);
    if !entry.target.is_empty() {
        out.extend_from_slice(b" -> ");
        name(&entry.target, out);
    }
    out.extend_from_slice(b"\r\n");
}

/// Appends the entry's line of an NLST: its name, with CRLF.
pub(super) fn name_line(entry: &Entry, out: &mut Vec<u8>) {
    name(&entry.name, out);
    out.extend_from_slice(b"\r\n");
}

/// Appends what stands above a directory's entries in a recursive listing, as `ls -R` does, with an
/// empty line before all but the `first`.
pub(super) fn heading(label: &[u8], first: bool, out: &mut Vec<u8>) {
    if !first {
        out.extend_from_slice(b"\r\n");
    }
    name(label, out);
    out.extend_from_slice(b":\r\n");
}

/// Appends the entry's line of an MLSD: the chosen facts, a space, the name, with CRLF. `rights`
/// are those of the account that looks, for the "perm" fact.
pub(super) fn facts_line(entry: &Entry, facts: &Facts, rights: &Rights, out: &mut Vec<u8>) {
    for fact in facts.iter() {
        fact.append(entry, rights, out);
    }
    out.push(b' ');
    name_line(entry, out);
}

/// The facts that a session wants to see (OPTS MLST). At first, all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Facts {
    chosen: [bool; Fact::ALL.len()],
}

impl Facts {
    /// Reads the argument of OPTS MLST: "fact;fact;", in any order and case. Facts that are not
    /// known are left out, as RFC 3659 section 7.9 wants it; the reply tells which were taken.
    pub(super) fn parse(names: &[u8]) -> Facts {
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
    pub(super) fn feature(&self) -> String {
        let facts = Fact::ALL.iter().zip(self.chosen);
        facts
            .map(|(fact, chosen)| format!("{}{};", fact.name(), if chosen { "*" } else { "" }))
            .collect()
    }

    /// For the reply to OPTS MLST: the facts chosen.
    pub(super) fn chosen(&self) -> String {
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
        // Facts that are not known are left out (RFC 3659 section 7.2); but clients go by the type.
        if entry.kind == Kind::Unknown && !matches!(self, Fact::Type) {
            return;
        }
        // Of a directory it would be no number of bytes that anybody can fetch.
        if matches!(self, Fact::Size) && entry.kind != Kind::File {
            return;
        }
        out.extend_from_slice(self.name().as_bytes());
        out.push(b'=');
        match self {
            Fact::Type => kind(entry, out),
            Fact::Size => append::number(entry.size, out),
            Fact::Modify => append_timestamp(entry.modified, out),
            Fact::Perm => permissions(entry.kind, rights, out),
            // Two names with the same value are one file (RFC 3659 section 7.5.2).
            Fact::Unique => {
                append::hexadecimal(entry.dev, out);
                out.push(b'g');
                append::hexadecimal(entry.ino, out);
            }
            Fact::UnixMode => append::octal(entry.mode.into(), 4, out),
            Fact::UnixOwner => append::number(entry.uid.into(), out),
            Fact::UnixGroup => append::number(entry.gid.into(), out),
        }
        out.push(b';');
    }
}

/// RFC 3659 section 7.5.1. A link is "OS.unix=slink:target" as in its section 7.7.4; where the target
/// does not go into a fact, with nothing behind the colon, which clients know from Pure-FTPd.
fn kind(entry: &Entry, out: &mut Vec<u8>) {
    out.extend_from_slice(match entry.kind {
        Kind::File => b"file",
        Kind::Dir => b"dir",
        Kind::Symlink => b"OS.unix=slink:",
        Kind::Other => b"OS.unix=special",
        Kind::Unknown => b"OS.unix=unknown",
    });
    // A fact is ended by ";" and all of them by " ": RCHAR of RFC 3659 section 2.2.
    let fits = |byte: &u8| byte.is_ascii_alphanumeric() || b",.:!@#$%^&()-_+?/\\'\"".contains(byte);
    if entry.target.iter().all(fits) {
        out.extend_from_slice(&entry.target);
    }
}

/// What the account may do with an entry of this kind (RFC 3659 section 7.5.5).
fn permissions(kind: Kind, rights: &Rights, out: &mut Vec<u8>) {
    let (file, dir) = (kind == Kind::File, kind == Kind::Dir);
    let letters = [
        (b'a', file && rights.append),
        (b'c', dir && (rights.write || rights.append)),
        (b'd', rights.delete),
        // CWD is for everybody.
        (b'e', dir),
        (b'f', rights.rename),
        (b'l', dir && rights.list),
        (b'm', dir && rights.mkdir),
        (b'p', dir && rights.delete),
        (b'r', file && rights.read),
        (b'w', file && rights.write),
    ];
    let may = letters.into_iter().filter(|(_, may)| *may);
    out.extend(may.map(|(letter, _)| letter));
}

/// "drwxr-sr-t".
fn mode(entry: &Entry, out: &mut Vec<u8>) {
    out.push(match entry.kind {
        Kind::File => b'-',
        Kind::Dir => b'd',
        Kind::Symlink => b'l',
        // Which special file it is is of no use to a client; all parsers know this letter.
        Kind::Other => b'p',
        Kind::Unknown => b'?',
    });
    for (shift, special, both, alone) in [
        (6, 0o4000, b's', b'S'),
        (3, 0o2000, b's', b'S'),
        (0, 0o1000, b't', b'T'),
    ] {
        let bits = entry.mode >> shift;
        let letter = |bit, letter| if bits & bit != 0 { letter } else { b'-' };
        let execute = match (entry.mode & special != 0, bits & 1 != 0) {
            (true, true) => both,
            (true, false) => alone,
            (false, _) => letter(1, b'x'),
        };
        out.extend([letter(4, b'r'), letter(2, b'w'), execute]);
    }
}

/// Half of the mean Gregorian year, 365.2425 days: what `ls` counts as six months.
const SIX_MONTHS: Duration = Duration::from_secs(31_556_952 / 2);

/// "Jan  2 15:04" within the last half year, "Jan  2  2006" outside of it, as `ls` does in the C
/// locale.
fn when(modified: SystemTime, now: SystemTime, out: &mut Vec<u8>) {
    let date = civil(modified);
    out.extend_from_slice(month_name(date.month()));
    out.push(b' ');
    append::right(date.day().into(), 2, out);
    out.push(b' ');
    let age = now.duration_since(modified);
    if age.is_ok_and(|age| age < SIX_MONTHS) {
        append::zeros(date.hour().into(), 2, out);
        out.push(b':');
        append::zeros(date.minute().into(), 2, out);
    } else {
        append::right(year(date), 5, out);
    }
}

fn month_name(month: Month) -> &'static [u8; 3] {
    match month {
        Month::January => b"Jan",
        Month::February => b"Feb",
        Month::March => b"Mar",
        Month::April => b"Apr",
        Month::May => b"May",
        Month::June => b"Jun",
        Month::July => b"Jul",
        Month::August => b"Aug",
        Month::September => b"Sep",
        Month::October => b"Oct",
        Month::November => b"Nov",
        Month::December => b"Dec",
    }
}

#[cfg(test)]
mod tests;
