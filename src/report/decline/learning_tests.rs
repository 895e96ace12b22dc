//! Going on from what was kept says what a fresh start says.

use proptest::prelude::*;
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use tributary_decline::kept::learned;

use super::*;

#[test]
fn the_first_day_is_a_monday_and_moves_once_a_quarter() {
    let mut day: NaiveDate = "2026-01-01".parse().unwrap();
    let mut firsts = Vec::new();
    for _ in 0..400 {
        let first = first_day(day, Some(day - Days::new(600)));
        let n_days = (day - first).num_days() + 1;
        assert!((400..491).contains(&n_days), "{day}: {n_days}");
        assert_eq!(chrono::Datelike::weekday(&first), chrono::Weekday::Mon);
        firsts.push(first);
        day = day + Days::new(1);
    }
    firsts.dedup();
    assert!((4..=6).contains(&firsts.len()), "{firsts:?}");
}

#[test]
fn a_young_program_is_learned_from_the_monday_of_its_first_click() {
    let of = |day: &str, began: &str| {
        let (day, began) = (day.parse().unwrap(), Some(began.parse().unwrap()));
        (first_day(day, began).to_string(), goes_on_from(day, began).to_string())
    };
    // A Wednesday. States of its first week's end go on to any day of the same beginning.
    let (first, from) = of("2026-06-30", "2026-05-13");
    assert_eq!((first.as_str(), from.as_str()), ("2026-05-11", "2026-05-11"));
    assert_eq!(of("2026-05-13", "2026-05-13").0, "2026-05-11");
    // A click of tomorrow is none yet, and a program without any has its present week.
    assert_eq!(of("2026-05-10", "2026-05-13").0, "2026-05-04");
    assert_eq!(first_day("2026-05-13".parse().unwrap(), None).to_string(), "2026-05-11");
    // In its second year it moves on by quarters; from the day on which it moves nothing goes on.
    let (first, from) = of("2027-12-31", "2026-05-13");
    assert!(first.as_str() > "2026-05-11", "{first}");
    let from: NaiveDate = from.parse().unwrap();
    let began = Some("2026-05-13".parse().unwrap());
    assert_eq!(first_day(from, began).to_string(), first);
    assert_ne!(first_day(from - Days::new(1), began).to_string(), first);
}

/// A program of partners with all kinds of habits; some begin late, stop, or go away.
struct Program {
    ids: Vec<PartnerId>,
    away: Vec<Vec<RangeInclusive<Day>>>,
    counts: Vec<Vec<u32>>,
}

/// Two kinds, and a third now and then.
fn kinds(partners: usize) -> Vec<u8> {
    (0..partners).map(|place| (place % 7 % 3) as u8).collect()
}

impl Program {
    fn invent(seed: u64, partners: usize, days: usize) -> Self {
        let mut rng = StdRng::seed_from_u64(seed);
        let mut counts = vec![vec![0; partners]; days];
        let mut away = vec![Vec::new(); partners];
        for place in 0..partners {
            let mean = 40.0 * rng.random::<f64>().powi(4);
            let begins = if place % 3 == 0 { rng.random_range(0..days) } else { 0 };
            let stops = if place % 4 == 0 { rng.random_range(0..days) } else { days };
            if place % 5 == 0 {
                let from = rng.random_range(0..days);
                away[place].push(from..=from + 30);
            }
            for (day, counts) in counts.iter_mut().enumerate().take(stops).skip(begins) {
                let factor = if day % 90 == 50 { 0.2 } else { 1.0 + 0.3 * f64::from(day % 7 == 5) };
                counts[place] = (mean * factor * 2.0 * rng.random::<f64>()).round() as u32;
            }
        }
        Self { ids: (0..partners).map(|_| PartnerId::new()).collect(), away, counts }
    }

    fn begin(&self) -> Learning {
        Learning {
            first: "2025-01-06".parse().unwrap(),
            began: None,
            ids: self.ids.clone(),
            away: self.away.clone(),
            detector: Detector::new(kinds(self.ids.len())),
        }
    }

    fn learn(&self, learning: &mut Learning, days: std::ops::Range<Day>) {
        for day in days {
            let today = learning.today(self.counts[day].clone());
            learning.detector.learn_day(today, None);
            learning.detector.forget();
        }
    }
}

fn resume(learning: &Learning) -> Learning {
    let kinds = kinds(learning.ids.len());
    let mut detector = states::read_head(&learning.head(), kinds).unwrap();
    for block in learning.blocks() {
        let place = |id| learning.ids.binary_search(&PartnerId(id)).ok();
        states::read_block(&mut detector, &block, place).unwrap();
    }
    let (ids, away) = (learning.ids.clone(), learning.away.clone());
    Learning { first: learning.first, began: None, ids, away, detector }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 6, ..ProptestConfig::default() })]
    #[test]
    fn incremental_equals_from_scratch(seed: u64, weeks in 9_usize..60, more in 1_usize..20) {
        let program = Program::invent(seed, 40, 7 * weeks + more);
        let mut whole = program.begin();
        program.learn(&mut whole, 0..7 * weeks);
        let mut resumed = resume(&whole);
        for day in 7 * weeks..7 * weeks + more {
            program.learn(&mut whole, day..day + 1);
            program.learn(&mut resumed, day..day + 1);
            let learned = whole.learned();
            prop_assert_eq!(&resumed.learned(), &learned);
            prop_assert_eq!(learned::read(&learned.to_bytes()).unwrap(), learned);
        }
        prop_assert_eq!(whole.head(), resumed.head());
        if whole.ends_week() {
            prop_assert!(whole.blocks().eq(resumed.blocks()));
        }
    }
}

#[test]
fn what_is_forgotten_is_not_missed() {
    let program = Program::invent(7, 30, 480);
    let mut forgetful = program.begin();
    program.learn(&mut forgetful, 0..480);
    let mut whole = program.begin();
    for counts in &program.counts {
        let today = whole.today(counts.clone());
        whole.detector.learn_day(today, None);
    }
    assert!(forgetful.detector.first_kept() > 100);
    assert_eq!(forgetful.learned(), whole.learned());
}

#[test]
fn a_block_that_was_cut_is_refused() {
    let program = Program::invent(3, 5, 70);
    let mut learning = program.begin();
    program.learn(&mut learning, 0..70);
    let (head, blocks): (_, Vec<_>) = (learning.head(), learning.blocks().collect());
    let place = |id| learning.ids.binary_search(&PartnerId(id)).ok();
    for cut in [0, 1, blocks[0].len() / 2, blocks[0].len() - 1] {
        let mut detector = states::read_head(&head, kinds(5)).unwrap();
        assert!(states::read_block(&mut detector, &blocks[0][..cut], place).is_none(), "{cut}");
    }
    assert!(states::read_head(&head[..head.len() - 1], kinds(5)).is_none());
}
