//! Password hashes: argon2id, written in the PHC string format. Slow by design; called from
//! blocking threads.

use std::fmt;
use std::str::FromStr;

use argon2::password_hash::phc::PasswordHash;
use argon2::password_hash::{PasswordHasher as _, PasswordVerifier as _};
use argon2::{Algorithm, Argon2, Params, Version};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{AuthError, Password};

/// OWASP's Password Storage Cheat Sheet: 19 MiB, 2 passes, 1 lane.
const MEMORY_KIB: u32 = 19_456;
const PASSES: u32 = 2;
const LANES: u32 = 1;

/// The dearest hash that is accepted from a users file: a login may not take the server's memory.
const MOST_MEMORY_KIB: u32 = 1 << 20;
const MOST_PASSES: u32 = 64;

/// An argon2 hash with its salt and its parameters. `Debug` does not show it.
#[derive(Clone, PartialEq, Eq)]
pub struct Hash(PasswordHash);

impl Hash {
    /// Hashes with today's parameters and a random salt.
    pub fn new(password: &Password) -> Result<Hash, AuthError> {
        let hash = argon2()?.hash_password(password.as_bytes());
        hash.map(Hash).map_err(AuthError::Hash)
    }

    /// A hash that costs what those of new users cost, and of which nobody knows the password.
    pub(super) fn of_nobody() -> Result<Hash, AuthError> {
        Hash::new(&Password::new(rand::random::<[u8; 32]>().to_vec()))
    }

    /// Whether it is this password's.
    pub fn verify(&self, password: &Password) -> bool {
        // The parameters come from the hash itself, not from the Argon2 value.
        Argon2::default()
            .verify_password(password.as_bytes(), &self.0)
            .is_ok()
    }
}

fn argon2() -> Result<Argon2<'static>, AuthError> {
    let params = Params::new(MEMORY_KIB, PASSES, LANES, None)
        .map_err(|error| AuthError::Hash(error.into()))?;
    Ok(Argon2::new(Algorithm::Argon2id, Version::V0x13, params))
}

impl FromStr for Hash {
    type Err = String;

    fn from_str(text: &str) -> Result<Hash, String> {
        let hash = PasswordHash::new(text)
            .map_err(|error| format!("not a password hash in the PHC format: {error}"))?;
        let name = hash.algorithm.as_str();
        if name != "argon2id" {
            return Err(format!("the hash is {name}; only argon2id is taken"));
        }
        if hash.salt.is_none() || hash.hash.is_none() {
            return Err("the hash is incomplete: no salt or no output".to_owned());
        }
        let params =
            Params::try_from(&hash).map_err(|error| format!("bad argon2 parameters: {error}"))?;
        if params.m_cost() > MOST_MEMORY_KIB || params.t_cost() > MOST_PASSES {
            return Err(format!(
                "each login would cost m={} KiB, t={}; the most is m={MOST_MEMORY_KIB}, t={MOST_PASSES}",
                params.m_cost(),
                params.t_cost()
            ));
        }
        Ok(Hash(hash))
    }
}

impl fmt::Display for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

impl fmt::Debug for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Hash(..)")
    }
}

impl Serialize for Hash {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Hash {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Hash, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn password(text: &str) -> Password {
        Password::new(text.into())
    }

    #[test]
    fn hashes_as_owasp_says_and_knows_its_password() {
        let hash = Hash::new(&password("secret")).unwrap();
        let text = hash.to_string();
        assert!(
            text.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"),
            "{text}"
        );
        let read: Hash = text.parse().unwrap();
        assert!(read.verify(&password("secret")));
        assert!(!read.verify(&password("Secret")));
        assert!(!read.verify(&password("")));
        let again = Hash::new(&password("secret")).unwrap();
        assert_ne!(again.to_string(), text, "the salt is random");
        assert!(!format!("{hash:?}").contains("argon"));
    }

    /// From src/test.c of the reference implementation, github.com/P-H-C/phc-winner-argon2.
    #[test]
    fn reads_hashes_of_other_tools() {
        let known = "$argon2id$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc";
        let hash: Hash = known.parse().unwrap();
        assert!(hash.verify(&password("password")));
        assert!(!hash.verify(&password("passwort")));
    }

    #[test]
    fn refuses_what_is_no_hash_or_costs_too_much() {
        let tail = "c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc";
        for text in [
            "secret".to_owned(),
            String::new(),
            format!("$argon2i$v=19$m=65536,t=2,p=1${tail}"),
            format!("$argon2id$v=19$m=4294967295,t=2,p=1${tail}"),
            format!("$argon2id$v=19$m=65536,t=4000000,p=1${tail}"),
            format!("$argon2id$v=19$m=1,t=2,p=1${tail}"),
            "$argon2id$v=19$m=65536,t=2,p=1".to_owned(),
            "$6$salt$hash".to_owned(),
        ] {
            assert!(text.parse::<Hash>().is_err(), "{text}");
        }
    }
}
