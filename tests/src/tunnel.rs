//! A tunnel between two hosts, as WireGuard or a VPN makes one: an interface at each end whose packets
//! begin with the IP header. What goes in at one end comes out at the other, in order and unchanged.

use std::{
    fs::{File, OpenOptions},
    io::{self, Read as _, Write as _},
    os::{fd::AsRawFd as _, unix::fs::OpenOptionsExt as _},
    thread::{self, JoinHandle},
};

use anyhow::{Context as _, Result};
use rustix::{
    event::{EventfdFlags, PollFd, PollFlags, eventfd, poll},
    fd::OwnedFd,
};

use crate::namespace::NetNs;

/// The interface's name at both ends.
pub const INTERFACE: &str = "tun0";

/// Both ends and who carries the packets. Dropping it removes the interfaces.
#[derive(Debug)]
pub struct Tunnel {
    over: OwnedFd,
    carrier: Option<JoinHandle<()>>,
}

impl Tunnel {
    /// Makes the interfaces, without addresses and not up.
    pub fn between(one: &NetNs, other: &NetNs) -> Result<Tunnel> {
        let ends = [
            one.run(interface)?.context("cannot make a tun interface")?,
            other
                .run(interface)?
                .context("cannot make a tun interface")?,
        ];
        let over = eventfd(0, EventfdFlags::CLOEXEC)?;
        let end = over.try_clone()?;
        let carrier = thread::spawn(move || carry(&ends, &end));
        Ok(Tunnel {
            over,
            carrier: Some(carrier),
        })
    }
}

impl Drop for Tunnel {
    fn drop(&mut self) {
        // If the carrier cannot be told, it ends with the test.
        if rustix::io::write(&self.over, &1_u64.to_ne_bytes()).is_ok() {
            let _ = self.carrier.take().map(JoinHandle::join);
        }
    }
}

/// A tun interface in this thread's network namespace; it is gone when the file is closed.
fn interface() -> io::Result<File> {
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .custom_flags(libc::O_NONBLOCK)
        .open("/dev/net/tun")?;
    // SAFETY: a C structure of integers and arrays of them; all zeros is a value of it.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (to, from) in request.ifr_name.iter_mut().zip(INTERFACE.bytes()) {
        *to = from as libc::c_char;
    }
    request.ifr_ifru.ifru_flags = (libc::IFF_TUN | libc::IFF_NO_PI) as libc::c_short;
    // SAFETY: TUNSETIFF takes a pointer to an ifreq, which lives through the call.
    let done = unsafe { libc::ioctl(file.as_raw_fd(), libc::TUNSETIFF, &raw mut request) };
    match done {
        0 => Ok(file),
        _ => Err(io::Error::last_os_error()),
    }
}

fn carry(ends: &[File; 2], over: &OwnedFd) {
    let [one, other] = ends;
    let mut packet = vec![0; 1 << 16];
    loop {
        let mut ready = [
            PollFd::new(one, PollFlags::IN),
            PollFd::new(other, PollFlags::IN),
            PollFd::new(over, PollFlags::IN),
        ];
        if poll(&mut ready, None).is_err() {
            continue;
        }
        if !ready[2].revents().is_empty() {
            return;
        }
        for (mut from, mut to) in [(one, other), (other, one)] {
            // An end that is down reads and takes nothing: so would a cable that is cut.
            while let Ok(len @ 1..) = from.read(&mut packet) {
                let _ = to.write(&packet[..len]);
            }
        }
    }
}
