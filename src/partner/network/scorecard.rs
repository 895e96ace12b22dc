//! The scorecard: ten groups of questions about a partner, weighted. Pure.
//!
//! It is what people believe of a partner before there are results; see [`super::longlist`] for how
//! results take over.

/// A group of the scorecard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Group {
    /// Its name on the wire and in the database.
    pub key: &'static str,
    /// What it asks.
    pub title: &'static str,
    /// Its usual weight; all together are 100.
    pub weight: i16,
}

const fn group(key: &'static str, title: &'static str, weight: i16) -> Group {
    Group { key, title, weight }
}

/// The groups, in their order.
pub const GROUPS: [Group; 10] = [
    group("fit", "strategic and cultural fit", 10),
    group("market", "market, audience, level of contact", 15),
    group("technical", "technical fit", 10),
    group("finance", "financial stability", 5),
    group("reputation", "experience and reputation", 10),
    group("capacity", "marketing capacity", 15),
    group("terms", "terms: split, deadlines, notice, tail commission", 10),
    group("team", "team and its figures", 5),
    group("legal", "legal documents", 5),
    group("growth", "growth potential", 15),
];

/// The best score of a group.
pub const SCORE_MAX: i16 = 5;

/// A group's score with what it rests on.
#[derive(Clone, Debug)]
pub struct Mark {
    /// Key of the group.
    pub group: String,
    /// 0 to 5.
    pub score: i16,
    /// What it rests on.
    pub evidence: String,
    /// When it was looked at.
    pub assessed_on: chrono::NaiveDate,
    /// Who looked.
    pub assessed_by: String,
}

/// What a scorecard comes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Declared {
    /// 0 to 1000; none while nothing with a weight is scored.
    pub points: Option<i64>,
    /// The groups that nobody has looked at; they count neither for nor against.
    pub missing: Vec<&'static str>,
    /// The arithmetic, a sentence each.
    pub why: Vec<String>,
}

/// Returns the weights of a program: its own where it has chosen ten, else the usual ones.
pub fn weights(own: Option<&[i16]>) -> [i16; 10] {
    own.and_then(|w| w.try_into().ok()).unwrap_or_else(|| GROUPS.map(|g| g.weight))
}

/// Says why weights are none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must be {} weights from 0 to 100 that sum to 100, in the order of the groups", GROUPS.len())]
pub struct BadWeights;

/// Checks a program's own weights.
pub fn check_weights(own: &[i16]) -> Result<(), BadWeights> {
    let fits = own.len() == GROUPS.len()
        && own.iter().all(|w| (0..=100).contains(w))
        && own.iter().sum::<i16>() == 100;
    if fits { Ok(()) } else { Err(BadWeights) }
}

/// Adds a scorecard up: the weighted mean of the groups that have a score.
pub fn declared(weights: &[i16; 10], marks: &[Mark]) -> Declared {
    let (mut sum, mut weight_sum) = (0_i64, 0_i64);
    let (mut missing, mut why) = (Vec::new(), Vec::new());
    for (group, weight) in GROUPS.iter().zip(weights) {
        let Some(mark) = marks.iter().find(|m| m.group == group.key) else {
            missing.push(group.key);
            continue;
        };
        sum += i64::from(*weight) * i64::from(mark.score);
        weight_sum += i64::from(*weight);
        why.push(format!(
            "{}: {} of {SCORE_MAX}, weight {weight} ({}, {}).",
            group.title, mark.score, mark.evidence, mark.assessed_on
        ));
    }
    let points = (weight_sum > 0).then(|| sum * 1000 / (weight_sum * i64::from(SCORE_MAX)));
    Declared { points, missing, why }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mark(group: &str, score: i16) -> Mark {
        Mark {
            group: group.to_owned(),
            score,
            evidence: "seen".to_owned(),
            assessed_on: "2026-11-22".parse().unwrap(),
            assessed_by: "user:us_1".to_owned(),
        }
    }

    #[test]
    fn the_usual_weights_sum_to_100_and_fit() {
        assert_eq!(check_weights(&weights(None)), Ok(()));
        for bad in [vec![], vec![10; 9], vec![11; 10], vec![-10, 110, 0, 0, 0, 0, 0, 0, 0, 0]] {
            assert_eq!(check_weights(&bad), Err(BadWeights), "{bad:?}");
        }
    }

    #[test]
    fn the_mean_is_weighted_and_what_is_missing_does_not_count() {
        let usual = weights(None);
        assert_eq!(declared(&usual, &[]).points, None);
        let all: Vec<Mark> = GROUPS.iter().map(|g| mark(g.key, 5)).collect();
        assert_eq!(
            (declared(&usual, &all).points, declared(&usual, &all).missing),
            (Some(1000), vec![])
        );
        // (15 · 5 + 5 · 1) of (20 · 5).
        let some = declared(&usual, &[mark("market", 5), mark("finance", 1)]);
        assert_eq!(some.points, Some(800));
        assert_eq!(some.missing.len(), 8);
        assert_eq!(some.why[1], "financial stability: 1 of 5, weight 5 (seen, 2026-11-22).");
        let mut own = [0; 10];
        own[3] = 100;
        let marks = [mark("market", 5), mark("finance", 1)];
        assert_eq!(declared(&weights(Some(&own)), &marks).points, Some(200));
        assert_eq!(declared(&weights(Some(&own)), &marks[..1]).points, None, "no weight, no score");
    }
}
