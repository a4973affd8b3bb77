//! File contents to transfer, and their hashes.

use std::{fs, path::Path};

use anyhow::{Context, Result, ensure};
use sha2::{Digest, Sha256};

use crate::wait;

/// Bytes that no two places in a file share by chance, the same for the same `seed`. They include
/// every value, so CR, LF, NUL and IAC, which an ASCII or telnet conversion would damage.
pub fn noise(seed: u64, len: usize) -> Vec<u8> {
    // SplitMix64: small, and good enough that a shifted or repeated block changes the hash.
    let mut state = seed;
    let mut bytes = Vec::with_capacity(len + 8);
    while bytes.len() < len {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = state;
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        bytes.extend_from_slice(&(word ^ (word >> 31)).to_le_bytes());
    }
    bytes.truncate(len);
    bytes
}

/// SHA-256 as hexadecimal digits.
pub fn hash(bytes: &[u8]) -> String {
    Sha256::digest(bytes)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

/// Fails unless the file at `path` holds exactly `expected`; says how they differ.
pub fn ensure_same(path: &Path, expected: &[u8]) -> Result<()> {
    let found = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    ensure_equal(&path.display().to_string(), &found, expected)
}

/// The same for an upload: its client may be gone before the server has written the last byte.
pub fn ensure_stored(path: &Path, expected: &[u8]) -> Result<()> {
    wait::until("the upload is as long as it should be", || {
        fs::metadata(path).is_ok_and(|file| file.len() == expected.len() as u64)
    })?;
    ensure_same(path, expected)
}

/// Fails unless `found` is exactly `expected`; says where they part.
pub fn ensure_equal(what: &str, found: &[u8], expected: &[u8]) -> Result<()> {
    let parted = found.iter().zip(expected).position(|(a, b)| a != b);
    ensure!(
        hash(found) == hash(expected),
        "{what}: {} bytes instead of {}, differing from byte {}",
        found.len(),
        expected.len(),
        parted.unwrap_or_else(|| found.len().min(expected.len()))
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hash_is_sha_256() {
        // FIPS 180-2, appendix B.1.
        assert_eq!(
            hash(b"abc"),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
    }

    #[test]
    fn noise_holds_every_byte_value_and_differs_by_seed() {
        let bytes = noise(1, 1 << 16);
        assert!((0..=u8::MAX).all(|value| bytes.contains(&value)));
        assert_ne!(bytes, noise(2, 1 << 16));
        assert_eq!(bytes[..100], noise(1, 100)[..]);
    }

    #[test]
    fn a_difference_is_placed() {
        let error = ensure_equal("x", b"abcd", b"abXd").unwrap_err().to_string();
        assert!(error.contains("from byte 2"), "{error}");
        let error = ensure_equal("x", b"ab", b"abXd").unwrap_err().to_string();
        assert!(error.contains("2 bytes instead of 4"), "{error}");
    }
}
