//! What the user sees while xtask works: one line per step, and a sign of life for anything that
//! takes longer than a blink. Decides nothing.

use std::{
    fmt::Display,
    io::{BufRead as _, BufReader},
    process::{Command, Stdio},
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};
use indicatif::{ProgressBar, ProgressStyle};

/// How often a log file, which has no spinner, hears of a running step.
const HEARTBEAT: Duration = Duration::from_secs(10);

/// Says in one line what a step found or did.
pub(crate) fn say(subject: &str, message: impl Display) {
    eprintln!("{subject:>12}  {message}");
}

/// Runs a command whose output matters only when it fails: shows a spinner with its latest line and
/// the seconds gone by (a line every few seconds where there is no terminal), and everything it
/// wrote if it fails.
pub(crate) fn run(subject: &str, doing: &str, command: &mut Command) -> Result<()> {
    let shown = show(command);
    let (reader, writer) = std::io::pipe().context("cannot make a pipe")?;
    command
        .stdin(Stdio::null())
        .stdout(writer.try_clone().context("cannot duplicate a pipe")?)
        .stderr(writer);
    let mut child = command
        .spawn()
        .with_context(|| format!("cannot start `{shown}`"))?;
    // The command keeps the pipe's writing ends; while they exist here, reading would never end.
    command.stdout(Stdio::null()).stderr(Stdio::null());

    let (lines, received) = mpsc::channel();
    thread::spawn(move || {
        for line in BufReader::new(reader).split(b'\n').map_while(Result::ok) {
            let line = String::from_utf8_lossy(&line).trim_end().to_owned();
            if lines.send(line).is_err() {
                break;
            }
        }
    });

    let started = Instant::now();
    let spinner = spinner(&format!("{subject:>12}  {doing}"));
    let mut said = Vec::new();
    let mut next_beat = HEARTBEAT;
    loop {
        match received.recv_timeout(Duration::from_millis(500)) {
            Ok(line) => {
                spinner.set_message(line.clone());
                said.push(line);
            }
            // A service that a package started may hold the pipe open: silence and an ended command are the end.
            Err(mpsc::RecvTimeoutError::Timeout) => {
                if child.try_wait().is_ok_and(|status| status.is_some()) {
                    break;
                }
            }
            Err(mpsc::RecvTimeoutError::Disconnected) => break,
        }
        if spinner.is_hidden() && started.elapsed() >= next_beat {
            let latest = said
                .iter()
                .rev()
                .find(|line| !line.is_empty())
                .map_or("", |line| line.trim());
            say(
                subject,
                format_args!("{doing}: {} s, {latest}", started.elapsed().as_secs()),
            );
            next_beat = started.elapsed() + HEARTBEAT;
        }
    }
    spinner.finish_and_clear();
    let status = child
        .wait()
        .with_context(|| format!("cannot wait for `{shown}`"))?;
    if !status.success() {
        bail!("`{shown}` failed ({status}):\n{}", said.join("\n"));
    }
    Ok(())
}

/// A command as one would type it.
pub(crate) fn show(command: &Command) -> String {
    let settings = command.get_envs().filter_map(|(name, value)| {
        let value = value?.to_string_lossy();
        Some(format!("{}={}", name.to_string_lossy(), quote(&value)))
    });
    let words = [command.get_program()]
        .into_iter()
        .chain(command.get_args());
    settings
        .chain(words.map(|word| quote(&word.to_string_lossy())))
        .collect::<Vec<_>>()
        .join(" ")
}

fn quote(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=,@%+".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

/// A spinner on a terminal, nothing elsewhere.
fn spinner(doing: &str) -> ProgressBar {
    let spinner = ProgressBar::new_spinner();
    // The template is ours and constant; a plain spinner is what is left if it were wrong.
    if let Ok(style) = ProgressStyle::with_template("{prefix} {spinner} {elapsed} {wide_msg}") {
        spinner.set_style(style);
    }
    spinner.set_prefix(doing.to_owned());
    spinner.enable_steady_tick(Duration::from_millis(120));
    spinner
}
