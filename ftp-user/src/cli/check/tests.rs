//! What is said of files that are good, odd and wrong.

use std::ffi::OsStr;
use std::fmt::Display;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;

use super::*;

fn checked(text: &str) -> Result<(Checked, PathBuf), Vec<Problem>> {
    let temporary = tempfile::tempdir().unwrap();
    // A folder whose name is not text must not make anything fail.
    let dir = temporary.path().join(OsStr::from_bytes(b"\xff"));
    fs::create_dir(&dir).unwrap();
    fs::create_dir(dir.join("files")).unwrap();
    fs::write(dir.join("users.toml"), "[[user]]\nname = 1\n").unwrap();
    let file = dir.join("pinhole.toml");
    fs::write(&file, text).unwrap();
    match check(&file) {
        Ok(checked) => Ok((checked, file)),
        Err(Unusable::Problems(problems)) => Err(problems),
        Err(Unusable::Other(error)) => unreachable!("{error}"),
    }
}

/// What is said of a file with this text that is wrong in no one line, and the same as JSON.
fn refused(text: &str) -> (String, serde_json::Value) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("pinhole.toml");
    fs::write(&file, text).unwrap();
    let unusable = check(&file).unwrap_err();
    assert!(matches!(unusable, Unusable::Other(_)), "{unusable}");
    let json: serde_json::Value = serde_json::from_str(&unusable.json(&file)).unwrap();
    assert_eq!(json["ok"], false);
    (unusable.to_string(), json["problems"][0].clone())
}

#[test]
fn what_serve_would_refuse_is_refused() {
    let (said, problem) = refused("");
    assert!(said.starts_with("nobody can log in"), "{said}");
    assert_eq!(problem["message"], said);
    assert!(problem["file"].as_str().unwrap().ends_with("/pinhole.toml"));
    assert!(problem["line"].is_null() && problem["column"].is_null());
    let (said, _) = refused("[anonymous]\nroot = \".\"\nuid = \"no such user\"\n");
    assert!(said.contains("no user \"no such user\""), "{said}");
    let (said, _) = refused("[anonymous]\nroot = \".\"\n[log]\nxferlog = \"no/where\"\n");
    assert!(
        said.contains("no/where (log.xferlog) cannot be opened"),
        "{said}"
    );

    let missing = check(Path::new("/no/where")).unwrap_err();
    let json: serde_json::Value =
        serde_json::from_str(&missing.json(Path::new("/no/where"))).unwrap();
    assert_eq!(json["problems"][0]["file"], "/no/where");
}

#[test]
fn a_good_file_is_summed_up() {
    let text = "[anonymous]\nroot = \"files\"\nlimits.sessions = 7\n[enforce]\nmark = 0x12\n\
                [limits.account]\nquota_bytes = \"1GiB\"\n[active]\ndefault_port = true\n\
                [uploads]\natomic = true\n[log]\nxferlog = \"xferlog\"\n";
    let (good, file) = checked(text).unwrap();
    let summary = good.summary(&file);
    for line in [
        "  listen            [::]:21\n",
        "  TLS               none: passwords and files are sent in the clear\n",
        "  passive ports     30000-50000 (20001), each open for up to 30s\n",
        "  active mode       to the client itself, from any port; without PASV or PORT to the port of \
         its control connection, from port 20\n",
        "  uploads           take their names when they are whole, come to the disk when the kernel \
         sees fit; what breaks off is kept\n",
        "  log               text on standard error; each transfer in ",
        "(attach: auto, marks admitted packets 0x12)\n",
        "  sessions          10000; from one address 100\n",
        "  each account      1GiB in all\n",
        "                    anonymous: 7 sessions, 1GiB in all\n",
    ] {
        assert!(summary.contains(line), "{summary}");
    }
    assert!(!summary.contains("warning"), "{summary}");
    let json: serde_json::Value = serde_json::from_str(&good.json()).unwrap();
    assert_eq!(json["ok"], true);
    assert_eq!(json["config"]["passive"]["ports"], "30000-50000");
    assert_eq!(json["config"]["timeouts"]["idle"], "5m");
    assert_eq!(json["config"]["enforce"]["interfaces"], "auto");
    assert_eq!(json["config"]["enforce"]["mark"], 0x12);
}

#[test]
fn a_guard_is_summed_up_where_there_is_one() {
    let text = "[guard]\nports = \"40000-40009\"\non_exit = \"closed\"\ndry_run = true\n";
    let (good, file) = checked(text).unwrap();
    let summary = good.summary(&file);
    let line = "  pinhole guard     control ports 21, shuts 40000-40009 (dry run: drops nothing), \
                works on without its daemon; network namespaces: self\n";
    assert!(summary.contains(line), "{summary}");
    assert!(!summary.contains("warning"), "{summary}");
    let (plain, file) = checked("[anonymous]\nroot = \"files\"\n").unwrap();
    assert!(!plain.summary(&file).contains("guard"));
}

#[test]
fn doubts_are_warnings() {
    let text = "[anonymous]\nroot = \"files\"\n[enforce]\nenabled = false\n";
    let (odd, file) = checked(text).unwrap();
    let summary = odd.summary(&file);
    assert!(summary.contains("warning: enforcement is off"), "{summary}");
}

#[test]
fn tls_is_summed_up_and_its_files_are_read() {
    let folder = tempfile::tempdir().unwrap();
    let tls = crate::tls::testing::settings(folder.path());
    let (certificate, key) = (tls.certificate.display(), tls.key.display());
    let text = |certificate: &dyn Display| {
        format!(
            "[anonymous]\nroot = \".\"\n\
             [tls]\ncertificate = \"{certificate}\"\nkey = \"{key}\"\nmode = \"require\"\n\
             listen = [\"[::1]:990\"]\n"
        )
    };
    let (good, file) = checked(&text(&certificate)).unwrap();
    let summary = good.summary(&file);
    let line = "  TLS               AUTH TLS required, PROT P allowed (session binding: \
                prefer); implicit on [::1]:990; certificate until 4096-01-01\n";
    assert!(summary.contains(line), "{summary}");

    let wrong = folder.path().join("pinhole.toml");
    fs::write(&wrong, text(&key)).unwrap();
    let Err(Unusable::Other(error)) = check(&wrong) else {
        unreachable!()
    };
    assert!(
        error.to_string().contains("holds no certificate"),
        "{error}"
    );
    let problems = checked(&text(&"/no/where")).unwrap_err();
    assert_eq!((problems[0].line, problems[0].column), (4, 15));
}

#[test]
fn hosts_are_summed_up_and_their_certificates_are_read() {
    let folder = tempfile::tempdir().unwrap();
    let tls = crate::tls::testing::settings(folder.path());
    let (certificate, key) = (tls.certificate.display(), tls.key.display());
    let text = |key: &dyn Display| {
        format!(
            "hosts = [\"here.example\"]\n[anonymous]\nroot = \"files\"\n\
             [tls]\ncertificate = \"{certificate}\"\nkey = \"{key}\"\n\
             [[host]]\nnames = [\"localhost\", \"b.example\"]\ngreeting = \"B.\"\n\
             certificate = \"{certificate}\"\nkey = \"{key}\"\nanonymous_root = \"files\"\n"
        )
    };
    let (good, file) = checked(&text(&key)).unwrap();
    let summary = good.summary(&file);
    let line = format!(
        "  hosts             here.example\n                    localhost, b.example; 220 B.; \
         certificate {certificate} until 4096-01-01; anonymous in "
    );
    assert!(summary.contains(&line), "{summary}");
    let warning = "warning: the certificate for ";
    let warned = summary
        .lines()
        .filter_map(|line| line.strip_prefix(warning));
    let named: Vec<&str> = warned.filter_map(|rest| rest.split(' ').next()).collect();
    assert_eq!(named, ["b.example", "here.example"], "{summary}");
    let json: serde_json::Value = serde_json::from_str(&good.json()).unwrap();
    let host = &json["config"]["hosts"][1];
    assert_eq!(host["names"][0], "localhost");
    assert_eq!(host["certificate"], certificate.to_string());
    let shown = &json["certificates"];
    assert_eq!(shown.as_array().unwrap().len(), 1, "{shown}");
    assert_eq!(shown[0]["file"], certificate.to_string());
    assert_eq!(shown[0]["subject"], "CN=rcgen self signed cert");
    assert_eq!(shown[0]["not_before"], "1975-01-01T00:00:00Z");
    assert_eq!(shown[0]["not_after"], "4096-01-01T00:00:00Z");

    let other = tempfile::tempdir().unwrap();
    let stranger = crate::tls::testing::settings(other.path()).key;
    let wrong = folder.path().join("pinhole.toml");
    let text = text(&key);
    let (rest, host) = text.split_once("[[host]]").unwrap();
    let host = host.replace(&key.to_string(), &stranger.display().to_string());
    let rest = rest.replace("\"files\"", "\".\"");
    let host = host.replace("\"files\"", "\".\"");
    fs::write(&wrong, format!("{rest}[[host]]{host}")).unwrap();
    let Err(Unusable::Other(error)) = check(&wrong) else {
        unreachable!()
    };
    let said = error.to_string();
    assert!(
        said.contains(" with key ") && said.contains(&stranger.display().to_string()),
        "{said}"
    );
}

#[test]
fn problems_of_both_files_are_found() {
    let problems = checked("lissten = 1\n").unwrap_err();
    let json: serde_json::Value = {
        let unusable = Unusable::Problems(problems);
        serde_json::from_str(&unusable.json(Path::new("pinhole.toml"))).unwrap()
    };
    assert_eq!(json["ok"], false);
    assert_eq!(json["problems"][0]["line"], 1);
    assert_eq!(json["problems"][0]["column"], 1);

    let problems = checked("users = \"users.toml\"\n").unwrap_err();
    assert!(problems[0].file.ends_with("users.toml"));
    assert_eq!((problems[0].line, problems[0].column), (2, 8));
}
