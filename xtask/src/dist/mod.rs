//! `cargo xtask dist`: a Debian package of the daemon, from the files in `dist/` and what the program
//! tells of its command line. What lies where in it is `files`, a function; what the package says of
//! itself is in `control`.

mod control;

use std::{
    fs::{self, Permissions},
    io::ErrorKind,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, bail};

use crate::{
    build::{self, Profile},
    progress::{run, say},
    workspace,
};

/// Where the units in `dist/` have the program: an admin's place. Packages have another.
const UNPACKAGED: &str = "/usr/local/bin/pinhole";
const PACKAGED: &str = "/usr/bin/pinhole";

const UNITS: [&str; 4] = [
    "pinhole.service",
    "pinhole.socket",
    "pinhole-implicit.socket",
    "pinhole-guard.service",
];

/// From the workspace, for those who read. It lies there as here, so that one finds the other.
const DOCS: [&str; 2] = ["README.md", "CHANGELOG.md"];
const DOC_FOLDERS: [&str; 2] = ["docs", "docs/BENCHMARKS"];
const SAMPLE: &str = "ftp-user/pinhole.sample.toml";

/// deb-postinst(5) and its like.
const SCRIPTS: [&str; 3] = ["postinst", "prerm", "postrm"];

/// Builds the program with optimisation, and a package of it in `target/dist`.
pub(crate) fn dist(pam: bool) -> Result<()> {
    let dpkg = Dpkg::find()?;
    let folder = workspace::root().join("target/dist");
    let features: &[&str] = if pam { &["pam"] } else { &[] };
    let program = build::daemon(Profile::Release, features)?;
    let package = Package {
        binary: &stripped(&program, &folder)?,
        version: env!("CARGO_PKG_VERSION"),
        architecture: &dpkg.architecture()?,
        pam,
        reference: reference(&program, &folder.join("reference"))?,
    };
    let file = package.build(&dpkg, &folder)?;
    say("package", file.display());
    say(
        "package",
        format_args!("to install: apt install {}", file.display()),
    );
    Ok(())
}

/// What goes into a package.
struct Package<'a> {
    binary: &'a [u8],
    version: &'a str,
    /// As Debian calls it.
    architecture: &'a str,
    /// Whether the program is built with it.
    pam: bool,
    /// Manual pages and the shells' completions, by name.
    reference: Vec<(String, Vec<u8>)>,
}

/// A file of a package.
struct Entry {
    /// From the root of the host.
    path: String,
    mode: u32,
    content: Vec<u8>,
    /// Whether it is the admin's to change (deb-conffiles(5)).
    conffile: bool,
}

impl Package<'_> {
    /// Every file that the package installs.
    fn files(&self) -> Result<Vec<Entry>> {
        let entry = |path: String, content: Vec<u8>| Entry {
            path,
            mode: 0o644,
            content,
            conffile: false,
        };
        let conffile = |path: &str, content: Vec<u8>| Entry {
            conffile: true,
            ..entry(path.to_owned(), content)
        };
        let mut files = vec![
            Entry {
                mode: 0o755,
                ..entry(PACKAGED.to_owned(), self.binary.to_vec())
            },
            conffile("/etc/pinhole/pinhole.toml", source("dist/pinhole.toml")?),
        ];
        if self.pam {
            files.push(conffile("/etc/pam.d/pinhole", source("dist/pinhole.pam")?));
        }
        for unit in UNITS {
            let text = source(&format!("dist/{unit}"))?;
            let text = String::from_utf8(text).with_context(|| format!("{unit} is no text"))?;
            let text = text.replace(UNPACKAGED, PACKAGED);
            let path = format!("/usr/lib/systemd/system/{unit}");
            files.push(entry(path, text.into_bytes()));
        }
        let doc = |name: &str| format!("/usr/share/doc/pinhole/{name}");
        for path in docs()? {
            files.push(entry(doc(&path), source(&path)?));
        }
        files.push(entry(doc("pinhole.sample.toml"), source(SAMPLE)?));
        for (name, text) in &self.reference {
            let place = reference_place(name).with_context(|| format!("what is {name}?"))?;
            files.push(entry(place, text.clone()));
        }
        let licence = format!("Pinhole's licence: {}\n", env!("CARGO_PKG_LICENSE"));
        files.push(entry(doc("copyright"), licence.into_bytes()));
        Ok(files)
    }

    /// Writes the package into `folder` and returns its path.
    fn build(&self, dpkg: &Dpkg, folder: &Path) -> Result<PathBuf> {
        let name = format!("pinhole_{}_{}", self.version, self.architecture);
        let staging = folder.join(&name);
        remove(&staging)?;
        self.stage(&staging)?;
        let file = folder.join(format!("{name}.deb"));
        dpkg.build(&staging, &file)?;
        remove(&staging)?;
        Ok(file)
    }

    /// Lays out the package's tree, as dpkg-deb takes it.
    fn stage(&self, staging: &Path) -> Result<()> {
        let files = self.files()?;
        for file in &files {
            write(staging, &file.path, file.mode, &file.content)?;
        }
        let kib = files.iter().map(|file| file.content.len().div_ceil(1024));
        let control = control::control(self, kib.sum());
        write(staging, "/DEBIAN/control", 0o644, control.as_bytes())?;
        let conffiles = files.iter().filter(|file| file.conffile);
        let conffiles: String = conffiles.map(|file| format!("{}\n", file.path)).collect();
        write(staging, "/DEBIAN/conffiles", 0o644, conffiles.as_bytes())?;
        for script in SCRIPTS {
            let text = source(&format!("dist/debian/{script}"))?;
            write(staging, &format!("/DEBIAN/{script}"), 0o755, &text)?;
        }
        Ok(())
    }
}

/// The program without the debug information, which is four fifths of it. Names of functions stay.
fn stripped(program: &Path, folder: &Path) -> Result<Vec<u8>> {
    let strip = workspace::find_program("strip").context("there is no strip (binutils)")?;
    let to = folder.join("stripped");
    let cannot = || format!("cannot use {}", to.display());
    fs::create_dir_all(folder).with_context(cannot)?;
    let mut command = Command::new(strip);
    let command = command
        .args(["--strip-debug", "-o"])
        .args([to.as_path(), program]);
    run("package", "strip", command)?;
    let binary = fs::read(&to).with_context(cannot)?;
    fs::remove_file(&to).with_context(cannot)?;
    Ok(binary)
}

/// What the program writes of its command line, by way of `folder`.
fn reference(program: &Path, folder: &Path) -> Result<Vec<(String, Vec<u8>)>> {
    remove(folder)?;
    let cannot = || format!("cannot use {}", folder.display());
    fs::create_dir_all(folder).with_context(cannot)?;
    let mut command = Command::new(program);
    let command = command.arg("reference").arg(folder);
    run("package", "manual pages and completions", command)?;
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).with_context(cannot)? {
        let entry = entry.with_context(cannot)?;
        let text = fs::read(entry.path()).with_context(cannot)?;
        files.push((entry.file_name().to_string_lossy().into_owned(), text));
    }
    files.sort();
    remove(folder)?;
    Ok(files)
}

/// What there is to read, from the workspace's root.
fn docs() -> Result<Vec<String>> {
    let mut docs: Vec<String> = DOCS.map(str::to_owned).into();
    for folder in DOC_FOLDERS {
        let cannot = || format!("cannot list {folder}");
        let entries = fs::read_dir(workspace::root().join(folder)).with_context(cannot)?;
        for entry in entries {
            let name = entry.with_context(cannot)?.file_name();
            let name = name.to_string_lossy();
            if name.ends_with(".md") || name.ends_with(".svg") {
                docs.push(format!("{folder}/{name}"));
            }
        }
    }
    docs.sort();
    Ok(docs)
}

/// Where that is looked for.
fn reference_place(name: &str) -> Option<String> {
    Some(match name.rsplit_once('.') {
        Some((_, "1")) => format!("/usr/share/man/man1/{name}"),
        Some((program, "bash")) => format!("/usr/share/bash-completion/completions/{program}"),
        Some((_, "fish")) => format!("/usr/share/fish/vendor_completions.d/{name}"),
        None if name.starts_with('_') => format!("/usr/share/zsh/vendor-completions/{name}"),
        _ => return None,
    })
}

/// Removes a folder, if it is there.
fn remove(folder: &Path) -> Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove {}", folder.display()))
        }
        _ => Ok(()),
    }
}

/// A file of the workspace.
fn source(path: &str) -> Result<Vec<u8>> {
    fs::read(workspace::root().join(path)).with_context(|| format!("cannot read {path}"))
}

/// Writes a file below `staging`, and the folders that it is in, whatever the umask is.
fn write(staging: &Path, path: &str, mode: u32, content: &[u8]) -> Result<()> {
    let mut folder = staging.to_owned();
    let (folders, name) = path.rsplit_once('/').unwrap_or(("", path));
    for part in folders.split('/') {
        folder.push(part);
        if !folder.exists() {
            fs::create_dir_all(&folder)
                .and_then(|()| fs::set_permissions(&folder, Permissions::from_mode(0o755)))
                .with_context(|| format!("cannot make {}", folder.display()))?;
        }
    }
    let file = folder.join(name);
    fs::write(&file, content)
        .and_then(|()| fs::set_permissions(&file, Permissions::from_mode(mode)))
        .with_context(|| format!("cannot write {}", file.display()))
}

/// Debian's own tools for packages.
struct Dpkg {
    dpkg: PathBuf,
    dpkg_deb: PathBuf,
}

impl Dpkg {
    fn find() -> Result<Dpkg> {
        let find = |name| {
            workspace::find_program(name).with_context(|| {
                format!("there is no {name}: packages are made on Debian or Ubuntu")
            })
        };
        Ok(Dpkg {
            dpkg: find("dpkg")?,
            dpkg_deb: find("dpkg-deb")?,
        })
    }

    /// What Debian calls this machine's.
    fn architecture(&self) -> Result<String> {
        let output = Command::new(&self.dpkg)
            .arg("--print-architecture")
            .output()
            .context("cannot start dpkg")?;
        if !output.status.success() {
            bail!(
                "dpkg --print-architecture failed: {}",
                String::from_utf8_lossy(&output.stderr).trim()
            );
        }
        Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    }

    fn build(&self, staging: &Path, file: &Path) -> Result<()> {
        let mut command = Command::new(&self.dpkg_deb);
        command.args(["--root-owner-group", "--build"]);
        run("package", "dpkg-deb", command.arg(staging).arg(file))
    }
}

#[cfg(test)]
mod tests;
