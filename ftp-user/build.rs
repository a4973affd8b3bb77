//! Builds the kernel half by a cargo of its own and hands the object to `pinholes`, which embeds it:
//! `include_bytes_aligned!(concat!(env!("OUT_DIR"), "/pinhole-ebpf"))`.
//!
//! The object needs another compiler than the rest (one with the source of `core`, for a target
//! without a prebuilt one) and a linker of its own; `cargo xtask setup` finds or installs both and
//! writes them down. Nothing is searched or installed from here.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::ExitCode,
};

use ebpf::{EbpfTools, Host, RECORD};

#[path = "../xtask/src/ebpf.rs"]
mod ebpf;

fn main() -> ExitCode {
    match build() {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            println!("cargo::error={message}");
            ExitCode::FAILURE
        }
    }
}

fn build() -> Result<(), String> {
    let package = PathBuf::from(variable("CARGO_MANIFEST_DIR")?);
    let workspace = package
        .parent()
        .ok_or("the package lies outside of its workspace")?;
    let record = workspace.join(RECORD);
    let inputs = [
        "ftp-ebpf/src",
        "ftp-ebpf/Cargo.toml",
        "Cargo.toml",
        "Cargo.lock",
    ]
    .map(|path| workspace.join(path));
    for input in inputs.iter().chain([&record]) {
        println!("cargo::rerun-if-changed={}", input.display());
    }
    let tools = load(&record)?;
    let out = PathBuf::from(variable("OUT_DIR")?);
    let object = compile(&tools, workspace, &record)?;
    let embedded = out.join("pinhole-ebpf");
    fs::copy(&object, &embedded).map_err(|error| {
        format!(
            "cannot copy {} to {}: {error}",
            object.display(),
            embedded.display()
        )
    })?;
    Ok(())
}

fn load(record: &Path) -> Result<EbpfTools, String> {
    let advice = "run `cargo xtask setup` once: it finds or installs what the eBPF object needs";
    let text = fs::read_to_string(record).map_err(|error| {
        format!(
            "the eBPF toolchain is not set up ({}: {error}); {advice}",
            record.display()
        )
    })?;
    let tools: EbpfTools = toml::from_str(&text).map_err(|error| {
        let what = error.message().lines().next().unwrap_or_default();
        format!(
            "{} is not a record of this version ({what}); {advice}",
            record.display()
        )
    })?;
    for tool in [&tools.rustc, &tools.cargo, &tools.bpf_linker] {
        if !tool.is_file() {
            return Err(format!(
                "{} is gone, which builds the eBPF object; {advice}",
                tool.display()
            ));
        }
    }
    Ok(tools)
}

/// Runs the nested cargo and returns the object's path. What the compiler says reaches the user: its
/// warnings when it succeeds, everything when it fails.
///
/// It builds beside its tools, not in `OUT_DIR`: that is another one for each profile and each change
/// of a dependency, and would build `core` and the macros again every time.
fn compile(tools: &EbpfTools, workspace: &Path, record: &Path) -> Result<PathBuf, String> {
    let (arch, endian) = (
        variable("CARGO_CFG_TARGET_ARCH")?,
        variable("CARGO_CFG_TARGET_ENDIAN")?,
    );
    let host = Host {
        arch: &arch,
        endian: &endian,
    };
    let target_dir = record.with_file_name("ebpf-build");
    let output = tools
        .command(&tools.cargo, "build", workspace, &target_dir, &host)
        .output()
        .map_err(|error| format!("cannot start {}: {error}", tools.cargo.display()))?;
    let said = String::from_utf8_lossy(&output.stderr);
    if !output.status.success() {
        eprintln!("{}", said.trim_end());
        return Err(format!(
            "the eBPF object does not build with {}; the compiler's words are below",
            tools.version
        ));
    }
    for line in said.lines().filter(|line| !line.is_empty()) {
        println!("cargo::warning={line}");
    }
    Ok(target_dir.join(host.target()).join("ebpf/pinhole-ebpf"))
}

fn variable(name: &str) -> Result<String, String> {
    env::var(name).map_err(|error| format!("cargo did not set {name}: {error}"))
}
