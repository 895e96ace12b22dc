//! SQL of commissions and plans: steps are written many at a time.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use futures_util::future::join;
use sqlx::PgConnection;
use tokio::task::spawn_blocking;
use uuid::Uuid;

use crate::clock::Timestamp;
use crate::commission::plan::{Approval, PlanDocument, PlanTerms, PlanVersion};
use crate::commission::pricing;
use crate::commission::row::{Commission, Step};
use crate::commission::state::{CommissionKind, CommissionState};
use crate::commission::step_store::{self, Opened, Told};
use crate::db::DbTx;
use crate::db::copy::{COPY_MIN, let_go};
use crate::ids::{
    CommissionId, ConversionId, LedgerTransactionId, PartnerId, PayoutId, PlanVersionId, ProgramId,
    UserId,
};
use crate::ledger;
use crate::ledger::store::Drafted;
use crate::money::Money;

/// Why steps were not written; nothing of them was then.
#[derive(Debug, thiserror::Error)]
pub enum ApplyError {
    /// PostgreSQL refused or could not be reached.
    #[error("the commissions could not be written")]
    Database(#[from] sqlx::Error),
    /// Somebody else changed one of them since it was read.
    #[error("a commission was changed by somebody else meanwhile")]
    Stale,
}

/// Writes steps in their order: rows, history and ledger together.
///
/// Several steps of one commission may come in one call; the last one is what the row says.
pub async fn apply(
    db: &mut DbTx,
    steps: Vec<Step>,
    recorded_at: Timestamp,
) -> Result<(), ApplyError> {
    if steps.is_empty() {
        return Ok(());
    }
    let posted = |step: &Step| step.posting.as_ref().map(|_| LedgerTransactionId::new());
    let told: Vec<Told> =
        steps.into_iter().map(|step| Told { posted: posted(&step), step }).collect();
    let told = Arc::new(told);
    let mut opened: BTreeMap<CommissionId, Opened<'_>> = BTreeMap::new();
    let mut changed: BTreeMap<CommissionId, (i32, &Commission)> = BTreeMap::new();
    let mut later = Vec::new();
    for of in &*told {
        let Told { step, .. } = of;
        let id = step.after.commission_id;
        if step.from.is_none() {
            debug_assert_eq!(step.after.created_at, step.by.at, "it is there since its first step");
            opened.insert(id, Opened { first: of, last: &step.after });
            continue;
        }
        later.push(of);
        if let Some(opened) = opened.get_mut(&id) {
            opened.last = &step.after;
        } else {
            let revision_read = step.after.revision - 1;
            changed.entry(id).or_insert((revision_read, &step.after)).1 = &step.after;
        }
    }
    let inserting = step_store::insert_rows(db, opened.into_values().collect());
    let (inserted, drafted) = join(inserting, draft(&told, recorded_at)).await;
    inserted?;
    // All who write to a program wait for the head of its chain, so it is taken last. Rows that are
    // there are changed after it, as payouts change them: otherwise each could wait for the other.
    let is_posted_first = !changed.is_empty();
    if is_posted_first {
        ledger::store::write(db, &drafted).await?;
    }
    step_store::update_rows(db, changed.into_values().collect()).await?;
    step_store::insert_history(db, &later).await?;
    pricing::store::take_in(db, told.iter().map(|told| &told.step)).await?;
    if !is_posted_first {
        ledger::store::write(db, &drafted).await?;
    }
    let_go(told.len(), (told, drafted));
    Ok(())
}

/// Drafts what steps post; for many of them on another thread, since whoever feeds the server its
/// rows has no time.
async fn draft(told: &Arc<Vec<Told>>, recorded_at: Timestamp) -> Drafted {
    let draft = move |told: &[Told]| {
        let postings = told.iter().filter_map(|told| told.posted.zip(told.step.posting.clone()));
        ledger::store::draft(recorded_at, postings)
    };
    if told.len() >= COPY_MIN {
        let all = Arc::clone(told);
        if let Ok(drafted) = spawn_blocking(move || draft(&all)).await {
            return drafted;
        }
    }
    draft(told)
}

/// A row as it lies in the table.
struct Row {
    program_id: ProgramId,
    commission_id: CommissionId,
    kind: String,
    state: String,
    partner_id: PartnerId,
    conversion_id: Option<ConversionId>,
    corrects_id: Option<CommissionId>,
    cause: String,
    amount_minor: i64,
    currency: String,
    plan_version_id: Option<PlanVersionId>,
    calculation: serde_json::Value,
    occurred_at: Timestamp,
    hold_until: Timestamp,
    approval: String,
    created_at: Timestamp,
    approved_at: Option<Timestamp>,
    reason: Option<String>,
    payout_id: Option<PayoutId>,
    revision: i32,
}

/// Says that a stored text is none that this release knows.
fn unknown(column: &str, value: &str) -> sqlx::Error {
    sqlx::Error::Decode(format!("commissions.{column} holds {value:?}").into())
}

impl TryFrom<Row> for Commission {
    type Error = sqlx::Error;

    fn try_from(r: Row) -> Result<Self, sqlx::Error> {
        let currency = r.currency.parse().map_err(|_| unknown("currency", &r.currency))?;
        Ok(Self {
            program_id: r.program_id,
            commission_id: r.commission_id,
            kind: CommissionKind::from_code(&r.kind).ok_or_else(|| unknown("kind", &r.kind))?,
            state: CommissionState::from_code(&r.state)
                .ok_or_else(|| unknown("state", &r.state))?,
            partner_id: r.partner_id,
            conversion_id: r.conversion_id,
            corrects_id: r.corrects_id,
            cause: r.cause,
            amount: Money::new(r.amount_minor, currency),
            plan_version_id: r.plan_version_id,
            calculation: r.calculation.into(),
            occurred_at: r.occurred_at,
            hold_until: r.hold_until,
            approval: match r.approval.as_str() {
                "auto" => Approval::Auto,
                _ => Approval::Manual,
            },
            created_at: r.created_at,
            approved_at: r.approved_at,
            reason: r.reason,
            payout_id: r.payout_id,
            revision: r.revision,
        })
    }
}

/// Which commissions to load; what is not given does not limit.
#[derive(Clone, Copy, Debug, Default)]
pub struct Filter<'a> {
    /// Of these programs.
    pub programs: Option<&'a [ProgramId]>,
    /// Of this partner.
    pub partner: Option<PartnerId>,
    /// In this state.
    pub state: Option<CommissionState>,
    /// Of these conversions.
    pub conversions: Option<&'a [ConversionId]>,
    /// Held by, or paid in, this payout.
    pub payout: Option<PayoutId>,
    /// These alone.
    pub ids: Option<&'a [CommissionId]>,
    /// Those that a rule of suspicion has spoken about; `any` of them where it is `any`.
    pub flag: Option<&'a str>,
    /// After this one, in the order of making.
    pub after: Option<CommissionId>,
}

/// Loads commissions in the order of their making.
pub async fn load(
    db: &mut PgConnection,
    filter: Filter<'_>,
    limit: i64,
) -> Result<Vec<Commission>, sqlx::Error> {
    let programs: Option<Vec<Uuid>> = filter.programs.map(|all| all.iter().map(|p| p.0).collect());
    let conversions: Option<Vec<Uuid>> =
        filter.conversions.map(|all| all.iter().map(|c| c.0).collect());
    let ids: Option<Vec<Uuid>> = filter.ids.map(|all| all.iter().map(|c| c.0).collect());
    let rows = sqlx::query_as!(
        Row,
        r#"select program_id as "program_id: ProgramId",
                  commission_id as "commission_id: CommissionId", kind, state,
                  partner_id as "partner_id: PartnerId",
                  conversion_id as "conversion_id: ConversionId",
                  corrects_id as "corrects_id: CommissionId", cause, amount_minor, currency,
                  plan_version_id as "plan_version_id: PlanVersionId", calculation, occurred_at,
                  hold_until, approval, created_at, approved_at, reason,
                  payout_id as "payout_id: PayoutId", revision
           from commissions
           where ($1::uuid[] is null or program_id = any($1))
             and ($2::uuid is null or partner_id = $2)
             and ($3::text is null or state = $3)
             and ($4::uuid[] is null or conversion_id = any($4))
             and ($5::uuid is null or payout_id = $5)
             and ($6::uuid[] is null or commission_id = any($6))
             and ($7::uuid is null or commission_id > $7)
             and ($8::text is null or exists (
                 select from commission_flags f
                 where f.program_id = commissions.program_id
                   and f.commission_id = commissions.commission_id
                   and ($8 = 'any' or f.rule = $8)))
           order by commission_id
           limit $9"#,
        programs.as_deref(),
        filter.partner.map(|p| p.0),
        filter.state.map(CommissionState::code),
        conversions.as_deref(),
        filter.payout.map(|p| p.0),
        ids.as_deref(),
        filter.after.map(|a| a.0),
        filter.flag,
        limit,
    )
    .fetch_all(db)
    .await?;
    rows.into_iter().map(Commission::try_from).collect()
}

/// Loads the rows that follow these commissions: their corrections, what their recruiters have,
/// and the corrections of that.
pub async fn load_following(
    db: &mut PgConnection,
    program_id: ProgramId,
    of: &[CommissionId],
) -> Result<Vec<Commission>, sqlx::Error> {
    let ids = sqlx::query_scalar!(
        r#"with direct as (
               select commission_id, kind
               from commissions
               where program_id = $1 and corrects_id = any($2))
           select d.commission_id as "commission_id!: CommissionId" from direct d
           union all
           select c.commission_id
           from direct d
           join commissions c on c.program_id = $1 and c.corrects_id = d.commission_id
           where d.kind = 'recruiter'"#,
        program_id.0,
        &of.iter().map(|c| c.0).collect::<Vec<_>>(),
    )
    .fetch_all(&mut *db)
    .await?;
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    let programs = [program_id];
    let filter = Filter { programs: Some(&programs), ids: Some(&ids), ..Filter::default() };
    load(db, filter, i64::MAX).await
}

/// Locks and loads pending commissions whose hold is over and which time alone approves, of
/// partners in good standing. Rows that another process works on are passed over.
pub async fn lock_due(
    db: &mut PgConnection,
    now: Timestamp,
    limit: i64,
) -> Result<Vec<Commission>, sqlx::Error> {
    let rows = sqlx::query_as!(
        Row,
        r#"select c.program_id as "program_id: ProgramId",
                  c.commission_id as "commission_id: CommissionId", c.kind, c.state,
                  c.partner_id as "partner_id: PartnerId",
                  c.conversion_id as "conversion_id: ConversionId",
                  c.corrects_id as "corrects_id: CommissionId", c.cause, c.amount_minor, c.currency,
                  c.plan_version_id as "plan_version_id: PlanVersionId", c.calculation,
                  c.occurred_at, c.hold_until, c.approval, c.created_at, c.approved_at, c.reason,
                  c.payout_id as "payout_id: PayoutId", c.revision
           from commissions c
           join enrollments e on e.program_id = c.program_id and e.partner_id = c.partner_id
           join partners p on p.partner_id = c.partner_id
           where c.state = 'pending'
             and c.approval = 'auto'
             and c.hold_until <= $1
             -- A recruiter's follows the partner's.
             and (c.kind <> 'recruiter'
                  or exists (select from commissions o
                             where o.program_id = c.program_id
                               and o.commission_id = c.corrects_id
                               and o.state in ('approved', 'paid')))
             and e.status in ('active', 'ended')
             and p.status = 'active'
           order by c.hold_until, c.commission_id
           limit $2
           for update of c skip locked"#,
        now,
        limit,
    )
    .fetch_all(db)
    .await?;
    rows.into_iter().map(Commission::try_from).collect()
}

/// One line of a commission's history.
#[derive(Clone, Debug)]
pub struct HistoryRow {
    /// Where it stood before; none for its opening.
    pub from_state: Option<String>,
    /// Where it stood after.
    pub to_state: String,
    /// When.
    pub at: Timestamp,
    /// Who.
    pub actor: String,
    /// By which rule.
    pub rule: String,
    /// What the actor said.
    pub reason: Option<String>,
    /// What the ledger posted.
    pub ledger_transaction_id: Option<LedgerTransactionId>,
}

/// Finds the program of a commission and keeps others from changing the commission until the
/// transaction ends. Asked program by program, because that is how the rows are keyed.
pub async fn lock_commission(
    db: &mut PgConnection,
    commission_id: CommissionId,
) -> Result<Option<ProgramId>, sqlx::Error> {
    sqlx::query_scalar!(
        r#"select c.program_id as "program_id: ProgramId"
           from programs p
           join commissions c on c.program_id = p.program_id and c.commission_id = $1
           for update of c"#,
        commission_id.0,
    )
    .fetch_optional(db)
    .await
}

/// Finds the programs of commissions and keeps others from changing these, and what follows them,
/// until the transaction ends. Always in one order, so two cannot lock each other out.
pub async fn lock_commissions(
    db: &mut PgConnection,
    commissions: &[CommissionId],
) -> Result<Vec<(ProgramId, CommissionId)>, sqlx::Error> {
    let ids: Vec<Uuid> = commissions.iter().map(|id| id.0).collect();
    let rows = sqlx::query!(
        r#"with named as (
               select c.program_id, c.commission_id
               from programs p
               join commissions c on c.program_id = p.program_id and c.commission_id = any($1)),
           following as (
               select c.program_id, c.commission_id
               from named n
               join commissions c
                   on c.program_id = n.program_id and c.corrects_id = n.commission_id)
           select c.program_id as "program_id: ProgramId",
                  c.commission_id as "commission_id: CommissionId"
           from commissions c
           where (c.program_id, c.commission_id) in (
               select * from named union all select * from following)
           order by c.commission_id
           for update of c"#,
        &ids,
    )
    .fetch_all(db)
    .await?;
    let found = rows.into_iter().map(|r| (r.program_id, r.commission_id));
    Ok(found.filter(|(_, id)| ids.contains(&id.0)).collect())
}

/// Finds a commission.
pub async fn find_commission(
    db: &mut PgConnection,
    commission_id: CommissionId,
) -> Result<Option<Commission>, sqlx::Error> {
    let programs = sqlx::query_scalar!(
        r#"select c.program_id as "program_id: ProgramId"
           from programs p
           join commissions c on c.program_id = p.program_id and c.commission_id = $1"#,
        commission_id.0,
    )
    .fetch_all(&mut *db)
    .await?;
    let ids = [commission_id];
    let filter = Filter { programs: Some(&programs), ids: Some(&ids), ..Filter::default() };
    Ok(load(db, filter, 1).await?.pop())
}

/// What a commission is paid for, as people know it.
#[derive(Clone, Debug)]
pub struct OrderFacts {
    /// What was reported.
    pub event: String,
    /// The shop's own name of the order.
    pub order_id: Option<String>,
    /// What the commission was reckoned from, with its currency.
    pub base: Option<(i64, String)>,
}

/// Loads what commissions of a program are paid for.
pub async fn load_orders(
    db: &mut PgConnection,
    program_id: ProgramId,
    conversions: &[ConversionId],
) -> Result<HashMap<ConversionId, OrderFacts>, sqlx::Error> {
    let rows = sqlx::query!(
        r#"select conversion_id as "conversion_id: ConversionId", event, order_id, base_minor,
                  currency
           from conversions
           where program_id = $1 and conversion_id = any($2)"#,
        program_id.0,
        &conversions.iter().map(|c| c.0).collect::<Vec<_>>(),
    )
    .fetch_all(db)
    .await?;
    let facts = rows.into_iter().map(|r| {
        let base = r.base_minor.zip(r.currency);
        (r.conversion_id, OrderFacts { event: r.event, order_id: r.order_id, base })
    });
    Ok(facts.collect())
}

/// Loads a commission's history, oldest first.
pub async fn load_history(
    db: &mut PgConnection,
    program_id: ProgramId,
    commission_id: CommissionId,
) -> Result<Vec<HistoryRow>, sqlx::Error> {
    sqlx::query_as!(
        HistoryRow,
        r#"select from_state, to_state as "to_state!", at as "at!", actor as "actor!", rule as "rule!", reason,
                  ledger_transaction_id as "ledger_transaction_id: LedgerTransactionId"
           from commission_steps
           where program_id = $1 and commission_id = $2
           order by revision"#,
        program_id.0,
        commission_id.0,
    )
    .fetch_all(db)
    .await
}

/// Inserts an edition of a program's plan; it is never changed afterwards.
pub async fn insert_plan(
    db: &mut PgConnection,
    program_id: ProgramId,
    plan_version_id: PlanVersionId,
    effective_from: Timestamp,
    document: &PlanDocument,
    created_by: UserId,
    now: Timestamp,
) -> Result<(), sqlx::Error> {
    let document = serde_json::to_value(document).map_err(|e| sqlx::Error::Encode(e.into()))?;
    sqlx::query!(
        "insert into plan_versions
             (program_id, plan_version_id, effective_from, document, created_by, created_at)
         values ($1, $2, $3, $4, $5, $6)",
        program_id.0,
        plan_version_id.0,
        effective_from,
        document,
        created_by.0,
        now,
    )
    .execute(db)
    .await
    .map(drop)
}

/// Loads every edition of the plans of programs, as rules.
pub async fn load_plans(
    db: &mut PgConnection,
    programs: &[ProgramId],
) -> Result<Vec<(ProgramId, PlanVersion)>, sqlx::Error> {
    let rows = sqlx::query!(
        r#"select program_id as "program_id: ProgramId",
                  plan_version_id as "plan_version_id: PlanVersionId", effective_from, document
           from plan_versions
           where program_id = any($1)
           order by effective_from"#,
        &programs.iter().map(|p| p.0).collect::<Vec<_>>(),
    )
    .fetch_all(db)
    .await?;
    rows.into_iter()
        .map(|r| {
            let document: PlanDocument =
                serde_json::from_value(r.document).map_err(|e| sqlx::Error::Decode(e.into()))?;
            let terms =
                PlanTerms::try_from(&document).map_err(|e| sqlx::Error::Decode(e.into()))?;
            let (id, effective_from) = (r.plan_version_id, r.effective_from);
            Ok((r.program_id, PlanVersion { id, effective_from, terms: terms.into() }))
        })
        .collect()
}
