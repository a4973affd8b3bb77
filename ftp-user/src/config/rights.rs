//! What an account may do in its tree.

use std::fmt;
use std::str::FromStr;

use serde::de::{Deserializer, Error as _, SeqAccess, Visitor};
use serde::ser::{SerializeSeq as _, Serializer};
use serde::{Deserialize, Serialize};

/// What an account may do. In the users file: "all", "read-only", or a list such as
/// `["read", "list", "write"]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Rights {
    /// RETR, SIZE, MDTM; HASH and its kin.
    pub read: bool,
    /// LIST, NLST, MLSD, MLST, STAT of a path; SIZE, MDTM. CWD is for everybody: who has no right but
    /// `write` goes by it to where things are dropped.
    pub list: bool,
    /// STOR, behind REST too: who may write a file anew may write a part of it anew. STOU, MFMT, SITE
    /// UTIME and SYMLINK.
    pub write: bool,
    /// APPE: files are made and grow, and what is in them stays. So not REST before STOR, which writes
    /// over it.
    pub append: bool,
    /// DELE, RMD.
    pub delete: bool,
    /// RNFR, RNTO.
    pub rename: bool,
    /// MKD.
    pub mkdir: bool,
    /// SITE CHMOD.
    pub chmod: bool,
}

impl Rights {
    /// Look and fetch, change nothing.
    pub const READ_ONLY: Rights = Rights {
        read: true,
        list: true,
        write: false,
        append: false,
        delete: false,
        rename: false,
        mkdir: false,
        chmod: false,
    };

    /// Everything.
    pub const ALL: Rights = Rights {
        read: true,
        list: true,
        write: true,
        append: true,
        delete: true,
        rename: true,
        mkdir: true,
        chmod: true,
    };

    /// Each right with its name in the users file.
    fn named(self) -> [(&'static str, bool); 8] {
        let Rights {
            read,
            list,
            write,
            append,
            delete,
            rename,
            mkdir,
            chmod,
        } = self;
        [
            ("read", read),
            ("list", list),
            ("write", write),
            ("append", append),
            ("delete", delete),
            ("rename", rename),
            ("mkdir", mkdir),
            ("chmod", chmod),
        ]
    }

    fn grant(&mut self, name: &str) -> bool {
        let right = match name {
            "read" => &mut self.read,
            "list" => &mut self.list,
            "write" => &mut self.write,
            "append" => &mut self.append,
            "delete" => &mut self.delete,
            "rename" => &mut self.rename,
            "mkdir" => &mut self.mkdir,
            "chmod" => &mut self.chmod,
            _ => return false,
        };
        *right = true;
        true
    }

    fn granted(self) -> impl Iterator<Item = &'static str> {
        self.named()
            .into_iter()
            .filter(|(_, granted)| *granted)
            .map(|(name, _)| name)
    }
}

impl FromStr for Rights {
    type Err = String;

    /// As the command line has them: "all", "read-only", or names with commas between them.
    fn from_str(text: &str) -> Result<Rights, String> {
        match text {
            "all" => return Ok(Rights::ALL),
            "read-only" => return Ok(Rights::READ_ONLY),
            _ => {}
        }
        let mut rights = Rights::default();
        for name in text.split(',').map(str::trim) {
            if !rights.grant(name) {
                return Err(format!("unknown right \"{name}\": write {EXPECTED}"));
            }
        }
        Ok(rights)
    }
}

impl fmt::Display for Rights {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Rights::ALL => f.write_str("all"),
            Rights::READ_ONLY => f.write_str("read-only"),
            some => f.write_str(&some.granted().collect::<Vec<_>>().join(", ")),
        }
    }
}

impl Serialize for Rights {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match *self {
            Rights::ALL => serializer.serialize_str("all"),
            Rights::READ_ONLY => serializer.serialize_str("read-only"),
            some => {
                let mut list = serializer.serialize_seq(None)?;
                for name in some.granted() {
                    list.serialize_element(name)?;
                }
                list.end()
            }
        }
    }
}

const EXPECTED: &str = "\"all\", \"read-only\" or a list of \"read\", \"list\", \"write\", \
    \"append\", \"delete\", \"rename\", \"mkdir\", \"chmod\"";

impl<'de> Deserialize<'de> for Rights {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Rights, D::Error> {
        struct Text;

        impl<'de> Visitor<'de> for Text {
            type Value = Rights;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(EXPECTED)
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Rights, E> {
                match text {
                    "all" => Ok(Rights::ALL),
                    "read-only" => Ok(Rights::READ_ONLY),
                    other => Err(E::custom(format_args!(
                        "unknown rights \"{other}\": write {EXPECTED}"
                    ))),
                }
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut names: A) -> Result<Rights, A::Error> {
                let mut rights = Rights::default();
                while let Some(name) = names.next_element::<String>()? {
                    if !rights.grant(&name) {
                        let message = format_args!("unknown right \"{name}\": write {EXPECTED}");
                        return Err(A::Error::custom(message));
                    }
                }
                Ok(rights)
            }
        }

        deserializer.deserialize_any(Text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Holder {
        rights: Rights,
    }

    #[test]
    fn every_combination_is_written_and_read_back() {
        for bits in 0..1u32 << 8 {
            let mut rights = Rights::default();
            for (index, (name, _)) in Rights::ALL.named().into_iter().enumerate() {
                if bits & (1 << index) != 0 {
                    assert!(rights.grant(name));
                }
            }
            let granted = rights
                .named()
                .iter()
                .filter(|(_, granted)| *granted)
                .count();
            assert_eq!(granted, bits.count_ones() as usize);
            if bits != 0 {
                assert_eq!(rights.to_string().parse(), Ok(rights));
            }
            let text = toml::to_string(&Holder { rights }).unwrap();
            assert_eq!(
                toml::from_str::<Holder>(&text).unwrap().rights,
                rights,
                "{text}"
            );
        }
    }

    #[test]
    fn names_what_it_knows() {
        for text in ["rights = \"some\"", "rights = [\"fly\"]"] {
            let error = toml::from_str::<Holder>(text).unwrap_err();
            assert!(error.message().contains("\"read-only\""), "{error}");
        }
        for text in ["", "some", "read,fly"] {
            let error = text.parse::<Rights>().unwrap_err();
            assert!(error.contains("\"read-only\""), "{error}");
        }
        assert_eq!(Rights::ALL.to_string(), "all");
        assert_eq!(Rights::READ_ONLY.to_string(), "read-only");
        let drop_box = Rights {
            write: true,
            ..Rights::default()
        };
        assert_eq!(drop_box.to_string(), "write");
    }
}
