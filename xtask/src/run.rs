//! `cargo xtask run`: the daemon as a stranger would first see it, serving a demo folder on loopback
//! with enforcement on; or, with arguments, the `pinhole` program with those.

use std::{
    ffi::OsString,
    fs::{self, File},
    io::{self, Read as _},
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, anyhow, bail};

use crate::{
    build::{self, Profile},
    progress::say,
    workspace,
};

const LISTEN: &str = "127.0.0.1:2121";
const PASSIVE_PORTS: &str = "30000-50000";
const BIG: u64 = 64 << 20;

const README: &str = "\
This folder is served by Pinhole, at ftp://127.0.0.1:2121/ and read-only.

big.bin is 64 MiB of random bytes, to have something to download.
";

/// Builds and becomes `pinhole`. On success this does not return: the daemon takes this process's
/// place, so signals reach it and its exit status is ours.
pub(crate) fn run(arguments: Vec<OsString>) -> Result<()> {
    if arguments.is_empty() && !workspace::is_root() {
        bail!(
            "the demo enforces with eBPF on the loopback interface, which takes root; type:\n\n    \
             sudo -E env PATH=$PATH cargo xtask run\n\nor, without root and without enforcement:\n\n    \
             cargo xtask run -- serve --enforce off --listen {LISTEN} --root {}",
            workspace::root().display()
        );
    }
    let daemon = build::daemon(Profile::Release, &[])?;
    let mut command = Command::new(&daemon);
    if arguments.is_empty() {
        let root = demo_folder()?;
        command
            .args([
                "serve",
                "--listen",
                LISTEN,
                "--passive-ports",
                PASSIVE_PORTS,
                "--interface",
                "lo",
            ])
            .args(["--attach", "generic", "--root"])
            .arg(&root);
        eprintln!("{}", invitation(&command));
    } else {
        command.args(arguments);
    }
    Err(anyhow!(command.exec()).context(format!("cannot start {}", daemon.display())))
}

/// Makes the demo folder once and returns it.
fn demo_folder() -> Result<PathBuf> {
    let folder = workspace::root().join("target/demo");
    fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let readme = folder.join("README.txt");
    fs::write(&readme, README).with_context(|| format!("cannot write {}", readme.display()))?;
    let big = folder.join("big.bin");
    if fs::metadata(&big).is_ok_and(|metadata| metadata.len() == BIG) {
        say("demo", format_args!("{} is there", folder.display()));
    } else {
        random_file(&big).with_context(|| format!("cannot write {}", big.display()))?;
        say(
            "demo",
            format_args!(
                "{} made: README.txt, and big.bin of 64 MiB",
                folder.display()
            ),
        );
    }
    Ok(folder)
}

fn random_file(path: &Path) -> io::Result<()> {
    let partial = path.with_extension("partial");
    io::copy(
        &mut File::open("/dev/urandom")?.take(BIG),
        &mut File::create(&partial)?,
    )?;
    fs::rename(&partial, path)
}

/// What to try in another terminal. The commands are to be pasted as they stand.
fn invitation(command: &Command) -> String {
    let (host, port) = LISTEN.split_once(':').unwrap_or((LISTEN, "21"));
    format!(
        r#"
Starting: {command}

Try, in another terminal:

# A download.
curl -o /dev/null ftp://{LISTEN}/big.bin

# The lock. 127.0.0.1 negotiates a data port; then 127.0.0.2, which did not, tries it, then 127.0.0.1.
python3 - <<'END'
import ftplib, socket
ftp = ftplib.FTP()
ftp.connect("{host}", {port})
ftp.login()
address = ftp.makepasv()
print("negotiated:", address)
for source in "127.0.0.2", "127.0.0.1":
    try:
        socket.create_connection(address, timeout=2, source_address=(source, 0)).close()
        print(source, "is connected")
    except OSError as error:
        print(source, "is refused:", error)
END

# No passive port listens, negotiated or not: what else listens here (beside {port}) is where
# the kernel hands admitted connections to the daemon, one socket for all ports.
ss -ltn

Ctrl-C ends the server.
"#,
        command = crate::progress::show(command)
    )
}
