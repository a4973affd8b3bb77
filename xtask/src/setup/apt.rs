//! Debian's and Ubuntu's packages, as far as setup needs them: which version could be installed, and
//! installing it. Never removes a package, asks nothing.

use std::{collections::BTreeSet, fmt, path::PathBuf, process::Command};

use anyhow::{Result, bail};

use crate::{
    progress::{run, say},
    workspace,
};

/// apt-get on this machine. Package lists are fetched at most once per run, and only when what they
/// say so far does not suffice (a fresh container has none at all).
pub(crate) struct Apt {
    usable: Result<(), Unusable>,
    refreshed: bool,
}

/// Why nothing can be installed by us.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Unusable {
    NoApt,
    NotRoot,
}

impl fmt::Display for Unusable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoApt => f.write_str("this is no Debian or Ubuntu (there is no apt-get)"),
            Self::NotRoot => f.write_str("installing packages takes root"),
        }
    }
}

impl Apt {
    pub(crate) fn new() -> Self {
        let usable = if workspace::find_program("apt-get").is_none() {
            Err(Unusable::NoApt)
        } else if !workspace::is_root() {
            Err(Unusable::NotRoot)
        } else {
            Ok(())
        };
        Self {
            usable,
            refreshed: false,
        }
    }

    /// Whether packages can be looked up, though perhaps not installed.
    pub(crate) fn is_present(&self) -> bool {
        !matches!(self.usable, Err(Unusable::NoApt))
    }

    /// Why packages cannot be installed from here, if so.
    pub(crate) fn usable(&self) -> Result<(), Unusable> {
        self.usable
    }

    /// Fetches the package lists; returns whether that was news.
    pub(crate) fn refresh(&mut self) -> Result<bool> {
        if self.refreshed || self.usable.is_err() {
            return Ok(false);
        }
        self.refreshed = true;
        run("packages", "apt-get update", apt_get().arg("update"))?;
        say("packages", "package lists fetched (apt-get update)");
        Ok(true)
    }

    /// The version that would be installed, by what apt knows now.
    pub(crate) fn candidate(&self, package: &str) -> Option<String> {
        if !self.is_present() {
            return None;
        }
        let output = program("apt-cache")
            .args(["policy", package])
            .env("LC_ALL", "C")
            .output()
            .ok()?;
        let text = String::from_utf8_lossy(&output.stdout);
        let version = text
            .lines()
            .find_map(|line| line.trim().strip_prefix("Candidate: "))?;
        (version != "(none)").then(|| version.to_owned())
    }

    /// What `packages` depend on directly, as far as `wanted` holds for its name.
    pub(crate) fn needed_by(
        &self,
        packages: &[&str],
        wanted: impl Fn(&str) -> bool,
    ) -> BTreeSet<String> {
        if !self.is_present() {
            return BTreeSet::new();
        }
        let output = program("apt-cache")
            .args(["depends", "--important"])
            .args(packages)
            .env("LC_ALL", "C")
            .output();
        // Apt says what it does not know when it is asked to install it.
        let text = output.map(|output| output.stdout).unwrap_or_default();
        depended_on(&String::from_utf8_lossy(&text))
            .filter(|name| wanted(name))
            .map(str::to_owned)
            .collect()
    }

    /// Which of `packages` are installed.
    pub(crate) fn installed(&self, packages: &BTreeSet<String>) -> Vec<String> {
        if !self.is_present() {
            return Vec::new();
        }
        let output = program("dpkg-query")
            .args([
                "--show",
                "--showformat=${Package} ${db:Status-Status}\\n",
                "--",
            ])
            .args(packages)
            .output();
        let text = output.map(|output| output.stdout).unwrap_or_default();
        String::from_utf8_lossy(&text)
            .lines()
            .filter_map(|line| line.strip_suffix(" installed"))
            .map(str::to_owned)
            .collect()
    }

    /// Installs packages without their recommendations; fails rather than remove another package.
    pub(crate) fn install(&mut self, packages: &[&str]) -> Result<()> {
        if let Err(reason) = self.usable {
            bail!("{reason}; type: {}", Self::command(packages));
        }
        let doing = format!("apt-get install {}", packages.join(" "));
        let install = |packages: &[&str]| {
            run(
                "packages",
                &doing,
                apt_get()
                    .args(["install", "--yes", "--no-install-recommends", "--no-remove"])
                    .args(packages),
            )
        };
        // Lists from last month name files that the mirror no longer has.
        if let Err(first) = install(packages) {
            if !self.refresh()? {
                return Err(first);
            }
            install(packages)?;
        }
        say("packages", format_args!("installed {}", packages.join(" ")));
        Ok(())
    }

    /// What a user would type for [`Self::install`].
    pub(crate) fn command(packages: &[&str]) -> String {
        format!(
            "sudo apt-get update && sudo apt-get install -y --no-install-recommends {}",
            packages.join(" ")
        )
    }
}

/// `1.96` of `1:1.96.0+dfsg1-1~deb12u2`.
pub(crate) fn major_minor(version: &str) -> Option<(u32, u32)> {
    let upstream = version
        .split_once(':')
        .map_or(version, |(_epoch, rest)| rest);
    let mut numbers = upstream.split(|c: char| !c.is_ascii_digit());
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

/// The packages on the "Depends:" lines of `apt-cache depends`. Virtual ones are in angle brackets, some
/// with an architecture that would do.
fn depended_on(text: &str) -> impl Iterator<Item = &str> {
    text.lines()
        .filter_map(|line| line.trim().strip_prefix("Depends: "))
        .map(|name| name.trim_matches(['<', '>']))
        .map(|name| name.split_once(':').map_or(name, |(name, _)| name))
}

/// A tool of apt's, also where `PATH` lacks it.
fn program(name: &str) -> Command {
    Command::new(workspace::find_program(name).unwrap_or_else(|| PathBuf::from(name)))
}

fn apt_get() -> Command {
    let mut command = program("apt-get");
    // Another apt may be at work (unattended upgrades after boot): wait for it rather than fail.
    command
        .args(["-q", "-o", "DPkg::Lock::Timeout=300"])
        .env("DEBIAN_FRONTEND", "noninteractive");
    command
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_packages_depend_on() {
        let text = "pure-ftpd\n  Depends: lsb-base\n |Depends: openbsd-inetd\n  Depends: libc6\n\
                    python3-pyftpdlib\n  Depends: <python3:any>\n    python3\n";
        assert!(depended_on(text).eq(["lsb-base", "libc6", "python3"]));
    }

    #[test]
    fn reads_versions_of_distribution_packages() {
        assert_eq!(major_minor("1.96.0+dfsg1-1~deb12u2"), Some((1, 96)));
        assert_eq!(major_minor("1:22.1.8-1~deb12u1"), Some((22, 1)));
        assert_eq!(major_minor("1.85.1ubuntu0.24.04.1"), Some((1, 85)));
        assert_eq!(major_minor("none"), None);
    }
}
