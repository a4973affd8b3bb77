//! Packages of a stand-in for the program: what lies in them, and what dpkg reads back of them.

use std::ffi::OsStr;

use super::*;

const BINARY: &[u8] = b"\x7fELF\0GLIBC_2.34\0";

/// What the program writes, and where it belongs.
const REFERENCE: [(&str, &str); 4] = [
    ("pinhole-serve.1", "/usr/share/man/man1/pinhole-serve.1"),
    (
        "pinhole.bash",
        "/usr/share/bash-completion/completions/pinhole",
    ),
    (
        "pinhole.fish",
        "/usr/share/fish/vendor_completions.d/pinhole.fish",
    ),
    ("_pinhole", "/usr/share/zsh/vendor-completions/_pinhole"),
];

fn package(pam: bool) -> Package<'static> {
    Package {
        binary: BINARY,
        version: "1.2.3",
        architecture: "amd64",
        pam,
        reference: REFERENCE
            .map(|(name, _)| (name.to_owned(), name.into()))
            .into(),
    }
}

fn text(package: &Package<'_>, path: &str) -> String {
    let files = package.files().unwrap();
    let file = files.into_iter().find(|file| file.path == path).unwrap();
    String::from_utf8(file.content).unwrap()
}

#[test]
fn units_have_the_packages_program() {
    for unit in UNITS {
        let path = format!("/usr/lib/systemd/system/{unit}");
        let packaged = text(&package(false), &path);
        assert!(!packaged.contains("/usr/local"), "{packaged}");
        let starts = packaged.contains("\nExecStart=/usr/bin/pinhole ");
        assert_eq!(starts, unit.ends_with(".service"), "{packaged}");
    }
}

#[test]
fn only_programs_built_with_pam_bring_its_service() {
    let conffiles = |pam| -> Vec<String> {
        let files = package(pam).files().unwrap();
        let conffiles = files.into_iter().filter(|file| file.conffile);
        conffiles.map(|file| file.path).collect()
    };
    assert_eq!(conffiles(false), ["/etc/pinhole/pinhole.toml"]);
    assert_eq!(
        conffiles(true),
        ["/etc/pinhole/pinhole.toml", "/etc/pam.d/pinhole"]
    );
}

/// The configuration says nothing that the sample does not.
#[test]
fn the_configuration_is_a_part_of_the_sample() {
    let sample = text(
        &package(false),
        "/usr/share/doc/pinhole/pinhole.sample.toml",
    );
    let sample: Vec<&str> = sample
        .lines()
        .map(|line| line.trim_start_matches("# "))
        .collect();
    let configuration = text(&package(false), "/etc/pinhole/pinhole.toml");
    let option = |line: &&str| line.contains(" = ") || line.starts_with('[');
    let options = configuration
        .lines()
        .map(|line| line.trim_start_matches("# "));
    let options: Vec<&str> = options.filter(option).collect();
    assert!(options.len() > 8, "{options:?}");
    for option in options {
        assert!(sample.contains(&option), "{option}");
    }
}

/// But for those to source code, which no package has.
#[test]
fn links_from_one_document_to_another_lead_somewhere() {
    let files = package(false).files().unwrap();
    let is_there = |path: &Path| files.iter().any(|file| Path::new(&file.path) == path);
    let mut seen = 0;
    for file in files.iter().filter(|file| file.path.ends_with(".md")) {
        let text = String::from_utf8_lossy(&file.content);
        let folder = Path::new(&file.path).parent().unwrap();
        for link in text.split("](").skip(1) {
            let (link, _) = link.split_once(')').unwrap();
            let link = link.split('#').next().unwrap();
            if link.contains("://") || !(link.ends_with(".md") || link.ends_with(".svg")) {
                continue;
            }
            let to = match link.strip_prefix("../") {
                Some(above) => folder.parent().unwrap().join(above),
                None => folder.join(link),
            };
            assert!(is_there(&to), "{} links to {link}", file.path);
            seen += 1;
        }
    }
    assert!(seen > 8, "{seen}");
    // `pinhole status --help` sends there.
    assert!(is_there(
        "/usr/share/doc/pinhole/docs/ARCHITECTURE.md".as_ref()
    ));
}

/// What a command says, if all is well.
fn said(program: impl AsRef<OsStr>, arguments: &[&OsStr]) -> String {
    let output = Command::new(program).args(arguments).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{said}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn manual_pages_and_completions_lie_where_they_are_looked_for() {
    for (name, place) in REFERENCE {
        assert_eq!(text(&package(false), place), name);
    }
    let odd = Package {
        reference: vec![("pinhole.elv".to_owned(), Vec::new())],
        ..package(false)
    };
    assert!(odd.files().is_err());
}

#[test]
fn scripts_are_shell() {
    for script in SCRIPTS {
        let path = workspace::root().join("dist/debian").join(script);
        said("sh", &["-n".as_ref(), path.as_ref()]);
    }
}

#[test]
fn dpkg_reads_back_what_was_packed() {
    let Ok(dpkg) = Dpkg::find() else {
        let reason = "there is no dpkg-deb";
        let strict = std::env::var_os("PINHOLE_NO_SKIP").is_some_and(|value| value == "1");
        assert!(!strict, "{reason}");
        eprintln!("SKIPPED {}:{}: {reason}", file!(), line!());
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let file = package(true).build(&dpkg, folder.path()).unwrap();
    assert_eq!(file.file_name().unwrap(), "pinhole_1.2.3_amd64.deb");
    let left: Vec<_> = fs::read_dir(folder.path()).unwrap().collect();
    assert_eq!(left.len(), 1, "{left:?}");

    let info = said(&dpkg.dpkg_deb, &["--info".as_ref(), file.as_ref()]);
    for line in [
        " Package: pinhole\n",
        " Version: 1.2.3\n",
        " Architecture: amd64\n",
        " Depends: libc6 (>= 2.34), libgcc-s1, libpam0g\n",
    ] {
        assert!(info.contains(line), "{info}");
    }
    for script in SCRIPTS {
        assert!(info.contains(&format!("{script} ")), "{info}");
    }
    let contents = said(&dpkg.dpkg_deb, &["--contents".as_ref(), file.as_ref()]);
    for (mode, path) in [
        ("-rwxr-xr-x", "./usr/bin/pinhole"),
        ("-rw-r--r--", "./etc/pinhole/pinhole.toml"),
        ("-rw-r--r--", "./etc/pam.d/pinhole"),
        ("-rw-r--r--", "./usr/lib/systemd/system/pinhole.service"),
        ("drwxr-xr-x", "./usr/lib/systemd/system/"),
    ] {
        let found = contents
            .lines()
            .find(|line| line.ends_with(&format!(" {path}")));
        let found = found.unwrap_or_else(|| unreachable!("no {path}:\n{contents}"));
        assert!(found.starts_with(&format!("{mode} root/root")), "{found}");
    }
}
