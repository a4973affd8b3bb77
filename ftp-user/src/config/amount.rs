//! Amounts of bytes as admins write them: `10485760`, "10MiB", "10 MB". Written back exactly.

use std::fmt;
use std::str::FromStr;

use serde::de::{Deserializer, Error as _, Visitor};
use serde::{Deserialize, Serialize, Serializer};

/// A number of bytes, or of bytes per second.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Bytes(pub u64);

/// Largest first within each family, so that `Display` finds the shortest.
const UNITS: [(&str, u64); 8] = [
    ("TiB", 1 << 40),
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
    ("TB", 1_000_000_000_000),
    ("GB", 1_000_000_000),
    ("MB", 1_000_000),
    ("KB", 1_000),
];

impl FromStr for Bytes {
    type Err = String;

    fn from_str(text: &str) -> Result<Bytes, String> {
        let wrong = || {
            format!("\"{text}\" is not an amount of bytes such as \"500KB\", \"10MiB\" or \"2GiB\"")
        };
        let digits = text.trim_end_matches(|c: char| !c.is_ascii_digit());
        let unit = text.get(digits.len()..).unwrap_or_default().trim();
        let factor = match unit {
            "" | "B" => 1,
            unit => {
                let known = UNITS
                    .iter()
                    .find(|(name, _)| name.eq_ignore_ascii_case(unit));
                known.map(|&(_, factor)| factor).ok_or_else(wrong)?
            }
        };
        // Digits only: u64's own parser takes "+5" too.
        if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(wrong());
        }
        let number: Option<u64> = digits.parse().ok();
        number
            .and_then(|number| number.checked_mul(factor))
            .map(Bytes)
            .ok_or_else(|| format!("\"{text}\" is more than any disk holds"))
    }
}

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let exact = |&&(_, factor): &&(&str, u64)| self.0 != 0 && self.0.is_multiple_of(factor);
        match UNITS.iter().find(exact) {
            Some((name, factor)) => write!(f, "{}{name}", self.0 / factor),
            None => write!(f, "{}", self.0),
        }
    }
}

impl Serialize for Bytes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Bytes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Bytes, D::Error> {
        struct TextOrNumber;

        impl Visitor<'_> for TextOrNumber {
            type Value = Bytes;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an amount of bytes such as \"10MiB\"")
            }

            fn visit_i64<E: serde::de::Error>(self, number: i64) -> Result<Bytes, E> {
                let number = u64::try_from(number);
                number
                    .map(Bytes)
                    .map_err(|_| E::custom("an amount of bytes is not negative"))
            }

            fn visit_u64<E: serde::de::Error>(self, number: u64) -> Result<Bytes, E> {
                Ok(Bytes(number))
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Bytes, E> {
                text.parse().map_err(E::custom)
            }
        }

        deserializer
            .deserialize_any(TextOrNumber)
            .map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(text: &str) -> Option<u64> {
        text.parse::<Bytes>().ok().map(|bytes| bytes.0)
    }

    #[test]
    fn reads_units_of_both_families() {
        assert_eq!(read("0"), Some(0));
        assert_eq!(read("1500"), Some(1500));
        assert_eq!(read("1500B"), Some(1500));
        assert_eq!(read("10 kib"), Some(10_240));
        assert_eq!(read("10MB"), Some(10_000_000));
        assert_eq!(read("2GiB"), Some(2 << 30));
        for wrong in [
            "",
            "B",
            "-1",
            "+1",
            "1.5GB",
            "1 0",
            "10M",
            "10MiB/s",
            "99999999TiB",
            "é1",
        ] {
            assert_eq!(read(wrong), None, "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn written_and_read_back_exactly(number: u64, factor in 0..8usize) {
            for number in [number, number.saturating_mul(UNITS[factor].1)] {
                let text = Bytes(number).to_string();
                prop_assert_eq!(read(&text), Some(number), "{}", text);
            }
        }
    }
}
