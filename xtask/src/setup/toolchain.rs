//! The rustc that builds the eBPF object: one with the source of `core`, new enough for the crates and
//! not newer than the LLVM that bpf-linker can bring. rustup's, else the distribution's.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Result, anyhow, bail};

use super::{
    apt::{Apt, Unusable, major_minor},
    linker::NEWEST_LLVM,
};
use crate::{ebpf::EbpfTools, progress::say, workspace};

/// A compiler that can build for eBPF.
pub(crate) struct Toolchain {
    pub(crate) rustc: PathBuf,
    pub(crate) cargo: PathBuf,
    /// First line of `rustc -vV`.
    pub(crate) version: String,
    /// Major version of the LLVM inside.
    pub(crate) llvm: u32,
    pub(crate) nightly: bool,
}

/// The distributions' packages, by preference: Debian 12 has a current set under names of its own.
const PACKAGES: [[&str; 3]; 2] = [
    ["rustc-web", "cargo-web", "rust-web-src"],
    ["rustc", "cargo", "rust-src"],
];

/// The first suitable toolchain; installs the distribution's if there is none.
pub(crate) fn find_or_install(apt: &mut Apt) -> Result<Toolchain> {
    let mut unsuitable = Vec::new();
    let found = match find(&mut unsuitable) {
        Some(toolchain) => toolchain,
        None => {
            install(apt, &unsuitable)?;
            find(&mut unsuitable).ok_or_else(|| {
                anyhow!(
                    "the rustc just installed cannot build for eBPF:\n    {}",
                    unsuitable.join("\n    ")
                )
            })?
        }
    };
    say(
        "rustc",
        format_args!(
            "{} with library source, LLVM {}: {}",
            found.version,
            found.llvm,
            found.rustc.display()
        ),
    );
    Ok(found)
}

/// The `cargo-clippy` beside that rustc. Installed if it is the distribution's and that can be; the inner
/// error says why there is none, which is no reason to fail.
pub(crate) fn clippy(tools: &EbpfTools, apt: &mut Apt) -> Result<Result<PathBuf, String>> {
    let clippy = tools.rustc.with_file_name("cargo-clippy");
    if clippy.is_file() {
        return Ok(Ok(clippy));
    }
    let missing = format!("{} is missing", clippy.display());
    if tools.rustc != Path::new("/usr/bin/rustc") {
        return Ok(Err(missing));
    }
    let version = tools.version.strip_prefix("rustc ").and_then(major_minor);
    let same = |package: &&str| {
        version.is_some() && apt.candidate(package).as_deref().and_then(major_minor) == version
    };
    let Some(package) = ["rust-web-clippy", "rust-clippy"].into_iter().find(same) else {
        return Ok(Err(format!(
            "{missing}, and apt has none of the same version"
        )));
    };
    if let Err(reason) = apt.usable() {
        return Ok(Err(format!(
            "{missing}; {reason}; type: {}",
            Apt::command(&[package])
        )));
    }
    apt.install(&[package])?;
    Ok(Ok(clippy))
}

fn find(unsuitable: &mut Vec<String>) -> Option<Toolchain> {
    unsuitable.clear();
    for sysroot in sysroots() {
        let rustc = sysroot.join("bin/rustc");
        if !rustc.is_file() {
            continue;
        }
        if !sysroot.join("lib/rustlib/src/rust/library/core").is_dir() {
            unsuitable.push(format!("{} has no library source", rustc.display()));
            continue;
        }
        match examine(&sysroot, rustc.clone()) {
            Ok(toolchain) => return Some(toolchain),
            Err(reason) => unsuitable.push(format!("{} {reason}", rustc.display())),
        }
    }
    None
}

/// Where a rustc may be: rustup's toolchains (nightly before stable before others), then the
/// distribution's, then its versioned ones (Ubuntu's `rustc-1.89` lies in /usr/lib/rust-1.89).
fn sysroots() -> Vec<PathBuf> {
    let rustup = env::var_os("RUSTUP_HOME")
        .map(PathBuf::from)
        .or_else(|| env::home_dir().map(|home| home.join(".rustup")))
        .map(|home| folders(&home.join("toolchains")))
        .unwrap_or_default();
    let rank = |path: &PathBuf| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        ["nightly-", "stable-"]
            .iter()
            .position(|prefix| name.starts_with(prefix))
            .unwrap_or(2)
    };
    let mut toolchains = rustup;
    toolchains.sort_by_key(rank);
    let versioned = folders(Path::new("/usr/lib"))
        .into_iter()
        .filter(|path| {
            path.file_name()
                .is_some_and(|name| name.to_string_lossy().starts_with("rust-"))
        })
        .rev();
    toolchains
        .into_iter()
        .chain([PathBuf::from("/usr")])
        .chain(versioned)
        .collect()
}

fn folders(parent: &Path) -> Vec<PathBuf> {
    let mut found: Vec<_> = fs::read_dir(parent)
        .into_iter()
        .flatten()
        .filter_map(|entry| Some(entry.ok()?.path()))
        .collect();
    found.sort();
    found
}

fn examine(sysroot: &Path, rustc: PathBuf) -> Result<Toolchain, String> {
    let cargo = sysroot.join("bin/cargo");
    if !cargo.is_file() {
        return Err("has no cargo beside it".to_owned());
    }
    let output = Command::new(&rustc)
        .arg("-vV")
        .env_remove("RUSTUP_TOOLCHAIN")
        .output()
        .map_err(|error| format!("does not start: {error}"))?;
    let text = String::from_utf8_lossy(&output.stdout);
    let field = |name: &str| text.lines().find_map(|line| line.strip_prefix(name));
    let (Some(version), Some(release), Some(llvm)) = (
        text.lines().next(),
        field("release: "),
        field("LLVM version: "),
    ) else {
        return Err(format!("does not say its version ({})", output.status));
    };
    let (Some(numbers), Some((llvm, _))) = (major_minor(release), major_minor(llvm)) else {
        return Err(format!("has an unreadable version: {version}"));
    };
    if numbers < oldest_rust() {
        return Err(format!(
            "is {release}, older than {}",
            env!("CARGO_PKG_RUST_VERSION")
        ));
    }
    if llvm > NEWEST_LLVM {
        return Err(format!(
            "has LLVM {llvm}, bpf-linker reads up to LLVM {NEWEST_LLVM}"
        ));
    }
    let nightly = release.contains("-nightly") || release.contains("-dev");
    Ok(Toolchain {
        version: version.to_owned(),
        rustc,
        cargo,
        llvm,
        nightly,
    })
}

fn oldest_rust() -> (u32, u32) {
    major_minor(env!("CARGO_PKG_RUST_VERSION")).unwrap_or((1, 88))
}

fn install(apt: &mut Apt, unsuitable: &[String]) -> Result<()> {
    let mut packages = packaged(apt);
    if packages.is_none() && apt.refresh()? {
        packages = packaged(apt);
    }
    let oldest = env!("CARGO_PKG_RUST_VERSION");
    let looked: String = unsuitable
        .iter()
        .map(|reason| format!("\n    {reason}"))
        .collect();
    let need = format!(
        "building the eBPF programs takes a rustc {oldest} or newer that comes with its library source.{}{looked}",
        if looked.is_empty() {
            " None is installed."
        } else {
            " Looked at:"
        }
    );
    // A stable toolchain does as well, and is there already where rustup is.
    let rustup = match workspace::find_program("rustup") {
        Some(_) => "rustup component add rust-src",
        None => "rustup toolchain install nightly --component rust-src (https://rustup.rs)",
    };
    let Some(packages) = packages else {
        let why = if apt.is_present() {
            "apt knows no packages of that age".to_owned()
        } else {
            Unusable::NoApt.to_string()
        };
        bail!("{need}\n{why}; type: {rustup}");
    };
    if let Err(reason) = apt.usable() {
        bail!(
            "{need}\n{reason}; type: {}\nor: {rustup}",
            Apt::command(&packages)
        );
    }
    apt.install(&packages)
}

/// The first set of packages that is new enough.
fn packaged(apt: &Apt) -> Option<[&'static str; 3]> {
    PACKAGES.into_iter().find(|packages| {
        apt.candidate(packages[0])
            .and_then(|version| major_minor(&version))
            .is_some_and(|v| v >= oldest_rust())
    })
}
