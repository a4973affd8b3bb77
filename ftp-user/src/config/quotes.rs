//! Values that are easily written without the quotes that they need, or with quotes that they must not
//! have. TOML says "expected a string"; these say what to write.

use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, Visitor};

/// A duration's text.
#[derive(Debug)]
pub(super) struct Time(String);

/// The text of ports.
#[derive(Debug)]
pub(super) struct Ports(String);

/// A whole number.
#[derive(Debug, Clone, Copy)]
pub(super) struct Number(pub(super) i64);

impl AsRef<str> for Time {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl AsRef<str> for Ports {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl<'de> Deserialize<'de> for Time {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Time, D::Error> {
        deserializer
            .deserialize_any(Quoted {
                what: "a duration in quotes such as \"30s\"",
                unit: "s",
            })
            .map(Time)
    }
}

impl<'de> Deserialize<'de> for Ports {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Ports, D::Error> {
        deserializer
            .deserialize_any(Quoted {
                what: "ports in quotes such as \"30000-50000\"",
                unit: "",
            })
            .map(Ports)
    }
}

/// Text, where a number is to be told what it lacks.
struct Quoted {
    what: &'static str,
    /// What stands behind a number.
    unit: &'static str,
}

impl Visitor<'_> for Quoted {
    type Value = String;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.what)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<String, E> {
        Ok(text.to_owned())
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<String, E> {
        let Quoted { what, unit } = self;
        Err(E::custom(format_args!(
            "{number} is not {what}: write \"{number}{unit}\""
        )))
    }
}

impl<'de> Deserialize<'de> for Number {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Number, D::Error> {
        struct Bare;

        impl Visitor<'_> for Bare {
            type Value = Number;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a whole number without quotes, such as 100")
            }

            fn visit_i64<E: Error>(self, number: i64) -> Result<Number, E> {
                Ok(Number(number))
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Number, E> {
                Err(match text.trim().parse::<i64>() {
                    Ok(number) => E::custom(format_args!(
                        "\"{text}\" is a number in quotes: write {number}"
                    )),
                    Err(_) => E::custom(format_args!(
                        "\"{text}\" is not a number: write one without quotes, such as 100"
                    )),
                })
            }
        }

        deserializer.deserialize_any(Bare)
    }
}

/// A number of things, of which there are not less than none.
pub(super) fn count<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u64>, D::Error> {
    let Number(number) = Number::deserialize(deserializer)?;
    let counted = u64::try_from(number);
    counted.map(Some).map_err(|_| {
        D::Error::custom(format_args!(
            "{number} is negative: write 0 for no limit, or more"
        ))
    })
}
