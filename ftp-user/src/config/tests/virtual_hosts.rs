//! `hosts` and `[[host]]`: whose a name is, and tables that cannot be.

use std::net::Ipv4Addr;

use super::*;

const HERE: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));

#[test]
fn the_list_is_a_host_without_settings() {
    let text = "hosts = [\"ftp.example.com\"]\n[anonymous]\nroot = \"r\"\n[tls]\ncertificate = \"c\"\n\
                key = \"k\"\n[[host]]\nnames = [\"a.example\", \"b.example\"]\ngreeting = \"Hello.\"\n\
                certificate = \"ac\"\nkey = \"ak\"\nanonymous_root = \"ar\"\n";
    let config = parse(text).unwrap();
    let plain = VirtualHost {
        names: vec!["ftp.example.com".to_owned()],
        ..VirtualHost::default()
    };
    let own = VirtualHost {
        names: vec!["a.example".to_owned(), "b.example".to_owned()],
        greeting: Some("Hello.".to_owned()),
        certificate: Some(Certificate {
            chain: "/etc/ac".into(),
            key: "/etc/ak".into(),
        }),
        anonymous_root: Some("/etc/ar".into()),
    };
    assert_eq!(config.host("FTP.example.com"), Some(&plain));
    assert_eq!(config.host("a.example"), Some(&own));
    assert_eq!(config.host("B.Example"), Some(&own));
    assert_eq!(config.host("c.example"), None);
    assert_eq!(config.hosts, [plain, own]);
}

#[test]
fn any_name_will_do_only_where_there_are_none() {
    let none = Config::default();
    assert!(none.is_host("anything.example", HERE) && none.is_host("192.0.2.1", HERE));
    assert!(!none.is_host("192.0.2.2", HERE));
    let tables = parse("[[host]]\nnames = [\"a.example\"]\n").unwrap();
    assert!(tables.is_host("A.EXAMPLE", HERE) && tables.is_host("192.0.2.1", HERE));
    assert!(!tables.is_host("anything.example", HERE));
    let mapped: IpAddr = "::ffff:192.0.2.1".parse().unwrap();
    assert!(tables.is_host("[::ffff:192.0.2.1]", HERE) && tables.is_host("192.0.2.1", mapped));
}

#[test]
fn a_name_is_one_hosts() {
    let twice = "hosts = [\"a.example\"]\n[[host]]\nnames = [\"b.example\"]\n[[host]]\n";
    let said = |names: &str| problem(&format!("{twice}names = [{names}]"));
    assert_eq!(
        said("\"B.example\""),
        "5:10: \"B.example\" is named twice: line 3 has \"b.example\""
    );
    assert_eq!(
        said("\"c\", \"A.example\""),
        "5:15: \"A.example\" is named twice: line 1 has \"a.example\""
    );
    assert!(said("\"c\", \"C\"").ends_with("line 5 has \"c\""));
    assert!(said("\"a b\"").starts_with("5:10: \"a b\" is not a host name"));
    assert!(said("").starts_with("5:9: the list is empty"));
}

#[test]
fn a_host_has_what_the_server_has() {
    let said = |text: &str| problem(&format!("[[host]]\nnames = [\"a.example\"]\n{text}"));
    let both = "certificate = \"c\"\nkey = \"k\"";
    assert!(said(both).starts_with("3:15: there is no [tls]"));
    assert_eq!(
        said("key = \"k\""),
        "3:7: the key's `certificate` is missing"
    );
    assert_eq!(
        said("certificate = \"c\""),
        "3:15: the certificate's `key` is missing"
    );
    assert!(said("anonymous_root = \"r\"").starts_with("3:18: there are no anonymous sessions"));
    assert!(said("greeting = \"a\\nb\"").starts_with("3:12: the greeting is one line"));
    assert!(said("root = \"r\"").contains("unknown field `root`"));
    assert!(problem("[[host]]\n").contains("missing field `names`"));
}

#[test]
fn the_files_of_hosts_have_to_be_there() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("pinhole.toml");
    fs::create_dir(dir.path().join("files")).unwrap();
    fs::write(dir.path().join("c"), "").unwrap();
    let text = "anonymous.root = \"files\"\n[tls]\ncertificate = \"c\"\nkey = \"c\"\n[[host]]\n\
                names = [\"a\"]\ncertificate = \"gone\"\nkey = \"none\"\nanonymous_root = \"c\"\n";
    fs::write(&file, text).unwrap();
    let said = Config::load(&file).unwrap_err().to_string();
    let said: Vec<&str> = said.lines().collect();
    // The root concerns its guests alone.
    assert_eq!(said.len(), 2, "{said:?}");
    assert!(said[0].contains(":7:15: the certificate "), "{said:?}");
    assert!(said[1].contains(":8:7: the private key "), "{said:?}");
}
