//! `cargo xtask lint`: format, clippy for both halves, and the house rules that neither knows (`tidy`).

use anyhow::{Context as _, Result, bail};

use crate::{
    ebpf::{EbpfTools, Host},
    progress::{run, say},
    setup, tidy, workspace,
};

/// Runs every check, also after one has failed, so that one run shows all there is to mend.
pub(crate) fn lint() -> Result<()> {
    let tools = setup::build_tools()?;
    let checks: [(&str, &dyn Fn() -> Result<()>); 5] = [
        ("format", &|| cargo(&["fmt", "--all", "--check"])),
        ("tidy", &tidy::check),
        ("clippy", &|| {
            cargo(&[
                "clippy",
                "--workspace",
                "--all-targets",
                "--",
                "-D",
                "warnings",
            ])
        }),
        // Needs no libpam: nothing is linked.
        ("clippy PAM", &|| {
            cargo(&[
                "clippy",
                "--package",
                "ftp-user",
                "--features",
                "pam",
                "--all-targets",
                "--",
                "-D",
                "warnings",
            ])
        }),
        ("clippy eBPF", &|| ebpf(&tools)),
    ];
    let mut failed = Vec::new();
    for (name, check) in checks {
        match check() {
            Ok(()) => {}
            Err(error) => {
                say(name, format_args!("{error:#}"));
                failed.push(name);
            }
        }
    }
    if !failed.is_empty() {
        bail!("{} failed", failed.join(", "));
    }
    say("lint", "nothing to mend");
    Ok(())
}

/// Runs a cargo command whose words go to the terminal.
fn cargo(arguments: &[&str]) -> Result<()> {
    let shown = format!("cargo {}", arguments.join(" "));
    say("lint", &shown);
    let status = workspace::cargo()
        .args(arguments)
        .status()
        .with_context(|| format!("cannot start `{shown}`"))?;
    if !status.success() {
        bail!("`{shown}` failed ({status})");
    }
    Ok(())
}

/// Clippy with the toolchain that builds the object: no other knows its target.
fn ebpf(tools: &EbpfTools) -> Result<()> {
    let clippy = match setup::ebpf_clippy(tools)? {
        Ok(clippy) => clippy,
        Err(reason) => {
            say(
                "lint",
                format_args!("clippy for the eBPF object is skipped: {reason}"),
            );
            return Ok(());
        }
    };
    let host = Host {
        arch: std::env::consts::ARCH,
        endian: if cfg!(target_endian = "big") {
            "big"
        } else {
            "little"
        },
    };
    let mut command = tools.command(
        &clippy,
        "clippy",
        workspace::root(),
        &workspace::tools().join("ebpf-lint"),
        &host,
    );
    command.args(["--", "-D", "warnings"]);
    run("lint", "clippy for the eBPF object", &mut command)?;
    say("lint", "clippy for the eBPF object");
    Ok(())
}
