//! The detector on a program: reads the series, judges every partner on the last whole day.
//!
//! The report shows it, and whatever acts on a decline (cases, notices) starts from it.

use chrono::NaiveDate;
use sqlx::PgConnection;

use super::query::{self, Reading, Subject};
use super::told;
use super::{Assessment, Day, Decline, Incident, Network, Verdict};
use crate::ids::PartnerId;
use crate::report::{Params, ReportError};

/// A program on one day.
#[derive(Debug)]
pub struct Judgment {
    /// The last whole day, which is judged.
    pub day: NaiveDate,
    /// Every active partner that has ever had a click.
    pub partners: Vec<Judged>,
    /// A fall of the whole network: tracking, not partners.
    pub incident: Option<Incident>,
    /// The detector with every series, for pictures.
    pub network: Network,
    first: NaiveDate,
}

/// A partner, judged.
#[derive(Debug)]
pub struct Judged {
    /// Who, and what its clicks have been worth.
    pub subject: Subject,
    /// What the detector says.
    pub assessment: Assessment,
}

impl Judged {
    /// Returns the decline that the partner is listed for, if it is.
    pub fn decline(&self) -> Option<&Decline> {
        match &self.assessment.verdict {
            Verdict::Listed(decline) => Some(decline),
            Verdict::TooYoung { .. } | Verdict::Away | Verdict::NotListed => None,
        }
    }

    /// Returns what a click has earned the partner, minor units; a partner that never sold has none.
    pub fn earned_per_click(&self) -> f64 {
        self.subject.earned_minor as f64 / self.subject.n_clicks.max(1) as f64
    }

    /// Returns how many sales a click has brought.
    pub fn sales_per_click(&self) -> f64 {
        self.subject.n_sales as f64 / self.subject.n_clicks.max(1) as f64
    }
}

impl Judgment {
    /// Returns the day that is judged, as a day of the series.
    pub fn last(&self) -> Day {
        self.network.days() - 1
    }

    /// Returns the date of a day of the series.
    pub fn date(&self, day: Day) -> NaiveDate {
        query::date(self.first, day)
    }
}

/// Judges every partner of a program on the last whole day of the window.
pub async fn judge(db: &mut PgConnection, params: &Params) -> Result<Judgment, ReportError> {
    let (_, end) = params.window.days();
    let today = params.now.with_timezone(&params.window.time_zone).date_naive();
    let day = end.min(today).pred_opt().unwrap_or(end);
    let Reading { first, n_days, mut subjects } = query::read(db, params, day).await?;
    told::add(db, params.program_id, (first, n_days), &mut subjects).await?;
    let series = subjects.iter_mut().map(|s| std::mem::take(&mut s.series)).collect();
    let network =
        Network::new(n_days, series).map_err(|e| ReportError::BadFigure(e.to_string()))?;
    let last = n_days - 1;
    let assessments = network.assess(last);
    let incident = network.incident(last);
    let mut subjects: Vec<Option<Subject>> = subjects.into_iter().map(Some).collect();
    let mut partners: Vec<Judged> = assessments
        .into_iter()
        .filter_map(|assessment| {
            let subject = subjects.get_mut(assessment.partner)?.take()?;
            Some(Judged { subject, assessment })
        })
        .collect();
    let listed: Vec<PartnerId> =
        partners.iter().filter(|p| p.decline().is_some()).map(|p| p.subject.partner_id).collect();
    let links = query::read_links(db, params, &listed, day).await?;
    for Judged { subject, .. } in &mut partners {
        subject.links = links.get(&subject.partner_id).copied().unwrap_or_default();
    }
    Ok(Judgment { day, partners, incident, network, first })
}
