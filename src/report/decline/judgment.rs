//! The detector on a program: what was learned up to the last whole day, told about the partners
//! that matter.
//!
//! The report shows it, and whatever acts on a decline (cases, notices) starts from it. What was
//! learned of a day is kept by the daily run; where it is missing, or days have changed since, it
//! is learned again. Either way the figures of a partner come from its own clicks, read for the few
//! partners that are told about, so both ways lead to the same report.

use std::collections::{HashMap, HashSet};

use chrono::NaiveDate;
use sqlx::PgConnection;
use tributary_decline::kept::learned::{self, Learned, Mark};
use tributary_decline::{
    History, JUDGED_FROM, MIN_AGE_DAYS, Standing, View, conversions, declines, halves, listed_from,
    listed_rises,
};

use super::learning::Learning;
use super::query::{self, Subject};
use super::{
    Assessment, ConversionFall, Day, Decline, Incident, PartnerSeries, Rise, Severity, Verdict,
    kept_query, told,
};
use crate::ids::PartnerId;
use crate::report::{Params, ReportError};

/// From so many partners on two threads learn their days.
const BESIDE_FROM: usize = 32;

/// A program on one day.
#[derive(Debug)]
pub struct Judgment {
    /// The last whole day, which is judged.
    pub day: NaiveDate,
    /// The listed partners; everybody that ever had a click where the day's cases ask.
    pub partners: Vec<Judged>,
    /// Active partners that ever had a click.
    pub n_partners: usize,
    /// Those of them that are too young to judge.
    pub n_too_young: usize,
    /// A fall of the whole network: tracking, not partners.
    pub incident: Option<Incident>,
    /// Whether the daily run had learned it before, and it still held.
    pub is_kept: bool,
    first: NaiveDate,
}

/// A partner, judged.
#[derive(Debug)]
pub struct Judged {
    /// Who, and what its clicks have been worth.
    pub subject: Subject,
    /// What the detector says.
    pub assessment: Assessment,
    /// Clicks per usual day at present, where the day's cases ask and there were usual days.
    pub present_rate: Option<f64>,
    /// Its days, where it is told about.
    pub(super) course: Option<Course>,
}

/// The days of a partner, learned alone.
#[derive(Debug)]
pub(super) struct Course {
    series: PartnerSeries,
    history: History,
}

impl Course {
    pub(super) fn view(&self) -> View<'_> {
        View::alone(&self.series, &self.history)
    }
}

impl Judged {
    /// Returns the decline that the partner is listed for, if it is.
    pub fn decline(&self) -> Option<&Decline> {
        match &self.assessment.verdict {
            Verdict::Listed(decline) => Some(decline),
            Verdict::TooYoung { .. } | Verdict::Away | Verdict::NotListed => None,
        }
    }
}

impl Judgment {
    /// Returns the day that is judged, as a day of the series.
    pub fn last(&self) -> Day {
        usize::try_from((self.day - self.first).num_days()).unwrap_or(0)
    }

    /// Returns the date of a day of the series.
    pub fn date(&self, day: Day) -> NaiveDate {
        query::date(self.first, day)
    }
}

/// Judges a program on the last whole day of the window.
pub async fn judge(db: &mut PgConnection, params: &Params) -> Result<Judgment, ReportError> {
    let (learned, is_kept) = find_learned(db, params).await?;
    let active = query::read_active(db, params.program_id).await?;
    tell(db, params, &learned, &active, is_kept).await
}

/// Returns the last whole day of the window.
pub(super) fn judged_day(params: &Params) -> NaiveDate {
    let (_, end) = params.window.days();
    let today = params.now.with_timezone(&params.window.time_zone).date_naive();
    end.min(today).pred_opt().unwrap_or(end)
}

async fn find_learned(
    db: &mut PgConnection,
    params: &Params,
) -> Result<(Learned, bool), ReportError> {
    let day = judged_day(params);
    let kept = kept_query::read_learned(db, params, day).await?;
    if let Some(learned) = kept.and_then(|bytes| learned::read(&bytes)) {
        return Ok((learned, true));
    }
    Ok((Learning::of(db, params, day).await?.learned(), false))
}

/// The partners of a day that are active now.
struct Active<'a> {
    ids: &'a [PartnerId],
    n_partners: usize,
    n_too_young: usize,
    n_judged: usize,
}

impl<'a> Active<'a> {
    fn among(learned: &Learned, ids: &'a [PartnerId]) -> Self {
        let mut active = Self { ids, n_partners: 0, n_too_young: 0, n_judged: 0 };
        for (id, mark) in &learned.partners {
            if !active.has(PartnerId(*id)) {
                continue;
            }
            active.n_partners += 1;
            match mark {
                Mark::Judged => active.n_judged += 1,
                Mark::TooYoung => active.n_too_young += 1,
                Mark::Away => {}
            }
        }
        active
    }

    fn has(&self, id: PartnerId) -> bool {
        self.ids.binary_search(&id).is_ok()
    }

    fn candidates(&self, learned: &Learned) -> Vec<(PartnerId, Standing)> {
        let notable = learned.notable.iter().map(|(id, standing)| (PartnerId(*id), *standing));
        notable.filter(|(id, _)| self.has(*id)).collect()
    }
}

/// Tells about the partners of the day's list.
async fn tell(
    db: &mut PgConnection,
    params: &Params,
    learned: &Learned,
    active: &[PartnerId],
    is_kept: bool,
) -> Result<Judgment, ReportError> {
    let active = Active::among(learned, active);
    let candidates = active.candidates(learned);
    let ids: Vec<PartnerId> = candidates.iter().map(|(id, _)| *id).collect();
    let (subjects, courses) = read_courses(db, params, learned, &ids).await?;
    let standings: HashMap<PartnerId, Standing> = candidates.into_iter().collect();
    let pairs: Vec<(View, Standing)> = courses
        .iter()
        .zip(&subjects)
        .map(|(course, subject)| (course.view(), standings[&subject.partner_id]))
        .collect();
    let declines = declines(&pairs, active.n_judged);
    let mut partners = Vec::new();
    for ((subject, course), decline) in subjects.into_iter().zip(courses).zip(declines) {
        if let Some(decline) = decline {
            let standing = standings[&subject.partner_id];
            partners.push(listed(learned, subject, course, standing, decline));
        }
    }
    let mut judgment = Judgment {
        day: query::date(learned.first, learned.last()),
        partners,
        n_partners: active.n_partners,
        n_too_young: active.n_too_young,
        incident: learned.incident(),
        is_kept,
        first: learned.first,
    };
    read_links(db, params, &mut judgment).await?;
    Ok(judgment)
}

fn listed(
    learned: &Learned,
    subject: Subject,
    course: Course,
    standing: Standing,
    decline: Decline,
) -> Judged {
    let assessment = Assessment {
        partner: 0,
        verdict: Verdict::Listed(Box::new(decline)),
        days_since_last_click: standing.state.last_click.map(|last| learned.last() - last),
        state: standing.state,
        conversion_fall: course.view().conversion_fall(),
    };
    Judged { subject, assessment, present_rate: None, course: Some(course) }
}

/// Reads these partners, all of them active, and learns the days of each alone.
async fn read_courses(
    db: &mut PgConnection,
    params: &Params,
    learned: &Learned,
    ids: &[PartnerId],
) -> Result<(Vec<Subject>, Vec<Course>), ReportError> {
    let days = (learned.first, learned.common.len());
    let mut subjects = query::read_subjects(db, params, days, ids).await?;
    told::add(db, params.program_id, days, &mut subjects).await?;
    let series: Vec<PartnerSeries> =
        subjects.iter_mut().map(|subject| std::mem::take(&mut subject.series)).collect();
    let histories = halves::map_from(BESIDE_FROM, series.len(), |i| {
        History::alone(&series[i], &learned.common)
    });
    let courses = series.into_iter().zip(histories);
    Ok((subjects, courses.map(|(series, history)| Course { series, history }).collect()))
}

async fn read_links(
    db: &mut PgConnection,
    params: &Params,
    judgment: &mut Judgment,
) -> Result<(), ReportError> {
    let ids: Vec<PartnerId> = judgment.partners.iter().map(|p| p.subject.partner_id).collect();
    let links = query::read_links(db, params, &ids, judgment.day).await?;
    let cases = told::read_cases(db, params.program_id, &ids, judgment.day).await?;
    for Judged { subject, .. } in &mut judgment.partners {
        subject.case_id = cases.get(&subject.partner_id).copied();
        subject.links = links.get(&subject.partner_id).copied().unwrap_or_default();
    }
    Ok(())
}

/// A partner that is to be drawn.
#[derive(Debug)]
pub(super) struct Picture {
    pub(super) name: String,
    pub(super) course: Course,
    /// The decline that it is listed for.
    pub(super) decline: Option<Decline>,
    pub(super) first: NaiveDate,
}

/// Judges one partner for a picture; none if there is no such partner, or never was a click of it.
pub(super) async fn judge_one(
    db: &mut PgConnection,
    params: &Params,
    partner_id: PartnerId,
) -> Result<Option<Picture>, ReportError> {
    let (learned, _) = find_learned(db, params).await?;
    let ids = query::read_active(db, params.program_id).await?;
    let active = Active::among(&learned, &ids);
    let is_known = learned.partners.binary_search_by_key(&partner_id.0, |(id, _)| *id).is_ok();
    if !is_known || !active.has(partner_id) {
        return Ok(None);
    }
    let candidates = active.candidates(&learned);
    let strengths: Vec<f64> =
        candidates.iter().map(|(_, standing)| standing.listing_strength()).collect();
    let listed_from = listed_from(&strengths, active.n_judged);
    let standing = candidates.iter().find(|(id, _)| *id == partner_id).map(|(_, s)| *s);
    let standing = standing.filter(|s| s.listing_strength() >= listed_from);
    let (subjects, courses) = read_courses(db, params, &learned, &[partner_id]).await?;
    // How urgent a fall is depends on the others, and no picture shows it.
    Ok(subjects.into_iter().zip(courses).next().map(|(subject, course)| Picture {
        decline: standing.map(|standing| course.view().decline(Severity::Watch, &standing)),
        first: learned.first,
        name: subject.name,
        course,
    }))
}

/// The partners that rise on a day, the surest first.
#[derive(Debug)]
pub(super) struct Rising {
    pub(super) day: NaiveDate,
    pub(super) n_partners: usize,
    pub(super) listed: Vec<(Subject, Rise)>,
    first: NaiveDate,
}

impl Rising {
    pub(super) fn date(&self, day: Day) -> NaiveDate {
        query::date(self.first, day)
    }
}

/// Finds the partners that rise on the last whole day of the window.
pub(super) async fn find_rising(
    db: &mut PgConnection,
    params: &Params,
) -> Result<Rising, ReportError> {
    let (learned, _) = find_learned(db, params).await?;
    let ids = query::read_active(db, params.program_id).await?;
    let active = Active::among(&learned, &ids);
    let candidates = learned.rises.iter().map(|(id, rise)| (PartnerId(*id), *rise));
    // The place tells who it is once the list is sorted.
    let rises: Vec<(PartnerId, Rise)> = candidates.filter(|(id, _)| active.has(*id)).collect();
    let places = (0..).zip(&rises).map(|(place, (_, rise))| Rise { partner: place, ..*rise });
    let rises: Vec<(PartnerId, Rise)> = listed_rises(places.collect(), active.n_judged)
        .into_iter()
        .map(|rise| (rises[rise.partner].0, rise))
        .collect();
    let ids: Vec<PartnerId> = rises.iter().map(|(id, _)| *id).collect();
    let days = (learned.first, learned.common.len());
    let mut subjects: HashMap<PartnerId, Subject> = query::read_subjects(db, params, days, &ids)
        .await?
        .into_iter()
        .map(|subject| (subject.partner_id, subject))
        .collect();
    let listed =
        rises.into_iter().filter_map(|(id, rise)| Some((subjects.remove(&id)?, rise))).collect();
    Ok(Rising {
        day: query::date(learned.first, learned.last()),
        n_partners: active.n_partners,
        listed,
        first: learned.first,
    })
}

/// Judges everybody on the last day that was learned, for the day's cases; `present_days` is how
/// many days are the present.
pub async fn judge_everybody(
    db: &mut PgConnection,
    params: &Params,
    learning: &Learning,
    present_days: usize,
) -> Result<Judgment, ReportError> {
    let (learned, detector) = (learning.learned(), learning.detector());
    let active = query::read_active(db, params.program_id).await?;
    let mut judgment = tell(db, params, &learned, &active, false).await?;
    let falls = read_conversion_falls(db, params, learning, &judgment).await?;
    let listed: HashSet<PartnerId> =
        judgment.partners.iter().map(|p| p.subject.partner_id).collect();
    let marks: HashMap<uuid::Uuid, Mark> = learned.partners.iter().copied().collect();
    for subject in query::read_partners(db, params, judgment.day, None).await? {
        let id = subject.partner_id;
        let (Some(mark), Some(place)) = (marks.get(&id.0), learning.place(id)) else { continue };
        if listed.contains(&id) {
            continue;
        }
        let state = detector.standing(place).state;
        let joined = detector.joined_on()[place].unwrap_or(0);
        let assessment = Assessment {
            partner: place,
            verdict: match mark {
                Mark::Judged => Verdict::NotListed,
                Mark::Away => Verdict::Away,
                Mark::TooYoung => {
                    Verdict::TooYoung { until: (joined + MIN_AGE_DAYS).max(JUDGED_FROM) }
                }
            },
            days_since_last_click: state.last_click.map(|last| learned.last() - last),
            state,
            conversion_fall: None,
        };
        judgment.partners.push(Judged { subject, assessment, present_rate: None, course: None });
    }
    for Judged { subject, assessment, present_rate, .. } in &mut judgment.partners {
        assessment.conversion_fall = falls.get(&subject.partner_id).copied();
        let place = learning.place(subject.partner_id);
        *present_rate = place.and_then(|place| detector.rate(place, present_days));
    }
    Ok(judgment)
}

async fn read_conversion_falls(
    db: &mut PgConnection,
    params: &Params,
    learning: &Learning,
    judgment: &Judgment,
) -> Result<HashMap<PartnerId, ConversionFall>, ReportError> {
    let last = judgment.last();
    let first = last.saturating_sub(conversions::REACH_DAYS);
    let days = (judgment.date(first), judgment.day);
    let rows = query::read_conversions(db, params, days, conversions::MIN_COUNT).await?;
    let falls = rows.into_iter().filter_map(|row| {
        let mut counts = vec![0; last + 1];
        row.each(|day, n| {
            if let Some(count) = counts.get_mut(first + day) {
                *count = n;
            }
        });
        let place = learning.place(row.partner_id)?;
        let fall = learning.detector().conversion_fall(place, &counts)?;
        Some((row.partner_id, fall))
    });
    Ok(falls.collect())
}
