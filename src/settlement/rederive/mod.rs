//! What another attribution model would have paid: history shared anew, and nothing changes.
//!
//! The clicks on the path of a conversion are kept with what was found of each, so another model
//! only weighs them anew; a replay prices the parts by the editions of their time, from stored
//! inputs, with tiers, caps and refunds. The model that was in force comes to the ledger, to the
//! cent. A conversion that came without a path, or by a coupon or an owned customer, stays whose
//! it is by every model.

pub mod http;

use crate::commission::plan::Split;
use crate::commission::simulate::{Part, Past};
use crate::ids::PartnerId;
use crate::program::attribution::Model;
use crate::settlement::attribution::model::{by_partner, weights};

/// Returns who would have which part by a model; none where the conversion stays as it was settled.
///
/// A part of somebody who may not earn is nobody's, as it is in settlement: the others have no more
/// for it.
pub fn parts_by(
    model: Model,
    past: &Past,
    may_earn: impl Fn(PartnerId) -> bool,
) -> Option<Vec<Part>> {
    // Where something else says whose it is, no model is kept with the path.
    let path = past.path.as_ref().filter(|path| path.model.is_some())?;
    let counting = path.clicks.iter().filter(|click| click.finding == "counts");
    let clicks: Vec<_> = counting.filter_map(|c| Some((c.partner_id?, c.at?))).collect();
    let times: Vec<_> = clicks.iter().map(|(_, at)| *at).collect();
    let weighed = clicks.iter().map(|(partner_id, _)| *partner_id).zip(weights(model, &times));
    let shares = by_partner(weighed);
    let all: Vec<u32> = shares.iter().map(|(_, weight)| *weight).collect();
    let part = |(index, (partner_id, _)): (usize, &(PartnerId, u32))| Part {
        partner_id: *partner_id,
        split: (all.len() > 1).then(|| Split { index, weights: all.clone() }),
    };
    let has_earned = |id| past.booked.iter().any(|one| one.partner_id == id);
    let parts = shares.iter().enumerate().map(part);
    Some(parts.filter(|p| has_earned(p.partner_id) || may_earn(p.partner_id)).collect())
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;

    use super::*;
    use crate::clock::Timestamp;
    use crate::commission::pricing::Told;
    use crate::conversion::path::{Path, PathClick};
    use crate::ids::ConversionId;

    fn past(path: Option<Path>) -> Past {
        Past {
            conversion_id: ConversionId::new(),
            name: String::new(),
            occurred_at: Timestamp::UNIX_EPOCH,
            price: None,
            told: Told::default(),
            refund: None,
            attributed_to: None,
            path,
            booked: Vec::new(),
        }
    }

    fn click(partner_id: PartnerId, day: i64, finding: &str) -> PathClick {
        PathClick {
            click_id: day.to_string(),
            finding: finding.to_owned(),
            partner_id: Some(partner_id),
            link_number: None,
            at: Some(Timestamp::UNIX_EPOCH + TimeDelta::days(day)),
            weight: 0,
            percent: String::new(),
            is_anothers: false,
        }
    }

    #[test]
    fn a_model_weighs_the_clicks_that_counted_and_leaves_the_rest_as_it_was() {
        let [a, b, c] = [PartnerId::new(), PartnerId::new(), PartnerId::new()];
        let clicks = vec![
            click(a, 1, "counts"),
            click(c, 2, "outside_window"),
            click(b, 3, "counts"),
            click(a, 4, "counts"),
        ];
        let path =
            |model: Option<&str>| Some(Path::new(model.map(str::to_owned), None, clicks.clone()));
        let parts = |model, path, may_earn: &[PartnerId]| {
            let parts = parts_by(model, &past(path), |id| may_earn.contains(&id))?;
            let told = |part: Part| (part.partner_id, part.split.map(|s| (s.index, s.weights)));
            Some(parts.into_iter().map(told).collect::<Vec<_>>())
        };
        let kept = Some("last_click");
        let all = [a, b, c];
        let shared = |index| Some((index, vec![2, 1]));
        let both = vec![(a, shared(0)), (b, shared(1))];
        assert_eq!(parts(Model::Linear, path(kept), &all), Some(both.clone()));
        assert_eq!(parts(Model::LastClick, path(kept), &all), Some(vec![(a, None)]));
        assert_eq!(parts(Model::Linear, path(kept), &[a]), Some(both[..1].to_vec()));
        assert_eq!(parts(Model::Linear, path(None), &all), None);
        assert_eq!(parts(Model::Linear, None, &all), None);
    }
}
