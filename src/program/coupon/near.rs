//! Which coupon was probably meant by a code that the program does not have.
//!
//! Customers copy codes from films and paper: they leave a letter out, swap two, take `O` for `0`.
//! Only what is really close is named, and nobody where the codes of two partners are equally close.
//! Digits must be the same: `SUMMER20` is no slip for `SUMMER10`, it is another coupon.

use crate::ids::PartnerId;
use crate::program::coupon::key;

/// A code that the program has.
#[derive(Clone, Debug)]
pub struct Candidate {
    /// As it was given.
    pub code: String,
    /// Whose it is.
    pub partner_id: PartnerId,
    spelling: Spelling,
}

impl Candidate {
    /// Returns a code of a partner, ready to be compared.
    pub fn new(code: String, partner_id: PartnerId) -> Self {
        Self { spelling: Spelling::of(&code), code, partner_id }
    }
}

/// A code as the eye takes it: capital letters and digits, without what looks alike.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Spelling {
    folded: String,
    n_chars: usize,
    /// The digits as they were written.
    digits: String,
    /// Which characters occur, as bits: codes with quite other ones need not be compared.
    present: u64,
}

impl Spelling {
    fn of(code: &str) -> Self {
        let key = key(code);
        let alike = |c| match c {
            'O' => '0',
            'I' | 'L' => '1',
            other => other,
        };
        let folded: String = key.chars().filter(|c| c.is_alphanumeric()).map(alike).collect();
        let present = folded.chars().fold(0, |bits, c| bits | 1 << (u32::from(c) % 64));
        let digits = key.chars().filter(char::is_ascii_digit).collect();
        Self { n_chars: folded.chars().count(), folded, digits, present }
    }

    /// Returns how many slips are between two codes; none where that is more than such a code allows.
    fn slips(&self, other: &Self) -> Option<usize> {
        if self.folded == other.folded {
            return (self.n_chars > 0).then_some(0);
        }
        let allowed: u32 = match self.n_chars.min(other.n_chars) {
            0..4 => return None,
            4..8 => 1,
            8.. => 2,
        };
        // A slip changes the length by one at most, and takes one character away for another.
        let is_far = self.n_chars.abs_diff(other.n_chars) > allowed as usize
            || (self.present ^ other.present).count_ones() > 2 * allowed;
        if is_far || self.digits != other.digits {
            return None;
        }
        let slips = strsim::osa_distance(&self.folded, &other.folded);
        (slips <= allowed as usize).then_some(slips)
    }
}

/// Returns the code that was probably meant; none where none is close, or codes of several partners
/// are equally close.
pub fn nearest<'a>(written: &str, codes: &'a [Candidate]) -> Option<&'a Candidate> {
    let written = Spelling::of(written);
    let close = codes.iter().filter_map(|c| Some((written.slips(&c.spelling)?, c)));
    let close: Vec<_> = close.collect();
    let least = close.iter().map(|(slips, _)| *slips).min()?;
    let mut closest = close.iter().filter(|(slips, _)| *slips == least).map(|(_, c)| *c);
    let first = closest.next()?;
    closest.all(|c| c.partner_id == first.partner_id).then_some(first)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn codes() -> Vec<Candidate> {
        let partner = |n| PartnerId(uuid::Uuid::from_u128(n));
        [
            ("SUMMER10", 1),
            ("SUMMER-20", 2),
            ("Anna", 3),
            ("HELLO5", 1),
            ("HALLO5", 2),
            ("ПРИВЕТ", 3),
        ]
        .map(|(code, n)| Candidate::new(code.to_owned(), partner(n)))
        .to_vec()
    }

    #[test]
    fn only_what_is_really_close_is_meant() {
        for (written, meant) in [
            ("SUMMER1O", Some("SUMMER10")),
            ("summer 10", Some("SUMMER10")),
            ("SUMER10", Some("SUMMER10")),
            ("SUMMRE10", Some("SUMMER10")),
            ("SUMMER20", Some("SUMMER-20")),
            ("SOMMER2O", None),
            ("SUMMER30", None),
            ("SUMMER", None),
            ("WINTER10", None),
            ("Ana", None),
            ("Ann", None),
            ("Annna", Some("Anna")),
            ("Hanna1", None),
            // Of two partners, one letter from each.
            ("HXLLO5", None),
            ("HELLLO5", Some("HELLO5")),
            ("привэт", Some("ПРИВЕТ")),
            ("", None),
            ("--", None),
        ] {
            let found = codes();
            let found = nearest(written, &found).map(|c| c.code.as_str());
            assert_eq!(found, meant, "{written}");
        }
    }

    proptest! {
        #[test]
        fn what_is_passed_over_unread_would_have_been_too_far(
            a in "[A-F0-9]{4,12}", b in "[A-F0-9]{4,12}",
        ) {
            let (x, y) = (Spelling::of(&a), Spelling::of(&b));
            let allowed = if x.n_chars.min(y.n_chars) < 8 { 1 } else { 2 };
            let slips = strsim::osa_distance(&x.folded, &y.folded);
            let is_close = slips <= allowed && (slips == 0 || x.digits == y.digits);
            prop_assert_eq!(x.slips(&y), is_close.then_some(slips));
            prop_assert_eq!(y.slips(&x), is_close.then_some(slips));
        }

        #[test]
        fn any_text_may_be_asked_for(written in "\\PC{0,80}") {
            nearest(&written, &codes());
        }
    }
}
