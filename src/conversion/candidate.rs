//! What was looked at when a conversion was attributed, as it is kept, shown and told in sentences.
//!
//! A field may be added, never renamed or reused: what an older release kept must still be told.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::clock::Timestamp;
use crate::conversion::path::percent;
use crate::ids::PartnerId;
use crate::language::Language;

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

    /// Says whose conversion it is, who shares it, or why it is nobody's, and what else was looked
    /// at; to a partner of what is its own alone.
    pub fn sentences(&self, limits: &Limits, asked: &Asked<'_>) -> Vec<String> {
        let Asked { shares, viewer, lang } = *asked;
        let mut candidates = self.candidates();
        let decisive = candidates.iter().position(|candidate| candidate.finding == "counts");
        let is_anothers = |one: &Candidate| {
            one.partner_id.is_some_and(|id| viewer.is_some_and(|viewer| viewer != id))
        };
        let opening = match (decisive, candidates.first()) {
            (Some(_), _) if shares.len() > 1 => shared(asked),
            (Some(n), _) if is_anothers(&candidates[n]) => {
                lang.pick("Another partner brought it.", "Привёл другой партнёр.").to_owned()
            }
            (Some(n), _) => {
                let phrase = candidates[n].phrase(limits, lang);
                let who = who(candidates[n].partner_id, lang);
                lang.pick(
                    format!("{who} brought it: {phrase}."),
                    format!("Привёл {who}: {phrase}."),
                )
            }
            (None, Some(first)) => {
                let phrase = first.phrase(limits, lang);
                lang.pick(
                    format!("It is nobody's: {phrase}."),
                    format!("Никому не засчитано: {phrase}."),
                )
            }
            (None, None) => lang
                .pick(
                    "It is nobody's: it came without a click id, a coupon, or a customer who is \
                     somebody's.",
                    "Никому не засчитано: нет ни идентификатора клика, ни купона, ни клиента, \
                     закреплённого за кем-то.",
                )
                .to_owned(),
        };
        if !candidates.is_empty() {
            candidates.remove(decisive.unwrap_or(0));
        }
        let others = candidates.iter().filter(|one| !is_anothers(one));
        let looked_at = others.map(|one| {
            let phrase = one.phrase(limits, lang);
            lang.pick(format!("Looked at, too: {phrase}."), format!("Рассмотрено также: {phrase}."))
        });
        std::iter::once(opening).chain(looked_at).collect()
    }
}

/// Who asks whose a conversion is, and in which language.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    /// Who shares it, with weights; what each click has, its path tells.
    pub shares: &'a [(PartnerId, u32)],
    /// The partner who asks; none for those who run the program.
    pub viewer: Option<PartnerId>,
    /// In which language.
    pub lang: Language,
}

/// Says who shares a conversion, and how.
fn shared(asked: &Asked<'_>) -> String {
    let Asked { shares, viewer, lang } = *asked;
    let all: u64 = shares.iter().map(|(_, weight)| u64::from(*weight)).sum();
    let parts = shares.iter().map(|(id, weight)| {
        let who = match viewer {
            Some(viewer) if viewer != *id => {
                lang.pick("another partner", "другой партнёр").to_owned()
            }
            Some(_) | None => id.to_string(),
        };
        let percent = percent(*weight, all);
        lang.pick(format!("{who} has {percent} %"), format!("{who} — {percent} %"))
    });
    let parts: Vec<String> = parts.collect();
    format!("{}: {}.", lang.pick("It is shared", "Доли"), parts.join(", "))
}

impl Candidate {
    /// Says in a part of a sentence what was found and why it counts or not.
    fn phrase(&self, limits: &Limits, lang: Language) -> String {
        match lang {
            Language::En => self.phrase_en(limits),
            Language::Ru => self.phrase_ru(limits),
        }
    }

    fn phrase_en(&self, limits: &Limits) -> String {
        let Limits { occurred_at, window_days, min_seconds } = limits;
        let link = self.link_number.map_or_else(|| "a link".to_owned(), |n| format!("link {n}"));
        let clicked = match self.at {
            Some(at) => format!("{link} was clicked at {}", time(at)),
            None => format!("{link} was clicked"),
        };
        let before = self.at.map(|at| span(at, *occurred_at, Language::En)).unwrap_or_default();
        let code = self.coupon_code.as_deref().unwrap_or_default();
        let since = self.at.map(|at| format!(" since {}", time(at))).unwrap_or_default();
        let who = who(self.partner_id, Language::En);
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

    fn phrase_ru(&self, limits: &Limits) -> String {
        let Limits { occurred_at, window_days, min_seconds } = limits;
        let n = self.link_number.map(|n| format!(" {n}")).unwrap_or_default();
        let at = self.at.map(|at| format!(", {}", time(at))).unwrap_or_default();
        let clicked = format!("клик по ссылке{n}{at}");
        let before = self.at.map(|at| span(at, *occurred_at, Language::Ru)).unwrap_or_default();
        let code = self.coupon_code.as_deref().unwrap_or_default();
        let since = self.at.map(|at| format!(" с {}", time(at))).unwrap_or_default();
        let who = who(self.partner_id, Language::Ru);
        match (self.step.as_str(), self.finding.as_str()) {
            ("click", "counts") => {
                format!("{clicked}, за {before} до события; клик засчитывается {window_days} дней")
            }
            ("click", "outside_window") => format!(
                "{clicked}, за {before} до события, а клик засчитывается только {window_days} дней"
            ),
            ("click", "too_soon") => format!(
                "{clicked}, меньше чем за {min_seconds} с до события: так скоро клик не засчитывается"
            ),
            ("click", "before_click") => {
                format!("{clicked}, уже после события ({})", time(*occurred_at))
            }
            ("click", "bad_click_id") => "идентификатор клика не подписан этим сервисом".to_owned(),
            ("click", "other_program") => "клик был для другой программы".to_owned(),
            ("click", "not_enrolled") => "тот, чья это ссылка, не участвует в программе".to_owned(),
            ("click", "outranked") => format!("{clicked} ({who}); решило то, что важнее клика"),
            ("click", "not_in_ladder") => format!("{clicked}, но правила не смотрят на клики"),
            ("coupon", "counts") => format!("клиент применил купон {code}"),
            ("coupon", "unknown_coupon") => format!("в программе нет купона {code}"),
            ("coupon", "coupon_ended") => format!("купон {code} ({who}) к тому времени закончился"),
            ("coupon", "coupon_not_begun") => {
                format!("купон {code} ({who}) к тому времени ещё не действовал")
            }
            ("coupon", "not_enrolled") => {
                format!("тот, чей купон {code}, не участвует в программе")
            }
            ("coupon", "outranked") => {
                format!("купон {code} ({who}); решило то, что важнее купона")
            }
            ("coupon", "not_in_ladder") => {
                format!("купон {code}, но правила не смотрят на купоны")
            }
            ("customer", "counts") => format!("клиент закреплён за ним{since}"),
            ("customer", "outranked") => {
                format!("клиент закреплён ({who}){since}; решило то, что важнее закрепления")
            }
            ("customer", "not_in_ladder") => {
                format!("клиент закреплён ({who}){since}, но правила на это не смотрят")
            }
            ("customer", "not_enrolled") => {
                "тот, за кем закреплён клиент, не участвует в программе".to_owned()
            }
            (step, finding) => format!("{step}: {finding}"),
        }
    }
}

fn who(partner_id: Option<PartnerId>, lang: Language) -> String {
    partner_id.map_or_else(|| lang.pick("nobody", "никто").to_owned(), |id| id.to_string())
}

fn time(at: Timestamp) -> String {
    at.format("%Y-%m-%d %H:%M:%S UTC").to_string()
}

fn span(from: Timestamp, to: Timestamp, lang: Language) -> String {
    let minutes = (to - from).num_minutes().max(0);
    match (minutes / 1440, minutes / 60, minutes) {
        (days @ 2.., _, _) if lang == Language::Ru => format!("{days} дн"),
        (_, hours @ 2.., _) if lang == Language::Ru => format!("{hours} ч"),
        (_, _, minutes) if lang == Language::Ru => format!("{minutes} мин"),
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

    fn asked() -> Asked<'static> {
        Asked { shares: &[], viewer: None, lang: Language::En }
    }

    #[test]
    fn a_shared_conversion_opens_with_the_shares() {
        let [one, other] = [PartnerId::new(), PartnerId::new()];
        let attributed = Attributed {
            attribution: "click",
            partner_id: Some(one),
            link_number: Some(7),
            click_at: Some(click_at()),
            kept: None,
        };
        let said = |viewer, lang| {
            let asked = Asked { shares: &[(one, 2), (other, 1)], viewer, lang };
            attributed.sentences(&limits(3), &asked)
        };
        let expected = format!("It is shared: {one} has 66.67 %, {other} has 33.33 %.");
        assert_eq!(said(None, Language::En), [expected]);
        let expected = format!("Доли: другой партнёр — 66.67 %, {other} — 33.33 %.");
        assert_eq!(said(Some(other), Language::Ru), [expected]);
        let alone = Asked { viewer: Some(other), ..asked() };
        assert_eq!(attributed.sentences(&limits(3), &alone), ["Another partner brought it."]);
        let ru = Asked { lang: Language::Ru, ..asked() };
        let said = attributed.sentences(&limits(3), &ru);
        let expected = format!(
            "Привёл {one}: клик по ссылке 7, 2026-10-01 10:00:00 UTC, за 3 дн до события; клик \
             засчитывается 30 дней."
        );
        assert_eq!(said, [expected]);
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
            let said = attributed.sentences(&limits(days), &asked());
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
            attributed.sentences(&limits(31), &asked()),
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
