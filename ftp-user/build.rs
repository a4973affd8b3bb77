//! Builds the kernel half by a cargo of its own and hands the object to `pinholes`, which embeds it:
//! `include_bytes_aligned!(concat!(env!("OUT_DIR"), "/pinhole-ebpf"))`.
//!
//! The object needs another compiler than the rest (one with the source of `core`, for a target
//! without a prebuilt one) and a linker of its own; `cargo xtask setup` finds or installs both and
//! writes them down. Nothing is searched or installed from here.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::{Command, ExitCode, Stdio},
};

use record::{EbpfTools, RECORD};

#[path = "../xtask/src/setup/record.rs"]
mod record;

/// Cargo variables that are the user's settings and not this build's.
const KEPT: [&str; 8] = [
    "CARGO_HOME",
    "CARGO_HTTP_",
    "CARGO_MAKEFLAGS",
    "CARGO_NET_",
    "CARGO_REGISTRIES_",
    "CARGO_REGISTRY_",
    "CARGO_SOURCE_",
    "CARGO_BUILD_JOBS",
];

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
    let workspace = Path::new(&variable("CARGO_MANIFEST_DIR")?)
        .parent()
        .ok_or("the package lies outside of its workspace")?
        .to_path_buf();
    let out = PathBuf::from(variable("OUT_DIR")?);

    let record = workspace.join(RECORD);
    for input in [
        record.clone(),
        workspace.join("ftp-ebpf/src"),
        workspace.join("ftp-ebpf/Cargo.toml"),
        workspace.join("Cargo.toml"),
        workspace.join("Cargo.lock"),
    ] {
        println!("cargo::rerun-if-changed={}", input.display());
    }
    let tools = load(&record)?;

    // eBPF has the byte order of the machine that runs it.
    let target = match variable("CARGO_CFG_TARGET_ENDIAN")?.as_str() {
        "big" => "bpfeb-unknown-none",
        _ => "bpfel-unknown-none",
    };
    let object = compile(&workspace, &out, &tools, target)?;
    fs::copy(&object, out.join("pinhole-ebpf")).map_err(|error| {
        format!(
            "cannot copy {} to {}: {error}",
            object.display(),
            out.display()
        )
    })?;
    Ok(())
}

fn load(record: &Path) -> Result<EbpfTools, String> {
    let advice = "run `cargo xtask setup` once: it finds or installs what the eBPF object needs";
    let text = fs::read_to_string(record).map_err(|_| {
        format!(
            "the eBPF toolchain is not set up ({} is missing); {advice}",
            record.display()
        )
    })?;
    let tools: EbpfTools = toml::from_str(&text).map_err(|error| {
        format!(
            "{} is not a record of this version ({}); {advice}",
            record.display(),
            error.message().lines().next().unwrap_or_default()
        )
    })?;
    for tool in [&tools.rustc, &tools.cargo, &tools.bpf_linker] {
        if !tool.is_file() {
            return Err(format!(
                "{} is gone, which the eBPF object is built with; {advice}",
                tool.display()
            ));
        }
    }
    Ok(tools)
}

/// Runs the nested cargo and returns the object's path. What the compiler says reaches the user:
/// its warnings when it succeeds, everything when it fails.
fn compile(
    workspace: &Path,
    out: &Path,
    tools: &EbpfTools,
    target: &str,
) -> Result<PathBuf, String> {
    let target_dir = out.join("ebpf");
    let mut cargo = Command::new(&tools.cargo);
    for (name, _) in env::vars_os() {
        let is_build_setting = name.to_str().is_some_and(|name| {
            let ours = ["CARGO", "RUST", "CLIPPY_"]
                .iter()
                .any(|prefix| name.starts_with(prefix));
            ours && name != "RUST_BACKTRACE" && !KEPT.iter().any(|kept| name.starts_with(kept))
        });
        if is_build_setting {
            cargo.env_remove(name);
        }
    }
    if tools.bootstrap {
        cargo.env("RUSTC_BOOTSTRAP", "1");
    }
    let arch = variable("CARGO_CFG_TARGET_ARCH")?;
    let flags = [
        // aya-ebpf's bindings of pt_regs differ by the architecture that runs the programs.
        format!("--cfg=bpf_target_arch=\"{arch}\""),
        // BTF is made from debug information.
        "-Cdebuginfo=2".to_owned(),
        "-Clink-arg=--btf".to_owned(),
        format!("-Clinker={}", tools.bpf_linker.display()),
        // v3: 32-bit registers, and the compare-and-swap that claims a pinhole (kernel 5.12).
        "-Ctarget-cpu=v3".to_owned(),
    ];
    cargo
        .current_dir(workspace)
        .env("RUSTC", &tools.rustc)
        .env("CARGO_ENCODED_RUSTFLAGS", flags.join("\x1f"))
        .args([
            "build",
            "--quiet",
            "--locked",
            "--package",
            "ftp-ebpf",
            "--bin",
            "pinhole-ebpf",
        ])
        .args([
            "--features",
            "kernel",
            "--profile",
            "ebpf",
            "--target",
            target,
        ])
        .args(["-Z", "build-std=core"])
        .arg("--target-dir")
        .arg(&target_dir)
        .stdin(Stdio::null());
    let output = cargo
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
    Ok(target_dir.join(target).join("ebpf/pinhole-ebpf"))
}

fn variable(name: &str) -> Result<String, String> {
    env::var(name).map_err(|error| format!("cargo did not set {name}: {error}"))
}
