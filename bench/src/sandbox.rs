//! Where a run keeps what it makes: a tmpfs in a mount namespace of its own. However the run ends, by its end,
//! Ctrl-C or SIGKILL, the kernel takes both away.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};
use rustix::{
    mount::{MountFlags, MountPropagationFlags, mount, mount_bind, mount_change},
    thread::{UnshareFlags, unshare_unsafe},
};

/// The served folder, in the tmpfs.
pub(crate) const SITE: &str = "site";

/// Leaves the machine's mount namespace and mounts a tmpfs on `folder`. To be called before another thread
/// is started: threads made later inherit the namespace, earlier ones do not.
pub(crate) fn enter(folder: &Path) -> Result<PathBuf> {
    fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    // SAFETY: this thread is the only one, and nothing has been opened relative to a mount.
    unsafe { unshare_unsafe(UnshareFlags::NEWNS) }.context("unshare(CLONE_NEWNS)")?;
    // Without it the tmpfs would show outside.
    mount_change(
        "/",
        MountPropagationFlags::PRIVATE | MountPropagationFlags::REC,
    )
    .context("cannot make mounts private")?;
    let mounted = mount("bench", folder, "tmpfs", MountFlags::empty(), c"mode=0755");
    mounted.with_context(|| format!("cannot mount a tmpfs on {}", folder.display()))?;
    // Temporary folders of whatever is started, too.
    let temporary = folder.join("tmp");
    fs::create_dir(&temporary).with_context(|| format!("cannot make {}", temporary.display()))?;
    // SAFETY: this thread is the only one.
    unsafe { std::env::set_var("TMPDIR", &temporary) };
    add_anonymous_account(folder)?;
    Ok(folder.to_owned())
}

/// Pure-FTPd serves anonymous sessions as the host's account `ftp`, in its home: here, in an /etc/passwd that
/// nobody outside sees.
fn add_anonymous_account(folder: &Path) -> Result<()> {
    let passwd = Path::new("/etc/passwd");
    let text = fs::read_to_string(passwd).context("cannot read /etc/passwd")?;
    let others = text.lines().filter(|line| !line.starts_with("ftp:"));
    let mut changed: String = others.flat_map(|line| [line, "\n"]).collect();
    changed += &format!("ftp:x:1:1::{}:/bin/false\n", folder.join(SITE).display());
    let copy = folder.join("passwd");
    fs::write(&copy, changed).with_context(|| format!("cannot write {}", copy.display()))?;
    mount_bind(&copy, passwd).context("cannot put another /etc/passwd in place")
}
