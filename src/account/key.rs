//! The text of an API key: `trbk_`, or `trbp_` for a partner's, 30 Base62 characters (178 random bits), 6 of checksum.
//!
//! The checksum (CRC-32 in Base62) lets a typing error be told from a wrong key without a look
//! into the database, and lets secret scanners recognize a key. Only the SHA-256 is ever kept.

use sha2::{Digest as _, Sha256};

use crate::sealing::random_bytes;

/// What keys begin with: those of the house, those of partners.
const PREFIXES: [&str; 2] = ["trbk_", "trbp_"];
const BASE62: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
const RANDOM_LEN: usize = 30;
const CHECKSUM_LEN: usize = 6;
/// Characters that are kept for display.
const SHOWN_LEN: usize = 9;

/// Whose keys they are: scanners and people tell them apart by their first letters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyKind {
    /// Those who run a program, and their systems.
    House,
    /// A partner.
    Partner,
}

/// An API key as its owner holds it. `Debug` shows its first nine characters alone.
#[derive(Clone, PartialEq, Eq)]
pub struct ApiKey(String);

impl std::fmt::Debug for ApiKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}…", self.shown())
    }
}

impl ApiKey {
    /// Makes a key of this kind out of random bytes. A byte of 248 and above is skipped, so that every
    /// character is equally likely; `None` when too few bytes are left.
    pub fn from_random(kind: KeyKind, bytes: &[u8]) -> Option<Self> {
        let prefix = PREFIXES[kind as usize];
        let body: String = bytes
            .iter()
            .filter(|&&b| b < 248)
            .take(RANDOM_LEN)
            .map(|&b| BASE62[usize::from(b % 62)] as char)
            .collect();
        (body.len() == RANDOM_LEN).then(|| Self(format!("{prefix}{body}{}", checksum(&body))))
    }

    /// Makes a new key of the house.
    pub fn generate() -> Self {
        Self::generate_for(KeyKind::House)
    }

    /// Makes a new key.
    pub fn generate_for(kind: KeyKind) -> Self {
        // Of 64 random bytes about two are skipped; fewer than 30 left never happens.
        std::iter::repeat_with(random_bytes::<64>)
            .find_map(|bytes| Self::from_random(kind, &bytes))
            .expect("the iterator has no end")
    }

    /// Parses a key; a wrong prefix, length, letter or checksum is no key.
    pub fn parse(text: &str) -> Option<Self> {
        let rest = PREFIXES.iter().find_map(|prefix| text.strip_prefix(prefix))?;
        if rest.len() != RANDOM_LEN + CHECKSUM_LEN || !rest.bytes().all(|b| BASE62.contains(&b)) {
            return None;
        }
        let (body, sum) = rest.split_at(RANDOM_LEN);
        (checksum(body) == sum).then(|| Self(text.to_owned()))
    }

    /// Returns the whole key; it is shown to its owner once.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Returns what is kept in the database.
    pub fn hash(&self) -> [u8; 32] {
        Sha256::digest(self.0.as_bytes()).into()
    }

    /// Returns the characters by which people tell keys apart.
    pub fn shown(&self) -> &str {
        &self.0[..SHOWN_LEN]
    }
}

fn checksum(body: &str) -> String {
    let mut n = crc32fast::hash(body.as_bytes());
    let mut out = [b'0'; CHECKSUM_LEN];
    for c in out.iter_mut().rev() {
        *c = BASE62[(n % 62) as usize];
        n /= 62;
    }
    out.iter().map(|&b| b as char).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_has_41_characters_and_round_trips() {
        let key = ApiKey::from_random(KeyKind::House, &[7; 64]).unwrap();
        assert_eq!(key.expose().len(), 41);
        assert_eq!(ApiKey::parse(key.expose()), Some(key.clone()));
        assert!(!format!("{key:?}").contains(&key.expose()[10..]));
    }

    #[test]
    fn one_wrong_character_is_a_typing_error_not_a_key() {
        let key = ApiKey::from_random(KeyKind::Partner, &(0..64).collect::<Vec<u8>>()).unwrap();
        for i in 0..key.expose().len() {
            let mut text = key.expose().as_bytes().to_vec();
            text[i] = if text[i] == b'x' { b'y' } else { b'x' };
            assert_eq!(ApiKey::parse(std::str::from_utf8(&text).unwrap()), None, "place {i}");
        }
    }

    #[test]
    fn biased_bytes_are_skipped() {
        assert!(ApiKey::from_random(KeyKind::House, &[250; 64]).is_none());
    }
}
