//! What `cargo xtask setup` found for building the eBPF object, as `ftp-user/build.rs` reads it.
//! That build script includes this very file, so the two cannot disagree; nothing else belongs here.

use std::path::PathBuf;

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
