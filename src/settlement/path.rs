//! The path of a conversion: each click that its shop names, whether it counts, and what it weighs.
//!
//! Every click id is signed, so a path needs no row of a click. What cannot be verified, was for
//! another program, lies outside the window or stands there twice is kept with the reason and has
//! nothing; the others share the conversion by the model of the policy.

use crate::click::click_id::ClickId;
use crate::conversion::path::{Path as PathWire, PathClick};
use crate::ids::{PartnerId, PartnerNo};
use crate::program::attribution::{Model, Policy};
use crate::settlement::Share;
use crate::settlement::attribution::model::{by_partner, weights};
use crate::settlement::attribution::{Asked, Candidate, Evidence, Finding, look_at};
use crate::settlement::facts::ProgramFacts;
use crate::signing::KeyRing;

/// A click on the path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Touch {
    /// The click id as it came.
    pub text: String,
    /// What it says, where it is ours.
    pub click: Option<ClickId>,
    /// Whether it counts.
    pub finding: Finding,
    /// Its part; 0 for none.
    pub weight: u32,
}

impl Touch {
    /// Returns what may be told of it: whose click for another program it was is nothing to this one.
    fn shown(&self) -> Option<ClickId> {
        self.click.filter(|_| self.finding != Finding::OtherProgram)
    }
}

/// The clicks that a shop names, in the order of their times.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Path {
    /// How the conversion is shared among them.
    pub model: Model,
    /// The clicks; those that are not ours come last.
    pub touches: Vec<Touch>,
}

impl Path {
    /// Looks at every click of a path.
    pub fn look(
        asked: &Asked<'_>,
        program: &ProgramFacts,
        policy: &Policy,
        click_keys: &KeyRing,
        is_enrolled: impl Fn(PartnerNo) -> bool,
    ) -> Self {
        let mut touches: Vec<Touch> = Vec::new();
        for text in asked.path() {
            let (mut finding, click) =
                look_at(text, asked.occurred_at, program, policy, click_keys);
            let is_known =
                |known: &Touch| known.text == text || (click.is_some() && known.click == click);
            if touches.iter().any(is_known) {
                finding = Finding::Duplicate;
            } else if finding == Finding::Counts
                && !click.is_some_and(|click| is_enrolled(click.partner))
            {
                finding = Finding::NotEnrolled;
            }
            touches.push(Touch { text: text.to_owned(), click, finding, weight: 0 });
        }
        touches.sort_by_key(|touch| {
            let place = touch.click.map(|c| (c.at, c.partner, c.link, c.random));
            (place.is_none(), place)
        });
        let counting: Vec<&mut Touch> =
            touches.iter_mut().filter(|touch| touch.finding == Finding::Counts).collect();
        let times: Vec<_> = counting.iter().filter_map(|t| Some(t.click?.at)).collect();
        for (touch, weight) in counting.into_iter().zip(weights(policy.model, &times)) {
            touch.weight = weight;
        }
        Self { model: policy.model, touches }
    }

    /// Returns the partners' parts; none where no click counts.
    pub fn shares(&self) -> Vec<Share> {
        let weighed = self.touches.iter().filter_map(|t| Some((t.click?.partner, t.weight)));
        let share = |(partner, weight)| Share { partner, weight };
        by_partner(weighed).into_iter().map(share).collect()
    }

    /// Returns the last click of a partner that has a part.
    pub fn last_of(&self, partner: PartnerNo) -> Option<ClickId> {
        self.last_touch_of(partner)?.click
    }

    fn last_touch_of(&self, partner: PartnerNo) -> Option<&Touch> {
        let is_its = |t: &&Touch| t.weight > 0 && t.click.is_some_and(|c| c.partner == partner);
        self.touches.iter().rev().find(is_its)
    }

    /// Returns the click that the conversion is shown with: the last one of the partner with the
    /// largest part, of equal ones the later.
    pub fn leading(&self) -> Option<&Touch> {
        let shares = self.shares();
        let touches =
            shares.iter().filter_map(|s| Some((s.weight, self.last_touch_of(s.partner)?)));
        let leading = touches.max_by_key(|(weight, touch)| (*weight, touch.click.map(|c| c.at)));
        leading.map(|(_, touch)| touch)
    }

    /// Returns what the path says on the ladder: its leading click, or, where none counts, the last
    /// that is ours and why it does not.
    pub fn candidate(&self) -> Option<Candidate> {
        let is_refused = |t: &&Touch| t.finding != Finding::Duplicate;
        let mut refused = self.touches.iter().rev().filter(is_refused);
        let touch = self
            .leading()
            .or_else(|| refused.clone().find(|touch| touch.click.is_some()))
            .or_else(|| refused.next())?;
        Some(Candidate {
            evidence: Evidence::Click(touch.shown().map(|c| (c.partner, c.link, c.at))),
            finding: touch.finding,
        })
    }

    /// Takes the parts away: something else says whose the conversion is.
    pub fn yield_to_others(&mut self) {
        self.touches.iter_mut().for_each(|touch| touch.weight = 0);
    }

    /// Returns the path as it is kept and shown.
    pub fn to_wire(&self, id_of: impl Fn(PartnerNo) -> Option<PartnerId>) -> PathWire {
        let told = |touch: &Touch| {
            let click = touch.shown();
            PathClick {
                click_id: touch.text.clone(),
                finding: touch.finding.as_str().to_owned(),
                partner_id: click.and_then(|click| id_of(click.partner)),
                link_number: click.map(|click| click.link.0),
                at: click.map(|click| click.at),
                weight: touch.weight,
                percent: String::new(),
                is_anothers: false,
            }
        };
        let decides = self.touches.iter().any(|touch| touch.weight > 0);
        let model = decides.then(|| self.model.as_str().to_owned());
        let half_life_days = self.model.half_life_days().filter(|_| decides);
        PathWire::new(model, half_life_days, self.touches.iter().map(told).collect())
    }
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;
    use proptest::prelude::*;

    use super::*;
    use crate::clock::Timestamp;
    use crate::ids::{LinkNo, ProgramNo};
    use crate::program::attribution::Policies;

    const MODELS: [Model; 5] = [
        Model::LastClick,
        Model::FirstClick,
        Model::Linear,
        Model::Position,
        Model::TimeDecay { half_life_days: 7 },
    ];

    fn now() -> Timestamp {
        "2026-11-22T10:00:00Z".parse().unwrap()
    }

    fn keys() -> KeyRing {
        KeyRing::single([7; 32])
    }

    fn id(partner: u32, hours_ago: i64, program: u32) -> String {
        let at = now() - TimeDelta::hours(hours_ago);
        let click = ClickId::new(at, ProgramNo(program), PartnerNo(partner), LinkNo(3), [0; 5]);
        click.sign(&keys()).to_string()
    }

    /// Looks at a path in a program where all partners but 9 take part.
    fn look(click_ids: &[String], model: Model) -> Path {
        let policies = Policies::default();
        let asked = Asked {
            occurred_at: now(),
            click_id: None,
            click_ids,
            coupon_code: None,
            coupons: &[],
            owner: None,
        };
        let program = ProgramFacts { number: ProgramNo(1), policies, plans: Vec::new() };
        let policy = Policy { model, ..Policy::default() };
        Path::look(&asked, &program, &policy, &keys(), |partner| partner.0 != 9)
    }

    #[test]
    fn each_click_counts_once_or_says_why_not() {
        let ids = [
            id(1, 1, 1),
            id(2, 24 * 31, 1),
            id(1, 2, 1),
            id(1, 1, 1),
            id(9, 3, 1),
            id(1, 4, 2),
            "nonsense".to_owned(),
            id(3, -1, 1),
        ];
        let path = look(&ids, Model::Linear);
        let found: Vec<(&str, u32)> =
            path.touches.iter().map(|t| (t.finding.as_str(), t.weight)).collect();
        assert_eq!(
            found,
            [
                ("outside_window", 0),
                ("other_program", 0),
                ("not_enrolled", 0),
                ("counts", 1),
                ("counts", 1),
                ("duplicate", 0),
                ("before_click", 0),
                ("bad_click_id", 0),
            ]
        );
        assert_eq!(path.shares(), [Share { partner: PartnerNo(1), weight: 2 }]);
    }

    #[test]
    fn what_is_shown_is_the_largest_part_or_the_nearest_miss() {
        let ids = [id(1, 30, 1), id(2, 20, 1), id(1, 10, 1), id(2, 5, 1)];
        for (model, partner, hours_ago) in [
            (Model::LastClick, 2, 5),
            (Model::FirstClick, 1, 30),
            (Model::Linear, 2, 5),
            (Model::Position, 2, 5),
        ] {
            let leading = look(&ids, model).leading().and_then(|touch| touch.click).unwrap();
            let at = now() - TimeDelta::hours(hours_ago);
            assert_eq!((leading.partner.0, leading.at), (partner, at), "{model:?}");
        }
        let refused = |ids: &[String]| look(ids, Model::Linear).candidate().unwrap();
        let old = id(2, 24 * 31, 1);
        let missed = refused(&[old, "nonsense".to_owned()]);
        assert_eq!(missed.finding, Finding::OutsideWindow);
        assert_eq!(missed.partner(), Some(PartnerNo(2)));
        let foreign = refused(&[id(1, 4, 2)]);
        assert_eq!((foreign.finding, foreign.partner()), (Finding::OtherProgram, None));
        assert_eq!(refused(&["nonsense".to_owned()]).finding, Finding::BadClickId);
    }

    proptest! {
        #[test]
        fn the_order_in_which_clicks_are_listed_changes_nothing(
            hours in prop::collection::btree_set(0..24 * 40i64, 1..=20),
            partners in prop::collection::vec(1..5u32, 20),
            model in prop::sample::select(&MODELS[..]),
            seed in prop::collection::vec(0..20usize, 20),
        ) {
            let ids: Vec<String> =
                hours.iter().zip(&partners).map(|(h, p)| id(*p, *h, 1)).collect();
            let mut mixed = ids.clone();
            let n = mixed.len();
            for (i, j) in seed.iter().enumerate() {
                mixed.swap(i % n, j % n);
            }
            let (path, other) = (look(&ids, model), look(&mixed, model));
            prop_assert_eq!(path.shares(), other.shares());
            prop_assert_eq!(path.candidate(), other.candidate());
        }
    }
}
