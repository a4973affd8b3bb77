//! Commands as types: what each one carries, once its argument has been read.

mod verb;

use super::address::Family;
use super::list_options::ListRequest;
use std::fmt;
use std::net::{SocketAddr, SocketAddrV4};
use std::time::SystemTime;
pub use verb::Verb;

/// Bytes that may not be shown: Debug does not.
pub struct Secret(Vec<u8>);

impl Secret {
    /// Hides `bytes`.
    pub fn new(bytes: Vec<u8>) -> Secret {
        Secret(bytes)
    }

    /// Gives the bytes out, to be kept by a type that wipes them.
    pub fn into_bytes(self) -> Vec<u8> {
        self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

impl PartialEq for Secret {
    fn eq(&self, other: &Secret) -> bool {
        self.0 == other.0
    }
}

/// TYPE: what the bytes of a file become on the data connection.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum TypeCode {
    /// `A`, `A N`. The default of RFC 959 §5.1.
    #[default]
    Ascii,
    /// `I`, `L 8`
    Image,
}

/// MODE: how bytes are carried over the data connection.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Mode {
    /// `S`: as they are; the end of the connection is the end of the file (RFC 959 §3.4.1).
    #[default]
    Stream,
    /// `Z`: as one zlib stream (draft-preston-ftpext-deflate).
    Deflate,
}

/// A hash of a file's bytes, as HASH and the verbs of its own kind know it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "`Algorithm::name` names them")]
pub enum Algorithm {
    Crc32,
    Md5,
    Sha1,
    #[default]
    Sha256,
    Sha512,
}

impl Algorithm {
    /// All of them, in the order in which FEAT shows them.
    pub const ALL: [Algorithm; 5] = [
        Algorithm::Crc32,
        Algorithm::Md5,
        Algorithm::Sha1,
        Algorithm::Sha256,
        Algorithm::Sha512,
    ];

    /// As IANA's registry of hash function textual names has it; CRC32, which is no hash function,
    /// as other servers have it.
    pub fn name(self) -> &'static str {
        match self {
            Algorithm::Crc32 => "CRC32",
            Algorithm::Md5 => "MD5",
            Algorithm::Sha1 => "SHA-1",
            Algorithm::Sha256 => "SHA-256",
            Algorithm::Sha512 => "SHA-512",
        }
    }
}

/// RANG's arguments (draft-bryan-ftp-range-08).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ByteRange {
    /// `1 0`: all bytes, as if there had been no RANG.
    All,
    /// The first byte and the last one, counted from 0.
    Inclusive(u64, u64),
    /// A last byte before the first: an error that takes an earlier range back (§3).
    Backwards,
}

/// One way to read an argument of XCRC and its kin, which may end with numbers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reading {
    /// Of the file.
    pub path: Vec<u8>,
    /// Which of its bytes: half-open, and not necessarily in order.
    pub range: Option<(u64, Option<u64>)>,
}

/// EPSV's argument.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EpsvArgument {
    /// None: the family of the control connection.
    Any,
    /// `1` or `2`
    Family(Family),
    /// `ALL`: from now on nothing but EPSV (RFC 2428 §4).
    All,
}

/// OPTS' arguments.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Opts {
    /// `UTF8 ON`. There is no OFF: names are bytes.
    Utf8,
    /// `MLST fact;fact;`: the facts named, as sent.
    Mlst(Vec<u8>),
    /// `HASH name`: what HASH computes from now on; without a name, a question.
    Hash(Option<Algorithm>),
    /// `MODE Z LEVEL n`: how hard to compress, 0 to 9.
    DeflateLevel(u8),
}

/// AUTH's argument (RFC 4217 §8).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mechanism {
    /// `TLS`, and `TLS-C`, which says the same.
    Tls,
}

/// PROT's argument (RFC 2228 §3), as RFC 4217 §9 has it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Protection {
    /// `C`: data connections as they are.
    #[default]
    Clear,
    /// `P`: data connections inside TLS.
    Private,
    /// `S` and `E`: integrity without privacy, or the reverse. TLS gives both or none.
    NotByTls,
}

/// SITE's arguments.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Site {
    /// `HELP`
    Help,
    /// `QUOTA`
    Quota,
    /// `CHMOD mode path`: permission bits, none above 0o777.
    Chmod(u32, Vec<u8>),
    /// `UTIME time path`, or `UTIME path accessed modified created UTC`.
    Utime {
        /// When the file was last read, if the client says so.
        accessed: Option<SystemTime>,
        /// When its content last changed.
        modified: SystemTime,
        /// Of the file.
        path: Vec<u8>,
    },
    /// `SYMLINK target link`
    Symlink {
        /// What the link says.
        target: Vec<u8>,
        /// Where the link is made.
        link: Vec<u8>,
    },
}

/// A command with its arguments checked. Paths are bytes, exactly as sent.
#[derive(Debug, PartialEq)]
#[expect(
    missing_docs,
    reason = "named after the verbs, which `Verb::usage` explains"
)]
pub enum Command {
    Host(Vec<u8>),
    User(Vec<u8>),
    Pass(Secret),
    Acct,
    Auth(Mechanism),
    Pbsz,
    Prot(Protection),
    Ccc,
    Quit,
    Rein,
    Syst,
    Feat,
    Opts(Opts),
    Help(Option<Verb>),
    Clnt(Vec<u8>),
    Noop,
    Pwd,
    Cwd(Vec<u8>),
    Cdup,
    Type(TypeCode),
    Mode(Mode),
    Stru,
    Pasv,
    Epsv(EpsvArgument),
    Port(SocketAddrV4),
    Eprt(SocketAddr),
    List(ListRequest),
    Nlst(ListRequest),
    Mlsd(Option<Vec<u8>>),
    Mlst(Option<Vec<u8>>),
    /// The session, and the transfer that runs.
    Stat,
    /// LIST over the control connection.
    StatPath(ListRequest),
    Retr(Vec<u8>),
    Stor(Vec<u8>),
    Appe(Vec<u8>),
    Stou,
    Rest(u64),
    Rang(ByteRange),
    Size(Vec<u8>),
    Mdtm(Vec<u8>),
    Mfmt(SystemTime, Vec<u8>),
    Hash(Vec<u8>),
    /// XCRC and its kin: the algorithm is the verb's. Numbers at the end are a range, unless they are
    /// part of a name that is there: the longest comes first.
    Digest(Algorithm, Reading, Vec<Reading>),
    Avbl(Option<Vec<u8>>),
    Comb(Vec<u8>, Vec<Vec<u8>>),
    Dele(Vec<u8>),
    Mkd(Vec<u8>),
    Rmd(Vec<u8>),
    Rnfr(Vec<u8>),
    Rnto(Vec<u8>),
    Abor,
    Allo(u64),
    Site(Site),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_not_shown() {
        let command = Command::Pass(Secret::new(b"hunter2".to_vec()));
        assert!(!format!("{command:?}").contains("hunter2"));
        assert!(!format!("{command:?}").contains("104"));
    }
}
