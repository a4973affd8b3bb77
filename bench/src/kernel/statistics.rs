//! How long programs have run, as the kernel itself counts when told to (linux/bpf.h, `BPF_ENABLE_STATS`): two looks
//! at the clock around every run, which are in the figure.

use std::{
    fs,
    os::fd::{AsRawFd as _, OwnedFd},
    path::Path,
    time::Duration,
};

use anyhow::{Context as _, Result};

use super::{Program, bpf};

/// Time in programs, and how often they ran.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Runs {
    pub(crate) time: Duration,
    pub(crate) count: u64,
}

/// Has the kernel count, for every program on this machine, until it is dropped.
pub(crate) fn count() -> Result<OwnedFd> {
    bpf::enable_statistics().context("the kernel does not count the runs of programs")
}

impl Runs {
    /// Of one program of this process.
    pub(crate) fn of_program(program: &Program) -> Result<Self> {
        let path = Path::new("/proc/self/fdinfo").join(program.fd().as_raw_fd().to_string());
        Ok(Self::of_descriptor(&path)?.unwrap_or_default())
    }

    /// Of all programs that a process holds.
    pub(crate) fn of_process(pid: u32) -> Result<Self> {
        let folder = Path::new("/proc").join(pid.to_string()).join("fdinfo");
        let mut all = Self::default();
        let entries = fs::read_dir(&folder);
        for entry in entries.with_context(|| format!("cannot read {}", folder.display()))? {
            if let Some(runs) = Self::of_descriptor(&entry?.path())? {
                all.time += runs.time;
                all.count += runs.count;
            }
        }
        Ok(all)
    }

    /// What has been added since an earlier look, for each run.
    pub(crate) fn since(self, before: Self) -> Option<Duration> {
        let runs = self.count.saturating_sub(before.count);
        let time = self.time.saturating_sub(before.time);
        (runs > 0).then(|| time.div_f64(runs as f64))
    }

    fn of_descriptor(path: &Path) -> Result<Option<Self>> {
        match fs::read_to_string(path) {
            Ok(info) => Ok(read(&info)),
            // Closed meanwhile.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error).with_context(|| format!("cannot read {}", path.display())),
        }
    }
}

/// kernel/bpf/syscall.c, `bpf_prog_show_fdinfo`; other descriptors have no such lines.
fn read(info: &str) -> Option<Runs> {
    let field = |name: &str| {
        let line = info.lines().find_map(|line| line.strip_prefix(name));
        line?.trim().parse().ok()
    };
    Some(Runs {
        time: Duration::from_nanos(field("run_time_ns:")?),
        count: field("run_cnt:")?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_programs_have_run() {
        let info = "pos:\t0\nprog_type:\t6\nprog_id:\t7\nrun_time_ns:\t300\nrun_cnt:\t10\n";
        let runs = read(info).unwrap();
        assert_eq!((runs.time.as_nanos(), runs.count), (300, 10));
        assert_eq!(read("pos:\t0\nmap_id:\t3\n"), None);
        let before = Runs {
            time: Duration::from_nanos(100),
            count: 2,
        };
        assert_eq!(runs.since(before), Some(Duration::from_nanos(25)));
        assert_eq!(runs.since(runs), None);
    }
}
