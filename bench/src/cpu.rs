//! What a process and all its descendants have used: CPU time, by the kernel's accounting, and memory.

use std::{collections::HashMap, fs, io, time::Duration};

use anyhow::{Context as _, Result};
use rustix::process::Pid;

/// A process, as /proc/PID/stat shows it.
struct Process {
    parent: u32,
    /// Of children that it has waited for.
    ended_children: Duration,
}

/// CPU time of the processes below `root`, itself included, and of those of their children that have
/// ended and were waited for. Living processes count to the nanosecond, ended ones to the clock tick.
pub(crate) fn of_tree(root: u32) -> Result<Duration> {
    let processes = processes()?;
    let mut total = Duration::ZERO;
    for pid in descendants(&processes, root) {
        total += of_process(pid).unwrap_or_default();
        total += processes
            .get(&pid)
            .map(|process| process.ended_children)
            .unwrap_or_default();
    }
    Ok(total)
}

/// CPU time of this process, all threads.
pub(crate) fn own() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::try_from(time).unwrap_or_default()
}

/// Proportional set size of the processes below `root`, itself included, in bytes: memory that several
/// share counts for each with its part.
pub(crate) fn proportional_set_size(root: u32) -> Result<u64> {
    let mut total = 0;
    for pid in descendants(&processes()?, root) {
        let path = format!("/proc/{pid}/smaps_rollup");
        match fs::read_to_string(&path) {
            Ok(text) => total += pss(&text).with_context(|| format!("cannot read {path}"))?,
            Err(error) if gone(&error) => {}
            Err(error) => return Err(error).with_context(|| format!("cannot read {path}")),
        }
    }
    Ok(total)
}

/// The processes below `root`, without itself.
pub(crate) fn below(root: u32) -> Result<Vec<Pid>> {
    let all = descendants(&processes()?, root).into_iter().skip(1);
    Ok(all
        .filter_map(|pid| Pid::from_raw(pid.cast_signed()))
        .collect())
}

/// Every thread of the processes below `root`, itself included.
pub(crate) fn threads_of_tree(root: u32) -> Result<Vec<u32>> {
    let processes = descendants(&processes()?, root);
    Ok(processes.into_iter().flat_map(threads).collect())
}

/// Time that a kernel thread or another single thread has run.
pub(crate) fn of_thread(tid: u32) -> Result<Duration> {
    let path = format!("/proc/{tid}/schedstat");
    let text = fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
    let first = text.split_whitespace().next().unwrap_or_default();
    let nanoseconds = first
        .parse()
        .with_context(|| format!("{path} begins with {first:?}"))?;
    Ok(Duration::from_nanos(nanoseconds))
}

/// Living threads to the nanosecond; a thread that has ended is in the process's own sum, which only
/// `stat` has, to the clock tick. The larger of the two is nearer to the truth.
fn of_process(pid: u32) -> Option<Duration> {
    let threads: Duration = threads(pid)
        .into_iter()
        .filter_map(|tid| of_thread_of(pid, tid))
        .sum();
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    Some(threads.max(ticks(&stat, [11, 12])?))
}

/// Its threads; none if it has ended.
fn threads(pid: u32) -> Vec<u32> {
    let entries = fs::read_dir(format!("/proc/{pid}/task"))
        .into_iter()
        .flatten();
    entries
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .collect()
}

fn of_thread_of(pid: u32, tid: u32) -> Option<Duration> {
    let text = fs::read_to_string(format!("/proc/{pid}/task/{tid}/schedstat")).ok()?;
    Some(Duration::from_nanos(
        text.split_whitespace().next()?.parse().ok()?,
    ))
}

/// The processes of this machine.
pub(crate) fn pids() -> Result<Vec<u32>> {
    let entries = fs::read_dir("/proc").and_then(Iterator::collect::<io::Result<Vec<_>>>);
    let entries = entries.context("cannot list /proc")?;
    let pid = |entry: fs::DirEntry| entry.file_name().to_str()?.parse().ok();
    Ok(entries.into_iter().filter_map(pid).collect())
}

fn processes() -> Result<HashMap<u32, Process>> {
    let mut found = HashMap::new();
    for pid in pids()? {
        // It may have ended meanwhile.
        let Ok(stat) = fs::read_to_string(format!("/proc/{pid}/stat")) else {
            continue;
        };
        if let Some(process) = parse(&stat) {
            found.insert(pid, process);
        }
    }
    Ok(found)
}

/// Fields after the name, which may hold anything, counted from 0 (proc(5): field 3 there).
fn fields(stat: &str) -> Option<Vec<&str>> {
    Some(stat.rsplit_once(") ")?.1.split_whitespace().collect())
}

fn parse(stat: &str) -> Option<Process> {
    Some(Process {
        parent: fields(stat)?.get(1)?.parse().ok()?,
        ended_children: ticks(stat, [13, 14])?,
    })
}

fn ticks(stat: &str, which: [usize; 2]) -> Option<Duration> {
    let fields = fields(stat)?;
    let mut sum = 0.0;
    for index in which {
        sum += fields.get(index)?.parse::<f64>().ok()?;
    }
    let per_second = rustix::param::clock_ticks_per_second() as f64;
    Some(Duration::from_secs_f64(sum / per_second))
}

fn descendants(processes: &HashMap<u32, Process>, root: u32) -> Vec<u32> {
    let mut children: HashMap<u32, Vec<u32>> = HashMap::new();
    for (pid, process) in processes {
        children.entry(process.parent).or_default().push(*pid);
    }
    let mut found = vec![root];
    let mut next = 0;
    while let Some(pid) = found.get(next) {
        next += 1;
        if let Some(more) = children.remove(pid) {
            found.extend(more);
        }
    }
    found
}

fn pss(rollup: &str) -> Option<u64> {
    let line = rollup.lines().find(|line| line.starts_with("Pss:"))?;
    let kilobytes: u64 = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(kilobytes * 1024)
}

fn gone(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::NotFound || error.raw_os_error() == Some(libc::ESRCH)
}

#[cfg(test)]
mod tests {
    use super::*;

    const STAT: &str = "42 (a) (b) S 7 42 42 0 -1 4194560 100 200 0 0 150 50 25 75 20 0 1 0 1 1 1";

    #[test]
    fn a_name_with_parentheses_does_not_confuse() {
        let process = parse(STAT).unwrap();
        let per_second = rustix::param::clock_ticks_per_second() as f64;
        assert_eq!(process.parent, 7);
        assert_eq!(
            process.ended_children,
            Duration::from_secs_f64(100.0 / per_second)
        );
        assert_eq!(
            ticks(STAT, [11, 12]),
            Some(Duration::from_secs_f64(200.0 / per_second))
        );
    }

    #[test]
    fn a_tree_is_the_root_and_all_below() {
        let process = |parent| Process {
            parent,
            ended_children: Duration::ZERO,
        };
        let processes = HashMap::from([
            (1, process(0)),
            (10, process(1)),
            (11, process(10)),
            (12, process(11)),
            (20, process(1)),
        ]);
        let mut found = descendants(&processes, 10);
        found.sort_unstable();
        assert_eq!(found, [10, 11, 12]);
    }

    #[test]
    fn memory_is_read_in_bytes() {
        let text = "55d0-7ffe ---p 00000000 00:00 0 [rollup]\nRss:  900 kB\nPss:  249 kB\nPss_Dirty: 1 kB\n";
        assert_eq!(pss(text), Some(249 * 1024));
    }

    #[test]
    fn this_test_has_used_time_and_memory() {
        assert!(of_tree(std::process::id()).unwrap() > Duration::ZERO);
        assert!(proportional_set_size(std::process::id()).unwrap() > 0);
    }
}
