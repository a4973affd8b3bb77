//! A program to run, and the processes it becomes.

use std::{
    ffi::OsString,
    fs,
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use anyhow::{Context, Result};
use rustix::process::{Pid, Signal, kill_process_group};

use crate::{namespace::NetNs, process};

/// A program to run, for the server or, under inetd, for each of its sessions.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    pub(super) program: PathBuf,
    pub(super) args: Vec<OsString>,
    pub(super) env: Vec<(&'static str, OsString)>,
    /// Where to write what it says.
    pub(super) log: PathBuf,
}

impl Plan {
    pub(super) fn new(program: PathBuf, folder: &Path) -> Plan {
        Plan {
            program,
            args: Vec::new(),
            env: Vec::new(),
            log: folder.join("said.log"),
        }
    }

    pub(super) fn arg(mut self, arg: impl Into<OsString>) -> Plan {
        self.args.push(arg.into());
        self
    }

    pub(super) fn args<A: Into<OsString>>(mut self, args: impl IntoIterator<Item = A>) -> Plan {
        self.args.extend(args.into_iter().map(Into::into));
        self
    }

    pub(super) fn command(&self, namespace: &NetNs) -> Command {
        let mut command = namespace.command(&self.program);
        command
            .args(&self.args)
            .envs(self.env.iter().map(|(name, value)| (name, value)))
            .env("TZ", "UTC")
            .process_group(0);
        command
    }

    pub(super) fn spawn(&self, namespace: &NetNs) -> Result<Group> {
        let log = fs::File::options()
            .create(true)
            .append(true)
            .open(&self.log)
            .with_context(|| format!("cannot make {}", self.log.display()))?;
        let mut command = self.command(namespace);
        command
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log);
        Group::spawn(command)
    }
}

/// A process and what it forks. Dropping it kills all of them.
#[derive(Debug)]
pub(super) struct Group {
    pub(super) child: Child,
}

impl Group {
    /// Runs a command that makes a process group of its own.
    pub(super) fn spawn(command: Command) -> Result<Group> {
        let line = format!("{command:?}");
        let child = process::spawn(command).with_context(|| format!("cannot start {line}"))?;
        Ok(Group { child })
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // Nobody is left to hear of an error here.
        let _ = kill_process_group(Pid::from_child(&self.child), Signal::KILL);
        let _ = self.child.wait();
    }
}
