//! Hashes of files, computed on blocking threads in short steps, each of which waits for its turn: no
//! session waits for another's hash.

use crate::proto::command::Algorithm;
use crate::transfer::{Monitor, TransferError, thread_for};
use crate::{disk, turns};
use md5::Md5;
use rustix::io::Errno;
use sha1::Sha1;
use sha2::{Digest, Sha256, Sha512};
use std::fmt::Write as _;
use std::fs::File;
use std::io;
use std::ops::Range;
use std::time::{Duration, Instant};

/// How long one step may hold its thread.
const STEP: Duration = Duration::from_millis(100);
/// Bytes read at one time.
const BUFFER: usize = 256 << 10;

/// The hash of the bytes in `range`, in lower-case hexadecimal. Counts bytes in `monitor` and ends
/// when that is aborted.
pub async fn of_file(
    file: File,
    range: Range<u64>,
    algorithm: Algorithm,
    monitor: Monitor,
) -> Result<String, TransferError> {
    let mut work = Work {
        file,
        range,
        hasher: Hasher::new(algorithm),
        monitor,
    };
    loop {
        let mut turn = Some(turns::next().await);
        let thread = turns::during(&mut turn, thread_for(&work.monitor)).await?;
        let step = disk::on_a_thread(thread, move || {
            let done = work.step();
            (work, done)
        });
        let done;
        (work, done) = turns::during(&mut turn, step).await?;
        if done? {
            return Ok(work.hasher.finish());
        }
    }
}

struct Work {
    file: File,
    range: Range<u64>,
    hasher: Hasher,
    monitor: Monitor,
}

impl Work {
    /// Says whether all is done.
    fn step(&mut self) -> Result<bool, TransferError> {
        let started = Instant::now();
        let mut buffer = vec![0; BUFFER];
        while !self.range.is_empty() {
            if self.monitor.is_aborted() {
                return Err(TransferError::Aborted);
            }
            if started.elapsed() >= STEP {
                return Ok(false);
            }
            let left = usize::try_from(self.range.end - self.range.start).unwrap_or(BUFFER);
            let into = buffer.get_mut(..left.min(BUFFER)).unwrap_or_default();
            match rustix::io::pread(&self.file, &mut *into, self.range.start) {
                Ok(0) => return Err(TransferError::Shrunk),
                Ok(read) => {
                    self.hasher.update(into.get(..read).unwrap_or_default());
                    self.range.start += read as u64;
                    self.monitor.add(read);
                }
                Err(Errno::INTR) => {}
                Err(error) => return Err(TransferError::Read(io::Error::from(error))),
            }
        }
        Ok(true)
    }
}

enum Hasher {
    Crc32(crc32fast::Hasher),
    Md5(Md5),
    Sha1(Sha1),
    Sha256(Sha256),
    Sha512(Sha512),
}

impl Hasher {
    fn new(algorithm: Algorithm) -> Hasher {
        match algorithm {
            Algorithm::Crc32 => Hasher::Crc32(crc32fast::Hasher::new()),
            Algorithm::Md5 => Hasher::Md5(Md5::new()),
            Algorithm::Sha1 => Hasher::Sha1(Sha1::new()),
            Algorithm::Sha256 => Hasher::Sha256(Sha256::new()),
            Algorithm::Sha512 => Hasher::Sha512(Sha512::new()),
        }
    }

    fn update(&mut self, bytes: &[u8]) {
        match self {
            Hasher::Crc32(hasher) => hasher.update(bytes),
            Hasher::Md5(hasher) => hasher.update(bytes),
            Hasher::Sha1(hasher) => hasher.update(bytes),
            Hasher::Sha256(hasher) => hasher.update(bytes),
            Hasher::Sha512(hasher) => hasher.update(bytes),
        }
    }

    fn finish(self) -> String {
        match self {
            Hasher::Crc32(hasher) => hexadecimal(&hasher.finalize().to_be_bytes()),
            Hasher::Md5(hasher) => hexadecimal(&hasher.finalize()),
            Hasher::Sha1(hasher) => hexadecimal(&hasher.finalize()),
            Hasher::Sha256(hasher) => hexadecimal(&hasher.finalize()),
            Hasher::Sha512(hasher) => hexadecimal(&hasher.finalize()),
        }
    }
}

fn hexadecimal(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(2 * bytes.len());
    for byte in bytes {
        // Writing to a String does not fail.
        let _ = write!(text, "{byte:02x}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write as _;

    async fn hash(bytes: &[u8], range: Range<u64>, algorithm: Algorithm) -> String {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(bytes).unwrap();
        of_file(file, range, algorithm, Monitor::default())
            .await
            .unwrap()
    }

    /// RFC 1321 §A.5, RFC 3174 §7.3, and NIST's examples for SHA-2; CRC-32's check value.
    #[tokio::test]
    async fn known_hashes() {
        let abc = |algorithm| hash(b"xabcx", 1..4, algorithm);
        assert_eq!(hash(b"123456789", 0..9, Algorithm::Crc32).await, "cbf43926");
        assert_eq!(
            abc(Algorithm::Md5).await,
            "900150983cd24fb0d6963f7d28e17f72"
        );
        assert_eq!(
            abc(Algorithm::Sha1).await,
            "a9993e364706816aba3e25717850c26c9cd0d89d"
        );
        assert_eq!(
            abc(Algorithm::Sha256).await,
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
        assert_eq!(
            abc(Algorithm::Sha512).await,
            "ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a\
             2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f"
        );
        assert_eq!(
            hash(b"", 0..0, Algorithm::Md5).await,
            "d41d8cd98f00b204e9800998ecf8427e"
        );
    }

    #[tokio::test]
    async fn where_the_reads_end_makes_no_difference() {
        let bytes: Vec<u8> = (0..3 * BUFFER + 17).map(|n| (n % 251) as u8).collect();
        let whole = hash(&bytes, 0..bytes.len() as u64, Algorithm::Sha256).await;
        assert_eq!(whole, hexadecimal(&Sha256::digest(&bytes)));
    }

    #[tokio::test]
    async fn an_abort_ends_it() {
        let file = tempfile::tempfile().unwrap();
        file.set_len(1 << 40).unwrap();
        let monitor = Monitor::default();
        let abort = async {
            while monitor.bytes() == 0 {
                tokio::task::yield_now().await;
            }
            monitor.abort();
        };
        let work = of_file(file, 0..1 << 40, Algorithm::Crc32, monitor.clone());
        let (ended, ()) = tokio::join!(work, abort);
        assert!(matches!(ended, Err(TransferError::Aborted)));
    }
}
