//! House rules that no compiler checks, one function each: a file's size and first words, and who may
//! know whom. The rules come from docs/ARCHITECTURE.md; a rule that is broken on purpose is changed here.

use std::{fs, process::Command};

use anyhow::{Context as _, Result, bail};

use crate::{progress::say, workspace};

const LONGEST: usize = 600;

/// A rule takes a file's path and text and says what is wrong with it.
type Rule = fn(&str, &str) -> Option<String>;

const RULES: [Rule; 6] = [
    opens_with_its_purpose,
    not_too_long,
    no_allow,
    only_pinholes_knows_ebpf,
    proto_is_pure,
    inherits_lints,
];

/// Checks every file that git knows or would add.
pub(crate) fn check() -> Result<()> {
    let output = Command::new("git")
        .args([
            "ls-files",
            "--cached",
            "--others",
            "--exclude-standard",
            "*.rs",
            "*/Cargo.toml",
        ])
        .current_dir(workspace::root())
        .output()
        .context("cannot start git")?;
    if !output.status.success() {
        bail!(
            "git ls-files failed: {}",
            String::from_utf8_lossy(&output.stderr).trim()
        );
    }
    let mut files = 0;
    let mut problems = Vec::new();
    for path in String::from_utf8_lossy(&output.stdout).lines() {
        let file = workspace::root().join(path);
        if !file.exists() {
            continue; // deleted, and not committed yet
        }
        let text =
            fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
        files += 1;
        problems.extend(
            RULES
                .iter()
                .filter_map(|rule| Some(format!("{path}: {}", rule(path, &text)?))),
        );
    }
    if problems.is_empty() {
        say("lint", format_args!("tidy: {files} files"));
        return Ok(());
    }
    bail!("house rules are broken:\n{}", problems.join("\n"));
}

fn opens_with_its_purpose(path: &str, text: &str) -> Option<String> {
    (path.ends_with(".rs") && !text.starts_with("//! "))
        .then(|| "does not open with `//!` (what lives here, what may not)".to_owned())
}

fn not_too_long(path: &str, text: &str) -> Option<String> {
    let lines = text.lines().count();
    (path.ends_with(".rs") && lines > LONGEST)
        .then(|| format!("has {lines} lines, more than {LONGEST}"))
}

/// `expect` says when it is no longer needed; `allow` stays for ever.
fn no_allow(path: &str, text: &str) -> Option<String> {
    let attributes = ["#[allow", "#![allow"];
    let found = text.lines().position(|line| {
        attributes
            .iter()
            .any(|attribute| line.trim_start().starts_with(attribute))
    });
    let line = found.filter(|_| path.ends_with(".rs"))? + 1;
    Some(format!(
        "line {line}: `allow`; write #[expect(…, reason = \"…\")]"
    ))
}

/// The kernel maps have one door.
fn only_pinholes_knows_ebpf(path: &str, text: &str) -> Option<String> {
    let outside = path.starts_with("ftp-user/src/") && !path.starts_with("ftp-user/src/pinholes/");
    let line = code_line(text, &["aya::", "aya_log::", "use aya;"]).filter(|_| outside)?;
    Some(format!(
        "line {line}: only ftp-user/src/pinholes may know of aya"
    ))
}

/// Parsing and replies are functions of bytes.
fn proto_is_pure(path: &str, text: &str) -> Option<String> {
    let impure = [
        "tokio",
        "rustix::",
        "std::fs",
        "TcpStream",
        "TcpListener",
        "UdpSocket",
        "Instant",
        "SystemTime::now",
        "crate::",
    ];
    let others = text.replace("crate::proto", "");
    let line = code_line(&others, &impure).filter(|_| path.starts_with("ftp-user/src/proto/"))?;
    Some(format!(
        "line {line}: proto knows no sockets, files, clocks, runtime, nor any other module"
    ))
}

fn inherits_lints(path: &str, text: &str) -> Option<String> {
    (path.ends_with("Cargo.toml") && !text.contains("[lints]\nworkspace = true"))
        .then(|| "does not inherit the workspace's lints ([lints] workspace = true)".to_owned())
}

/// The number of the first line that has one of the words outside of a comment.
fn code_line(text: &str, words: &[&str]) -> Option<usize> {
    let has = |line: &str| {
        let code = line.split("//").next().unwrap_or_default();
        words.iter().any(|word| code.contains(word))
    };
    text.lines().position(has).map(|line| line + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn broken(path: &str, text: &str) -> usize {
        RULES
            .iter()
            .filter(|rule| rule(path, text).is_some())
            .count()
    }

    #[test]
    fn a_good_file_breaks_no_rule() {
        assert_eq!(
            broken(
                "ftp-user/src/proto/parse.rs",
                "//! Parses.\nuse crate::proto::Code;\n// tokio is elsewhere\nfn f() {}\n"
            ),
            0
        );
        assert_eq!(
            broken(
                "ftp-user/src/pinholes/load.rs",
                "//! Loads.\nuse aya::Ebpf;\n"
            ),
            0
        );
        assert_eq!(
            broken(
                "tests/Cargo.toml",
                "[package]\n\n[lints]\nworkspace = true\n"
            ),
            0
        );
    }

    #[test]
    fn each_rule_finds_its_breach() {
        let long = "//! Long.\n".to_owned() + &"\n".repeat(LONGEST);
        let breaches = [
            ("xtask/src/a.rs", "fn f() {}\n"),
            ("xtask/src/a.rs", long.as_str()),
            (
                "xtask/src/a.rs",
                "//! A.\n#[allow(dead_code, reason = \"later\")]\nfn f() {}\n",
            ),
            ("ftp-user/src/server.rs", "//! Serves.\nuse aya::Ebpf;\n"),
            (
                "ftp-user/src/proto/parse.rs",
                "//! Parses.\nuse tokio::io;\n",
            ),
            ("tests/Cargo.toml", "[package]\n"),
        ];
        for ((path, text), rule) in breaches.into_iter().zip(RULES) {
            assert!(rule(path, text).is_some(), "{path}: {text}");
            assert_eq!(broken(path, text), 1, "{path}: {text}");
        }
        let upwards = "//! Parses.\nuse crate::vfs::Entry;\n";
        assert_eq!(broken("ftp-user/src/proto/parse.rs", upwards), 1);
    }
}
