//! The sample: it has every option, with the default, and each is heeded.

use std::num::NonZeroU32;

use super::*;

#[test]
fn the_sample_is_the_default() {
    assert_eq!(parse(SAMPLE).unwrap(), Config::default());
    assert_eq!(parse("").unwrap(), Config::default());
}

/// Lines like `# key = value` and `# [table]` are options; all other comments are prose.
fn is_commented_option(line: &str) -> bool {
    let Some(rest) = line.strip_prefix("# ") else {
        return false;
    };
    let word = rest.split([' ', '=']).next().unwrap_or_default();
    let key = !word.is_empty()
        && word
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_');
    (key && rest[word.len()..].starts_with(" = ")) || (rest.starts_with('[') && rest.ends_with(']'))
}

#[test]
fn every_option_that_the_sample_leaves_out_can_be_put_in() {
    let options: Vec<&str> = SAMPLE
        .lines()
        .filter(|line| is_commented_option(line))
        .collect();
    assert_eq!(options.len(), 44, "{options:?}");
    let text: String = SAMPLE
        .lines()
        .map(|line| {
            let line = if is_commented_option(line) {
                &line[2..]
            } else {
                line
            };
            format!("{line}\n")
        })
        .collect();
    let config = parse(&text).unwrap();
    assert_eq!(config.users, Some("/etc/pinhole/users.toml".into()));
    let anonymous = config.anonymous.unwrap();
    assert_eq!(anonymous.root, Path::new("/srv/ftp"));
    assert_eq!(anonymous.uid, Some(Principal::Name("nobody".into())));
    assert_eq!(anonymous.gid, Some(Principal::Name("nogroup".into())));
    assert_eq!(config.pam, Some(Pam::default()));
    let account = config.limits.account;
    assert_eq!(
        (account.sessions, account.quota_files),
        (Some(10), Some(100_000))
    );
    assert_eq!(account.upload_rate, Some(Bytes(10 << 20)));
    assert_eq!(account.download_rate, Some(Bytes(20 << 20)));
    assert_eq!(account.session_upload_rate, Some(Bytes(1 << 20)));
    assert_eq!(account.session_download_rate, Some(Bytes(2 << 20)));
    assert_eq!(account.file_size, Some(Bytes(2 << 30)));
    assert_eq!(account.quota_bytes, Some(Bytes(100 << 30)));
    assert_eq!(
        config.tls,
        Some(Tls {
            certificate: "/etc/pinhole/cert.pem".into(),
            key: "/etc/pinhole/key.pem".into(),
            mode: Use::Allow,
            data: Use::Allow,
            session_binding: Binding::Prefer,
            client_ca: Some("/etc/pinhole/clients.pem".into()),
            check_server_name: false,
            listen: vec!["[::]:990".parse().unwrap()],
            listeners: vec![ListenerTls {
                address: "[::]:21".parse().unwrap(),
                policy: TlsPolicy {
                    control: Use::Require,
                    data: Use::Allow,
                },
            }],
        })
    );
    assert_eq!(
        config.hosts,
        [VirtualHost {
            names: vec!["ftp.example.org".to_owned()],
            greeting: Some("Files of example.org.".to_owned()),
            certificate: Some(Certificate {
                chain: "/etc/pinhole/example.org.pem".into(),
                key: "/etc/pinhole/example.org.key".into(),
            }),
            anonymous_root: Some("/srv/example.org".into()),
        }]
    );
    assert_eq!(config.passive.address.to_string(), "203.0.113.7");
    assert_eq!(config.enforce.mark, NonZeroU32::new(0x7068_6f6c));
    assert_eq!(config.guard.ports, Some(PortSet::default()));
    assert_eq!(config.guard.interfaces, Some(Interfaces::Auto));
    assert_eq!(config.guard.attach, Some(Attach::Auto));
}

/// Each default of the sample, changed to another value, changes the configuration: no key is read
/// and forgotten.
#[test]
fn every_key_of_the_sample_is_heeded() {
    let others: &[(&str, &str)] = &[
        ("listen", "[\"127.0.0.1:2121\"]"),
        ("greeting", "\"other\""),
        ("hosts", "[\"ftp.example.com\"]"),
        ("ports", "\"40000\""),
        ("connect_timeout", "\"3s\""),
        ("port_timeout", "\"3s\""),
        ("enabled", "false"),
        ("from_port_20", "true"),
        ("default_port", "true"),
        ("interfaces", "[\"eth0\"]"),
        ("attach", "\"tcx\""),
        ("client_prefix_v4", "24"),
        ("client_prefix_v6", "64"),
        ("stray", "\"pass\""),
        ("control_ports", "\"990\""),
        ("dry_run", "true"),
        ("on_exit", "\"closed\""),
        ("unresolved", "\"admit-control-peers\""),
        ("netns", "[\"blue\"]"),
        ("bpffs", "\"/bpf\""),
        ("max_pinholes", "5"),
        ("idle", "\"3s\""),
        ("login", "\"3s\""),
        ("stall", "\"3s\""),
        ("drain", "\"3s\""),
        ("restart", "\"3s\""),
        ("takeover", "\"3s\""),
        ("sessions", "5"),
        ("sessions_per_address", "5"),
        ("login_failures", "5"),
        ("recursive_entries", "5"),
        ("recursive_depth", "5"),
        ("atomic", "true"),
        ("sync", "true"),
        ("remove_aborted", "true"),
        ("format", "\"json\""),
    ];
    let mut changed = 0;
    let lines: Vec<&str> = SAMPLE.lines().collect();
    for (index, line) in lines.iter().enumerate() {
        if line.starts_with(['#', '[']) || line.is_empty() {
            continue;
        }
        let key = line.split(" = ").next().unwrap();
        let (_, other) = others
            .iter()
            .find(|(name, _)| *name == key)
            .unwrap_or_else(|| unreachable!("add {key} to this test"));
        let new = format!("{key} = {other}");
        let mut text = lines.clone();
        text[index] = &new;
        let config = parse(&text.join("\n")).unwrap();
        assert_ne!(config, Config::default(), "{key} is not heeded");
        changed += 1;
    }
    assert!(changed >= others.len(), "{changed}");
}
