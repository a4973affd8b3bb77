//! Network namespaces held by nothing but a file descriptor: no name under /run/netns, so nothing
//! is left behind, however the test process ends. (`ip netns exec` also remounts /sys; entering
//! by `setns` does not.)

use std::{
    collections::BTreeSet,
    fs::{self, File},
    net::{IpAddr, Ipv6Addr},
    os::{
        fd::{AsFd, AsRawFd, BorrowedFd},
        unix::{fs::MetadataExt, process::CommandExt},
    },
    process::Command,
    sync::Arc,
    thread,
    time::Duration,
};

use anyhow::{Context, Result, anyhow};
use rustix::{
    process::{Signal, getpid, getppid, set_parent_process_death_signal},
    thread::{LinkNameSpaceType, UnshareFlags, move_into_link_name_space, unshare_unsafe},
};

use crate::{
    process::{self, Finished},
    wait,
};

const TOOL_LIMIT: Duration = Duration::from_secs(60);

/// A network namespace. It lives as long as a clone of this, a process, or a socket in it.
#[derive(Clone, Debug)]
pub struct NetNs {
    name: Arc<str>,
    handle: Arc<File>,
}

impl NetNs {
    /// Makes a namespace with `lo` up, no duplicate address detection (an address is usable at
    /// once), and a congestion control that does not depend on the machine's default.
    pub fn new(name: &str) -> Result<NetNs> {
        let handle = thread::scope(|scope| scope.spawn(unshare_here).join())
            .map_err(|_| anyhow!("the thread that makes namespace {name} panicked"))?
            .with_context(|| format!("cannot make network namespace {name}"))?;
        let made = NetNs {
            name: name.into(),
            handle: Arc::new(handle),
        };
        for which in ["all", "default"] {
            made.sysctl(&format!("net/ipv6/conf/{which}/accept_dad"), "0")?;
            made.sysctl(&format!("net/ipv6/conf/{which}/disable_ipv6"), "0")?;
            made.sysctl(&format!("net/ipv4/conf/{which}/rp_filter"), "0")?;
        }
        made.sysctl("net/ipv4/tcp_congestion_control", "reno")?;
        made.ip("link set lo up\n")?;
        Ok(made)
    }

    /// What the test calls it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// A path by which other programs can open it while this lives.
    pub fn path(&self) -> String {
        format!(
            "/proc/{}/fd/{}",
            getpid().as_raw_nonzero(),
            self.handle.as_raw_fd()
        )
    }

    /// The inode by which /proc knows it.
    pub fn inode(&self) -> Result<u64> {
        Ok(self.handle.metadata()?.ino())
    }

    /// Runs `work` on a thread inside the namespace. Sockets it makes stay inside.
    pub fn run<T: Send>(&self, work: impl FnOnce() -> T + Send) -> Result<T> {
        thread::scope(|scope| {
            scope
                .spawn(|| {
                    enter(self.handle.as_fd())
                        .with_context(|| format!("cannot enter namespace {}", self.name))?;
                    Ok(work())
                })
                .join()
        })
        .map_err(|_| anyhow!("a thread in namespace {} panicked", self.name))?
    }

    /// A command that runs inside the namespace and is killed when this process ends. Start it
    /// with [`process::spawn`] or [`process::run`].
    pub fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new(program);
        let handle = Arc::clone(&self.handle);
        let parent = getpid();
        // SAFETY: the closure only makes system calls (setns, prctl, getppid) and allocates
        // nothing, as must be between fork and exec of a process with threads.
        unsafe {
            command.pre_exec(move || {
                enter(handle.as_fd())?;
                set_parent_process_death_signal(Some(Signal::KILL))?;
                // The parent may have died before the kernel was asked.
                if getppid() != Some(parent) {
                    return Err(rustix::io::Errno::SRCH.into());
                }
                Ok(())
            })
        };
        command
    }

    /// Runs a tool inside the namespace to its end; its failure is an error that shows its words.
    pub fn tool(&self, program: &str, args: &[&str], input: &str) -> Result<Finished> {
        let mut command = self.command(program);
        command.args(args);
        process::run(command, input.as_bytes(), TOOL_LIMIT)
            .and_then(Finished::successful)
            .with_context(|| {
                format!(
                    "{program} {} in namespace {}, given:\n{input}",
                    args.join(" "),
                    self.name
                )
            })
    }

    /// Runs lines of `ip` commands (without the word `ip`).
    pub fn ip(&self, batch: &str) -> Result<()> {
        self.tool("ip", &["-batch", "-"], batch).map(drop)
    }

    /// Adds addresses to an interface, each usable when this returns. The kernel's IPv6 makes an
    /// address local only later, from a work queue: until then what is sent to it is dropped.
    pub fn add_addresses(&self, interface: &str, addresses: &[(IpAddr, u8)]) -> Result<()> {
        let lines: String = addresses
            .iter()
            .map(|(address, prefix)| {
                let at_once = if address.is_ipv6() { " nodad" } else { "" };
                format!("addr add {address}/{prefix} dev {interface}{at_once}\n")
            })
            .collect();
        self.ip(&lines)?;
        wait::poll_within(wait::SOON, "every address is local", || {
            let routes = self
                .run(|| fs::read_to_string("/proc/thread-self/net/ipv6_route"))?
                .context("cannot read the IPv6 routes")?;
            let local: BTreeSet<Ipv6Addr> = routes.lines().filter_map(local_route).collect();
            let usable = addresses.iter().all(|(address, _)| match address {
                IpAddr::V4(_) => true,
                IpAddr::V6(v6) => local.contains(v6),
            });
            Ok(usable.then_some(()))
        })
    }

    /// Loads an nftables script.
    pub fn nft(&self, script: &str) -> Result<()> {
        self.tool("nft", &["-f", "-"], script).map(drop)
    }

    /// Sets a sysctl by its path below /proc/sys.
    pub fn sysctl(&self, key: &str, value: &str) -> Result<()> {
        let path = format!("/proc/sys/{key}");
        self.run(|| fs::write(&path, value))?
            .with_context(|| format!("cannot set {key} to {value} in namespace {}", self.name))
    }
}

impl AsFd for NetNs {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.handle.as_fd()
    }
}

/// The address of a line of /proc/net/ipv6_route, if it is one of the host's own.
fn local_route(line: &str) -> Option<Ipv6Addr> {
    const RTF_LOCAL: u32 = 0x8000_0000;
    let mut fields = line.split_whitespace();
    let destination = u128::from_str_radix(fields.next()?, 16).ok()?;
    let prefix = fields.next()?;
    // Source, its prefix, next hop, metric, two counts.
    let flags = u32::from_str_radix(fields.nth(6)?, 16).ok()?;
    (prefix == "80" && flags & RTF_LOCAL != 0).then(|| destination.into())
}

fn unshare_here() -> Result<File> {
    // SAFETY: only the network namespace of this thread changes: no memory, no file descriptor
    // table, no working directory that other code relies on.
    unsafe { unshare_unsafe(UnshareFlags::NEWNET) }.context("unshare(CLONE_NEWNET)")?;
    // thread-self: /proc/self is the whole process's first thread.
    Ok(File::open("/proc/thread-self/ns/net")?)
}

fn enter(handle: BorrowedFd<'_>) -> std::io::Result<()> {
    Ok(move_into_link_name_space(
        handle,
        Some(LinkNameSpaceType::Network),
    )?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_addresses_are_told_from_other_routes() {
        let line = |destination: &str, prefix: &str, flags: &str| {
            let zero = "0".repeat(32);
            format!("{destination} {prefix} {zero} 00 {zero} 00000000 00000002 00000000 {flags} s0")
        };
        let address = "fd770000000000000000000000000001";
        assert_eq!(
            local_route(&line(address, "80", "80200001")),
            Some("fd77::1".parse().unwrap())
        );
        assert_eq!(local_route(&line(address, "80", "00200001")), None);
        assert_eq!(local_route(&line(address, "40", "80200001")), None);
    }
}
