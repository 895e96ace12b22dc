//! What was looked at when a conversion was attributed, as it is kept, shown and told in sentences.
//!
//! A field may be added, never renamed or reused: what an older release kept must still be told.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::clock::Timestamp;
use crate::ids::PartnerId;

const WIRE_VERSION: u32 = 1;

/// Something that could have said whose a conversion is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Candidate {
    /// The step of the ladder: `click`, `coupon` or `customer`.
    pub step: String,
    /// `counts`, `outranked` by one that counts, `not_in_ladder`, or why it does not count:
    /// `outside_window` and so on, as in `attribution`.
    pub finding: String,
    /// The partner that it speaks for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub partner_id: Option<PartnerId>,
    /// The number of the link that was clicked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub link_number: Option<u32>,
    /// When the link was clicked, or since when the customer has been the partner's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub at: Option<Timestamp>,
    /// The coupon as it came.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub coupon_code: Option<String>,
}

#[derive(Serialize, Deserialize)]
struct Wire {
    v: u32,
    all: Vec<Candidate>,
}

/// Returns candidates as they are kept.
pub fn to_wire(candidates: Vec<Candidate>) -> serde_json::Value {
    serde_json::to_value(Wire { v: WIRE_VERSION, all: candidates })
        .expect("candidates hold text, numbers and times only")
}

/// How a conversion was attributed, as its row tells.
#[derive(Clone, Debug)]
pub struct Attributed<'a> {
    /// The step that decided, or why it is nobody's.
    pub attribution: &'a str,
    /// Whose it is, or whose click did not count.
    pub partner_id: Option<PartnerId>,
    /// The number of the link that was clicked.
    pub link_number: Option<i64>,
    /// When that was.
    pub click_at: Option<Timestamp>,
    /// The candidates that were kept; where none were, the click was all there was.
    pub kept: Option<&'a serde_json::Value>,
}

/// What a program's policy allowed when a conversion happened.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// When it happened.
    pub occurred_at: Timestamp,
    /// Days for which a click counts.
    pub window_days: i64,
    /// Seconds before which a click does not count.
    pub min_seconds: i64,
}

impl Attributed<'_> {
    /// Returns everything that was looked at, in the order of the ladder.
    pub fn candidates(&self) -> Vec<Candidate> {
        let kept = self.kept.and_then(|kept| Wire::deserialize(kept).ok());
        match (kept, self.attribution) {
            (Some(kept), _) => kept.all,
            (None, "no_click") => Vec::new(),
            (None, code) => vec![Candidate {
                step: "click".to_owned(),
                finding: if code == "click" { "counts" } else { code }.to_owned(),
                partner_id: self.partner_id,
                link_number: self.link_number.and_then(|n| u32::try_from(n).ok()),
                at: self.click_at,
                coupon_code: None,
            }],
        }
    }

    /// Says whose conversion it is, or why it is nobody's, and what else was looked at.
    pub fn sentences(&self, limits: &Limits) -> Vec<String> {
        let candidates = self.candidates();
        let decisive = candidates.iter().position(|candidate| candidate.finding == "counts");
        let mut said = Vec::with_capacity(candidates.len().max(1));
        match (decisive, candidates.first()) {
            (Some(n), _) => {
                let who = who(candidates[n].partner_id);
                said.push(format!("{who} brought it: {}.", candidates[n].phrase(limits)));
            }
            (None, Some(first)) => {
                said.push(format!("It is nobody's: {}.", first.phrase(limits)));
            }
            (None, None) => said.push(
                "It is nobody's: it came without a click id, a coupon, or a customer who is \
                 somebody's."
                    .to_owned(),
            ),
        }
        let told = decisive.unwrap_or(0);
        let others = candidates.iter().enumerate().filter(|(n, _)| *n != told);
        said.extend(others.map(|(_, other)| format!("Looked at, too: {}.", other.phrase(limits))));
        said
    }
}

impl Candidate {
    /// Says in a part of a sentence what was found and why it counts or not.
    fn phrase(&self, limits: &Limits) -> String {
        let Limits { occurred_at, window_days, min_seconds } = limits;
        let link = self.link_number.map_or_else(|| "a link".to_owned(), |n| format!("link {n}"));
        let clicked = match self.at {
            Some(at) => format!("{link} was clicked at {}", time(at)),
            None => format!("{link} was clicked"),
        };
        let before = self.at.map(|at| span(at, *occurred_at)).unwrap_or_default();
        let code = self.coupon_code.as_deref().unwrap_or_default();
        let since = self.at.map(|at| format!(" since {}", time(at))).unwrap_or_default();
        let who = who(self.partner_id);
        match (self.step.as_str(), self.finding.as_str()) {
            ("click", "counts") => format!(
                "{clicked}, {before} before it happened, within the {window_days} days for which \
                 a click counts"
            ),
            ("click", "outside_window") => format!(
                "{clicked}, {before} before it happened, and a click counts for {window_days} days"
            ),
            ("click", "too_soon") => format!(
                "{clicked}, less than {min_seconds} seconds before it happened, and so soon a \
                 click does not count"
            ),
            ("click", "before_click") => {
                format!("{clicked}, after it had happened at {}", time(*occurred_at))
            }
            ("click", "bad_click_id") => "its click id is none that this service signed".to_owned(),
            ("click", "other_program") => "the click was for another program".to_owned(),
            ("click", "not_enrolled") => {
                "whose link was clicked takes no part in the program".to_owned()
            }
            ("click", "outranked") => {
                format!("{clicked}, a link of {who}; a click counts after what decided")
            }
            ("click", "not_in_ladder") => {
                format!("{clicked}, but the policy does not look at clicks")
            }
            ("coupon", "counts") => format!("the customer used its coupon {code}"),
            ("coupon", "unknown_coupon") => format!("the program has no coupon {code}"),
            ("coupon", "coupon_ended") => {
                format!("the coupon {code} of {who} had ended when it happened")
            }
            ("coupon", "coupon_not_begun") => {
                format!("the coupon {code} of {who} had not begun when it happened")
            }
            ("coupon", "not_enrolled") => {
                format!("whose coupon {code} is takes no part in the program")
            }
            ("coupon", "outranked") => {
                format!("the coupon {code} of {who}; a coupon counts after what decided")
            }
            ("coupon", "not_in_ladder") => {
                format!("the coupon {code}, but the policy does not look at coupons")
            }
            ("customer", "counts") => format!("the customer has been its own{since}"),
            ("customer", "outranked") => format!(
                "the customer has been {who}'s{since}; whose customer it is counts after what \
                 decided"
            ),
            ("customer", "not_in_ladder") => format!(
                "the customer has been {who}'s{since}, but the policy does not look at customers"
            ),
            ("customer", "not_enrolled") => {
                "whose customer it is takes no part in the program".to_owned()
            }
            (step, finding) => format!("{step}: {finding}"),
        }
    }
}

fn who(partner_id: Option<PartnerId>) -> String {
    partner_id.map_or_else(|| "nobody".to_owned(), |id| id.to_string())
}

fn time(at: Timestamp) -> String {
    at.format("%Y-%m-%d %H:%M:%S UTC").to_string()
}

fn span(from: Timestamp, to: Timestamp) -> String {
    let minutes = (to - from).num_minutes().max(0);
    match (minutes / 1440, minutes / 60, minutes) {
        (days @ 2.., _, _) => format!("{days} days"),
        (_, hours @ 2.., _) => format!("{hours} hours"),
        (_, _, 1) => "1 minute".to_owned(),
        (_, _, minutes) => format!("{minutes} minutes"),
    }
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;
    use serde_json::json;

    use super::*;

    fn click_at() -> Timestamp {
        "2026-10-01T10:00:00Z".parse().unwrap()
    }

    fn limits(days: i64) -> Limits {
        let occurred_at = click_at() + TimeDelta::days(days);
        Limits { occurred_at, window_days: 30, min_seconds: 10 }
    }

    #[test]
    fn each_attribution_says_whose_it_is_or_why_nobodys() {
        for (attribution, days, expected) in [
            ("click", 3, "link 7 was clicked at 2026-10-01 10:00:00 UTC, 3 days before"),
            ("outside_window", 31, "31 days before it happened, and a click counts for 30 days"),
            ("before_click", -1, "after it had happened at 2026-09-30 10:00:00 UTC"),
            ("too_soon", 0, "less than 10 seconds before it happened"),
            ("no_click", 0, "without a click id"),
            ("bad_click_id", 0, "none that this service signed"),
            ("other_program", 0, "for another program"),
            ("not_enrolled", 0, "takes no part"),
            ("something_new", 0, "nobody's: click: something_new"),
        ] {
            let attributed = Attributed {
                attribution,
                partner_id: (attribution == "click").then(PartnerId::new),
                link_number: Some(7),
                click_at: Some(click_at()),
                kept: None,
            };
            let said = attributed.sentences(&limits(days));
            assert_eq!(said.len(), 1);
            assert!(said[0].contains(expected), "{said:?}");
        }
    }

    /// Never change this text: it is what release 0.1 wrote.
    const VERSION_1: &str = r#"{"all":[{"at":"2026-10-01T10:00:00Z","finding":"outside_window","link_number":7,"step":"click"},{"coupon_code":"SUMMER","finding":"counts","step":"coupon"},{"at":"2026-09-01T10:00:00Z","finding":"outranked","step":"customer"}],"v":1}"#;

    #[test]
    fn what_was_kept_is_told_in_the_order_of_the_ladder() {
        let kept: serde_json::Value = serde_json::from_str(VERSION_1).unwrap();
        let attributed = Attributed {
            attribution: "coupon",
            partner_id: None,
            link_number: None,
            click_at: None,
            kept: Some(&kept),
        };
        assert_eq!(to_wire(attributed.candidates()), kept);
        assert_eq!(
            attributed.sentences(&limits(31)),
            [
                "nobody brought it: the customer used its coupon SUMMER.",
                "Looked at, too: link 7 was clicked at 2026-10-01 10:00:00 UTC, 31 days before it \
                 happened, and a click counts for 30 days.",
                "Looked at, too: the customer has been nobody's since 2026-09-01 10:00:00 UTC; \
                 whose customer it is counts after what decided.",
            ]
        );
        assert_eq!(
            json!(attributed.candidates()[1]),
            json!({"step": "coupon",
            "finding": "counts", "coupon_code": "SUMMER"})
        );
    }
}
