//! The path of a conversion as it is kept, shown and told in sentences: every click that its shop
//! named, whether it counts, and which part it has.
//!
//! A field may be added, never renamed or reused: what an older release kept must still be told.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::clock::Timestamp;
use crate::ids::PartnerId;
use crate::language::Language;

const WIRE_VERSION: u32 = 1;

/// The path of a conversion.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = ConversionPath)]
pub struct Path {
    /// The version of this form: 1.
    pub v: u32,
    /// The model that shared the conversion among its clicks, such as `linear`; null where something
    /// else than a click says whose it is.
    pub model: Option<String>,
    /// Days after which a click weighs half; of `time_decay` alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub half_life_days: Option<u16>,
    /// Every click, in the order of their signed times; those without one come last.
    pub clicks: Vec<PathClick>,
}

/// A click on the path of a conversion.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PathClick {
    /// The click id as it came.
    pub click_id: String,
    /// `counts`, or why it does not: `duplicate`, `bad_click_id`, `other_program`, `outside_window`,
    /// `before_click`, `too_soon`, `not_enrolled`.
    pub finding: String,
    /// Whose link was clicked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub partner_id: Option<PartnerId>,
    /// The number of the link.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub link_number: Option<u32>,
    /// When it was clicked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub at: Option<Timestamp>,
    /// Its part: this weight of the sum of all weights; 0 for none.
    #[serde(default)]
    pub weight: u32,
    /// The same in percent, rounded.
    #[serde(default)]
    #[schema(example = "40.00")]
    pub percent: String,
    /// Whether it is another partner's than the one who asks: then no more is told of it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_anothers: bool,
}

/// Returns a weight of all in percent, rounded.
pub fn percent(weight: u32, all: u64) -> String {
    let bps = (u64::from(weight) * 10_000 + all / 2).checked_div(all).unwrap_or(0);
    format!("{}.{:02}", bps / 100, bps % 100)
}

impl Path {
    /// Returns a path with the parts of its clicks reckoned in percent.
    pub fn new(
        model: Option<String>,
        half_life_days: Option<u16>,
        mut clicks: Vec<PathClick>,
    ) -> Self {
        let all: u64 = clicks.iter().map(|click| u64::from(click.weight)).sum();
        for click in &mut clicks {
            click.percent = percent(click.weight, all);
        }
        Self { v: WIRE_VERSION, model, half_life_days, clicks }
    }

    /// Returns the path as it is kept.
    pub fn to_wire(&self) -> serde_json::Value {
        serde_json::to_value(self).expect("a path holds text, numbers and times only")
    }

    /// Reads what was kept; none for a form that this release does not know.
    pub fn from_wire(kept: &serde_json::Value) -> Option<Self> {
        Self::deserialize(kept).ok().filter(|path| path.v == WIRE_VERSION)
    }

    /// Reads what was kept from its text.
    pub fn from_text(kept: &str) -> Option<Self> {
        Self::from_wire(&serde_json::from_str(kept).ok()?)
    }

    /// Returns what a partner sees of it: of others' clicks their parts, and nothing else.
    pub fn seen_by(mut self, partner: Option<PartnerId>) -> Self {
        let Some(own) = partner else { return self };
        for click in self.clicks.iter_mut().filter(|click| click.partner_id != Some(own)) {
            click.is_anothers = click.partner_id.is_some();
            click.click_id = String::new();
            (click.partner_id, click.link_number, click.at) = (None, None, None);
        }
        self
    }

    /// Returns the partners who have a part, with their weights of the sum of all, in the order in
    /// which they first clicked.
    pub fn shares(&self) -> Vec<(PartnerId, u32)> {
        let mut shares: Vec<(PartnerId, u32)> = Vec::new();
        for click in self.clicks.iter().filter(|click| click.weight > 0) {
            let Some(partner_id) = click.partner_id else { continue };
            match shares.iter_mut().find(|(known, _)| *known == partner_id) {
                Some((_, weight)) => *weight = weight.saturating_add(click.weight),
                None => shares.push((partner_id, click.weight)),
            }
        }
        shares
    }

    /// Says how the conversion is shared, and of each click why it has its part or nothing.
    pub fn sentences(&self, lang: Language) -> Vec<String> {
        let n = self.clicks.len();
        let how = self.how(lang);
        let n_counting = self.clicks.iter().filter(|click| click.finding == "counts").count();
        let mut said = vec![lang.pick(
            format!("Its path has {n} clicks; {n_counting} count, and {how}."),
            format!("Кликов на пути: {n}; засчитано: {n_counting}; {how}."),
        )];
        said.extend(self.clicks.iter().zip(1..).map(|(click, n)| click.sentence(n, lang)));
        said
    }

    fn how(&self, lang: Language) -> String {
        let days = self.half_life_days.unwrap_or(1);
        let (en, ru) = match self.model.as_deref() {
            None => ("something else says whose it is", "чьё это, решает другое"),
            Some("last_click") => ("the last of them has all of it", "всё у последнего из них"),
            Some("first_click") => ("the first of them has all of it", "всё у первого из них"),
            Some("linear") => ("each of them has the same part", "доли равны"),
            Some("position") => (
                "the first and the last of them have 40 % each, those between 20 %; two have half \
                 each",
                "у первого и последнего по 40 %, у остальных вместе 20 %; если их два, то пополам",
            ),
            Some("time_decay") => {
                return lang.pick(
                    format!("each of them weighs half of one that is {days} days younger"),
                    format!("каждый весит вдвое меньше того, что моложе на {days} дней"),
                );
            }
            Some(other) => {
                let text = |by| format!("{by} {other}");
                return lang.pick(text("they share it by"), text("доли по модели"));
            }
        };
        lang.pick(en, ru).to_owned()
    }
}

impl PathClick {
    fn sentence(&self, n: usize, lang: Language) -> String {
        let (word, link_word) = lang.pick(("Click", "link"), ("Клик", "ссылка"));
        let link = self.link_number.map_or_else(
            || lang.pick("a link", "ссылка").to_owned(),
            |n| format!("{link_word} {n}"),
        );
        let who = match self.partner_id {
            Some(id) => lang.pick(format!("of {id}"), id.to_string()),
            None if self.is_anothers => {
                lang.pick("of another partner", "другого партнёра").to_owned()
            }
            None => lang.pick("of nobody", "ничья").to_owned(),
        };
        let at = self.at.map(|at| at.format("%Y-%m-%d %H:%M:%S UTC").to_string());
        let at = at.map(|at| lang.pick(format!(" at {at}"), format!(", {at}"))).unwrap_or_default();
        let clicked = format!("{word} {n}, {link} {who}{at}");
        let nothing = lang.pick("has nothing", "не получает ничего");
        let percent = &self.percent;
        match self.finding.as_str() {
            "counts" if self.weight > 0 => {
                format!("{clicked}, {} {percent} %.", lang.pick("has", "получает"))
            }
            "counts" => lang.pick(
                format!("{clicked}, counts and has nothing."),
                format!("{clicked}, засчитан и не получает ничего."),
            ),
            finding => match why_nothing(finding, lang) {
                // Of these nobody knows whose link it was.
                Some((why, false)) => format!("{word} {n} {nothing}: {why}."),
                Some((why, true)) => format!("{clicked}, {nothing}: {why}."),
                None => format!("{clicked}, {nothing}: {finding}."),
            },
        }
    }
}

/// Says why a click has nothing, and whether it is told whose link it was.
fn why_nothing(finding: &str, lang: Language) -> Option<(&'static str, bool)> {
    let (en, ru, is_told) = match finding {
        "bad_click_id" => (
            "its id is none that this service signed",
            "его идентификатор не подписан этим сервисом",
            false,
        ),
        "other_program" => ("it was for another program", "он был для другой программы", false),
        "duplicate" => ("it stands in the path before", "он уже есть на пути", false),
        "outside_window" => ("it was too long ago", "он был слишком давно", true),
        "before_click" => ("the order had happened by then", "заказ был раньше", true),
        "too_soon" => ("the order came too soon", "заказ пришёл слишком скоро", true),
        "not_enrolled" => (
            "whose link was clicked takes no part in the program",
            "тот, чья это ссылка, не участвует в программе",
            false,
        ),
        _ => return None,
    };
    Some((lang.pick(en, ru), is_told))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Never change this text: it is what the first release with paths kept.
    const VERSION_1: &str = r#"{"v":1,"model":"time_decay","half_life_days":7,"clicks":[{"click_id":"a","finding":"counts","link_number":7,"at":"2026-11-01T00:00:00Z","weight":1,"percent":"33.33"},{"click_id":"b","finding":"counts","weight":2,"percent":"66.67"},{"click_id":"c","finding":"bad_click_id","weight":0,"percent":"0.00"}]}"#;

    #[test]
    fn version_1_parses_for_ever() {
        let kept: serde_json::Value = serde_json::from_str(VERSION_1).unwrap();
        let path = Path::from_wire(&kept).unwrap();
        assert_eq!(path.to_wire(), kept);
        let again = Path::new(path.model.clone(), path.half_life_days, path.clicks.clone());
        assert_eq!(again, path);
        let newer = VERSION_1.replacen("\"v\":1", "\"v\":2", 1);
        assert_eq!(Path::from_wire(&serde_json::from_str(&newer).unwrap()), None);
    }

    #[test]
    fn each_click_is_told_with_its_part_or_why_it_has_none() {
        let path = Path::from_wire(&serde_json::from_str(VERSION_1).unwrap()).unwrap();
        assert_eq!(
            path.sentences(Language::En),
            [
                "Its path has 3 clicks; 2 count, and each of them weighs half of one that is 7 days \
                 younger.",
                "Click 1, link 7 of nobody at 2026-11-01 00:00:00 UTC, has 33.33 %.",
                "Click 2, a link of nobody, has 66.67 %.",
                "Click 3 has nothing: its id is none that this service signed.",
            ]
        );
        assert_eq!(
            path.sentences(Language::Ru),
            [
                "Кликов на пути: 3; засчитано: 2; каждый весит вдвое меньше того, что моложе на 7 дней.",
                "Клик 1, ссылка 7 ничья, 2026-11-01 00:00:00 UTC, получает 33.33 %.",
                "Клик 2, ссылка ничья, получает 66.67 %.",
                "Клик 3 не получает ничего: его идентификатор не подписан этим сервисом.",
            ]
        );
        let none = Path::new(None, None, Vec::new());
        assert!(none.sentences(Language::En)[0].contains("something else says whose it is"));
    }
}
