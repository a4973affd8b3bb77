//! Configuration files, and what is said about wrong ones.

mod sample;
mod virtual_hosts;

use std::fs;

use super::*;

fn parse(text: &str) -> Result<Config, ConfigError> {
    Config::parse(Path::new("/etc/p.toml"), text)
}

/// The problems of a text, without the file's name.
#[track_caller]
fn problems(text: &str) -> Vec<String> {
    let said = parse(text).unwrap_err().to_string();
    said.lines()
        .map(|line| line.strip_prefix("/etc/p.toml:").unwrap().to_owned())
        .collect()
}

#[track_caller]
fn problem(text: &str) -> String {
    let mut problems = problems(text);
    assert_eq!(problems.len(), 1, "{problems:?}");
    problems.remove(0)
}

#[test]
fn points_at_unknown_keys_and_suggests_the_known() {
    assert_eq!(
        problem("[timeouts]\n  idel = \"5m\"\n"),
        "2:3: unknown field `idel`, expected one of `idle`, `login`, `stall`, `drain`, `restart`, \
         `takeover`; did you mean `idle`?"
    );
    assert!(problem("[anonymus]\n").ends_with("did you mean `anonymous`?"));
    assert!(problem("[enforce]\nattach = \"natve\"").starts_with("2:10: unknown variant `natve`"));
    assert!(problem("[enforce]\nattach = \"natve\"").ends_with("did you mean `native`?"));
    assert!(problem("[enforce]\ntables = 3").starts_with("2:1: unknown field `tables`"));
    assert!(problem("[anonymous]").contains("missing field `root`"));
}

#[test]
fn points_at_broken_toml_and_wrong_types() {
    assert!(problem("listen = [\"[::]:21\"\ngreeting = 1").starts_with("2:"));
    assert!(problem("greeting = 1").starts_with("1:12: invalid type: integer `1`"));
    assert!(problem("a\n[b").lines().count() == 1);
    assert!(
        problem("[passive]\nconnect_timeout = 30")
            .starts_with("2:19: 30 is not a duration in quotes")
    );
    assert!(problem("[enforce]\nenabled = \"yes\"").starts_with("2:11: invalid type"));
    assert!(problem("[enforce]\nenabled = true\nenabled = true").starts_with("3:1: duplicate key"));
}

#[test]
fn values_that_cannot_be_done_are_named_with_what_can() {
    let cases = [
        ("listen = []", "1:10: the list is empty"),
        (
            "listen = [\"0.0.0.0\"]",
            "1:11: \"0.0.0.0\" is not an address with a port: the port is missing: write \"0.0.0.0:21\"",
        ),
        (
            "listen = [\"::1\"]",
            "1:11: \"::1\" is not an address with a port: the port is missing: write \"[::1]:21\"",
        ),
        (
            "listen = [\"localhost:21\"]",
            "1:11: \"localhost:21\" is not an address",
        ),
        (
            "listen = [\"[::1]:21\", \"[::1]:21\"]",
            "1:23: [::1]:21 is listed twice",
        ),
        (
            "listen = [\"[::]:21\", \"127.0.0.1:21\"]",
            "1:22: 127.0.0.1:21 and [::]:21 cannot be listened on at once",
        ),
        (
            "listen = [\"127.0.0.1:21\", \"0.0.0.0:21\"]",
            "1:27: 0.0.0.0:21 and 127.0.0.1:21 cannot",
        ),
        (
            "listen = [\"127.0.0.1:30021\"]",
            "1:10: port 30021 is listened on for control connections",
        ),
        (
            "greeting = \"a\\r\\n220 b\"",
            "1:12: the greeting is one line",
        ),
        ("[passive]\nports = \"\"", "2:9: ports: no port is left"),
        (
            "[passive]\nports = \"22-65535\"",
            "2:9: ports: no port from 1024 on is left for the internal listener",
        ),
        (
            "listen = [\"[::]:2121\"]\n[passive]\nports = \"1-2120,2122-65535\"",
            "3:9: ports: no port from 1024 on is left",
        ),
        (
            "[passive]\nports = 30000",
            "2:9: 30000 is not ports in quotes such as \"30000-50000\": write \"30000\"",
        ),
        (
            "[timeouts]\nidle = 300",
            "2:8: 300 is not a duration in quotes such as \"30s\": write \"300s\"",
        ),
        (
            "[timeouts]\nidle = true",
            "2:8: invalid type: boolean `true`, expected a duration in quotes",
        ),
        (
            "[limits]\nsessions = \"many\"",
            "2:12: \"many\" is not a number: write one without quotes, such as 100",
        ),
        (
            "[limits]\nsessions = \"7\"",
            "2:12: \"7\" is a number in quotes: write 7",
        ),
        (
            "[limits.account]\nsessions = \"7\"",
            "2:12: \"7\" is a number in quotes: write 7",
        ),
        ("[limits.account]\nquota_files = -1", "2:15: -1 is negative"),
        (
            "[enforce]\ninterfaces = [\"auto\"]",
            "2:14: \"auto\" stands alone: write interfaces = \"auto\"",
        ),
        (
            "[guard]\nports = \"20-30\"",
            "2:9: port 21 is one of the control ports",
        ),
        (
            "[guard]\ncontrol_ports = \"ftp\"",
            "2:17: \"ftp\" is not a port",
        ),
        ("[guard]\nnetns = []", "2:9: the list is empty"),
        (
            "[guard]\nnetns = [\"a\", \"a\"]",
            "2:15: \"a\" is named twice",
        ),
        (
            "[guard]\nnetns = [\"ns/net\"]",
            "2:10: \"ns/net\" is neither",
        ),
        (
            "[passive]\nports = \"1-x\"",
            "2:9: ports: \"1-x\" is not a port",
        ),
        (
            "[passive]\nports = \"20-22\"\n",
            "2:9: port 21 is listened on",
        ),
        (
            "[passive]\naddress = \"::1\"",
            "2:11: \"::1\" is neither an IPv4 address",
        ),
        (
            "[passive.addresses]\n\"10.0.0.1/8\" = \"own\"",
            "2:1: \"10.0.0.1/8\" has bits behind its prefix",
        ),
        (
            "[passive.addresses]\n\"10.0.0.0/8\" = \"a b\"",
            "2:16: \"a b\" is neither",
        ),
        (
            "[passive]\naddress = \"0.0.0.0\"",
            "2:11: no client can connect to 0.0.0.0",
        ),
        (
            "[passive]\nconnect_timeout = \"30\"",
            "2:19: \"30\" is not a duration such as",
        ),
        (
            "[passive]\nconnect_timeout = \"0s\"",
            "2:19: \"0s\" is too short",
        ),
        (
            "[timeouts]\nidle = \"500 years\"",
            "2:8: \"500 years\" is too long",
        ),
        ("[timeouts]\nidle = \"99999999999999999999999s\"", "2:8: "),
        (
            "[enforce]\nclient_prefix_v4 = 33",
            "2:20: 33 is not an IPv4 prefix length: 1 to 32",
        ),
        ("[enforce]\nclient_prefix_v4 = 0", "2:20: 0 is not"),
        (
            "[enforce]\nclient_prefix_v6 = 129",
            "2:20: 129 is not an IPv6 prefix length: 1 to 128",
        ),
        (
            "[enforce]\nmark = 0",
            "2:8: 0 is not a firewall mark: 1 to 4294967295",
        ),
        ("[enforce]\nmark = 0x100000000", "2:8: 4294967296 is not"),
        ("[enforce]\nmax_pinholes = 0", "2:16: 0 is not"),
        (
            "[enforce]\ninterfaces = []",
            "2:14: the list of interfaces is empty",
        ),
        (
            "[enforce]\ninterfaces = \"eth0\"",
            "2:14: interfaces are \"auto\" or a list: write [\"eth0\"]",
        ),
        (
            "[enforce]\ninterfaces = [\"a/b\"]",
            "2:14: \"a/b\" cannot be an interface's name",
        ),
        (
            "[enforce]\ninterfaces = [\"a\", \"a\"]",
            "2:14: \"a\" is named twice",
        ),
        (
            "[limits]\nsessions = -1",
            "2:12: -1 is not the number of sessions",
        ),
        ("[limits]\nlogin_failures = 0", "2:18: 0 is not"),
    ];
    for (text, expected) in cases {
        let said = problem(text);
        assert!(
            said.starts_with(expected),
            "{text}\n  said:     {said}\n  expected: {expected}"
        );
    }
}

#[test]
fn all_wrong_values_are_named_at_once_in_their_order() {
    let said = problems("listen = [\"x\"]\n[passive]\nports = \"a\"\n[limits]\nsessions = -1\n");
    let places: Vec<&str> = said.iter().map(|said| &said[..4]).collect();
    assert_eq!(places, ["1:11", "3:9:", "5:12"]);
}

#[test]
fn paths_are_looked_for_beside_the_file() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("pinhole.toml");
    let load = |text: &str| {
        fs::write(&file, text).unwrap();
        Config::load(&file).map_err(|error| error.to_string())
    };
    let text = "users = \"users.toml\"\n[anonymous]\nroot = \"files\"\n";
    let said = load(text).unwrap_err();
    let said: Vec<&str> = said.lines().collect();
    // Where others can log in, a root concerns its guests alone.
    assert_eq!(said.len(), 1, "{said:?}");
    assert!(
        said[0].contains("pinhole.toml:1:9: the users file"),
        "{said:?}"
    );
    assert!(said[0].contains("pinhole user add"), "{said:?}");
    let alone = "\n[anonymous]\nroot = \"files\"\n";
    let said = load(alone).unwrap_err();
    assert!(said.contains("pinhole.toml:3:8: the root"), "{said}");

    fs::write(dir.path().join("files"), "").unwrap();
    fs::create_dir(dir.path().join("users.toml")).unwrap();
    assert!(
        load(alone)
            .unwrap_err()
            .contains("files is not a directory")
    );
    assert!(load(text).unwrap_err().contains("users.toml is not a file"));

    fs::remove_file(dir.path().join("files")).unwrap();
    fs::remove_dir(dir.path().join("users.toml")).unwrap();
    fs::create_dir(dir.path().join("files")).unwrap();
    fs::write(dir.path().join("users.toml"), "").unwrap();
    let config = load(text).unwrap();
    assert_eq!(config.users, Some(dir.path().join("users.toml")));
    assert_eq!(config.anonymous.unwrap().root, dir.path().join("files"));
}

#[test]
fn files_that_cannot_be_read_say_why() {
    let dir = tempfile::tempdir().unwrap();
    let missing = Config::load(&dir.path().join("none.toml")).unwrap_err();
    assert!(
        missing
            .to_string()
            .contains("none.toml: cannot read the configuration: No such file")
    );
    let binary = dir.path().join("binary.toml");
    fs::write(&binary, b"# ok\n# \xff\n").unwrap();
    let said = Config::load(&binary).unwrap_err().to_string();
    assert!(
        said.contains("binary.toml:2:3: this byte is not UTF-8"),
        "{said}"
    );
}

proptest::proptest! {
    #[test]
    fn no_text_makes_it_panic(
        text in "(\\[|\\]|=|\"|[a-z_]{1,9}|[0-9.:-]{1,5}|\n| |#|ports|listen|é){0,40}",
    ) {
        if let Err(error) = parse(&text) {
            assert!(error.to_string().starts_with("/etc/p.toml:"));
        }
    }
}

const TLS: &str = "[tls]\ncertificate = \"c\"\nkey = \"k\"\n";

#[test]
fn tls_needs_a_certificate_and_heeds_every_key() {
    let tls = |more: &str| parse(&format!("{TLS}{more}")).unwrap().tls.unwrap();
    let plain = tls("");
    assert_eq!(plain.certificate, Path::new("/etc/c"));
    assert_eq!((plain.mode, plain.data), (Use::Allow, Use::Allow));
    assert_eq!(plain.session_binding, Binding::Prefer);
    assert_eq!(tls("mode = \"require\"").mode, Use::Require);
    assert_eq!(tls("data = \"off\"").data, Use::Off);
    let binding = tls("session_binding = \"require\"").session_binding;
    assert_eq!(binding, Binding::Require);
    let ca = tls("client_ca = \"ca\"").client_ca;
    assert_eq!(ca.as_deref(), Some(Path::new("/etc/ca")));
    assert_eq!(tls("listen = [\"[::]:990\"]").listen.len(), 1);
    assert!(problem("[tls]\ncertificate = \"c\"").contains("missing field `key`"));
}

#[test]
fn tls_that_cannot_be_is_pointed_at() {
    let said = |more: &str| problem(&format!("{TLS}{more}"));
    assert!(said("mode = \"off\"").starts_with("4:8: mode \"off\" and no `listen`"));
    assert!(said("listen = [\"[::]:21\"]").starts_with("4:11: [::]:21 is listed twice"));
    assert!(said("mode = \"always\"").contains("`off`, `allow`, `require`"));
    let passive = "listen = [\"[::]:990\"]\n[passive]\nports = \"990\"";
    assert!(said(passive).starts_with("6:9: port 990 is listened on"));
}
