//! The name of a click: 44 characters that carry who, what and when, signed.
//!
//! 33 bytes, big-endian: version (3 bits) and key id (5 bits) · time 5 (ms since 2024-01-01,
//! until 2058) · program 3 · partner 4 · link 4 · random 5 · MAC 11. A conversion that brings it
//! back can be authenticated, attributed and checked against its window even if the click's row
//! is late or lost. 33 is a multiple of 3, so the text has one spelling.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, NaiveDate};
use sha2::{Digest as _, Sha256};
use uuid::Uuid;

use crate::clock::Timestamp;
use crate::ids::{LinkNo, PartnerNo, ProgramNo};
use crate::signing::{KeyRing, tag, verify_tag};

/// Length of the text of a click id.
pub const CLICK_ID_LEN: usize = 44;

/// Length of the part that identifies the click, without key id and MAC.
pub const PAYLOAD_LEN: usize = 21;

const BYTES: usize = 33;
const SIGNED: usize = 1 + PAYLOAD_LEN;
const VERSION: u8 = 1;
const DOMAIN: &str = "tributary/click/v1";
/// 2024-01-01T00:00:00Z in milliseconds since 1970.
const EPOCH_MS: i64 = 1_704_067_200_000;
const TIME_MAX: i64 = (1 << 40) - 1;

/// What a click id says.
///
/// The key id is not part of it: the same click read from its text and from the stream is equal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ClickId {
    /// When the visitor clicked, in whole milliseconds.
    pub at: Timestamp,
    /// The program clicked for; 24 bits.
    pub program: ProgramNo,
    /// The partner whose link it was.
    pub partner: PartnerNo,
    /// The link.
    pub link: LinkNo,
    /// What tells two clicks of one link in one millisecond apart.
    pub random: [u8; 5],
}

/// The text of a click id, held without allocation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ClickIdText([u8; CLICK_ID_LEN]);

/// Says why a text is not a click id of ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ClickIdError {
    /// Not 44 base64url characters of a known version.
    #[error("not a click id of {CLICK_ID_LEN} characters")]
    Malformed,
    /// The key that signed it is not live.
    #[error("the click id was signed with key {0}, which is not live")]
    UnknownKid(u8),
    /// The signature is not ours.
    #[error("the click id's signature does not match")]
    BadMac,
}

impl ClickId {
    /// Returns a click id with its time cut to what the text can hold: whole milliseconds between
    /// 2024 and 2058.
    ///
    /// # Panics
    /// If the program number has more than 24 bits; the numbers of a verified link token never do.
    pub fn new(
        at: Timestamp,
        program: ProgramNo,
        partner: PartnerNo,
        link: LinkNo,
        random: [u8; 5],
    ) -> Self {
        assert!(program.0 >> 24 == 0, "program numbers have 24 bits");
        let since = (at.timestamp_millis() - EPOCH_MS).clamp(0, TIME_MAX);
        Self { at: from_epoch(since), program, partner, link, random }
    }

    /// Returns the text, signed with the newest key. Allocates nothing.
    pub fn sign(&self, keys: &KeyRing) -> ClickIdText {
        let (kid, key) = keys.newest();
        let mut bytes = [0; BYTES];
        bytes[0] = VERSION << 5 | kid;
        bytes[1..SIGNED].copy_from_slice(&self.payload());
        let mac = tag(key, DOMAIN, &bytes[..SIGNED]);
        bytes[SIGNED..].copy_from_slice(&mac[..BYTES - SIGNED]);
        let mut text = [0; CLICK_ID_LEN];
        URL_SAFE_NO_PAD.encode_slice(bytes, &mut text).expect("33 bytes make 44 characters");
        ClickIdText(text)
    }

    /// Returns what a text says if it is exactly a click id we signed. Allocates nothing.
    pub fn verify(keys: &KeyRing, text: impl AsRef<[u8]>) -> Result<Self, ClickIdError> {
        let text = text.as_ref();
        if text.len() != CLICK_ID_LEN {
            return Err(ClickIdError::Malformed);
        }
        let mut bytes = [0; BYTES];
        match URL_SAFE_NO_PAD.decode_slice(text, &mut bytes) {
            Ok(BYTES) if bytes[0] >> 5 == VERSION => {}
            Ok(_) | Err(_) => return Err(ClickIdError::Malformed),
        }
        let kid = bytes[0] & 31;
        let key = keys.get(kid).ok_or(ClickIdError::UnknownKid(kid))?;
        let (signed, mac) = bytes.split_at(SIGNED);
        if !verify_tag(key, DOMAIN, signed, mac) {
            return Err(ClickIdError::BadMac);
        }
        let payload = signed[1..].first_chunk().expect("22 bytes without the first are 21");
        Ok(Self::from_payload(payload))
    }

    /// Returns what a text says if it has the form of a click id, whoever signed it: evidence for
    /// people, never a reason to pay.
    pub fn unverified(text: impl AsRef<[u8]>) -> Option<Self> {
        let mut bytes = [0; BYTES];
        match URL_SAFE_NO_PAD.decode_slice(text.as_ref(), &mut bytes) {
            Ok(BYTES) if bytes[0] >> 5 == VERSION => {}
            Ok(_) | Err(_) => return None,
        }
        Some(Self::from_payload(bytes[1..].first_chunk()?))
    }

    /// Returns the 21 bytes that identify the click: time 5, program 3, partner 4, link 4, random 5.
    pub fn payload(&self) -> [u8; PAYLOAD_LEN] {
        let since = self.at.timestamp_millis() - EPOCH_MS;
        let mut b = [0; PAYLOAD_LEN];
        b[0..5].copy_from_slice(&since.to_be_bytes()[3..]);
        b[5..8].copy_from_slice(&self.program.0.to_be_bytes()[1..]);
        b[8..12].copy_from_slice(&self.partner.0.to_be_bytes());
        b[12..16].copy_from_slice(&self.link.0.to_be_bytes());
        b[16..].copy_from_slice(&self.random);
        b
    }

    /// Reads a payload back; every 21 bytes are one, so only trusted ones may come here.
    pub fn from_payload(b: &[u8; PAYLOAD_LEN]) -> Self {
        let since = i64::from_be_bytes([0, 0, 0, b[0], b[1], b[2], b[3], b[4]]);
        Self {
            at: from_epoch(since),
            program: ProgramNo(u32::from_be_bytes([0, b[5], b[6], b[7]])),
            partner: PartnerNo(u32::from_be_bytes([b[8], b[9], b[10], b[11]])),
            link: LinkNo(u32::from_be_bytes([b[12], b[13], b[14], b[15]])),
            random: [b[16], b[17], b[18], b[19], b[20]],
        }
    }

    /// Returns the key in the database: a UUIDv7 (RFC 9562) of the click's own time, whose 74 free
    /// bits are the 40 random ones and the first 34 of SHA-256 over program, partner and link.
    ///
    /// The hash keeps two links apart that drew the same random bits in the same millisecond.
    pub fn to_uuid(&self) -> Uuid {
        let hash: [u8; 32] = Sha256::digest(&self.payload()[5..16]).into();
        let [h0, h1, h2, h3, h4, ..] = hash;
        let hash34 = u128::from(u64::from_be_bytes([0, 0, 0, h0, h1, h2, h3, h4]) >> 6);
        let [r0, r1, r2, r3, r4] = self.random;
        let random40 = u128::from(u64::from_be_bytes([0, 0, 0, r0, r1, r2, r3, r4]));
        let free = random40 << 34 | hash34;
        // `at` lies after 1970 by construction, so nothing is lost here.
        let ms = u128::from(self.at.timestamp_millis().unsigned_abs());
        let (rand_a, rand_b) = (free >> 62, free & ((1 << 62) - 1));
        Uuid::from_u128(ms << 80 | 7 << 76 | rand_a << 64 | 2 << 62 | rand_b)
    }

    /// Returns the day (UTC) that the click is filed under.
    pub fn day(&self) -> NaiveDate {
        self.at.date_naive()
    }
}

impl ClickIdText {
    /// Returns the 44 characters.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).expect("base64url is ASCII")
    }
}

impl std::fmt::Display for ClickIdText {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

fn from_epoch(since_ms: i64) -> Timestamp {
    DateTime::from_timestamp_millis(EPOCH_MS + since_ms).expect("40 bits of ms end in 2058")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Published: key = bytes 0..31, kid 0, 2026-11-22T10:00:00.000Z, program 2002, partner 1001,
    /// link 42, random 01 02 03 04 05.
    const VECTOR: &str = "IBVAYNEAAAfSAAAD6QAAACoBAgMEBVmLbQ-DaK_EdPub";

    fn ring() -> KeyRing {
        KeyRing::single(std::array::from_fn(|i| i as u8))
    }

    fn click() -> ClickId {
        let at = "2026-11-22T10:00:00.000999Z".parse().unwrap();
        ClickId::new(at, ProgramNo(2002), PartnerNo(1001), LinkNo(42), [1, 2, 3, 4, 5])
    }

    #[test]
    fn published_vector_is_signed_and_verified() {
        assert_eq!(click().sign(&ring()).as_str(), VECTOR);
        assert_eq!(ClickId::verify(&ring(), VECTOR), Ok(click()));
        assert_eq!(click().to_uuid().to_string(), "01a202b2-c500-7010-880c-1014b1a8ab40");
        assert_eq!(click().to_uuid().get_version_num(), 7);
        assert_eq!(click().day().to_string(), "2026-11-22");
    }

    #[test]
    fn every_flipped_bit_truncation_and_other_spelling_is_refused() {
        let bytes = URL_SAFE_NO_PAD.decode(VECTOR).unwrap();
        for bit in 0..BYTES * 8 {
            let mut bent = bytes.clone();
            bent[bit / 8] ^= 1 << (bit % 8);
            assert!(ClickId::verify(&ring(), URL_SAFE_NO_PAD.encode(bent)).is_err(), "bit {bit}");
        }
        let standard = VECTOR.replace('-', "+").replace('_', "/");
        let mut next_version = bytes.clone();
        next_version[0] = (VERSION + 1) << 5;
        let mac = tag(ring().newest().1, DOMAIN, &next_version[..SIGNED]);
        next_version[SIGNED..].copy_from_slice(&mac[..11]);
        let next_version = URL_SAFE_NO_PAD.encode(next_version);
        let mut others = vec![next_version, standard, format!("{VECTOR}="), format!("{VECTOR}A")];
        others.extend((0..CLICK_ID_LEN).map(|n| VECTOR[..n].to_owned()));
        for text in others {
            assert_eq!(ClickId::verify(&ring(), &text), Err(ClickIdError::Malformed), "{text}");
        }
    }

    #[test]
    fn a_key_that_is_not_live_is_named() {
        let other = KeyRing::parse("5:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=").unwrap();
        assert_eq!(ClickId::verify(&other, VECTOR), Err(ClickIdError::UnknownKid(0)));
        let stranger = KeyRing::single([9; 32]);
        assert_eq!(ClickId::verify(&stranger, VECTOR), Err(ClickIdError::BadMac));
        assert_eq!(ClickId::verify(&other, click().sign(&other).as_str()), Ok(click()));
    }

    #[test]
    fn a_link_token_never_passes_for_a_click_id_of_the_same_key() {
        let signed = &URL_SAFE_NO_PAD.decode(VECTOR).unwrap()[..SIGNED];
        let key = ring().newest().1.clone();
        let mac = tag(&key, "tributary/link/v1", signed);
        let text = URL_SAFE_NO_PAD.encode([signed, &mac[..11]].concat());
        assert_eq!(ClickId::verify(&ring(), text), Err(ClickIdError::BadMac));
    }

    #[test]
    fn the_database_key_depends_on_every_part() {
        let base = click();
        let others = [
            ClickId { at: base.at + chrono::Duration::milliseconds(1), ..base },
            ClickId { program: ProgramNo(2003), ..base },
            ClickId { partner: PartnerNo(1002), ..base },
            ClickId { link: LinkNo(43), ..base },
            ClickId { random: [1, 2, 3, 4, 4], ..base },
        ];
        for other in others {
            assert_ne!(other.to_uuid(), base.to_uuid(), "{other:?}");
        }
    }

    proptest! {
        #[test]
        fn text_payload_and_uuid_keep_the_click(
            ms in -1i64 << 41..1i64 << 41, program in 0u32..1 << 24, partner: u32, link: u32,
            random: [u8; 5],
        ) {
            let at = DateTime::from_timestamp_millis(EPOCH_MS + ms).unwrap();
            let click = ClickId::new(
                at, ProgramNo(program), PartnerNo(partner), LinkNo(link), random,
            );
            let in_range = (0..=TIME_MAX).contains(&ms);
            prop_assert_eq!(click.at == at, in_range);
            prop_assert_eq!(ClickId::verify(&ring(), click.sign(&ring()).as_str()), Ok(click));
            prop_assert_eq!(ClickId::from_payload(&click.payload()), click);
            let uuid = click.to_uuid();
            let (secs, nanos) = uuid.get_timestamp().unwrap().to_unix();
            let uuid_ms = secs * 1000 + u64::from(nanos) / 1_000_000;
            prop_assert_eq!(uuid_ms as i64, click.at.timestamp_millis());
            prop_assert_eq!(uuid.get_variant(), uuid::Variant::RFC4122);
        }
    }
}
