//! The signed text of a link: who promotes what, in 40 characters, checked without a look-up.
//!
//! 30 bytes, big-endian: version (3 bits) and key id (5 bits) · program 3 · partner 4 · link 4 ·
//! expiry 2 (days since 2020-01-01, 0 = never) · MAC 16. As base64url without padding that is
//! exactly 40 characters with no spare bits, so one link has one spelling.
//!
//! Version 1 is signed by the service. Version 2 is minted by a partner with a key of his own,
//! derived from program, partner and epoch: it can sign only his own number in that one program,
//! and raising the epoch revokes everything it signed. The ranges of link numbers are separate,
//! so a partner can never sign a number that the service hands out.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{Days, NaiveDate};

use crate::ids::{LinkNo, PartnerNo, ProgramNo};
use crate::signing::{Key, KeyRing, tag, verify_tag};

/// Length of the text of a token.
pub const TOKEN_LEN: usize = 40;

/// The first link number that a partner may mint; below it the service numbers links.
pub const FIRST_MINTED: LinkNo = LinkNo(1 << 31);

const PAYLOAD_LEN: usize = 14;
const BYTES: usize = 30;
const ISSUED: u8 = 1;
const MINTED: u8 = 2;
const ISSUED_DOMAIN: &str = "tributary/link/v1";
const MINTED_DOMAIN: &str = "tributary/link/v2";
const MINT_KEY_DOMAIN: &[u8] = b"tributary/mint/v1\0";
const DAY_ZERO: NaiveDate = NaiveDate::from_ymd_opt(2020, 1, 1).expect("a date of the calendar");
const PROGRAM_MAX: u32 = 0xFF_FFFF;

/// What a link says, once its signature is known to be good.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct LinkToken {
    /// The program promoted; 24 bits.
    pub program: ProgramNo,
    /// The partner who is paid.
    pub partner: PartnerNo,
    /// The link; from [`FIRST_MINTED`] on the partner chose the number himself.
    pub link: LinkNo,
    /// The last day (UTC) on which the link works; `None` is for ever, as print needs.
    pub expires_on: Option<NaiveDate>,
}

/// The keys that links are checked with.
#[derive(Debug, Clone)]
pub struct LinkKeys {
    /// Keys of the service's own links (version 1).
    pub issued: KeyRing,
    /// Keys from which partner keys are derived (version 2), where minting is switched on.
    pub mint: Option<KeyRing>,
}

/// The epochs of a partner's key that are in force.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MintEpochs {
    /// The epoch of the key handed out last.
    pub current: u16,
    /// The one before, while both are accepted.
    pub previous: Option<u16>,
}

/// A partner's own signing key for one program.
#[derive(Debug, Clone)]
pub struct MintKey {
    /// The id of the deployment's key that it was derived from; goes into every token.
    pub kid: u8,
    /// The only program whose links it signs.
    pub program: ProgramNo,
    /// The only partner whose links it signs.
    pub partner: PartnerNo,
    /// The secret to hand to the partner.
    pub key: Key,
}

/// Says why a text is not a live link.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// Not 40 base64url characters, an unknown version, or a link number of the other range.
    #[error("the link is damaged: it is not a token of {TOKEN_LEN} characters")]
    Malformed,
    /// The key that signed it is not live (any more).
    #[error("the link was signed with key {0}, which is not live")]
    UnknownKid(u8),
    /// The signature is not ours, or not of an epoch in force.
    #[error("the link's signature does not match")]
    BadMac,
    /// The signature is good, but the last day has passed.
    #[error("the link expired on {0}")]
    Expired(NaiveDate),
}

/// Says why a link cannot be signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unsignable {
    /// Program numbers have 24 bits.
    #[error("program number {0} does not fit into 24 bits")]
    ProgramTooLarge(ProgramNo),
    /// The link number belongs to the other kind of signer.
    #[error("link number {0} is on the wrong side of {FIRST_MINTED}, where minted numbers begin")]
    LinkOutOfRange(LinkNo),
    /// The token holds days from 2020-01-02 to 2199-06-06.
    #[error("expiry {0} is outside 2020-01-02 to 2199-06-06")]
    ExpiryOutOfRange(NaiveDate),
}

/// What a text *says* it is, believed by nobody: for the choice of a fallback page and for the
/// report on broken links, which needs to name the webmaster with the cut-off link.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Claimed {
    /// The key id, if the first four bytes can be read.
    pub kid: Option<u8>,
    /// The program, if the first four bytes can be read.
    pub program: Option<ProgramNo>,
    /// The partner, if the first eight bytes can be read.
    pub partner: Option<PartnerNo>,
}

/// How many links are remembered as signed, at most.
const PROVEN_MAX: usize = 1024;

/// Links whose signature was found good, by their text: most visitors follow one that others followed
/// just before. Only what we issued is remembered; whether a partner's own link holds depends on his
/// epoch.
pub struct ProvenLinks {
    keys: LinkKeys,
    proven: Box<[Option<Proven>]>,
}

/// A text and what it says.
type Proven = ([u8; TOKEN_LEN], LinkToken);

impl ProvenLinks {
    /// Returns a memory of nothing yet, of links that are checked with these keys.
    pub fn new(keys: LinkKeys) -> Self {
        Self { keys, proven: vec![None; PROVEN_MAX].into() }
    }

    /// Does the same as [`LinkToken::verify`].
    pub fn verify(
        &mut self,
        text: impl AsRef<[u8]>,
        today: NaiveDate,
        epochs: impl FnOnce(ProgramNo, PartnerNo) -> Option<MintEpochs>,
    ) -> Result<LinkToken, TokenError> {
        let text: [u8; TOKEN_LEN] = text.as_ref().try_into().map_err(|_| TokenError::Malformed)?;
        // The text ends in its MAC, which is as good as random.
        let [.., a, b, c, _] = text;
        let place = usize::from(a) << 10 ^ usize::from(b) << 5 ^ usize::from(c);
        let slot = &mut self.proven[place % PROVEN_MAX];
        if let Some((proven, token)) = slot
            && is_same(proven, &text)
        {
            return token.good_on(today);
        }
        let token = LinkToken::verify(&self.keys, text, today, epochs)?;
        if !token.is_minted() {
            *slot = Some((text, token));
        }
        Ok(token)
    }
}

/// Takes as long for every pair: how much of a text is right is nobody's to learn.
fn is_same(one: &[u8; TOKEN_LEN], other: &[u8; TOKEN_LEN]) -> bool {
    one.iter().zip(other).fold(0, |differing, (a, b)| differing | (a ^ b)) == 0
}

impl LinkToken {
    /// Returns the text, signed with the newest key of `keys`, which are those of issued links.
    pub fn sign(&self, keys: &KeyRing) -> Result<String, Unsignable> {
        if self.is_minted() {
            return Err(Unsignable::LinkOutOfRange(self.link));
        }
        let (kid, key) = keys.newest();
        self.seal(ISSUED, kid, key, ISSUED_DOMAIN)
    }

    /// Returns what a text says if it is exactly a link we or the partner signed, still good
    /// `today` (UTC).
    ///
    /// `epochs` is asked only for partner-minted links; `None` means that the partner may not
    /// mint. Allocates nothing.
    pub fn verify(
        keys: &LinkKeys,
        text: impl AsRef<[u8]>,
        today: NaiveDate,
        epochs: impl FnOnce(ProgramNo, PartnerNo) -> Option<MintEpochs>,
    ) -> Result<Self, TokenError> {
        let bytes = decode(text.as_ref()).ok_or(TokenError::Malformed)?;
        let (payload, mac) = bytes.split_at(PAYLOAD_LEN);
        let (version, kid) = (bytes[0] >> 5, bytes[0] & 31);
        let token = Self::read(&bytes);
        match (version, token.is_minted()) {
            (ISSUED, false) => {
                let key = keys.issued.get(kid).ok_or(TokenError::UnknownKid(kid))?;
                if !verify_tag(key, ISSUED_DOMAIN, payload, mac) {
                    return Err(TokenError::BadMac);
                }
            }
            (MINTED, true) => {
                let root = keys.mint.as_ref().and_then(|ring| ring.get(kid));
                let root = root.ok_or(TokenError::UnknownKid(kid))?;
                let epochs = epochs(token.program, token.partner).ok_or(TokenError::BadMac)?;
                let signed_in = |epoch| {
                    let key = derive(root, token.program, token.partner, epoch);
                    verify_tag(&key, MINTED_DOMAIN, payload, mac)
                };
                if !signed_in(epochs.current) && !epochs.previous.is_some_and(signed_in) {
                    return Err(TokenError::BadMac);
                }
            }
            _ => return Err(TokenError::Malformed),
        }
        token.good_on(today)
    }

    fn good_on(self, today: NaiveDate) -> Result<Self, TokenError> {
        match self.expires_on {
            Some(last) if today > last => Err(TokenError::Expired(last)),
            Some(_) | None => Ok(self),
        }
    }

    /// Tells whether the partner chose the link's number.
    pub fn is_minted(&self) -> bool {
        self.link >= FIRST_MINTED
    }

    fn seal(&self, version: u8, kid: u8, key: &Key, domain: &str) -> Result<String, Unsignable> {
        if self.program.0 > PROGRAM_MAX {
            return Err(Unsignable::ProgramTooLarge(self.program));
        }
        let mut bytes = [0; BYTES];
        bytes[0] = version << 5 | kid;
        bytes[1..4].copy_from_slice(&self.program.0.to_be_bytes()[1..]);
        bytes[4..8].copy_from_slice(&self.partner.0.to_be_bytes());
        bytes[8..12].copy_from_slice(&self.link.0.to_be_bytes());
        bytes[12..14].copy_from_slice(&expiry_days(self.expires_on)?.to_be_bytes());
        let mac = tag(key, domain, &bytes[..PAYLOAD_LEN]);
        bytes[PAYLOAD_LEN..].copy_from_slice(&mac[..BYTES - PAYLOAD_LEN]);
        Ok(URL_SAFE_NO_PAD.encode(bytes))
    }

    fn read(b: &[u8; BYTES]) -> Self {
        let days = u64::from(u16::from_be_bytes([b[12], b[13]]));
        Self {
            program: ProgramNo(u32::from_be_bytes([0, b[1], b[2], b[3]])),
            partner: PartnerNo(u32::from_be_bytes([b[4], b[5], b[6], b[7]])),
            link: LinkNo(u32::from_be_bytes([b[8], b[9], b[10], b[11]])),
            expires_on: (days > 0).then(|| DAY_ZERO + Days::new(days)),
        }
    }
}

/// What the text of a partner's key begins with.
const MINT_KEY_PREFIX: &str = "trbm_";
const MINT_KEY_BYTES: usize = 40;

impl MintKey {
    /// Returns the text to hand to the partner: `trbm_` and base64url of version and key id,
    /// program, partner (the first eight bytes of every token it signs) and the 32 bytes of the
    /// key.
    pub fn expose(&self) -> String {
        let mut bytes = [0; MINT_KEY_BYTES];
        bytes[0] = MINTED << 5 | self.kid;
        bytes[1..4].copy_from_slice(&self.program.0.to_be_bytes()[1..]);
        bytes[4..8].copy_from_slice(&self.partner.0.to_be_bytes());
        bytes[8..].copy_from_slice(self.key.bytes());
        format!("{MINT_KEY_PREFIX}{}", URL_SAFE_NO_PAD.encode(bytes))
    }

    /// Reads the text of a key.
    pub fn parse(text: &str) -> Option<Self> {
        let bytes = URL_SAFE_NO_PAD.decode(text.strip_prefix(MINT_KEY_PREFIX)?).ok()?;
        let b: [u8; MINT_KEY_BYTES] = bytes.try_into().ok()?;
        (b[0] >> 5 == MINTED).then(|| Self {
            kid: b[0] & 31,
            program: ProgramNo(u32::from_be_bytes([0, b[1], b[2], b[3]])),
            partner: PartnerNo(u32::from_be_bytes([b[4], b[5], b[6], b[7]])),
            key: Key::new(*b.last_chunk().expect("32 bytes follow the first eight")),
        })
    }

    /// Returns the text of a link of this partner with the number `link`, from [`FIRST_MINTED`].
    pub fn sign(&self, link: LinkNo, expires_on: Option<NaiveDate>) -> Result<String, Unsignable> {
        let token = LinkToken { program: self.program, partner: self.partner, link, expires_on };
        if !token.is_minted() {
            return Err(Unsignable::LinkOutOfRange(link));
        }
        token.seal(MINTED, self.kid, &self.key, MINTED_DOMAIN)
    }
}

/// Derives a partner's signing key from the newest minting key.
///
/// `HMAC-SHA256(K_mint[kid], "tributary/mint/v1" ‖ 0x00 ‖ program(3) ‖ partner(4) ‖ epoch(2))`.
pub fn mint_key(keys: &KeyRing, program: ProgramNo, partner: PartnerNo, epoch: u16) -> MintKey {
    let (kid, root) = keys.newest();
    MintKey { kid, program, partner, key: derive(root, program, partner, epoch) }
}

/// Reads as much of a damaged or refused text as can be read, from its start to its first
/// foreign character.
pub fn claimed(text: impl AsRef<[u8]>) -> Claimed {
    let text = text.as_ref();
    let is_letter = |c: &&u8| c.is_ascii_alphanumeric() || matches!(c, b'-' | b'_');
    let readable = text.iter().take(12).take_while(is_letter).count();
    // Eight bytes need 11 characters; "A" (zero bits) stands in for what was cut off.
    let mut letters = [b'A'; 12];
    letters[..readable].copy_from_slice(&text[..readable]);
    let mut head = [0; 9];
    if URL_SAFE_NO_PAD.decode_slice(letters, &mut head).is_err() {
        return Claimed::default();
    }
    if !matches!(head[0] >> 5, ISSUED | MINTED) || readable < 6 {
        return Claimed::default();
    }
    Claimed {
        kid: Some(head[0] & 31),
        program: Some(ProgramNo(u32::from_be_bytes([0, head[1], head[2], head[3]]))),
        partner: (readable >= 11)
            .then(|| PartnerNo(u32::from_be_bytes([head[4], head[5], head[6], head[7]]))),
    }
}

fn derive(root: &Key, program: ProgramNo, partner: PartnerNo, epoch: u16) -> Key {
    let (program, partner) = (program.0.to_be_bytes(), partner.0.to_be_bytes());
    let epoch = epoch.to_be_bytes();
    Key::new(root.hmac(&[MINT_KEY_DOMAIN, &program[1..], &partner, &epoch]))
}

fn decode(text: &[u8]) -> Option<[u8; BYTES]> {
    if text.len() != TOKEN_LEN {
        return None;
    }
    let mut bytes = [0; BYTES];
    URL_SAFE_NO_PAD.decode_slice(text, &mut bytes).ok()?;
    Some(bytes)
}

fn expiry_days(expires_on: Option<NaiveDate>) -> Result<u16, Unsignable> {
    let Some(day) = expires_on else { return Ok(0) };
    match u16::try_from((day - DAY_ZERO).num_days()) {
        Ok(days) if days > 0 => Ok(days),
        Ok(_) | Err(_) => Err(Unsignable::ExpiryOutOfRange(day)),
    }
}

#[cfg(test)]
#[path = "token_tests.rs"]
mod tests;
