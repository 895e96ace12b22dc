//! HMAC-SHA256 with domain separation, key rings with rotation, constant-time comparison.
//!
//! Every purpose has its own domain string *and* its own keys, so that a signature made for one
//! thing can never pass for another. HMAC: RFC 2104; a tag may be cut to half the hash (128 bits).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

/// A secret of 32 random bytes. Its `Debug` never shows it.
#[derive(Clone, PartialEq, Eq)]
pub struct Key(pub [u8; 32]);

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Key(***)")
    }
}

/// The live keys of one purpose, by key id 0–31: the highest signs, all verify.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct KeyRing {
    keys: [Option<Key>; 32],
    newest: u8,
}

/// Says what is wrong with the text of a key ring.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadKeyRing {
    /// There must be at least one key.
    #[error("no key given; expected \"0:<base64 of 32 bytes>\", several separated by commas")]
    Empty,
    /// A part is not `kid:base64`. The value is not repeated: it may be a secret.
    #[error("key number {0} is not of the form <kid 0-31>:<base64 of exactly 32 bytes>")]
    Malformed(usize),
    /// Two keys carry one id.
    #[error("key id {0} is given twice")]
    Twice(u8),
}

impl KeyRing {
    /// Returns a ring with one key, id 0.
    pub fn single(key: [u8; 32]) -> Self {
        let mut keys = [const { None }; 32];
        keys[0] = Some(Key(key));
        Self { keys, newest: 0 }
    }

    /// Parses `"3:base64,4:base64"`: standard base64 with padding, 32 bytes a key.
    pub fn parse(text: &str) -> Result<Self, BadKeyRing> {
        let mut keys = [const { None }; 32];
        let mut newest = None;
        for (n, part) in text.split(',').map(str::trim).filter(|p| !p.is_empty()).enumerate() {
            let malformed = BadKeyRing::Malformed(n + 1);
            let (kid, key) = part.split_once(':').ok_or(malformed.clone())?;
            let kid: u8 = kid.parse().map_err(|_| malformed.clone())?;
            let key: [u8; 32] =
                STANDARD.decode(key).ok().and_then(|k| k.try_into().ok()).ok_or(malformed.clone())?;
            let slot = keys.get_mut(usize::from(kid)).ok_or(malformed)?;
            if slot.replace(Key(key)).is_some() {
                return Err(BadKeyRing::Twice(kid));
            }
            newest = newest.max(Some(kid));
        }
        Ok(Self { keys, newest: newest.ok_or(BadKeyRing::Empty)? })
    }

    /// Returns the key that signs, with its id.
    pub fn newest(&self) -> (u8, &Key) {
        let key = self.keys[usize::from(self.newest)].as_ref();
        (self.newest, key.expect("`newest` is set only where a key stands"))
    }

    /// Returns the key with this id, if it is live.
    pub fn get(&self, kid: u8) -> Option<&Key> {
        self.keys.get(usize::from(kid))?.as_ref()
    }
}

/// A keyed hash over a domain string, a zero byte, and the message parts, ready to be cut.
pub fn tag(key: &Key, domain: &str, message: &[u8]) -> [u8; 32] {
    mac(&key.0, &[domain.as_bytes(), &[0], message]).finalize().into_bytes().into()
}

/// Compares the first `expected.len()` bytes of the [`tag`] in constant time.
pub fn verify_tag(key: &Key, domain: &str, message: &[u8], expected: &[u8]) -> bool {
    !expected.is_empty()
        && mac(&key.0, &[domain.as_bytes(), &[0], message]).verify_truncated_left(expected).is_ok()
}

/// Returns HMAC-SHA256 over the concatenated parts.
pub fn hmac_sha256(key: &[u8], parts: &[&[u8]]) -> [u8; 32] {
    mac(key, parts).finalize().into_bytes().into()
}

/// Compares HMAC-SHA256 over the concatenated parts with `expected` in constant time.
pub fn verify_hmac_sha256(key: &[u8], parts: &[&[u8]], expected: &[u8]) -> bool {
    mac(key, parts).verify_slice(expected).is_ok()
}

fn mac(key: &[u8], parts: &[&[u8]]) -> Hmac<Sha256> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes keys of any length");
    for part in parts {
        mac.update(part);
    }
    mac
}
