//! A password between the wire or the terminal and the hash: never shown, wiped when done with.

use std::fmt;

use zeroize::Zeroizing;

use super::AuthError;

/// A password as the client sent it, byte for byte. `Debug` does not show it, dropping wipes it.
pub struct Password(Zeroizing<Vec<u8>>);

impl Password {
    /// Takes the bytes over; the caller keeps no copy.
    pub fn new(bytes: Vec<u8>) -> Password {
        Password(Zeroizing::new(bytes))
    }

    /// A password for a new account: not empty, and such that a client can send it.
    pub fn for_new_account(bytes: Vec<u8>) -> Result<Password, AuthError> {
        let password = Password::new(bytes);
        if password.0.is_empty() {
            return Err(AuthError::BadPassword("it is empty"));
        }
        // RFC 959 section 5.3.2: <password> is a <string> of characters other than CR and LF; NUL
        // is Telnet's padding behind CR.
        if password
            .0
            .iter()
            .any(|byte| matches!(byte, b'\r' | b'\n' | 0))
        {
            return Err(AuthError::BadPassword(
                "it has a line end or a NUL in it, which FTP cannot transmit",
            ));
        }
        Ok(password)
    }

    pub(super) fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl PartialEq for Password {
    /// For "type it again": both sides are the same person's, so the time it takes tells nobody.
    fn eq(&self, other: &Password) -> bool {
        self.0 == other.0
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_never_shown() {
        let shown = format!(
            "{:?} {:#?}",
            Password::new(b"hunter2".to_vec()),
            Some(Password::new(b"hunter2".to_vec()))
        );
        assert!(
            !shown.contains("hunter2") && !shown.contains("104"),
            "{shown}"
        );
    }

    #[test]
    fn new_ones_can_be_sent_over_ftp() {
        for bad in ["", "a\rb", "a\nb", "a\0b"] {
            assert!(Password::for_new_account(bad.into()).is_err(), "{bad:?}");
        }
        for good in ["a".as_bytes(), b" ", "pä ss".as_bytes(), b"\xff\xfe"] {
            assert!(Password::for_new_account(good.to_vec()).is_ok(), "{good:?}");
        }
    }
}
