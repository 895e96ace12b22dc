//! The path of a conversion as it is kept, shown and told in sentences: every click that its shop
//! named, whether it counts, and which part it has.
//!
//! A field may be added, never renamed or reused: what an older release kept must still be told.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::clock::Timestamp;
use crate::ids::PartnerId;

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
            let weight = u64::from(click.weight);
            let bps = (weight * 10_000 + all / 2).checked_div(all).unwrap_or(0);
            click.percent = format!("{}.{:02}", bps / 100, bps % 100);
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

    /// Says how the conversion is shared, and of each click why it has its part or nothing.
    pub fn sentences(&self) -> Vec<String> {
        let n = self.clicks.len();
        let how = match self.model.as_deref() {
            None => "something else says whose it is".to_owned(),
            Some("last_click") => "the last of them has all of it".to_owned(),
            Some("first_click") => "the first of them has all of it".to_owned(),
            Some("linear") => "each of them has the same part".to_owned(),
            Some("position") => {
                "the first and the last of them have 40 % each, those between 20 %; two have half \
                 each"
                    .to_owned()
            }
            Some("time_decay") => {
                let days = self.half_life_days.unwrap_or(1);
                format!("each of them weighs half of one that is {days} days younger")
            }
            Some(other) => format!("they share it by {other}"),
        };
        let n_counting = self.clicks.iter().filter(|click| click.finding == "counts").count();
        let mut said = vec![format!("Its path has {n} clicks; {n_counting} count, and {how}.")];
        said.extend(self.clicks.iter().zip(1..).map(|(click, n)| click.sentence(n)));
        said
    }
}

impl PathClick {
    fn sentence(&self, n: usize) -> String {
        let link = self.link_number.map_or_else(|| "a link".to_owned(), |n| format!("link {n}"));
        let who = self.partner_id.map_or_else(|| "nobody".to_owned(), |id| id.to_string());
        let at = self.at.map(|at| at.format(" at %Y-%m-%d %H:%M:%S UTC").to_string());
        let clicked = format!("{link} of {who}{}", at.unwrap_or_default());
        match self.finding.as_str() {
            "counts" if self.weight > 0 => {
                format!("Click {n}, {clicked}, has {} %.", self.percent)
            }
            "counts" => format!("Click {n}, {clicked}, counts and has nothing."),
            "bad_click_id" => {
                format!("Click {n} has nothing: its id is none that this service signed.")
            }
            "other_program" => format!("Click {n} has nothing: it was for another program."),
            "duplicate" => format!("Click {n} has nothing: it stands in the path before."),
            "outside_window" => format!("Click {n}, {clicked}, has nothing: it was too long ago."),
            "before_click" => {
                format!("Click {n}, {clicked}, has nothing: the order had happened by then.")
            }
            "too_soon" => format!("Click {n}, {clicked}, has nothing: the order came too soon."),
            "not_enrolled" => format!(
                "Click {n} has nothing: whose link was clicked takes no part in the program."
            ),
            other => format!("Click {n}, {clicked}, has nothing: {other}."),
        }
    }
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
            path.sentences(),
            [
                "Its path has 3 clicks; 2 count, and each of them weighs half of one that is 7 days \
                 younger.",
                "Click 1, link 7 of nobody at 2026-11-01 00:00:00 UTC, has 33.33 %.",
                "Click 2, a link of nobody, has 66.67 %.",
                "Click 3 has nothing: its id is none that this service signed.",
            ]
        );
        let none = Path::new(None, None, Vec::new());
        assert!(none.sentences()[0].contains("something else says whose it is"));
    }
}
