//! `POST /v1/commissions/bulk`: one decision about many commissions, each with its own result.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, hash_map};

use actix_web::web::Data;
use actix_web::{HttpRequest, HttpResponse, post};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_actix_web::service_config::ServiceConfig;

use super::deed_http::{Around, Deed, Verb, check_version};
use super::http::NOTE_MAX;
use crate::account::Caller as Identity;
use crate::account::audit_store::{self, Entry};
use crate::account::http::{Caller, scope};
use crate::account::once_http::{Answer, KeyRule, once};
use crate::app::App;
use crate::commission::state::Standing;
use crate::commission::store::{self, Filter};
use crate::commission::{Commission, Hand, Step};
use crate::db::DbTx;
use crate::ids::{CommissionId, PartnerId, ProgramId};
use crate::partner;
use crate::web::fields::{KeyedJson, Mistakes};
use crate::web::{Code, Problem, ProblemBody};

/// Most commissions in one request: each is locked until all are decided.
const ITEMS_MAX: usize = 100;

/// Adds the route.
pub fn configure(cfg: &mut ServiceConfig) {
    cfg.service(decide_commissions);
}

/// A decision about many commissions.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct BulkBody {
    /// `approve`, `reject`, `hold`, `release`, `extend`, `reverse` or `clawback`.
    pub action: String,
    /// `order_canceled`, `fraud`, `terms_violation`, `tracking_error`, `payment_failed`,
    /// `ineligible_partner`, `duplicate` or `other`; not needed to approve or release.
    pub reason: Option<String>,
    /// To extend: by how many days each hold lasts longer, 1 to 365.
    pub days: Option<u16>,
    /// What to remember about it; kept in the history of each.
    pub note: Option<String>,
    /// The commissions, 1 to 100, none of them twice.
    pub items: Vec<BulkItem>,
}

/// One of them.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct BulkItem {
    /// The commission.
    #[schema(value_type = String)]
    pub id: String,
    /// Decide only if it still has this `version`; as it stands if left out.
    pub version: Option<i32>,
    /// To claw back: how much, in major units; all that is left of it where it is not given.
    pub amount: Option<String>,
}

/// What became of each, in the order of the request.
#[derive(Debug, Serialize, ToSchema)]
pub struct BulkAnswer {
    /// How many were changed.
    pub n_done: usize,
    /// How many were not.
    pub n_failed: usize,
    /// The results.
    pub results: Vec<BulkResult>,
}

/// What became of one.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct BulkResult {
    /// The commission.
    pub id: String,
    /// `done`, or the code of the problem: `not-found`, `precondition-failed`,
    /// `invalid-transition`, `invalid-field` for an amount that is more than is left.
    pub code: String,
    /// Why it was not changed, and what to do.
    pub detail: Option<String>,
    /// Where it stands now; null where it is not found.
    pub status: Option<String>,
    /// Its version now.
    pub version: Option<i32>,
    /// What else could be done with it; null unless the state refused.
    pub allowed: Option<Vec<String>>,
}

/// Decides about up to 100 commissions: each is changed or says why not, and the others go on.
///
/// All of them, their history, the audit log and the ledger are written in one transaction.
#[utoipa::path(tag = "commissions", request_body = BulkBody, responses(
    (status = 200, body = BulkAnswer), (status = 400, body = ProblemBody),
    (status = 422, body = ProblemBody)))]
#[post("/v1/commissions/bulk")]
async fn decide_commissions(
    app: Data<App>,
    req: HttpRequest,
    caller: Caller<scope::CommissionsWrite>,
    body: KeyedJson<BulkBody>,
) -> Result<HttpResponse, Problem> {
    let KeyedJson { value, bytes } = body;
    let deed = read(&value)?;
    let hand =
        Hand { actor: caller.actor(), rule: "manual", note: value.note, at: app.clock.now() };
    let (asker, request_id) = ((*caller).clone(), caller.request_id.clone());
    let bulk = Bulk { asker, request_id, deed, hand, items: value.items };
    once(&app, &req, &caller, KeyRule::Required, &bytes, async move |db| bulk.run(db).await).await
}

fn read(body: &BulkBody) -> Result<Deed, Problem> {
    let mut wrong = Mistakes::default();
    wrong.one_of("/action", &body.action, &Verb::ALL.map(Verb::code));
    if let Some(note) = &body.note {
        wrong.text("/note", note, NOTE_MAX);
    }
    let n = body.items.len();
    wrong.check((1..=ITEMS_MAX).contains(&n), "/items", "must be 1 to 100 commissions");
    let ids: BTreeSet<&str> = body.items.iter().map(|item| item.id.as_str()).collect();
    wrong.check(ids.len() == n, "/items", "names a commission twice: send each once");
    wrong.end()?;
    let verb = Verb::from_code(&body.action).ok_or_else(|| Problem::new(Code::InvalidField))?;
    Deed::read(verb, body.reason.as_deref(), body.days)
}

/// A decision on its way.
struct Bulk {
    asker: Identity,
    request_id: String,
    deed: Deed,
    hand: Hand,
    items: Vec<BulkItem>,
}

/// The rows that are decided about, kept up to date: a recruiter's may be among them, too.
#[derive(Default)]
struct Rows {
    rows: BTreeMap<CommissionId, Commission>,
    standings: HashMap<(ProgramId, PartnerId), Standing>,
    /// Those that a decision about another one has taken along.
    taken_along: BTreeSet<CommissionId>,
    /// Those whose hold was extended before.
    extended: HashSet<CommissionId>,
}

impl Bulk {
    async fn run(self, db: &mut DbTx) -> Result<Answer, Problem> {
        let ids: Vec<CommissionId> =
            self.items.iter().filter_map(|item| item.id.parse().ok()).collect();
        let mut rows = self.load(db, &ids).await?;
        let mut results: HashMap<&str, BulkResult> = HashMap::new();
        let (mut steps, mut entries) = (Vec::new(), Vec::new());
        for item in &self.items {
            let result = match self.decide(&rows, item) {
                Ok((of, taken)) => {
                    entries.push(self.entry(&of, &taken));
                    let after = rows.take_in(&taken, of.commission_id).unwrap_or(of);
                    steps.extend(taken);
                    BulkResult::done(item, &after)
                }
                Err(problem) => BulkResult::failed(item, rows.find(item), &problem),
            };
            results.insert(&item.id, result);
        }
        store::apply(db, steps, self.hand.at).await?;
        for entry in entries {
            audit_store::record(db, entry, self.hand.at).await?;
        }
        let in_order = self.items.iter().filter_map(|item| results.remove(item.id.as_str()));
        let results: Vec<BulkResult> = in_order.collect();
        let n_done = results.iter().filter(|result| result.detail.is_none()).count();
        let n_failed = results.len() - n_done;
        Ok(Answer::ok(BulkAnswer { n_done, n_failed, results }))
    }

    /// Locks and loads what is asked for and what follows it.
    async fn load(&self, db: &mut DbTx, ids: &[CommissionId]) -> Result<Rows, Problem> {
        let mut rows = Rows::default();
        let locked = store::lock_commissions(db, ids).await?;
        let ids: Vec<CommissionId> = locked.iter().map(|(_, id)| *id).collect();
        let programs: BTreeSet<ProgramId> = locked
            .iter()
            .map(|(program, _)| *program)
            .filter(|id| self.asker.reaches(*id))
            .collect();
        for program_id in programs {
            let programs = [program_id];
            let filter = Filter { programs: Some(&programs), ids: Some(&ids), ..Filter::default() };
            let found = store::load(db, filter, i64::MAX).await?;
            let following = store::load_following(db, program_id, &ids).await?;
            rows.extended.extend(super::store::load_extended(db, program_id, &ids).await?);
            for row in found.into_iter().chain(following) {
                let whose = (program_id, row.partner_id);
                if let hash_map::Entry::Vacant(place) = rows.standings.entry(whose) {
                    let is_good =
                        partner::store::is_in_good_standing(db, program_id, row.partner_id).await?;
                    let standing = if is_good { Standing::Good } else { Standing::Blocked };
                    place.insert(standing);
                }
                rows.rows.insert(row.commission_id, row);
            }
        }
        Ok(rows)
    }

    fn decide(&self, rows: &Rows, item: &BulkItem) -> Result<(Commission, Vec<Step>), Problem> {
        let of = rows.find(item).ok_or_else(|| {
            Problem::new(Code::NotFound)
                .detail("There is no such commission that this key reaches.")
        })?;
        // Its partner's commission stands in the same request and took it along.
        if rows.taken_along.contains(&of.commission_id) {
            return Ok((of.clone(), Vec::new()));
        }
        check_version(of, item.version)?;
        let whose = (of.program_id, of.partner_id);
        let standing = rows.standings.get(&whose).copied().unwrap_or(Standing::Blocked);
        let following = rows.following(of.commission_id);
        let around = Around { following: &following, standing, extended: &rows.extended };
        let steps = self.deed.decide(of, item.amount.as_deref(), &around, &self.hand)?;
        Ok((of.clone(), steps))
    }

    fn entry(&self, of: &Commission, taken: &[Step]) -> Entry {
        let mut details = self.deed.details(of, taken, &self.hand);
        details["bulk"] = self.items.len().into();
        let entry = Entry::by(&self.asker, self.deed.verb.audited(), of.commission_id);
        entry.request(&self.request_id).program(of.program_id).details(details)
    }
}

impl Rows {
    fn find(&self, item: &BulkItem) -> Option<&Commission> {
        self.rows.get(&item.id.parse().ok()?)
    }

    /// Returns what follows a row, and what follows that.
    fn following(&self, of: CommissionId) -> Vec<Commission> {
        let after = |id| self.rows.values().filter(move |row| row.corrects_id == Some(id));
        after(of)
            .flat_map(|row| std::iter::once(row).chain(after(row.commission_id)))
            .cloned()
            .collect()
    }

    /// Takes steps in and returns a row as it stands after them.
    fn take_in(&mut self, steps: &[Step], id: CommissionId) -> Option<Commission> {
        for step in steps {
            if step.after.commission_id != id {
                self.taken_along.insert(step.after.commission_id);
            }
            self.rows.insert(step.after.commission_id, step.after.clone());
        }
        self.rows.get(&id).cloned()
    }
}

impl BulkResult {
    fn done(item: &BulkItem, after: &Commission) -> Self {
        Self {
            id: item.id.clone(),
            code: "done".to_owned(),
            detail: None,
            status: Some(after.state.code().to_owned()),
            version: Some(after.revision),
            allowed: None,
        }
    }

    fn failed(item: &BulkItem, row: Option<&Commission>, problem: &Problem) -> Self {
        let body = problem.body(None, None);
        let allowed = body.extensions.get("allowed").and_then(|allowed| allowed.as_array());
        let texts = |all: &Vec<serde_json::Value>| {
            all.iter().filter_map(|one| one.as_str().map(str::to_owned)).collect()
        };
        Self {
            id: item.id.clone(),
            code: problem.code().slug().to_owned(),
            detail: Some(told(&body)),
            status: row.map(|row| row.state.code().to_owned()),
            version: row.map(|row| row.revision),
            allowed: allowed.map(texts),
        }
    }
}

/// Says in one text what was wrong.
fn told(problem: &ProblemBody<'_>) -> String {
    match (problem.detail, problem.errors.first()) {
        (Some(detail), _) => detail.to_owned(),
        (None, Some(error)) => format!("{}: {}", error.pointer, error.detail),
        (None, None) => problem.title.to_owned(),
    }
}
