//! What an account may use of the host. In the configuration for all accounts (`[limits.account]`),
//! in the users file for one (`[user.limits]`).

use std::fmt;
use std::num::NonZeroU64;

use serde::{Deserialize, Serialize};

use super::Bytes;
use super::quotes::count;

/// Limits of an account: what is missing is not limited, and neither is what is 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AccountLimits {
    /// Sessions at one time.
    #[serde(
        default,
        deserialize_with = "count",
        skip_serializing_if = "Option::is_none"
    )]
    pub sessions: Option<u64>,
    /// Bytes per second from clients, all sessions of the account together.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub upload_rate: Option<Bytes>,
    /// Bytes per second to clients, all sessions of the account together.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub download_rate: Option<Bytes>,
    /// Bytes per second from one session's client.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub session_upload_rate: Option<Bytes>,
    /// Bytes per second to one session's client.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub session_download_rate: Option<Bytes>,
    /// The largest file that may be written.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file_size: Option<Bytes>,
    /// Bytes of all files beneath the account's root.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub quota_bytes: Option<Bytes>,
    /// Files, directories and links beneath the account's root.
    #[serde(
        default,
        deserialize_with = "count",
        skip_serializing_if = "Option::is_none"
    )]
    pub quota_files: Option<u64>,
}

impl AccountLimits {
    /// These limits, with those of `general` where they say nothing.
    #[must_use]
    pub fn or(self, general: AccountLimits) -> AccountLimits {
        AccountLimits {
            sessions: self.sessions.or(general.sessions),
            upload_rate: self.upload_rate.or(general.upload_rate),
            download_rate: self.download_rate.or(general.download_rate),
            session_upload_rate: self.session_upload_rate.or(general.session_upload_rate),
            session_download_rate: self.session_download_rate.or(general.session_download_rate),
            file_size: self.file_size.or(general.file_size),
            quota_bytes: self.quota_bytes.or(general.quota_bytes),
            quota_files: self.quota_files.or(general.quota_files),
        }
    }

    /// Whether they limit nothing.
    pub fn is_default(&self) -> bool {
        *self == AccountLimits::default()
    }
}

impl fmt::Display for AccountLimits {
    /// As an admin would say it: "5 sessions, uploads of 10MiB/s, 1GiB in all".
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Every field is named, so that a new one has to be thought about.
        let AccountLimits {
            sessions,
            upload_rate,
            download_rate,
            session_upload_rate,
            session_download_rate,
            file_size,
            quota_bytes,
            quota_files,
        } = *self;
        let amount = |given, before: &str, after: &str| {
            let bytes = amount(given).map(|bytes| Bytes(bytes.get()));
            bytes.map(|bytes| format!("{before}{bytes}{after}"))
        };
        let number = |given, after: &str| limit(given).map(|number| format!("{number} {after}"));
        let said: Vec<String> = [
            number(sessions, "sessions"),
            amount(upload_rate, "uploads of ", "/s"),
            amount(download_rate, "downloads of ", "/s"),
            amount(session_upload_rate, "uploads of ", "/s in one session"),
            amount(session_download_rate, "downloads of ", "/s in one session"),
            amount(file_size, "files of up to ", ""),
            amount(quota_bytes, "", " in all"),
            number(quota_files, "files"),
        ]
        .into_iter()
        .flatten()
        .collect();
        match said.is_empty() {
            true => f.write_str("no limits"),
            false => f.write_str(&said.join(", ")),
        }
    }
}

/// A limit, unless it is missing or 0.
pub fn limit(given: Option<u64>) -> Option<NonZeroU64> {
    given.and_then(NonZeroU64::new)
}

/// The same for amounts.
pub fn amount(given: Option<Bytes>) -> Option<NonZeroU64> {
    limit(given.map(|bytes| bytes.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_accounts_own_limits_stand_above_the_general_ones() {
        let read = |text: &str| toml::from_str::<AccountLimits>(text).unwrap();
        let general = read("sessions = 5\nupload_rate = \"1MiB\"\nquota_files = 10");
        let own = read("sessions = 0\nquota_files = 20");
        let both = own.or(general);
        assert_eq!(
            both,
            read("sessions = 0\nupload_rate = 1048576\nquota_files = 20")
        );
        assert_eq!(limit(both.sessions), None);
        assert_eq!(amount(both.upload_rate), NonZeroU64::new(1 << 20));
        assert_eq!(amount(both.file_size), None);
        assert_eq!(
            both.to_string(),
            "uploads of 1MiB/s, 20 files",
            "0 is no limit"
        );
        assert_eq!(read("").to_string(), "no limits");
        assert!(read("").is_default() && !own.is_default());
        assert!(toml::from_str::<AccountLimits>("session = 1").is_err());
    }
}
