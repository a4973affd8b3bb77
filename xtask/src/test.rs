//! `cargo xtask test`: every test there is, and a count of what ran, failed and was skipped.

use std::{
    env, fs,
    io::{BufRead as _, BufReader, Write as _},
    path::PathBuf,
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result, bail};

use crate::{
    build::{self, Profile},
    progress::say,
    setup, workspace,
};

/// Packages whose tests need neither root nor a kernel that takes our programs.
const UNIT: [&str; 4] = ["xtask", "ftp-ebpf", "ftp-user", "ftp-bench"];

/// Kernel and end-to-end tests.
const SYSTEM: [&str; 1] = ["ftp-tests"];

/// Sessions through each server in a soak.
const SOAK: &str = "10000";

/// Sets up, builds, runs. `filter` is libtest's: tests whose name contains it.
pub(crate) fn run(filter: Option<&str>, soak: bool, pam: bool) -> Result<()> {
    let strict = env::var_os("CI").is_some_and(|value| !value.is_empty() && value != "false");
    let with_pam = pam.then(with_pam).transpose()?;
    let daemon = build::daemon(Profile::Dev, &[])?;
    let mut summary = Summary::default();
    let cargo = |summary: &mut Summary, packages: &[&str]| -> Result<()> {
        let mut cargo = workspace::cargo();
        cargo
            .args(["test", "--no-fail-fast"])
            .env("PINHOLE_BIN", &daemon);
        if strict {
            cargo.env("PINHOLE_NO_SKIP", "1");
        }
        if soak {
            cargo.env("PINHOLE_SOAK", SOAK);
        }
        for package in packages {
            cargo.args(["--package", package]);
        }
        cargo.args(filter);
        summary.run(&mut cargo)
    };

    say("tests", format_args!("unit: {}", UNIT.join(", ")));
    cargo(&mut summary, &UNIT)?;
    if with_pam.is_some() {
        let mut cargo = workspace::cargo();
        cargo.args(["test", "--package", "ftp-user", "--features", "pam"]);
        cargo.args(["--lib", "auth::"]);
        summary.run(&mut cargo)?;
    }
    if workspace::is_root() {
        setup::test_tools()?;
        say(
            "tests",
            "kernel and end to end, in network namespaces of their own",
        );
        cargo(&mut summary, &SYSTEM)?;
        if let Some(daemon) = with_pam {
            say("tests", "users of the host");
            let mut cargo = workspace::cargo();
            cargo
                .args(["test", "--package", "ftp-tests", "--test", "pam"])
                .args(["--", "--ignored"])
                .env("PINHOLE_BIN", daemon);
            summary.run(&mut cargo)?;
        }
    } else {
        let reason = "kernel and end-to-end tests take root (eBPF, network namespaces); \
                      type: sudo -E env PATH=$PATH cargo xtask test";
        if strict {
            bail!("{reason}");
        }
        summary.skips.push(reason.to_owned());
    }
    summary.conclude(filter)
}

/// Builds the daemon with PAM beside the one without, which takes its place afterwards.
fn with_pam() -> Result<PathBuf> {
    let built = build::daemon(Profile::Dev, &["pam"])?;
    let kept = built.with_file_name("pinhole-pam");
    fs::copy(&built, &kept).with_context(|| format!("cannot write {}", kept.display()))?;
    Ok(kept)
}

/// What libtest and the tests said, counted.
#[derive(Default)]
struct Summary {
    passed: u64,
    failed: u64,
    ignored: u64,
    failures: Vec<String>,
    skips: Vec<String>,
    /// Whether a cargo ended badly, for whatever reason (a test that does not compile counts nowhere).
    broken: bool,
}

impl Summary {
    /// Runs a `cargo test`, passing its output on as it comes.
    fn run(&mut self, cargo: &mut Command) -> Result<()> {
        let (reader, writer) = std::io::pipe().context("cannot make a pipe")?;
        cargo
            .stdin(Stdio::null())
            .stdout(writer.try_clone().context("cannot duplicate a pipe")?)
            .stderr(writer);
        let mut child = cargo.spawn().context("cannot start cargo")?;
        // Cargo holds the pipe's writing ends now; while they exist here, reading would never end.
        cargo.stdout(Stdio::null()).stderr(Stdio::null());
        let mut terminal = std::io::stdout().lock();
        for line in BufReader::new(reader).split(b'\n') {
            let line = line.context("cannot read what cargo says")?;
            let line = String::from_utf8_lossy(&line);
            self.count(&line);
            writeln!(terminal, "{line}").context("cannot write to the terminal")?;
        }
        self.broken |= !child.wait().context("cannot wait for cargo")?.success();
        Ok(())
    }

    /// Takes one line into account. A name and its result may be torn apart by another process's output,
    /// so totals come from libtest's own summary lines.
    fn count(&mut self, line: &str) {
        if let Some((_, reason)) = line.split_once("SKIPPED ") {
            self.skips.push(reason.to_owned());
        } else if let Some(rest) = line.strip_prefix("test result: ") {
            for part in rest.split([';', '.']) {
                let mut words = part.split_whitespace();
                let (Some(number), Some(what)) = (words.next(), words.next()) else {
                    continue;
                };
                let Ok(number) = number.parse::<u64>() else {
                    continue;
                };
                match what {
                    "passed" => self.passed += number,
                    "failed" => self.failed += number,
                    "ignored" => self.ignored += number,
                    _ => {}
                }
            }
        } else if let Some(name) = line
            .strip_prefix("test ")
            .and_then(|rest| rest.strip_suffix(" ... FAILED"))
        {
            self.failures.push(name.to_owned());
        }
    }

    fn conclude(self, filter: Option<&str>) -> Result<()> {
        for reason in &self.skips {
            say("skipped", reason);
        }
        for name in &self.failures {
            say("failed", name);
        }
        // A skipped test returns early, so libtest counts it as passed.
        let skipped = self.skips.len() as u64;
        say(
            "tests",
            format_args!(
                "{} passed, {} failed, {skipped} skipped, {} ignored",
                self.passed.saturating_sub(skipped),
                self.failed,
                self.ignored
            ),
        );
        if self.broken || self.failed > 0 {
            bail!("there are failures above");
        }
        if self.passed == 0 {
            bail!(
                "no test ran{}",
                filter
                    .map(|filter| format!(": none has {filter} in its name"))
                    .unwrap_or_default()
            );
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_what_libtest_says() {
        let mut summary = Summary::default();
        for line in [
            "test one ... ok",
            "test module::two ... FAILED",
            "test three ... SKIPPED tests/tests/locks.rs:9: there is no nft",
            "test result: FAILED. 2 passed; 1 failed; 4 ignored; 0 measured; 5 filtered out; finished in 0.01s",
            "test result: ok. 10 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.00s",
        ] {
            summary.count(line);
        }
        assert_eq!(
            (summary.passed, summary.failed, summary.ignored),
            (12, 1, 4)
        );
        assert_eq!(summary.failures, ["module::two"]);
        assert_eq!(summary.skips, ["tests/tests/locks.rs:9: there is no nft"]);
    }
}
