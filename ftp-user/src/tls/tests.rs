//! Certificates that can be served with, and those that cannot.

use super::*;
use crate::config::Use;

#[test]
fn a_pair_is_served_with() {
    let folder = tempfile::tempdir().unwrap();
    let settings = testing::settings(folder.path());
    assert_eq!(settings.mode, Use::Allow);
    let tls = Tls::load(&settings, &[]).unwrap();
    assert!(
        !tls.control.ticketer.enabled(),
        "tickets are a session's own"
    );
    assert_eq!(tls.control.max_early_data_size, 0);
}

#[test]
fn each_wrong_file_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let good = testing::settings(folder.path());
    let other = tempfile::tempdir().unwrap();
    let stranger = testing::settings(other.path());
    let empty = folder.path().join("empty");
    std::fs::write(&empty, "nothing here\n").unwrap();
    let said = |change: &dyn Fn(&mut config::Tls)| {
        let mut settings = good.clone();
        change(&mut settings);
        Tls::load(&settings, &[]).unwrap_err().to_string()
    };
    let text = said(&|tls| tls.certificate = "/no/where".into());
    assert!(text.starts_with("certificate /no/where: "), "{text}");
    let text = said(&|tls| tls.certificate.clone_from(&empty));
    assert!(text.contains("holds no certificate"), "{text}");
    let text = said(&|tls| tls.key.clone_from(&good.certificate));
    assert!(text.contains("BEGIN PRIVATE KEY"), "{text}");
    let text = said(&|tls| tls.key.clone_from(&stranger.key));
    assert!(
        text.starts_with("certificate ") && text.contains(" with key "),
        "{text}"
    );
    let text = said(&|tls| tls.client_ca = Some(empty.clone()));
    assert!(text.starts_with("clients' CA "), "{text}");
}
