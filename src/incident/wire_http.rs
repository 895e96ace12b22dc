//! Cases and incidents as they are sent and shown.

use chrono::NaiveDate;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::case::{ANSWERS_MIN, Accuracy, CAUSES, CHANNELS, Case, Changes, OUTCOMES, STATUSES};
use super::effect::{Comparison, Effect, TREATED_MIN};
use super::incident_store::Incident;
use super::store::Contact;
use crate::clock::Timestamp;
use crate::ids::{CaseId, IncidentId, PartnerId, ProgramId};
use crate::web::Problem;
use crate::web::fields::{Mistakes, NAME_MAX, present};

const NOTE_MAX: usize = 4_000;

/// Which cases to list.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct CaseQuery {
    /// Only those of this program.
    #[param(value_type = Option<String>)]
    pub program_id: Option<ProgramId>,
    /// `open`, `contacted`, `waiting` or `closed`.
    pub status: Option<String>,
    /// Only those of this owner.
    pub owner: Option<String>,
    /// Only those that go on and were due before today.
    pub overdue: Option<bool>,
}

/// The program that a list is about.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct ProgramQuery {
    /// The program.
    #[param(value_type = String)]
    pub program_id: ProgramId,
}

/// Which incidents to list.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct IncidentQuery {
    /// The program.
    #[param(value_type = String)]
    pub program_id: ProgramId,
    /// `open` or `over`.
    pub status: Option<String>,
}

/// What is to change of a case; what is not given stays.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CaseChanges {
    /// Who looks after it; null clears it.
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = Option<String>)]
    pub owner: Option<Option<String>>,
    /// By when it must be taken up.
    #[schema(value_type = Option<String>)]
    pub due_on: Option<NaiveDate>,
    /// `open`, `contacted`, `waiting` or `closed`; closing needs an outcome.
    pub status: Option<String>,
    /// `recovered`, `left`, `seasonal`, `our_fault`, `false_alarm` or `other`.
    pub outcome: Option<String>,
    /// What the cause was: `local_market`, `organization`, `loss_of_interest`,
    /// `content_marketing`, `technical` or `unknown`.
    pub confirmed_cause: Option<String>,
    /// What was done, a short name by which its effect is measured.
    #[schema(example = "support-callback")]
    pub remedy: Option<String>,
    /// When it was done; today where it is not given.
    #[schema(value_type = Option<String>)]
    pub remedy_on: Option<NaiveDate>,
}

impl CaseChanges {
    pub(super) fn into_changes(self, today: NaiveDate) -> Result<Changes, Problem> {
        let mut wrong = Mistakes::default();
        if let Some(Some(owner)) = &self.owner {
            wrong.text("/owner", owner, NAME_MAX);
        }
        if let Some(status) = &self.status {
            wrong.one_of("/status", status, &STATUSES);
        }
        if let Some(outcome) = &self.outcome {
            wrong.one_of("/outcome", outcome, &OUTCOMES);
        }
        if let Some(cause) = &self.confirmed_cause {
            wrong.one_of("/confirmed_cause", cause, &CAUSES);
        }
        if let Some(remedy) = &self.remedy {
            wrong.slug("/remedy", remedy);
        }
        let has_remedy = self.remedy.is_some();
        wrong.check(has_remedy || self.remedy_on.is_none(), "/remedy_on", "needs a remedy");
        let is_past = self.remedy_on.is_none_or(|on| on <= today);
        wrong.check(is_past, "/remedy_on", "must not be after today");
        wrong.end()?;
        Ok(Changes {
            owner: self.owner,
            due_on: self.due_on,
            status: self.status,
            confirmed_cause: self.confirmed_cause,
            remedy: self.remedy.map(|remedy| (remedy, self.remedy_on.unwrap_or(today))),
            outcome: self.outcome,
        })
    }
}

/// A contact to be written down.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewContactBody {
    /// `call`, `email`, `chat`, `meeting`, `letter` or `other`.
    #[schema(example = "call")]
    pub channel: String,
    /// What was said.
    pub note: String,
    /// What comes next.
    pub next_step: Option<String>,
    /// When; becomes the case's date.
    #[schema(value_type = Option<String>)]
    pub next_due: Option<NaiveDate>,
}

impl NewContactBody {
    pub(super) fn check(&self) -> Result<(), Problem> {
        let mut wrong = Mistakes::default();
        wrong.one_of("/channel", &self.channel, &CHANNELS);
        wrong.text("/note", &self.note, NOTE_MAX);
        if let Some(step) = &self.next_step {
            wrong.text("/next_step", step, NOTE_MAX);
        }
        wrong.end()
    }
}

/// A contact as it is shown.
#[derive(Debug, Serialize, ToSchema)]
pub struct ContactBody {
    /// When.
    #[schema(value_type = String)]
    pub at: Timestamp,
    /// Who wrote it down.
    pub by: String,
    /// How.
    pub channel: String,
    /// What was said.
    pub note: String,
    /// What comes next.
    pub next_step: Option<String>,
    /// When.
    #[schema(value_type = Option<String>)]
    pub next_due: Option<NaiveDate>,
}

impl From<Contact> for ContactBody {
    fn from(c: Contact) -> Self {
        let Contact { contact_id: _, at, by_user, channel, note, next_step, next_due } = c;
        Self { at, by: by_user, channel, note, next_step, next_due }
    }
}

/// A possible cause with what speaks for it.
#[derive(Debug, Serialize, ToSchema)]
pub struct HypothesisBody {
    /// The cause.
    pub cause: String,
    /// Share of the evidence that speaks for it, percent.
    pub share_percent: i32,
    /// Facts that speak for it.
    pub evidence: Vec<String>,
}

/// A case as it is shown.
#[derive(Debug, Serialize, ToSchema)]
pub struct CaseBody {
    /// Its id.
    #[schema(value_type = String)]
    pub id: CaseId,
    /// The program.
    #[schema(value_type = String)]
    pub program_id: ProgramId,
    /// The partner.
    #[schema(value_type = String)]
    pub partner_id: PartnerId,
    /// Its name.
    pub partner_name: String,
    /// `will_not_sell` (the traffic went) or `cannot_sell` (the traffic comes and does not buy).
    pub kind: String,
    /// `open`, `contacted`, `waiting` or `closed`.
    pub status: String,
    /// Who looks after it.
    pub owner: Option<String>,
    /// Day of the opening.
    #[schema(value_type = String)]
    pub opened_on: NaiveDate,
    /// By when it must be taken up.
    #[schema(value_type = String)]
    pub due_on: NaiveDate,
    /// `watch`, `warning`, `critical` or `silent`.
    pub severity: String,
    /// The severity at the opening.
    pub opened_severity: String,
    /// First day of the fall.
    #[schema(value_type = String)]
    pub since: NaiveDate,
    /// Day of the figures.
    #[schema(value_type = String)]
    pub judged_on: NaiveDate,
    /// Clicks (of `cannot_sell`: conversions) expected in 28 days.
    pub expected_28d: i64,
    /// What came, for 28 days.
    pub observed_28d: i64,
    /// Share lost, percent.
    pub share_lost_percent: i32,
    /// Lost so far.
    pub lost_to_date: i64,
    /// To be lost in the next 28 days.
    pub lost_next_28d: i64,
    /// Chance of so little without a decline.
    pub p_value: String,
    /// What the cause may be.
    pub hypotheses: Vec<HypothesisBody>,
    /// What to do about it.
    pub advice: String,
    /// What a person found out.
    pub confirmed_cause: Option<String>,
    /// What was done.
    pub remedy: Option<String>,
    /// When.
    #[schema(value_type = Option<String>)]
    pub remedy_on: Option<NaiveDate>,
    /// Since when the partner is back; a person closes the case.
    #[schema(value_type = Option<String>)]
    pub recovered_on: Option<NaiveDate>,
    /// The incident that explains it.
    #[schema(value_type = Option<String>)]
    pub incident_id: Option<IncidentId>,
    /// How it ended.
    pub outcome: Option<String>,
    /// When it ended.
    #[schema(value_type = Option<String>)]
    pub closed_on: Option<NaiveDate>,
    /// The latest contacts, newest first; left out of lists.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub contacts: Option<Vec<ContactBody>>,
    /// When it was made.
    #[schema(value_type = String)]
    pub created_at: Timestamp,
    /// When it was last changed.
    #[schema(value_type = String)]
    pub updated_at: Timestamp,
}

impl CaseBody {
    pub(super) fn new(c: Case, contacts: Option<Vec<Contact>>) -> Self {
        let f = c.figures;
        Self {
            id: c.case_id,
            program_id: c.program_id,
            partner_id: c.partner_id,
            partner_name: c.partner_name,
            kind: c.kind,
            status: c.status,
            owner: c.owner,
            opened_on: c.opened_on,
            due_on: c.due_on,
            severity: f.severity,
            opened_severity: c.opened_severity,
            since: f.since,
            judged_on: c.judged_on,
            expected_28d: f.expected_28d,
            observed_28d: f.observed_28d,
            share_lost_percent: f.share_lost_percent,
            lost_to_date: f.lost_to_date,
            lost_next_28d: f.lost_next_28d,
            p_value: f.p_value,
            hypotheses: vec![HypothesisBody {
                cause: f.possible_cause,
                share_percent: f.cause_share_percent,
                evidence: f.evidence,
            }],
            advice: f.advice,
            confirmed_cause: c.confirmed_cause,
            remedy: c.remedy,
            remedy_on: c.remedy_on,
            recovered_on: c.recovered_on,
            incident_id: c.incident_id,
            outcome: c.outcome,
            closed_on: c.closed_on,
            contacts: contacts.map(|all| all.into_iter().map(ContactBody::from).collect()),
            created_at: c.created_at,
            updated_at: c.updated_at,
        }
    }
}

/// How often a guessed cause was right.
#[derive(Debug, Serialize, ToSchema)]
pub struct AccuracyBody {
    /// The guess.
    pub cause: String,
    /// Cases with this guess whose cause a person confirmed.
    pub n_confirmed: i64,
    /// Those in which the person found the same.
    pub n_right: i64,
    /// Their share, percent; null while there are too few.
    pub right_percent: Option<i64>,
    /// `too few` below ten answers.
    pub note: Option<&'static str>,
}

impl From<Accuracy> for AccuracyBody {
    fn from(a: Accuracy) -> Self {
        let note = (a.n_confirmed < ANSWERS_MIN).then_some("too few");
        let right_percent = a.right_percent();
        let Accuracy { cause, n_confirmed, n_right } = a;
        Self { cause, n_confirmed, n_right, right_percent, note }
    }
}

/// Treated cases against their untreated matches.
#[derive(Debug, Serialize, ToSchema)]
pub struct ComparisonBody {
    /// Mean of the treated, percent.
    pub treated_percent: i64,
    /// Mean of their matches, percent.
    pub untreated_percent: i64,
    /// The difference in percentage points; null while there are too few.
    pub difference_points: Option<i64>,
    /// Lower end of its 95 % interval.
    pub low: Option<i64>,
    /// Upper end.
    pub high: Option<i64>,
}

impl From<Comparison> for ComparisonBody {
    fn from(c: Comparison) -> Self {
        Self {
            treated_percent: c.treated_percent,
            untreated_percent: c.untreated_percent,
            difference_points: c.difference.map(|d| d.points),
            low: c.difference.map(|d| d.low),
            high: c.difference.map(|d| d.high),
        }
    }
}

/// What a remedy did.
#[derive(Debug, Serialize, ToSchema)]
pub struct EffectBody {
    /// The remedy.
    pub remedy: String,
    /// Treated cases that were followed for 28 days and have a match.
    pub n_treated: usize,
    /// Untreated cases that they were compared with.
    pub n_controls: usize,
    /// Cases that recovered within 28 days.
    pub recovered: ComparisonBody,
    /// Share of the old level regained within 28 days.
    pub regained: ComparisonBody,
    /// `too few to say` below eight treated cases.
    pub note: Option<&'static str>,
}

impl From<Effect> for EffectBody {
    fn from(e: Effect) -> Self {
        Self {
            note: (e.n_treated < TREATED_MIN).then_some("too few to say"),
            remedy: e.remedy,
            n_treated: e.n_treated,
            n_controls: e.n_controls,
            recovered: e.recovered.into(),
            regained: e.regained.into(),
        }
    }
}

/// An incident as it is shown.
#[derive(Debug, Serialize, ToSchema)]
pub struct IncidentBody {
    /// Its id.
    #[schema(value_type = String)]
    pub id: IncidentId,
    /// The program.
    #[schema(value_type = String)]
    pub program_id: ProgramId,
    /// `network`, `destination` (one page, or the landing page is proven to be broken) or
    /// `country`.
    pub kind: String,
    /// The country, ISO 3166-1 alpha-2; else null.
    pub country: Option<String>,
    /// The page: host and path; null where it is all pages or another kind.
    pub page: Option<String>,
    /// `open` or `over`.
    pub status: String,
    /// First day.
    #[schema(value_type = String)]
    pub since: NaiveDate,
    /// The hour in which it began, if the clicks tell it.
    #[schema(value_type = Option<String>)]
    pub began_at: Option<Timestamp>,
    /// The last day on which it was seen.
    #[schema(value_type = String)]
    pub seen_on: NaiveDate,
    /// The first day on which it was not.
    #[schema(value_type = Option<String>)]
    pub ended_on: Option<NaiveDate>,
    /// Partners whose fall it explains.
    pub n_partners: i32,
    /// Partners that could be judged.
    pub n_judged: i32,
    /// What happened.
    pub text: String,
}

impl From<Incident> for IncidentBody {
    fn from(i: Incident) -> Self {
        let subject = |kind: &str| (i.kind == kind).then(|| i.subject.clone());
        Self {
            country: subject("country"),
            page: subject("destination").filter(|page| !page.is_empty()),
            began_at: i.began_at,
            id: i.incident_id,
            program_id: i.program_id,
            kind: i.kind,
            status: i.status,
            since: i.since,
            seen_on: i.seen_on,
            ended_on: i.ended_on,
            n_partners: i.n_partners,
            n_judged: i.n_judged,
            text: i.text,
        }
    }
}
