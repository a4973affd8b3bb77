//! From when until when certificates are valid, and what to say of those that are not, or not for much
//! longer. Nothing is refused because of it: who looks at a certificate, and how, is the client's.

use rustls::pki_types::CertificateDer;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use time::{Date, Duration, OffsetDateTime};
use x509_parser::error::X509Error;

/// So long before its end a certificate is told of: what renews itself has done so weeks before.
const AHEAD: Duration = Duration::days(14);

/// What the certificates of a file are for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    /// The first is the server's or a host's own, what is behind it leads to its CA.
    Shown,
    /// They sign those of clients.
    ClientCa,
}

impl Purpose {
    /// What a file of these is called.
    pub(super) fn name(self) -> &'static str {
        match self {
            Purpose::Shown => "certificate",
            Purpose::ClientCa => "clients' CA",
        }
    }
}

/// A certificate, as far as time is concerned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Validity {
    /// Whose it is, such as "CN=ftp.example.org".
    pub subject: String,
    /// It is valid from then on.
    pub not_before: OffsetDateTime,
    /// It is valid until then.
    pub not_after: OffsetDateTime,
}

/// All certificates that were read.
#[derive(Debug, Default)]
pub(super) struct Validities(BTreeMap<PathBuf, (Purpose, Vec<Result<Validity, X509Error>>)>);

impl Validities {
    /// Adds the certificates of a file, in its order.
    pub(super) fn add(
        &mut self,
        purpose: Purpose,
        path: &Path,
        certificates: &[CertificateDer<'_>],
    ) {
        let read = || (purpose, certificates.iter().map(Validity::read).collect());
        self.0.entry(path.to_owned()).or_insert_with(read);
    }

    /// Those that can be read, each with its file.
    pub(super) fn all(&self) -> impl Iterator<Item = (&Path, &Validity)> {
        let files = self.0.iter();
        files.flat_map(|(path, (_, read))| {
            let read = read.iter().flatten();
            read.map(|validity| (path.as_path(), validity))
        })
    }

    /// The last day of a file's first certificate.
    pub(super) fn last_day(&self, path: &Path) -> Option<Date> {
        let (_, read) = self.0.get(path)?;
        Some(read.first()?.as_ref().ok()?.not_after.date())
    }

    /// Sentences about those that are not valid at `now`, or not for much longer.
    pub(super) fn doubts(&self, now: OffsetDateTime) -> Vec<String> {
        let mut doubts = Vec::new();
        for (path, (purpose, read)) in &self.0 {
            for (index, certificate) in read.iter().enumerate() {
                let doubt = match certificate {
                    Ok(validity) => validity.doubt(now).map(|doubt| match (purpose, index) {
                        (Purpose::Shown, 0) => doubt,
                        // Escaped: it may be anything.
                        _ => format!("{:?} in it {doubt}", validity.subject),
                    }),
                    Err(error) => Some(format!(
                        "cannot tell when number {} in it expires: {error}",
                        index + 1
                    )),
                };
                let (name, path) = (purpose.name(), path.display());
                doubts.extend(doubt.map(|doubt| format!("{name} {path}: {doubt}")));
            }
        }
        doubts
    }
}

impl Validity {
    fn read(certificate: &CertificateDer<'_>) -> Result<Validity, X509Error> {
        let (_, certificate) = x509_parser::parse_x509_certificate(certificate)?;
        let validity = certificate.validity();
        Ok(Validity {
            subject: certificate.subject().to_string(),
            not_before: validity.not_before.to_datetime(),
            not_after: validity.not_after.to_datetime(),
        })
    }

    fn doubt(&self, now: OffsetDateTime) -> Option<String> {
        let (first, last) = (self.not_before.date(), self.not_after.date());
        // RFC 5280 section 4.1.2.5: both ends belong to it.
        if self.not_after < now {
            Some(format!("expired on {last}, {}", seen_from(now, last)))
        } else if now < self.not_before {
            let when = seen_from(now, first);
            Some(format!("is not valid before {first}, {when}"))
        } else if self.not_after - now <= AHEAD {
            Some(format!("expires on {last}, {}", seen_from(now, last)))
        } else {
            None
        }
    }
}

/// In days of the calendar, for that is how the day itself is told.
fn seen_from(now: OffsetDateTime, day: Date) -> String {
    match (day - now.date()).whole_days() {
        0 => "today".to_owned(),
        1 => "in 1 day".to_owned(),
        -1 => "1 day ago".to_owned(),
        days @ 2.. => format!("in {days} days"),
        days => format!("{} days ago", days.unsigned_abs()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tls::testing;
    use time::Month;

    fn midnight(month: Month, day: u8) -> OffsetDateTime {
        let date = Date::from_calendar_date(2026, month, day).unwrap();
        date.midnight().assume_utc()
    }

    #[test]
    fn a_day_of_its_life_decides_what_is_said() {
        let validity = Validity {
            subject: String::new(),
            not_before: midnight(Month::March, 1),
            not_after: midnight(Month::December, 1) + Duration::HOUR,
        };
        let said = |now| validity.doubt(now).unwrap_or_default();
        let second = Duration::SECOND;
        for (now, wanted) in [
            (
                midnight(Month::February, 26),
                "is not valid before 2026-03-01, in 3 days",
            ),
            (
                validity.not_before - second,
                "is not valid before 2026-03-01, in 1 day",
            ),
            (validity.not_before, ""),
            (validity.not_after - AHEAD - second, ""),
            (
                validity.not_after - AHEAD,
                "expires on 2026-12-01, in 14 days",
            ),
            (
                midnight(Month::November, 23) - second,
                "expires on 2026-12-01, in 9 days",
            ),
            (
                midnight(Month::November, 30),
                "expires on 2026-12-01, in 1 day",
            ),
            (validity.not_after, "expires on 2026-12-01, today"),
            (validity.not_after + second, "expired on 2026-12-01, today"),
            (
                midnight(Month::December, 2),
                "expired on 2026-12-01, 1 day ago",
            ),
            (
                midnight(Month::December, 31),
                "expired on 2026-12-01, 30 days ago",
            ),
        ] {
            assert_eq!(said(now), wanted, "{now}");
        }
    }

    #[test]
    fn each_file_is_told_of_once_and_what_is_behind_its_first_by_its_name() {
        let now = OffsetDateTime::now_utc();
        let made = |name, days| {
            let until = now + Duration::days(days);
            let (certificate, _) = testing::signed_for(name, now - Duration::days(300), until);
            (certificate.der().clone(), until.date())
        };
        let ((own, own_day), (issuer, issuer_day)) = (made("a", 100), made("b\n", -3));
        let (ca, ca_day) = (made("ca", 5).0, made("ca", 5).1);
        let odd = CertificateDer::from(vec![0x30, 0]);
        let mut validities = Validities::default();
        let chain = Path::new("/chain");
        for _ in 0..2 {
            validities.add(Purpose::Shown, chain, &[own.clone(), issuer.clone()]);
        }
        validities.add(Purpose::ClientCa, Path::new("/clients"), &[ca, odd]);
        validities.add(Purpose::Shown, Path::new("/soon"), &[made("c", 1).0]);

        let said = validities.doubts(now);
        assert_eq!(said.len(), 4, "{said:?}");
        let expired =
            format!("certificate /chain: \"CN=b\\n\" in it expired on {issuer_day}, 3 days ago");
        assert_eq!(said[0], expired);
        let expires = format!("clients' CA /clients: \"CN=ca\" in it expires on {ca_day}, in ");
        assert!(said[1].starts_with(&expires), "{}", said[1]);
        let cannot = "clients' CA /clients: cannot tell when number 2 in it expires: ";
        assert!(said[2].starts_with(cannot), "{}", said[2]);
        assert!(
            said[3].starts_with("certificate /soon: expires on "),
            "{}",
            said[3]
        );

        assert_eq!(validities.last_day(chain), Some(own_day));
        assert_eq!(validities.last_day(Path::new("/other")), None);
        let all = validities.all().map(|(path, one)| (path, &*one.subject));
        let all: Vec<_> = all.collect();
        assert_eq!(all[..2], [(chain, "CN=a"), (chain, "CN=b\n")]);
        assert_eq!(all.len(), 4);
    }
}
