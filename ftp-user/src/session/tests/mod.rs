//! Sessions from outside: a server on a loopback port, a scripted client, ordinary listeners for
//! passive ports. What only a namespace or the kernel half can show is in the workspace's tests.

mod abort;
mod accounts;
mod client;
mod clock;
mod conformance;
mod deflate;
mod ends;
mod extensions;
mod files;
mod limits;
mod listing;
mod login;
mod ports;
mod reload;
mod server;
mod tls;
mod transfers;

use client::{Client, Wire, active, data};
use server::{Server, settle};
use std::path::Path;
use std::time::Duration;

/// Longer than anything here takes, so that what hangs fails.
const PATIENCE: Duration = Duration::from_secs(20);

/// Bytes that no two places have in common.
fn noise(size: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    (0..size)
        .map(|_| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            (state >> 56) as u8
        })
        .collect()
}

fn exists(path: &Path) -> bool {
    path.symlink_metadata().is_ok()
}
