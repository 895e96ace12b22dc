//! The body of a click record: 37 bytes and its texts.
//!
//! `payload 21, class, reason, device, browser, flags, [visitor 8], [country 2], texts`, then per
//! present text, in the order of the bits, `length u16 LE` and UTF-8.

use super::WireError;

/// The size of the click id's payload: what its MAC covers but its head byte and the MAC.
pub const CLICK_PAYLOAD_BYTES: usize = 21;

/// The most bytes kept of one text; the edge already cuts sub-ids at 128.
pub const TEXT_BYTES_MAX: usize = 1024;

const UNIQUE: u8 = 1;
const QR: u8 = 1 << 1;
const GPC: u8 = 1 << 2;
const HAS_VISITOR: u8 = 1 << 3;
const HAS_COUNTRY: u8 = 1 << 4;
/// The advertising network that the visitor's address named: a code of three bits, 0 for none.
const PAID_SHIFT: u32 = 5;
const PAID_MAX: u8 = 7;
const TEXTS: usize = 8;

/// A click as raw codes, without address and agent string.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ClickRecord {
    /// Time, program, partner, link and random bits, as packed in the click id.
    pub payload: [u8; CLICK_PAYLOAD_BYTES],
    /// What kind of visitor it was taken for.
    pub class: u8,
    /// Why.
    pub reason: u8,
    /// Device class.
    pub device: u8,
    /// Browser family.
    pub browser: u8,
    /// The edge had not seen this visitor on this link lately; settlement has the last word.
    pub is_unique_candidate: bool,
    /// The link was a scanned code.
    pub is_qr: bool,
    /// The visitor sent Global Privacy Control.
    pub is_gpc: bool,
    /// The advertising network that the visitor's address named, 1 to 7; 0 is none.
    pub paid: u8,
    /// The daily visitor tag.
    pub visitor: Option<[u8; 8]>,
    /// ISO 3166-1 alpha-2, ASCII.
    pub country: Option<[u8; 2]>,
    /// The referring host, without path.
    pub referrer_host: Option<String>,
    /// The partner's labels `sub1` to `sub5`.
    pub subs: [Option<String>; 5],
    /// The advertising token.
    pub erid: Option<String>,
    /// Host and path of a deep link; none leads to the program's landing page.
    pub landing: Option<String>,
}

impl ClickRecord {
    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        let flag = |is_set: bool, bit: u8| if is_set { bit } else { 0 };
        let flags = flag(self.is_unique_candidate, UNIQUE)
            | flag(self.is_qr, QR)
            | flag(self.is_gpc, GPC)
            | flag(self.visitor.is_some(), HAS_VISITOR)
            | flag(self.country.is_some(), HAS_COUNTRY)
            | self.paid.min(PAID_MAX) << PAID_SHIFT;
        out.extend_from_slice(&self.payload);
        out.extend_from_slice(&[self.class, self.reason, self.device, self.browser, flags]);
        out.extend(self.visitor.iter().flatten());
        out.extend(self.country.iter().flatten());

        let [sub1, sub2, sub3, sub4, sub5] = &self.subs;
        let texts = [&self.referrer_host, sub1, sub2, sub3, sub4, sub5, &self.erid, &self.landing];
        let present = texts.iter().enumerate().map(|(i, text)| flag(text.is_some(), 1 << i));
        out.push(present.sum());
        for text in texts.into_iter().flatten() {
            let kept = &text[..text.floor_char_boundary(TEXT_BYTES_MAX)];
            let length = u16::try_from(kept.len()).expect("texts are cut far below 64 KiB");
            out.extend_from_slice(&length.to_le_bytes());
            out.extend_from_slice(kept.as_bytes());
        }
    }

    pub(super) fn decode(body: &[u8]) -> Result<Self, WireError> {
        let mut rest = Fields(body);
        let payload = rest.array()?;
        let [class, reason, device, browser, flags] = rest.array()?;
        let has = |bit: u8| flags & bit != 0;
        let visitor = has(HAS_VISITOR).then(|| rest.array()).transpose()?;
        let country = has(HAS_COUNTRY).then(|| rest.array()).transpose()?;

        let [present] = rest.array()?;
        let mut texts: [Option<String>; TEXTS] = Default::default();
        for (i, text) in texts.iter_mut().enumerate() {
            if present & (1 << i) != 0 {
                *text = Some(rest.text()?);
            }
        }
        if !rest.0.is_empty() {
            return Err(WireError::Trailing(rest.0.len()));
        }
        let [referrer_host, sub1, sub2, sub3, sub4, sub5, erid, landing] = texts;
        Ok(Self {
            payload,
            class,
            reason,
            device,
            browser,
            is_unique_candidate: has(UNIQUE),
            is_qr: has(QR),
            is_gpc: has(GPC),
            paid: flags >> PAID_SHIFT,
            visitor,
            country,
            referrer_host,
            subs: [sub1, sub2, sub3, sub4, sub5],
            erid,
            landing,
        })
    }
}

/// What is still to be read of a body.
struct Fields<'a>(&'a [u8]);

impl Fields<'_> {
    fn array<const N: usize>(&mut self) -> Result<[u8; N], WireError> {
        let short = WireError::CutShort { wanted: N, found: self.0.len() };
        let (array, rest) = self.0.split_first_chunk().ok_or(short)?;
        self.0 = rest;
        Ok(*array)
    }

    fn text(&mut self) -> Result<String, WireError> {
        let wanted = usize::from(u16::from_le_bytes(self.array()?));
        let short = WireError::CutShort { wanted, found: self.0.len() };
        let (text, rest) = self.0.split_at_checked(wanted).ok_or(short)?;
        self.0 = rest;
        String::from_utf8(text.to_vec()).map_err(|_| WireError::NotText)
    }
}
