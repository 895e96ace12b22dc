//! HMAC-SHA256 with domain separation, key rings with rotation, constant-time comparison.
//!
//! Every purpose has its own domain string *and* its own keys, so that a signature made for one
//! thing can never pass for another. HMAC: RFC 2104; a tag may be cut to half the hash (128 bits).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

/// A secret of 32 random bytes. Its `Debug` never shows it.
#[derive(Clone)]
pub struct Key {
    bytes: [u8; 32],
    /// HMAC with the key taken in: half of the work of a short message, done once.
    begun: Hmac<Sha256>,
}

impl Key {
    /// Returns the key of these bytes.
    pub fn new(bytes: [u8; 32]) -> Self {
        let begun = Hmac::new_from_slice(&bytes).expect("HMAC takes keys of any length");
        Self { bytes, begun }
    }

    /// Returns the secret, for whoever keeps it or hands it out.
    pub fn bytes(&self) -> &[u8; 32] {
        &self.bytes
    }

    /// Returns HMAC-SHA256 over the concatenated parts.
    pub fn hmac(&self, parts: &[&[u8]]) -> [u8; 32] {
        over(self.begun.clone(), parts).finalize().into_bytes().into()
    }
}

impl PartialEq for Key {
    fn eq(&self, other: &Self) -> bool {
        self.bytes == other.bytes
    }
}

impl Eq for Key {}

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Key(***)")
    }
}

/// The live keys of one purpose, by key id 0–31: the highest signs, all verify.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct KeyRing {
    keys: Box<[Option<Key>]>,
    newest: u8,
}

/// Key ids have five bits in what is signed.
const KIDS: usize = 32;

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
        Self { keys: [Some(Key::new(key))].into(), newest: 0 }
    }

    /// Parses `"3:base64,4:base64"`: standard base64 with padding, 32 bytes a key.
    pub fn parse(text: &str) -> Result<Self, BadKeyRing> {
        let mut keys = vec![None; KIDS];
        let mut newest = None;
        for (n, part) in text.split(',').map(str::trim).filter(|p| !p.is_empty()).enumerate() {
            let malformed = BadKeyRing::Malformed(n + 1);
            let (kid, key) = part.split_once(':').ok_or(malformed.clone())?;
            let kid: u8 = kid.parse().map_err(|_| malformed.clone())?;
            let key: [u8; 32] = STANDARD
                .decode(key)
                .ok()
                .and_then(|k| k.try_into().ok())
                .ok_or(malformed.clone())?;
            let slot = keys.get_mut(usize::from(kid)).ok_or(malformed)?;
            if slot.replace(Key::new(key)).is_some() {
                return Err(BadKeyRing::Twice(kid));
            }
            newest = newest.max(Some(kid));
        }
        Ok(Self { keys: keys.into(), newest: newest.ok_or(BadKeyRing::Empty)? })
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
    key.hmac(&[domain.as_bytes(), &[0], message])
}

/// Returns what is kept of a shop's name of a customer: the same everywhere, so that what one part
/// keeps another finds.
pub fn hash_customer(key: &Key, customer_ref: &str) -> [u8; 32] {
    tag(key, "tributary/customer/v1", customer_ref.as_bytes())
}

/// Compares the first `expected.len()` bytes of the [`tag`] in constant time.
pub fn verify_tag(key: &Key, domain: &str, message: &[u8], expected: &[u8]) -> bool {
    let mac = over(key.begun.clone(), &[domain.as_bytes(), &[0], message]);
    !expected.is_empty() && mac.verify_truncated_left(expected).is_ok()
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
    let begun = Hmac::new_from_slice(key).expect("HMAC takes keys of any length");
    over(begun, parts)
}

fn over(mut mac: Hmac<Sha256>, parts: &[&[u8]]) -> Hmac<Sha256> {
    for part in parts {
        mac.update(part);
    }
    mac
}

#[cfg(test)]
mod tests {
    use super::*;

    const K0: &str = "0:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
    const K1: &str = "1:ICEiIyQlJicoKSorLC0uLzAxMjM0NTY3ODk6Ozw9Pj8=";

    #[test]
    fn hmac_matches_rfc_4231_case_2_however_it_is_split() {
        let expected = [
            0x5b, 0xdc, 0xc1, 0x46, 0xbf, 0x60, 0x75, 0x4e, 0x6a, 0x04, 0x24, 0x26, 0x08, 0x95,
            0x75, 0xc7, 0x5a, 0x00, 0x3f, 0x08, 0x9d, 0x27, 0x39, 0x83, 0x9d, 0xec, 0x58, 0xb9,
            0x64, 0xec, 0x38, 0x43,
        ];
        let parts: [&[u8]; 3] = [b"what do ya ", b"", b"want for nothing?"];
        assert_eq!(hmac_sha256(b"Jefe", &parts), expected);
        assert!(verify_hmac_sha256(b"Jefe", &parts, &expected));
        assert!(!verify_hmac_sha256(b"Jefe", &parts, &expected[..31]));
    }

    #[test]
    fn a_tag_is_bound_to_key_domain_and_message() {
        let key = Key::new([1; 32]);
        let full = tag(&key, "a/v1", b"message");
        assert_eq!(full, hmac_sha256(&[1; 32], &[b"a/v1\0message"]));
        for len in 1..=32 {
            assert!(verify_tag(&key, "a/v1", b"message", &full[..len]));
        }
        assert!(!verify_tag(&key, "a/v1", b"message", b""), "an empty tag proves nothing");
        assert!(!verify_tag(&key, "a/v2", b"message", &full));
        assert!(!verify_tag(&key, "a/v1", b"Message", &full));
        assert!(!verify_tag(&key, "a", b"/v1\0message", &full), "the zero byte ends the domain");
        assert!(!verify_tag(&Key::new([2; 32]), "a/v1", b"message", &full));
        assert!(!verify_tag(&key, "a/v1", b"message", &full[1..]));
    }

    #[test]
    fn the_highest_key_signs_and_all_are_found() {
        let ring = KeyRing::parse(&format!(" {K1}, {K0},")).unwrap();
        assert_eq!(ring.newest().0, 1);
        assert_eq!(ring.newest().1.bytes[0], 32);
        assert_eq!(ring.get(0).unwrap().bytes[31], 31);
        assert!(ring.get(2).is_none() && ring.get(255).is_none());
    }

    #[test]
    fn a_bad_ring_is_refused_without_repeating_it() {
        let short = "3:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHg==";
        let url_safe = "3:__ECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
        for (text, error) in [
            (String::new(), BadKeyRing::Empty),
            (" , ".to_owned(), BadKeyRing::Empty),
            (format!("{K0},{K0}"), BadKeyRing::Twice(0)),
            (format!("{K0},oops"), BadKeyRing::Malformed(2)),
            (K0.replacen('0', "32", 1), BadKeyRing::Malformed(1)),
            (K0.replacen('0', "-1", 1), BadKeyRing::Malformed(1)),
            (short.to_owned(), BadKeyRing::Malformed(1)),
            (url_safe.to_owned(), BadKeyRing::Malformed(1)),
        ] {
            assert_eq!(KeyRing::parse(&text), Err(error.clone()), "{text}");
            assert!(!error.to_string().contains("AAEC"));
        }
        let shown = format!("{:?}", KeyRing::parse(K0).unwrap());
        assert!(shown.contains("Key(***)"), "{shown}");
    }
}
