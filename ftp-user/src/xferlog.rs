//! The transfer log in the format of wu-ftpd's xferlog(5), which statistics and intrusion tools read:
//! one line for each file that was sent, received or removed. Times are UTC.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::net::IpAddr;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rustix::fs::{Access, access};
use rustix::io::Errno;
use time::OffsetDateTime;

/// The log that is written to, if any. Lasts longer than the settings that name it, so that every
/// session writes to the newest file.
#[derive(Debug, Default)]
pub struct Xferlog(Mutex<Option<Arc<File>>>);

/// Why there is no transfer log.
#[derive(Debug, thiserror::Error)]
#[error("the transfer log {} (log.xferlog) cannot be opened: {source}", .path.display())]
pub struct XferlogError {
    path: PathBuf,
    source: io::Error,
}

/// One file's transfer, or its end.
#[derive(Debug)]
pub struct Record {
    /// The client.
    pub client: IpAddr,
    /// How long it took.
    pub took: Duration,
    /// Bytes on the data connection.
    pub bytes: u64,
    /// The file, as the client sees it.
    pub path: Vec<u8>,
    /// TYPE A or TYPE I.
    pub ascii: bool,
    /// Which way.
    pub direction: Direction,
    /// Who; if that is anybody, what they say of themselves.
    pub user: String,
    /// Whether that is anybody.
    pub anonymous: bool,
    /// Whether it came to its end.
    pub complete: bool,
}

/// Which way a file went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// To the client.
    Outgoing,
    /// From the client.
    Incoming,
    /// Nowhere: it was removed.
    Deleted,
}

impl Xferlog {
    /// Opens a file for [`Xferlog::set`]: made if it is not there, added to if it is. `None`: no log.
    pub fn open(path: Option<&Path>) -> Result<Option<File>, XferlogError> {
        let open = |path: &Path| {
            let mut options = OpenOptions::new();
            options.append(true).create(true).mode(0o640).open(path)
        };
        path.map(|path| {
            open(path).map_err(|source| XferlogError {
                path: path.to_owned(),
                source,
            })
        })
        .transpose()
    }

    /// Says what would be in the way of [`Xferlog::open`], and makes nothing.
    pub fn look(path: &Path) -> Result<(), XferlogError> {
        let folder = match path.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => folder,
            _ => Path::new("."),
        };
        let looked = match fs::metadata(path) {
            Ok(found) if found.is_dir() => Err(Errno::ISDIR.into()),
            Ok(_) => access(path, Access::WRITE_OK).map_err(io::Error::from),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                access(folder, Access::WRITE_OK | Access::EXEC_OK).map_err(io::Error::from)
            }
            Err(error) => Err(error),
        };
        looked.map_err(|source| XferlogError {
            path: path.to_owned(),
            source,
        })
    }

    /// From now on this file is written to.
    pub fn set(&self, file: Option<File>) {
        *self.lock() = file.map(Arc::new);
    }

    /// Whether records are wanted at all.
    pub fn is_on(&self) -> bool {
        self.lock().is_some()
    }

    /// Adds a line. Blocks as long as the disk does, and nobody else with it.
    pub fn write(&self, record: &Record) {
        let line = record.line(OffsetDateTime::now_utc());
        let file = self.lock().clone();
        // In one write, so that lines of several threads and processes do not mix.
        let written = file.map(|file| (&*file).write_all(&line));
        if let Some(Err(error)) = written {
            tracing::error!(%error, "cannot write to the transfer log");
        }
    }

    fn lock(&self) -> MutexGuard<'_, Option<Arc<File>>> {
        // A file is there or not, whatever a holder of the lock ran into.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Record {
    fn line(&self, at: OffsetDateTime) -> Vec<u8> {
        let month = &at.month().to_string()[..3];
        let weekday = &at.weekday().to_string()[..3];
        let (hour, minute, second) = at.to_hms();
        let flag = |yes, a, b| if yes { a } else { b };
        let mut line = format!(
            "{weekday} {month} {:2} {hour:02}:{minute:02}:{second:02} {} {} {} {} ",
            at.day(),
            at.year(),
            // Whole seconds, and no transfer takes none.
            self.took.as_secs().max(1),
            self.client,
            self.bytes
        )
        .into_bytes();
        push_word(&mut line, &self.path);
        let rest = format!(
            " {} _ {} {} ",
            flag(self.ascii, 'a', 'b'),
            match self.direction {
                Direction::Outgoing => 'o',
                Direction::Incoming => 'i',
                Direction::Deleted => 'd',
            },
            flag(self.anonymous, 'a', 'r')
        );
        line.extend_from_slice(rest.as_bytes());
        push_word(&mut line, self.user.as_bytes());
        // The service, no RFC 931 authentication and so no name from it.
        let end = format!(" ftp 0 * {}\n", flag(self.complete, 'c', 'i'));
        line.extend_from_slice(end.as_bytes());
        line
    }
}

/// Fields are words, and a line is a record: blanks and control characters become underscores, as
/// wu-ftpd has it; those of the upper half too, which terminals obey as well.
fn push_word(line: &mut Vec<u8>, word: &[u8]) {
    for chunk in word.utf8_chunks() {
        let plain = |c: char| if c.is_control() || c == ' ' { '_' } else { c };
        let valid: String = chunk.valid().chars().map(plain).collect();
        line.extend_from_slice(valid.as_bytes());
        let plain = |&byte: &u8| {
            if (0x80..=0x9f).contains(&byte) {
                b'_'
            } else {
                byte
            }
        };
        line.extend(chunk.invalid().iter().map(plain));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read as _;
    use std::os::fd::OwnedFd;
    use std::thread;

    fn record() -> Record {
        Record {
            client: "192.0.2.1".parse().unwrap(),
            took: Duration::from_millis(2600),
            bytes: 147_456,
            path: b"/a b\n1 forged\x1b[31m".to_vec(),
            ascii: false,
            direction: Direction::Outgoing,
            user: "alice smith".to_owned(),
            anonymous: false,
            complete: true,
        }
    }

    #[test]
    fn lines_are_those_of_wu_ftpd() {
        let at = OffsetDateTime::from_unix_timestamp(1_700_000_000).unwrap();
        assert_eq!(
            String::from_utf8(record().line(at)).unwrap(),
            "Tue Nov 14 22:13:20 2023 2 192.0.2.1 147456 /a_b_1_forged_[31m b _ o r alice_smith ftp \
             0 * c\n"
        );
        let other = Record {
            ascii: true,
            direction: Direction::Incoming,
            anonymous: true,
            complete: false,
            took: Duration::ZERO,
            ..record()
        };
        let line = String::from_utf8(other.line(at)).unwrap();
        assert!(line.contains(" 1 192.0.2.1 "), "{line}");
        assert!(line.ends_with(" a _ i a alice_smith ftp 0 * i\n"), "{line}");
    }

    #[test]
    fn no_control_character_of_either_half_gets_through() {
        for (word, written) in [
            ("a\u{9b}2Jb".as_bytes(), "a_2Jb".as_bytes()),
            (b"a\x9b2Jb", b"a_2Jb"),
            (b"\x7f\t\r", b"___"),
            // Names in UTF-8 and in Latin-1 stay.
            ("Gr\u{fc}\u{df}e".as_bytes(), "Gr\u{fc}\u{df}e".as_bytes()),
            (b"Gr\xfc\xdfe", b"Gr\xfc\xdfe"),
        ] {
            let mut line = Vec::new();
            push_word(&mut line, word);
            assert_eq!(line, written);
        }
    }

    /// A pipe that is full stands for a disk that hangs.
    #[test]
    fn whoever_does_not_write_does_not_wait_for_the_disk() {
        let (mut reader, writer) = io::pipe().unwrap();
        let log = Arc::new(Xferlog::default());
        log.set(Some(OwnedFd::from(writer).into()));
        let long = Record {
            path: vec![b'x'; 1 << 20],
            ..record()
        };
        let writing = thread::spawn({
            let log = Arc::clone(&log);
            move || log.write(&long)
        });
        // Some of it has come: it is in the middle of the write.
        let mut some = [0; 16];
        reader.read_exact(&mut some).unwrap();
        assert!(log.is_on());
        log.set(None);
        assert!(!log.is_on());
        io::copy(&mut reader, &mut io::sink()).unwrap();
        writing.join().unwrap();
    }

    #[test]
    fn a_file_is_added_to_and_may_be_exchanged() {
        let folder = tempfile::tempdir().unwrap();
        let (first, second) = (folder.path().join("first"), folder.path().join("second"));
        let log = Xferlog::default();
        assert!(!log.is_on());
        log.write(&record());
        for path in [&first, &first, &second] {
            log.set(Xferlog::open(Some(path)).unwrap());
            log.write(&record());
        }
        let lines = |path| fs::read_to_string(path).unwrap().lines().count();
        assert_eq!((lines(&first), lines(&second)), (2, 1));
        let third = folder.path().join("third");
        Xferlog::look(&first).and(Xferlog::look(&third)).unwrap();
        assert!(!third.exists(), "it was only looked at");
        for wrong in [Path::new("/no/where"), folder.path(), &first.join("below")] {
            let error = Xferlog::open(Some(wrong)).unwrap_err().to_string();
            assert!(error.contains(wrong.to_str().unwrap()), "{error}");
            assert_eq!(Xferlog::look(wrong).unwrap_err().to_string(), error);
        }
    }
}
