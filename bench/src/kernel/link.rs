//! What floods need of a network interface: packets received by a thread of their own (threaded NAPI) that can
//! be pinned and timed, and counters.

use std::{
    collections::BTreeSet,
    fs,
    path::PathBuf,
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use anyhow::{Context as _, Result, bail, ensure};
use ftp_tests::namespace::NetNs;
use rustix::{
    mount::{MountFlags, UnmountFlags, mount, unmount},
    process::Pid,
    thread::{CpuSet, sched_setaffinity},
};

use crate::cpu;

/// An interface whose packets a kernel thread receives.
pub(crate) struct Receiver {
    namespace: NetNs,
    interface: String,
    thread: u32,
}

impl Receiver {
    /// Turns threaded NAPI on and pins the thread. GRO first: without it, or XDP, veth has no NAPI.
    pub(crate) fn pinned(namespace: &NetNs, interface: &str, core: usize) -> Result<Self> {
        namespace.tool("ethtool", &["-K", interface, "gro", "on"], "")?;
        let before = napi_threads(interface)?;
        let sys = Sysfs::mount(namespace)?;
        let path = sys.0.join("class/net").join(interface).join("threaded");
        fs::write(&path, "1").with_context(|| format!("cannot turn on {}", path.display()))?;
        drop(sys);
        let new: Vec<u32> = napi_threads(interface)?
            .difference(&before)
            .copied()
            .collect();
        let [thread] = new[..] else {
            bail!("{interface} has {} new NAPI threads, not one", new.len());
        };
        pin(thread, core)?;
        Ok(Self {
            namespace: namespace.clone(),
            interface: interface.to_owned(),
            thread,
        })
    }

    /// Packets received so far, and what receiving has cost.
    pub(crate) fn look(&self) -> Result<(u64, Duration)> {
        let path = "/proc/thread-self/net/dev";
        let text = self.namespace.run(|| fs::read_to_string(path))?;
        let text = text.with_context(|| format!("cannot read {path}"))?;
        let received = received(&text, &self.interface)
            .with_context(|| format!("{path} has no {}", self.interface))?;
        Ok((received, cpu::of_thread(self.thread)?))
    }
}

/// Lets a thread run on one core only.
pub(crate) fn pin(thread: u32, core: usize) -> Result<()> {
    let mut set = CpuSet::new();
    set.set(core);
    let pid = Pid::from_raw(thread.cast_signed());
    sched_setaffinity(pid, &set)
        .with_context(|| format!("cannot pin thread {thread} to core {core}"))
}

/// The first core and the last, for those that send and those that receive.
pub(crate) fn two_cores() -> Result<(usize, usize)> {
    let cores = std::thread::available_parallelism()?.get();
    ensure!(
        cores > 1,
        "a flood and its receiver need a core each, and this machine has one"
    );
    Ok((0, cores - 1))
}

/// The interface's index in its namespace.
pub(crate) fn index(namespace: &NetNs, interface: &str) -> Result<u32> {
    namespace.run(|| {
        let socket = std::net::UdpSocket::bind("127.0.0.1:0")?;
        Ok(rustix::net::netdevice::name_to_index(&socket, interface)?)
    })?
}

/// /sys shows the interfaces of the namespace that it was mounted in.
struct Sysfs(PathBuf);

impl Sysfs {
    fn mount(namespace: &NetNs) -> Result<Self> {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("sys-{number}"));
        fs::create_dir_all(&path).with_context(|| format!("cannot make {}", path.display()))?;
        let mounted = namespace.run(|| {
            mount(
                "sysfs",
                &path,
                "sysfs",
                MountFlags::empty(),
                None::<&std::ffi::CStr>,
            )
        })?;
        mounted.with_context(|| format!("cannot mount sysfs on {}", path.display()))?;
        Ok(Self(path))
    }
}

impl Drop for Sysfs {
    fn drop(&mut self) {
        // The mount namespace ends with this process in any case.
        let _ = unmount(&self.0, UnmountFlags::DETACH);
        let _ = fs::remove_dir(&self.0);
    }
}

fn napi_threads(interface: &str) -> Result<BTreeSet<u32>> {
    // The kernel calls them napi/INTERFACE-ID (net/core/dev.c, napi_kthread_create).
    let name = format!("napi/{interface}-");
    let mut found = BTreeSet::new();
    for pid in cpu::pids()? {
        let comm = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
        if comm.starts_with(&name) {
            found.insert(pid);
        }
    }
    Ok(found)
}

fn received(dev: &str, interface: &str) -> Option<u64> {
    let line = dev
        .lines()
        .find_map(|line| line.trim_start().strip_prefix(interface)?.strip_prefix(':'))?;
    // Bytes, packets.
    line.split_whitespace().nth(1)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packets_are_read_of_the_right_interface() {
        let dev =
            "Inter-|   Receive\n face |bytes packets errs\n    s01: 1 2 3\n     s0: 700 8 0 0\n";
        assert_eq!(received(dev, "s0"), Some(8));
        assert_eq!(received(dev, "s1"), None);
    }
}
