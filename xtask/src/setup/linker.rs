//! bpf-linker, built for the LLVM of the rustc in use and kept below `target/tools`. It links bitcode,
//! so its LLVM must be that of rustc or newer.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Result, anyhow, bail};

use super::{
    apt::{Apt, major_minor},
    toolchain::Toolchain,
};
use crate::{
    progress::{run, say},
    workspace,
};

const VERSION: &str = "0.13.0";

/// The LLVMs that this bpf-linker has a feature for, oldest first.
const LLVMS: [u32; 3] = [21, 22, 23];

/// The newest of them: a rustc with a newer one writes bitcode that it cannot read.
pub(crate) const NEWEST_LLVM: u32 = LLVMS[LLVMS.len() - 1];

/// An LLVM with its headers and libraries.
struct Llvm {
    major: u32,
    prefix: PathBuf,
}

/// The linker's path.
pub(crate) fn find_or_install(toolchain: &Toolchain, apt: &mut Apt) -> Result<PathBuf> {
    let root = workspace::tools();
    let linker = root.join("bin/bpf-linker");
    match built_for(&linker) {
        Some(llvm) if llvm >= toolchain.llvm => {
            say(
                "bpf-linker",
                format_args!("{VERSION} for LLVM {llvm}: {}", linker.display()),
            );
            return Ok(linker);
        }
        _ => {}
    }
    let llvm = find_or_install_llvm(toolchain, apt)?;
    let mut cargo = workspace::cargo();
    cargo
        .args([
            "install",
            "bpf-linker",
            "--version",
            VERSION,
            "--locked",
            "--force",
        ])
        .args([
            "--no-default-features",
            "--features",
            &format!("llvm-{}", llvm.major),
            "--root",
        ])
        .arg(&root)
        // Without it the linker is sought an LLVM in /usr/lib64.
        .env("LLVM_PREFIX", &llvm.prefix)
        // Profile and flags of whoever runs us are not the tool's.
        .env_remove("RUSTFLAGS")
        .env_remove("CARGO_ENCODED_RUSTFLAGS")
        .env_remove("CARGO_TARGET_DIR");
    run(
        "bpf-linker",
        &format!(
            "building {VERSION} for LLVM {} (about a minute)",
            llvm.major
        ),
        &mut cargo,
    )?;
    match built_for(&linker) {
        Some(major) if major >= toolchain.llvm => {
            say(
                "bpf-linker",
                format_args!("{VERSION} built for LLVM {major}: {}", linker.display()),
            );
            Ok(linker)
        }
        Some(major) => bail!(
            "{} was built for LLVM {major}, rustc has {}",
            linker.display(),
            toolchain.llvm
        ),
        None => bail!(
            "{} does not run, or is not linked with an LLVM library",
            linker.display()
        ),
    }
}

/// The LLVM of a bpf-linker of our version that starts: read from the file itself (the library that
/// it is linked with), so that no note about it can be wrong.
fn built_for(linker: &Path) -> Option<u32> {
    let output = Command::new(linker).arg("--version").output().ok()?;
    let version = String::from_utf8_lossy(&output.stdout)
        .trim()
        .strip_prefix("bpf-linker ")?
        .to_owned();
    if !output.status.success() || version != VERSION {
        return None;
    }
    llvm_soname(&fs::read(linker).ok()?)
}

/// The major version in `libLLVM.so.22.1` or `libLLVM-21.so`.
fn llvm_soname(file: &[u8]) -> Option<u32> {
    [b"libLLVM.so.".as_slice(), b"libLLVM-".as_slice()]
        .into_iter()
        .find_map(|name| {
            let digits = file
                .windows(name.len())
                .enumerate()
                .filter(|(_, window)| *window == name)
                .map(|(at, _)| {
                    file[at + name.len()..]
                        .iter()
                        .take_while(|byte| byte.is_ascii_digit())
                        .map(|byte| char::from(*byte))
                        .collect::<String>()
                });
            digits.filter_map(|digits| digits.parse().ok()).next()
        })
}

fn find_or_install_llvm(toolchain: &Toolchain, apt: &mut Apt) -> Result<Llvm> {
    let wanted: Vec<u32> = LLVMS
        .into_iter()
        .filter(|major| *major >= toolchain.llvm)
        .collect();
    if let Some(llvm) = find_llvm(&wanted) {
        say(
            "llvm",
            format_args!("{} with headers: {}", llvm.major, llvm.prefix.display()),
        );
        return Ok(llvm);
    }
    let mut package = packaged(apt, &wanted);
    if package.is_none() && apt.refresh()? {
        package = packaged(apt, &wanted);
    }
    let need = format!(
        "building bpf-linker for {} takes the headers and library of LLVM {}",
        toolchain.version,
        wanted
            .iter()
            .map(u32::to_string)
            .collect::<Vec<_>>()
            .join(" or ")
    );
    let Some(package) = package else {
        bail!(
            "{need}. Install it with the distribution's package manager (Fedora: sudo dnf install llvm-devel; \
             Arch: sudo pacman -S llvm; Debian and Ubuntu: https://apt.llvm.org, \
             sudo ./llvm.sh {})",
            toolchain.llvm
        );
    };
    if let Err(reason) = apt.usable() {
        bail!("{need}. {reason}; type: {}", Apt::command(&[&package]));
    }
    apt.install(&[&package])?;
    find_llvm(&wanted).ok_or_else(|| {
        anyhow!("{package} is installed, but no llvm-config of LLVM {wanted:?} is found")
    })
}

fn packaged(apt: &Apt, wanted: &[u32]) -> Option<String> {
    wanted
        .iter()
        .map(|major| format!("llvm-{major}-dev"))
        .find(|package| apt.candidate(package).is_some())
}

fn find_llvm(wanted: &[u32]) -> Option<Llvm> {
    wanted.iter().find_map(|&major| {
        let configs = [
            Some(PathBuf::from(format!(
                "/usr/lib/llvm-{major}/bin/llvm-config"
            ))),
            workspace::find_program(&format!("llvm-config-{major}")),
            workspace::find_program("llvm-config"),
        ];
        configs.into_iter().flatten().find_map(|config| {
            let ask = |what: &str| {
                let output = Command::new(&config).arg(what).output().ok()?;
                output
                    .status
                    .success()
                    .then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
            };
            let same = major_minor(&ask("--version")?)?.0 == major;
            let headers = Path::new(&ask("--includedir")?)
                .join("llvm-c/Core.h")
                .is_file();
            (same && headers).then_some(Llvm {
                major,
                prefix: PathBuf::from(ask("--prefix")?),
            })
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_llvm_that_a_binary_is_linked_with() {
        assert_eq!(llvm_soname(b"\0libc.so.6\0libLLVM.so.22.1\0"), Some(22));
        assert_eq!(llvm_soname(b"\0libLLVM-21.so\0"), Some(21));
        assert_eq!(llvm_soname(b"\0libLLVM.so.x libLLVM-y"), None);
    }
}
