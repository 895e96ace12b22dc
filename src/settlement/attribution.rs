//! Who brought a conversion: last click, from the signed click id alone.
//!
//! The click id carries program, partner, link and time, so attribution and the window need no
//! click row: a conversion that settles before its click gets the same answer.

use chrono::Duration;

use crate::click::click_id::ClickId;
use crate::clock::Timestamp;
use crate::ids::{LinkNo, PartnerNo};
use crate::settlement::facts::ProgramFacts;
use crate::signing::KeyRing;

/// How far a conversion may lie before its click: the clocks of shop and service differ a little.
const SKEW_MAX: Duration = Duration::minutes(5);

/// Whose conversion it is, or why it is nobody's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attribution {
    /// A click within the window.
    Click {
        /// Whose link was clicked.
        partner: PartnerNo,
        /// Which link.
        link: LinkNo,
        /// When.
        at: Timestamp,
    },
    /// No click id came with it.
    NoClick,
    /// The click id is not one of ours.
    BadClickId,
    /// The click was too long ago.
    OutsideWindow {
        /// Whose link was clicked.
        partner: PartnerNo,
        /// Which link.
        link: LinkNo,
        /// When.
        at: Timestamp,
    },
    /// The conversion happened before the click.
    BeforeClick {
        /// Whose link was clicked.
        partner: PartnerNo,
        /// Which link.
        link: LinkNo,
        /// When.
        at: Timestamp,
    },
    /// The click was for another program.
    OtherProgram,
    /// The partner takes no part in the program.
    NotEnrolled {
        /// The partner's number in the click id.
        partner: PartnerNo,
    },
}

impl Attribution {
    /// Returns the text form kept in the database.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Click { .. } => "click",
            Self::NoClick => "no_click",
            Self::BadClickId => "bad_click_id",
            Self::OutsideWindow { .. } => "outside_window",
            Self::BeforeClick { .. } => "before_click",
            Self::OtherProgram => "other_program",
            Self::NotEnrolled { .. } => "not_enrolled",
        }
    }

    /// Returns the click that was found, also when it does not count.
    pub fn click(self) -> Option<(PartnerNo, LinkNo, Timestamp)> {
        match self {
            Self::Click { partner, link, at }
            | Self::OutsideWindow { partner, link, at }
            | Self::BeforeClick { partner, link, at } => Some((partner, link, at)),
            Self::NoClick | Self::BadClickId | Self::OtherProgram | Self::NotEnrolled { .. } => {
                None
            }
        }
    }
}

/// Decides whose conversion of `occurred_at` it is.
pub fn attribute(
    click_id: Option<&str>,
    occurred_at: Timestamp,
    program: &ProgramFacts,
    click_keys: &KeyRing,
    is_enrolled: impl FnOnce(PartnerNo) -> bool,
) -> Attribution {
    let Some(text) = click_id else { return Attribution::NoClick };
    let Ok(click) = ClickId::verify(click_keys, text) else { return Attribution::BadClickId };
    if click.program != program.number {
        return Attribution::OtherProgram;
    }
    let (partner, link, at) = (click.partner, click.link, click.at);
    if occurred_at + SKEW_MAX < at {
        Attribution::BeforeClick { partner, link, at }
    } else if occurred_at - at > Duration::days(i64::from(program.window_days)) {
        Attribution::OutsideWindow { partner, link, at }
    } else if !is_enrolled(partner) {
        Attribution::NotEnrolled { partner }
    } else {
        Attribution::Click { partner, link, at }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::ProgramNo;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn attribute_sale(occurred_at: &str, program: u32, keys: &KeyRing) -> &'static str {
        let click_at = at("2026-01-01T00:00:00Z");
        let click = ClickId::new(click_at, ProgramNo(7), PartnerNo(1), LinkNo(2), [0; 5]);
        let text = click.sign(&KeyRing::single([1; 32])).to_string();
        let facts = ProgramFacts { number: ProgramNo(program), window_days: 30, plans: Vec::new() };
        attribute(Some(&text), at(occurred_at), &facts, keys, |_| true).as_str()
    }

    #[test]
    fn the_window_is_closed_at_both_ends() {
        let keys = KeyRing::single([1; 32]);
        for (occurred_at, expected) in [
            ("2025-12-31T23:54:59Z", "before_click"),
            ("2025-12-31T23:55:00Z", "click"),
            ("2026-01-01T00:00:00Z", "click"),
            ("2026-01-31T00:00:00Z", "click"),
            ("2026-01-31T00:00:00.001Z", "outside_window"),
        ] {
            assert_eq!(attribute_sale(occurred_at, 7, &keys), expected, "{occurred_at}");
        }
    }

    #[test]
    fn a_click_id_of_others_attributes_nothing() {
        let keys = KeyRing::single([1; 32]);
        assert_eq!(attribute_sale("2026-01-02T00:00:00Z", 8, &keys), "other_program");
        let foreign = KeyRing::single([2; 32]);
        assert_eq!(attribute_sale("2026-01-02T00:00:00Z", 7, &foreign), "bad_click_id");
    }
}
