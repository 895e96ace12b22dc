//! The story: the same for a seed, with the incidents that it promises.
#![expect(clippy::float_arithmetic, reason = "shares and means of an invented story")]

use std::sync::LazyLock;

use chrono::Timelike as _;

use crate::click::classify::Class;
use crate::demo::DemoOptions;
use crate::demo::cast::{Cast, DECLINING, Fate};
use crate::demo::shop::{self, BroughtBy, Says, ShopEvent};
use crate::demo::traffic::{ClickPlan, Crowd, OUTAGE_HOURS};
use crate::report::decline::{Network, PartnerSeries, Verdict};

fn options() -> DemoOptions {
    DemoOptions::ending("2026-11-22T10:00:00Z".parse().unwrap())
}

/// The usual story; inventing it takes seconds, so the tests share it.
static STORY: LazyLock<(Cast, Vec<Vec<ClickPlan>>)> = LazyLock::new(|| {
    let cast = Cast::invent(&options());
    let clicks = all_clicks(&cast);
    (cast, clicks)
});

fn all_clicks(cast: &Cast) -> Vec<Vec<ClickPlan>> {
    let crowd = Crowd::new(cast);
    (0..cast.days).map(|day| crowd.clicks(day)).collect()
}

fn all_reports(cast: &Cast, clicks: &[Vec<ClickPlan>]) -> Vec<ShopEvent> {
    (0..).zip(clicks).flat_map(|(day, clicks)| shop::reports(cast, day, clicks)).collect()
}

/// Clicks of people on a partner's links from day to day.
fn daily(clicks: &[Vec<ClickPlan>], partner: usize) -> Vec<usize> {
    let of = |c: &&ClickPlan| c.name.partner == partner && c.class == Class::Human;
    clicks.iter().map(|day| day.iter().filter(of).count()).collect()
}

fn mean(days: &[usize]) -> f64 {
    days.iter().sum::<usize>() as f64 / days.len() as f64
}

#[test]
fn a_seed_tells_one_story_and_another_seed_another() {
    let (one, again) = (Cast::invent(&options()), Cast::invent(&options()));
    assert_eq!(one, again);
    let other = Cast::invent(&DemoOptions { seed: 7, ..options() });
    assert_ne!(one.partners, other.partners);
    for day in [0, 77, 199] {
        let clicks = Crowd::new(&one).clicks(day);
        assert_eq!(clicks, Crowd::new(&again).clicks(day));
        assert_eq!(shop::reports(&one, day, &clicks), shop::reports(&again, day, &clicks));
        assert_ne!(clicks, Crowd::new(&other).clicks(day));
    }
}

#[test]
fn the_partners_are_as_many_and_as_different_as_promised() {
    let cast = &STORY.0;
    assert_eq!(cast.partners.len(), 60);
    let slugs: std::collections::BTreeSet<&str> =
        cast.partners.iter().map(|p| p.slug.as_str()).collect();
    assert_eq!(slugs.len(), 60, "every name once");
    for kind in crate::partner::KINDS {
        assert!(cast.partners.iter().any(|p| p.kind == kind), "{kind}");
    }
    for rank in crate::partner::RANKS {
        assert!(cast.partners.iter().any(|p| p.rank == rank), "{rank}");
    }
    let tiny = cast.partners.iter().filter(|p| p.clicks_per_day < 0.3).count();
    assert!((10..=25).contains(&tiny), "{tiny} tiny partners");
    assert!(cast.partners[0].clicks_per_day > 100.0);
}

#[test]
fn the_size_is_what_a_laptop_seeds_in_a_minute() {
    let (_, clicks) = &*STORY;
    let all: Vec<&ClickPlan> = clicks.iter().flatten().collect();
    assert!((150_000..300_000).contains(&all.len()), "{} clicks", all.len());
    let share = |class| all.iter().filter(|c| c.class == class).count() as f64 / all.len() as f64;
    assert!((0.07..0.09).contains(&share(Class::Bot)));
    assert!((0.86..0.90).contains(&share(Class::Human)));
    assert!(share(Class::Preview) > 0.02);
}

#[test]
fn the_three_partners_really_decline() {
    let (cast, clicks) = &*STORY;
    for (place, fate, name, ..) in DECLINING {
        assert_eq!(cast.partners[place].name, name);
        let days = daily(clicks, place);
        let onset = fate.onset(cast.days) as usize;
        let before = mean(&days[onset - 28..onset]);
        let after = mean(&days[days.len() - 14..]);
        let left = after / before;
        assert!(before > 5.0, "{name} is large enough to be missed: {before}");
        match fate {
            Fate::Stops => assert_eq!(after, 0.0, "{name}"),
            Fate::Fades => assert!(left < 0.25, "{name} keeps {left}"),
            Fate::Steps => assert!((0.15..0.45).contains(&left), "{name} keeps {left}"),
            Fate::Lives => panic!("{name} lives"),
        }
    }
    assert!(cast.partners.iter().filter(|p| p.fate != Fate::Lives).count() == 3);
}

#[test]
fn nobody_clicks_during_the_outage_and_few_on_holidays() {
    let (cast, clicks) = &*STORY;
    let outage = cast.outage as usize;
    assert!(clicks[outage].iter().all(|c| !OUTAGE_HOURS.contains(&c.name.at.hour())));
    let total = |day: usize| clicks[day].len();
    assert!(total(outage) * 5 < total(outage - 7));
    for day in cast.holiday.clone().map(|day| day as usize) {
        assert!(total(day) * 10 < total(day - 7) * 7, "day {day}");
    }
    for burst in &cast.bursts {
        let days = daily(clicks, burst.partner);
        let (start, end) = (burst.days.start as usize, burst.days.end as usize);
        assert!(mean(&days[start..end]) > 1.8 * mean(&days[start - 28..start]));
    }
}

#[test]
fn clicks_keep_to_their_day_and_most_visitors_come_once() {
    let (cast, clicks) = &*STORY;
    let (mut n_visits, mut visitors) = (0, std::collections::HashSet::new());
    for (day, clicks) in (0..).zip(clicks) {
        for click in clicks {
            assert_eq!(click.name.at.date_naive(), cast.date(day));
            if let (Class::Human, Some(tag)) = (click.class, click.visitor) {
                n_visits += 1;
                visitors.insert((day, click.name.partner, click.name.link, tag));
            }
        }
    }
    let unique = visitors.len() as f64 / f64::from(n_visits);
    assert!((0.75..0.85).contains(&unique), "{unique} unique");
}

#[test]
fn the_shop_reports_every_kind_of_message() {
    let (cast, clicks) = &*STORY;
    let reports = all_reports(cast, clicks);
    let n_created =
        reports.iter().filter(|e| matches!(e.says, Says::Created { .. })).count() as f64;
    let share =
        |is: fn(&Says) -> bool| reports.iter().filter(|e| is(&e.says)).count() as f64 / n_created;
    assert!(share(|s| matches!(s, Says::Refunded(None))) > 0.02);
    assert!(share(|s| matches!(s, Says::Refunded(Some(_)))) > 0.01);
    assert!(share(|s| matches!(s, Says::Rejected(_))) > 0.03);
    assert!(share(|s| matches!(s, Says::Approved)) > 0.03);
    let by = |is: fn(&BroughtBy) -> bool| {
        let brought =
            |e: &&ShopEvent| matches!(&e.says, Says::Created { brought_by, .. } if is(brought_by));
        reports.iter().filter(brought).count()
    };
    assert!(by(|b| matches!(b, BroughtBy::Nothing)) > 10);
    assert!(by(|b| matches!(b, BroughtBy::Stranger(_))) > 5);
    let late = |e: &&ShopEvent| match &e.says {
        Says::Created { brought_by: BroughtBy::Click(click), .. } => {
            e.at - click.at > chrono::Duration::days(30)
        }
        Says::Created { .. } | Says::Approved | Says::Rejected(_) | Says::Refunded(_) => false,
    };
    assert_eq!(reports.iter().filter(late).count(), 1, "one order outside the window");
}

#[test]
fn a_small_story_has_room_for_its_incidents() {
    for (days, partners) in [(1, 1), (7, 3), (30, 12)] {
        let cast = Cast::invent(&DemoOptions { days, partners, ..options() });
        assert_eq!(cast.date(days - 1), options().end.date_naive());
        let clicks = all_clicks(&cast);
        assert_eq!(clicks.len(), days as usize);
        drop(all_reports(&cast, &clicks));
    }
}

/// Returns what the detector reads of a partner.
fn series(cast: &Cast, clicks: &[Vec<ClickPlan>], partner: usize) -> PartnerSeries {
    let none = vec![0; clicks.len()];
    PartnerSeries {
        kind: 0,
        joined_on: cast.partners[partner].joined as usize,
        clicks: daily(clicks, partner).into_iter().map(|n| u32::try_from(n).unwrap()).collect(),
        conversions: none.clone(),
        links_created: none.clone(),
        logins: none,
        ..PartnerSeries::default()
    }
}

#[test]
fn the_detector_finds_the_three_and_nobody_else() {
    let (cast, clicks) = &*STORY;
    // The last day is not over: the day before is the newest that can be judged.
    let clicks = &clicks[..clicks.len() - 1];
    let all = (0..cast.partners.len()).map(|partner| series(cast, clicks, partner)).collect();
    let network = Network::new(clicks.len(), all).unwrap();
    let listed: Vec<usize> = network
        .assess()
        .into_iter()
        .filter(|a| matches!(a.verdict, Verdict::Listed(_)))
        .map(|a| a.partner)
        .collect();
    assert_eq!(listed, DECLINING.map(|d| d.0));
}
