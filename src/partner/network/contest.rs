//! The board of a contest: places by a settled figure, ties shared. Pure.

use chrono::TimeDelta;

use crate::ids::PartnerId;

/// How long after its last day a board is frozen: what happened on that day has settled by then,
/// also after an evening without network.
pub const FREEZE_AFTER: TimeDelta = TimeDelta::days(1);

/// A line of the board.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// 1 is the best. Who is level shares the better place, and the next one is left out: 1, 2, 2, 4.
    pub place: u32,
    /// Who.
    pub partner_id: PartnerId,
    /// The figure that the contest counts.
    pub figure: i64,
}

/// Makes the board; who has nothing is not on it. Level partners stand in the order of their ids,
/// so that the same figures always give the same board.
pub fn board(figures: impl IntoIterator<Item = (PartnerId, i64)>) -> Vec<Place> {
    let mut figures: Vec<_> = figures.into_iter().filter(|(_, figure)| *figure > 0).collect();
    figures.sort_by_key(|(partner_id, figure)| (std::cmp::Reverse(*figure), *partner_id));
    let mut places: Vec<Place> = Vec::with_capacity(figures.len());
    for (n, (partner_id, figure)) in (1u32..).zip(figures) {
        let place = places.last().filter(|p| p.figure == figure).map_or(n, |p| p.place);
        places.push(Place { place, partner_id, figure });
    }
    places
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use uuid::Uuid;

    use super::*;

    fn partner(n: usize) -> PartnerId {
        PartnerId(Uuid::from_u128(n as u128))
    }

    #[test]
    fn ties_share_the_better_place_and_leave_the_next_out() {
        for (figures, expected) in [
            (vec![], vec![]),
            (vec![0, -5], vec![]),
            (vec![7], vec![(0, 1)]),
            (vec![10, 30, 20, 20], vec![(1, 1), (2, 2), (3, 2), (0, 4)]),
            (vec![5, 5, 5, 1], vec![(0, 1), (1, 1), (2, 1), (3, 4)]),
        ] {
            let places = board(figures.iter().enumerate().map(|(n, f)| (partner(n), *f)));
            let found: Vec<_> = places.iter().map(|p| (p.partner_id, p.place)).collect();
            let expected: Vec<_> = expected.into_iter().map(|(n, p)| (partner(n), p)).collect();
            assert_eq!(found, expected, "{figures:?}");
        }
    }

    proptest! {
        #[test]
        fn a_place_is_one_more_than_the_number_of_the_better(
            figures in prop::collection::vec(-2i64..6, 0..20)
        ) {
            let named: Vec<_> = figures.iter().enumerate().map(|(n, f)| (partner(n), *f)).collect();
            let places = board(named.clone());
            for p in &places {
                let better = figures.iter().filter(|f| **f > p.figure).count();
                prop_assert_eq!(p.place as usize, better + 1);
            }
            prop_assert_eq!(places, board(named.into_iter().rev()), "the order of reading is nothing");
        }
    }
}
