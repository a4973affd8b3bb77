//! MODE Z (draft-preston-ftpext-deflate-04): what is sent goes out as one zlib stream, RFC 1950.
//!
//! flate2 with zlib-rs: zlib itself in Rust, made for speed, and compressing is what a transfer in this
//! mode waits for.

use super::error::TransferError;
use super::produce::{FileBytes, Produce, Ready};
use flate2::{Compress, Compression, FlushCompress, Status};
use std::fs::File;
use std::io;
use std::ops::Range;

/// Compressed bytes made in one go.
const CHUNK: usize = 32 << 10;

/// Compresses what a producer makes.
pub struct Deflated<P> {
    producer: P,
    compress: Compress,
    /// What was made and not yet compressed, from `at` on.
    plain: Vec<u8>,
    at: usize,
    more: bool,
}

impl<P: Produce> Deflated<P> {
    /// `level` as zlib has it, 0 (store) to 9 (smallest).
    pub fn new(producer: P, level: u8) -> Deflated<P> {
        Deflated {
            producer,
            compress: Compress::new(Compression::new(level.min(9).into()), true),
            plain: Vec::new(),
            at: 0,
            more: true,
        }
    }
}

/// Compresses a file's bytes.
pub fn deflated_file(file: File, range: Range<u64>, level: u8) -> impl Produce {
    Deflated::new(FileBytes { file, range }, level)
}

/// Compresses bytes that are at hand.
pub fn deflated_bytes(bytes: Vec<u8>, level: u8) -> impl Produce {
    Deflated::new(Ready(bytes), level)
}

impl<P: Produce> Produce for Deflated<P> {
    fn produce(&mut self, out: &mut Vec<u8>) -> Result<bool, TransferError> {
        if self.at == self.plain.len() && self.more {
            self.plain.clear();
            self.at = 0;
            self.more = self.producer.produce(&mut self.plain)?;
            if self.plain.is_empty() && self.more {
                // A producer that skips.
                return Ok(true);
            }
        }
        let flush = match self.more {
            true => FlushCompress::None,
            false => FlushCompress::Finish,
        };
        out.reserve(CHUNK);
        let before = self.compress.total_in();
        let input = self.plain.get(self.at..).unwrap_or_default();
        let status = self
            .compress
            .compress_vec(input, out, flush)
            .map_err(|error| TransferError::Read(io::Error::other(error)))?;
        let taken = self.compress.total_in() - before;
        self.at += usize::try_from(taken).unwrap_or_default();
        Ok(status != Status::StreamEnd)
    }

    fn is_long(&self) -> bool {
        true
    }

    fn computes(&self) -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};

    fn inflate(deflated: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        flate2::read::ZlibDecoder::new(deflated)
            .read_to_end(&mut out)
            .unwrap();
        out
    }

    fn all(mut producer: impl Produce) -> Vec<u8> {
        let mut all = Vec::new();
        loop {
            // As the senders do: a buffer that is empty again and again.
            let mut out = Vec::new();
            let more = producer.produce(&mut out).unwrap();
            all.append(&mut out);
            if !more {
                return all;
            }
        }
    }

    #[test]
    fn what_comes_out_inflates_to_what_went_in() {
        let noise: Vec<u8> = (0..3_000_000u32)
            .map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8)
            .collect();
        for bytes in [Vec::new(), b"abc".to_vec(), vec![0; 1_000_000], noise] {
            for level in [0, 1, 6, 9] {
                let made = all(deflated_bytes(bytes.clone(), level));
                assert!(inflate(&made) == bytes, "{} {level}", bytes.len());
            }
            let mut file = tempfile::tempfile().unwrap();
            file.write_all(&bytes).unwrap();
            let made = all(deflated_file(file, 0..bytes.len() as u64, 6));
            assert!(inflate(&made) == bytes);
        }
        assert!(all(deflated_bytes(vec![0; 1_000_000], 6)).len() < 10_000);
    }
}
