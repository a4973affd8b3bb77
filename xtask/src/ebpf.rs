//! The tools that build the eBPF object, as `cargo xtask setup` writes them down, and the cargo that
//! uses them. `ftp-user/build.rs` includes this very file, so that what setup finds, what lint checks
//! and what is built cannot differ. It therefore depends on std and serde alone.

use std::{
    env,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

/// Where the record lies, below the workspace (also when `CARGO_TARGET_DIR` points elsewhere).
pub(crate) const RECORD: &str = "target/tools/ebpf.toml";

/// The tools that turn `ftp-ebpf` into an eBPF object.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct EbpfTools {
    /// A rustc that comes with the source of `core`, which no eBPF target has prebuilt.
    pub(crate) rustc: PathBuf,
    /// The cargo of the same toolchain.
    pub(crate) cargo: PathBuf,
    /// The bpf-linker whose LLVM reads what that rustc writes.
    pub(crate) bpf_linker: PathBuf,
    /// Whether rustc is a stable one, which takes `-Z build-std` only with `RUSTC_BOOTSTRAP=1`.
    pub(crate) bootstrap: bool,
    /// First line of `rustc -vV`: an upgraded compiler changes the record, and so rebuilds the object.
    pub(crate) version: String,
}

/// The machine that is to run the programs, in the words of `cfg(target_arch)` and
/// `cfg(target_endian)`.
pub(crate) struct Host<'a> {
    pub(crate) arch: &'a str,
    pub(crate) endian: &'a str,
}

impl Host<'_> {
    /// eBPF has the byte order of the machine that runs it.
    pub(crate) fn target(&self) -> &'static str {
        match self.endian {
            "big" => "bpfeb-unknown-none",
            _ => "bpfel-unknown-none",
        }
    }
}

impl EbpfTools {
    /// `PROGRAM SUBCOMMAND` for the eBPF object, free of the settings that an outer cargo passes down.
    /// The program is [`Self::cargo`], or a tool of the same toolchain that takes cargo's arguments.
    pub(crate) fn command(
        &self,
        program: &Path,
        subcommand: &str,
        workspace: &Path,
        target_dir: &Path,
        host: &Host<'_>,
    ) -> Command {
        let mut cargo = Command::new(program);
        for (name, _) in env::vars_os() {
            if name.to_str().is_some_and(is_build_setting) {
                cargo.env_remove(name);
            }
        }
        if self.bootstrap {
            cargo.env("RUSTC_BOOTSTRAP", "1");
        }
        let flags = [
            // aya-ebpf's bindings of pt_regs differ by the architecture that runs the programs.
            format!("--cfg=bpf_target_arch=\"{}\"", host.arch),
            // BTF is made from debug information.
            "-Cdebuginfo=2".to_owned(),
            "-Clink-arg=--btf".to_owned(),
            format!("-Clinker={}", self.bpf_linker.display()),
            // v3: 32-bit registers, and the compare-and-swap that claims a pinhole (kernel 5.12).
            "-Ctarget-cpu=v3".to_owned(),
        ];
        cargo
            .current_dir(workspace)
            .stdin(Stdio::null())
            .env("CARGO", &self.cargo)
            .env("RUSTC", &self.rustc)
            .env("CARGO_ENCODED_RUSTFLAGS", flags.join("\x1f"))
            .arg(subcommand)
            .args([
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
                host.target(),
            ])
            .args(["-Z", "build-std=core", "--target-dir"])
            .arg(target_dir);
        cargo
    }
}

/// Whether an environment variable steers a build (and not cargo's network, credentials or home, which
/// are the user's and go for every build).
fn is_build_setting(name: &str) -> bool {
    const OURS: [&str; 3] = ["CARGO", "RUST", "CLIPPY_"];
    const USERS: [&str; 9] = [
        "CARGO_BUILD_JOBS",
        "CARGO_HOME",
        "CARGO_HTTP_",
        "CARGO_MAKEFLAGS",
        "CARGO_NET_",
        "CARGO_REGISTRIES_",
        "CARGO_REGISTRY_",
        "CARGO_SOURCE_",
        "RUST_BACKTRACE",
    ];
    let begins = |prefixes: &[&str]| prefixes.iter().any(|prefix| name.starts_with(prefix));
    begins(&OURS) && !begins(&USERS)
}
