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

/// Made for this test, and good for nothing else: it has 1024 bits.
const SHORT_RSA: &str = "\
-----BEGIN RSA PRIVATE KEY-----\n\
MIICXAIBAAKBgQDVpcPciaNOdx1hHgkmypFW4DW/pqPgIKMBHpRaJPr+v9ffKvTo\n\
84FDS9I6Rul4jr0jjDuqIjjEa7Zx+3mjlP0uh/hYxQltC3ej7cRAjt4bKcQl5eyZ\n\
qYqali77Xw3L1SaKB6xM/obXsXK2WFUPIAv+sZcfUs7NWHGbItlv881SgwIDAQAB\n\
AoGBAJPJZODrPNIMR4BknIP+3+aulb+K8BUbvmYJ1yk8J3uNDTDMsDlsJ+B7VGMH\n\
pnzEkEVEvgkEPyxwLfZOtGfZqf//+dQPco/g/GU0Htb5DbuEnYUTw4SsIELSa/IR\n\
27n2cgl2wVq0REol11iOdOjereJDbY+YcHPrFFrxXwq6jnjxAkEA9v06CRjHstCu\n\
WwpVrhp/9SOAZSJrAy9AXl8UNDRWMfSQG9CWxh7hX81JzpYDdk7agotc2l2/ZVNy\n\
us00haLiLwJBAN1xJELPEqEOYH11oMpOx0XJ2TvB/dyqCDKOXIYg2X9ktY33je/c\n\
BDiWd/IyHLU7WI7GQx6wNU/OQ6kIhBBio+0CQBkdVrFmG6hLH++R9XRmrWw31+5w\n\
uYDxZRIziNJmH/2kaKLraulqanBbZ43iIyf8jKuJkD+EGNosyhXEl/qevXECQFqP\n\
lNbFvMalDI0CeBmEkjZWUEMCGQIPf369fdVUxd41n5JJtYBsqEVENBWWrOrpNFRf\n\
fL+mLIdQwZb1Zp0U2hkCQDmyxMMkYUub+LD/tkGH+caSFPNGr4723UMqsoWF0JOR\n\
TESD2omIu0gYfgFoEwOZK3qyD3t205LhdvCZe/qolbk=\n\
-----END RSA PRIVATE KEY-----\n\
";

#[test]
fn of_a_key_that_is_too_short_is_said_how_long_one_is() {
    let folder = tempfile::tempdir().unwrap();
    let settings = testing::settings(folder.path());
    std::fs::write(&settings.key, SHORT_RSA).unwrap();
    let said = Tls::load(&settings, &[]).unwrap_err().to_string();
    assert!(said.contains("localhost.key: the key cannot be"), "{said}");
    assert!(
        said.contains("an RSA key must have 2048 to 4096 bits"),
        "{said}"
    );
}
