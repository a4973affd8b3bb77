//! Network namespaces held by nothing but a file descriptor: no name under /run/netns, so nothing
//! is left behind, however the test process ends. (`ip netns exec` also remounts /sys; entering
//! by `setns` does not.)

use std::{
    fs::File,
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

use crate::process::{self, Finished};

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

    /// Loads an nftables script.
    pub fn nft(&self, script: &str) -> Result<()> {
        self.tool("nft", &["-f", "-"], script).map(drop)
    }

    /// Sets a sysctl by its path below /proc/sys.
    pub fn sysctl(&self, key: &str, value: &str) -> Result<()> {
        let path = format!("/proc/sys/{key}");
        self.run(|| std::fs::write(&path, value))?
            .with_context(|| format!("cannot set {key} to {value} in namespace {}", self.name))
    }
}

impl AsFd for NetNs {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.handle.as_fd()
    }
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
