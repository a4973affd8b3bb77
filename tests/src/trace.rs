//! `pinhole trace` beside a daemon, and what it tells.

use std::{
    io::{BufRead as _, BufReader, Read as _},
    path::Path,
    process::{Child, Stdio},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread,
};

use anyhow::{Context, Result, bail, ensure};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::{namespace::NetNs, process, wait};

/// The steps of a passive transfer through a lock, in their order.
pub const PASSIVE: [&str; 7] = [
    "negotiated",
    "syn",
    "established",
    "accepted",
    "first_byte",
    "last_byte",
    "closed",
];

/// A running `pinhole trace --json --summary`. Dropping it kills it.
#[derive(Debug)]
pub struct Trace {
    child: Child,
    lines: Arc<Mutex<Vec<Value>>>,
    readers: Vec<thread::JoinHandle<()>>,
    said: Arc<Mutex<String>>,
}

impl Trace {
    /// Follows that daemon, from when this returns.
    pub fn start(program: &Path, namespace: &NetNs, daemon: u32) -> Result<Trace> {
        let mut command = namespace.command(program);
        command
            .args(["trace", "--json", "--summary", "--pid", &daemon.to_string()])
            .env("PINHOLE_LOG", "info")
            .env("NO_COLOR", "1")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = process::spawn(command).context("cannot start pinhole trace")?;
        let stdout = child.stdout.take().context("started without its stdout")?;
        let mut stderr = child.stderr.take().context("started without its stderr")?;
        let (lines, said) = (Arc::<Mutex<Vec<Value>>>::default(), Arc::default());
        let (told, heard) = (Arc::clone(&lines), Arc::clone(&said));
        let readers = vec![
            thread::spawn(move || {
                for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                    let value = serde_json::from_str(&line);
                    lock(&told).push(value.unwrap_or(Value::String(line)));
                }
            }),
            thread::spawn(move || {
                let mut chunk = [0; 1024];
                while let Ok(read @ 1..) = stderr.read(&mut chunk) {
                    let text: &mut String = &mut lock(&heard);
                    text.push_str(&String::from_utf8_lossy(&chunk[..read]));
                }
            }),
        ];
        let mut trace = Trace {
            child,
            lines,
            readers,
            said,
        };
        wait::poll_within(wait::SOON, "pinhole trace is ready", || {
            if lock(&trace.said).contains("ready") {
                return Ok(Some(()));
            }
            match trace.child.try_wait()? {
                Some(status) => bail!("it ended ({status})"),
                None => Ok(None),
            }
        })
        .with_context(|| format!("pinhole trace said: {}", lock(&trace.said)))?;
        Ok(trace)
    }

    /// Waits until so many transfers have been told, and returns them all.
    pub fn transfers(&self, count: usize) -> Result<Vec<Value>> {
        wait::until(&format!("pinhole trace tells {count} transfers"), || {
            lock(&self.lines).len() >= count
        })
        .with_context(|| format!("{:?}", lock(&self.lines)))?;
        Ok(lock(&self.lines).clone())
    }

    /// Waits until it ends with an error by itself, and returns what it said.
    pub fn until_it_fails(mut self) -> Result<String> {
        let status = process::wait(&mut self.child, wait::SOON)?;
        let status = status.context("pinhole trace still runs")?;
        self.drain();
        ensure!(!status.success(), "pinhole trace ended with {status}");
        Ok(lock(&self.said).clone())
    }

    /// Ends it as Ctrl-C does: every transfer, and the summary.
    pub fn finish(mut self) -> Result<(Vec<Value>, Value)> {
        kill_process(Pid::from_child(&self.child), Signal::INT)
            .context("cannot interrupt pinhole trace")?;
        let status = process::wait(&mut self.child, wait::SOON)?;
        ensure!(
            status.is_some_and(|status| status.success()),
            "pinhole trace ended with {status:?}: {}",
            lock(&self.said)
        );
        self.drain();
        let mut lines = std::mem::take(&mut *lock(&self.lines));
        let summary = lines.pop().context("pinhole trace told no summary")?;
        Ok((lines, summary))
    }

    /// Its ends of the pipes are closed: the rest has been read when the threads end.
    fn drain(&mut self) {
        for reader in self.readers.drain(..) {
            // It cannot panic; if it did, lines are missing, which is looked at next.
            let _ = reader.join();
        }
    }
}

impl Drop for Trace {
    fn drop(&mut self) {
        // Nobody is left to hear of an error, and the kernel kills it with this process.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The names of the steps that were seen, in the order in which they are told.
pub fn steps(transfer: &Value) -> Vec<&str> {
    let steps = transfer["steps"].as_array().map(Vec::as_slice);
    steps
        .unwrap_or_default()
        .iter()
        .filter_map(|step| step["step"].as_str())
        .collect()
}

/// When a step was, in nanoseconds of `CLOCK_MONOTONIC`.
pub fn at(transfer: &Value, step: &str) -> Result<u64> {
    let steps = transfer["steps"].as_array();
    let found = steps.and_then(|steps| steps.iter().find(|found| found["step"] == step));
    found
        .and_then(|found| found["ns"].as_u64())
        .with_context(|| format!("no step {step} in {transfer}"))
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
