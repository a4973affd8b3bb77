//! Users and groups of the host as admins name them, and umasks. Looked up elsewhere.

use std::fmt;
use std::str::FromStr;

use serde::de::{Deserializer, Visitor};
use serde::{Deserialize, Serialize, Serializer};

/// A user or a group of the host, by number or by name.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Principal {
    /// By number.
    Id(u32),
    /// By name.
    Name(String),
}

impl FromStr for Principal {
    type Err = String;

    fn from_str(text: &str) -> Result<Principal, String> {
        if text.is_empty() || text.chars().any(char::is_control) {
            return Err("a user or group of this host has a name or a number".to_owned());
        }
        if !text.bytes().all(|byte| byte.is_ascii_digit()) {
            return Ok(Principal::Name(text.to_owned()));
        }
        match text.parse() {
            // The highest means "no change" to the kernel.
            Ok(id) if id < u32::MAX => Ok(Principal::Id(id)),
            Ok(_) | Err(_) => Err(format!("{text} is beyond the numbers of users and groups")),
        }
    }
}

impl fmt::Display for Principal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Principal::Id(id) => write!(f, "{id}"),
            Principal::Name(name) => f.write_str(name),
        }
    }
}

impl Serialize for Principal {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Principal::Id(id) => serializer.serialize_u32(*id),
            Principal::Name(name) => serializer.serialize_str(name),
        }
    }
}

impl<'de> Deserialize<'de> for Principal {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Principal, D::Error> {
        struct NameOrNumber;

        impl Visitor<'_> for NameOrNumber {
            type Value = Principal;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a name such as \"www-data\" or a number such as 1000")
            }

            fn visit_i64<E: serde::de::Error>(self, number: i64) -> Result<Principal, E> {
                number.to_string().parse().map_err(E::custom)
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Principal, E> {
                text.parse().map_err(E::custom)
            }
        }

        deserializer.deserialize_any(NameOrNumber)
    }
}

/// Permission bits that new files and directories do not get, written in octal: "022".
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Umask(pub u32);

impl FromStr for Umask {
    type Err = String;

    fn from_str(text: &str) -> Result<Umask, String> {
        let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        let bits = digits.then(|| u32::from_str_radix(text, 8).ok()).flatten();
        bits.filter(|&bits| bits <= 0o777)
            .map(Umask)
            .ok_or_else(|| {
                format!("\"{text}\" is not a umask: octal digits such as \"022\" or \"077\"")
            })
    }
}

impl fmt::Display for Umask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:03o}", self.0)
    }
}

impl Serialize for Umask {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Umask {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Umask, D::Error> {
        // Text only: TOML's own octal is 0o22, and 22 would be read as decimal.
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_have_names_or_numbers() {
        assert_eq!("0".parse(), Ok(Principal::Id(0)));
        assert_eq!("www-data".parse(), Ok(Principal::Name("www-data".into())));
        for wrong in ["", "a\n", "4294967295", "99999999999"] {
            assert!(wrong.parse::<Principal>().is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn umasks_are_octal() {
        assert_eq!("022".parse(), Ok(Umask(0o022)));
        assert_eq!(
            "0".parse::<Umask>().map(|umask| umask.to_string()),
            Ok("000".into())
        );
        for wrong in ["", "8", "1000", "-1", "0o22", "u=rwx"] {
            assert!(wrong.parse::<Umask>().is_err(), "{wrong}");
        }
    }
}
