//! System accounts: users of the host, whose passwords PAM checks.

use serde::Serialize;

use super::Rights;

/// Users of the host may log in, to their home directories.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Pam {
    /// The PAM service: a file of `/etc/pam.d`.
    pub service: String,
    /// Users with lower numbers are the host's own; root never logs in.
    pub min_uid: u32,
    /// What they may do in their homes, beside what the host's permissions let them.
    pub rights: Rights,
}

impl Default for Pam {
    fn default() -> Pam {
        Pam {
            service: "pinhole".to_owned(),
            min_uid: 1000,
            rights: Rights::ALL,
        }
    }
}

/// Whether PAM finds a service by that name, and nothing else.
pub(super) fn check_service(name: &str) -> Result<(), String> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    match !name.is_empty() && !name.starts_with('.') && name.bytes().all(plain) {
        true => Ok(()),
        false => Err(format!(
            "\"{}\" names no PAM service: it is a file's name in /etc/pam.d, such as \"pinhole\"",
            name.escape_debug()
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn services_are_plain_file_names() {
        for good in ["pinhole", "vsftpd", "ftp-2.local_x"] {
            assert_eq!(check_service(good), Ok(()));
        }
        for bad in ["", ".", "../passwd", "a b", "a\0"] {
            assert!(check_service(bad).unwrap_err().contains("/etc/pam.d"));
        }
    }
}
