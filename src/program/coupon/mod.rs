//! Coupons: a code that says whose a conversion is where no link was clicked.
//!
//! At any time a code is one partner's. `SUMMER`, `summer` and `ＳＵＭＭＥＲ` are one code: customers
//! write them as they like, and two partners must not share what customers take for the same.

pub mod http;
pub mod near;
pub mod store;

use unicode_normalization::UnicodeNormalization as _;

use crate::clock::Timestamp;
use crate::ids::PartnerNo;

/// Longest code, in characters.
pub const CODE_MAX: usize = 64;

/// A coupon, to attribution.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CouponTerms {
    /// Whose it is.
    pub partner: PartnerNo,
    /// Since when it is in force.
    pub starts_at: Timestamp,
    /// When it ends; from then on it says nothing any more.
    pub ends_at: Option<Timestamp>,
}

impl CouponTerms {
    /// Tells whether it was in force at a time.
    pub fn is_in_force(&self, at: Timestamp) -> bool {
        self.starts_at <= at && self.ends_at.is_none_or(|end| at < end)
    }
}

/// Returns what a code is found by: the same for every way to write it, whatever the case and the
/// Unicode form, and whatever space customers leave around it.
pub fn key(code: &str) -> String {
    // Lower case first, because some letters have an upper case that is no longer one letter.
    let fold = |text: &str| -> String {
        let composed: String = text.nfkc().collect();
        composed.to_lowercase().to_uppercase().nfkc().collect()
    };
    let folded = fold(code.trim());
    // Composing may make a letter whose cases differ again; the second time nothing is left to do.
    fold(folded.trim())
}

/// Tells whether a code can be printed, spoken and typed: letters and digits of any script, with
/// `-`, `_` and `.` between.
pub fn is_code(code: &str) -> bool {
    // Composed first: what is one letter to the reader may be two characters.
    let composed: Vec<char> = code.nfc().collect();
    (1..=CODE_MAX).contains(&composed.len())
        && composed.iter().all(|c| c.is_alphanumeric() || "-_.".contains(*c))
        && composed.iter().any(|c| c.is_alphanumeric())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn one_code_has_one_key_however_it_is_written() {
        for (one, other) in [
            ("SUMMER10", "summer10"),
            ("SUMMER10", " Summer10 "),
            ("SUMMER10", "ＳＵＭＭＥＲ１０"),
            ("CAFÉ", "cafe\u{301}"),
            ("STRASSE", "straße"),
            ("STRAẞE", "straße"),
            ("ΟΔΟΣ", "οδος"),
            ("ΟΔΟΣ", "οδοσ"),
            ("ЛЕТО", "лето"),
            ("10K", "10\u{212a}"),
            ("ﬁnn", "FINN"),
        ] {
            assert_eq!(key(one), key(other), "{one} {other}");
        }
        assert_ne!(key("SUMMER10"), key("SUMMER1O"));
        assert_ne!(key("cafe"), key("café"));
    }

    #[test]
    fn a_code_can_be_spoken_and_typed() {
        for (code, fits) in [
            ("SUMMER-10", true),
            ("лето.2026", true),
            ("cafe\u{301}", true),
            ("A", true),
            ("", false),
            ("--", false),
            ("two words", false),
            ("no\u{200b}break", false),
            ("50%", false),
        ] {
            assert_eq!(is_code(code), fits, "{code:?}");
        }
        assert!(is_code(&"x".repeat(64)) && !is_code(&"x".repeat(65)));
    }

    proptest! {
        #[test]
        fn neither_case_nor_form_changes_a_key(code in "[\\p{L}\\p{N}]{1,20}") {
            let expected = key(&code);
            prop_assert_eq!(&key(&expected), &expected);
            prop_assert_eq!(&key(&code.to_lowercase()), &expected);
            prop_assert_eq!(&key(&code.to_uppercase()), &expected);
            for form in [code.nfc().collect::<String>(), code.nfd().collect(), code.nfkd().collect()] {
                prop_assert_eq!(&key(&form), &expected);
            }
        }
    }
}
