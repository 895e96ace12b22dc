//! SQL of what plans count and know: sums of periods, marks, people, customers, rates.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use chrono::NaiveDate;
use chrono_tz::Tz;
use sqlx::PgConnection;
use uuid::Uuid;

use super::customer_store;
use super::reported::{price_facts, told};
use super::revalue::Earned;
use super::{Counted, Customer, Footing, Needs, PURCHASES, Person, PricingFacts, SumKey, SumState};
use crate::clock::Timestamp;
use crate::commission::explain::proof::group_by_root;
use crate::commission::plan::{Counter, FxRate, Owner, Period, PlanVersion, Scope, Volume};
use crate::commission::refund::Refund;
use crate::commission::row::{Commission, Step};
use crate::commission::store::{self, Filter};
use crate::conversion::wire;
use crate::ids::{CommissionId, PartnerId, ProgramId};
use crate::money::{Currency, Money};

/// Loads what these programs' plans ask for.
pub async fn load_facts(
    db: &mut PgConnection,
    needs: &HashMap<ProgramId, Needs>,
    customers: &[(ProgramId, [u8; 32])],
) -> Result<PricingFacts, sqlx::Error> {
    let who = |wanted: fn(&Needs) -> bool| -> Vec<Uuid> {
        needs.iter().filter(|(_, needs)| wanted(needs)).map(|(id, _)| id.0).collect()
    };
    let mut facts = PricingFacts::default();
    let counting = who(|needs| needs.counters);
    if !counting.is_empty() {
        facts.zones = load_zones(db, &counting).await?;
    }
    let asking = who(|needs| needs.people);
    if !asking.is_empty() {
        facts.people = load_people(db, &asking).await?;
    }
    let rated = who(|needs| needs.rates);
    if !rated.is_empty() {
        facts.rates = load_rates(db, &rated).await?;
    }
    let is_asked = |program: &ProgramId| needs.get(program).is_some_and(|needs| needs.customers);
    let customers: Vec<_> = customers.iter().filter(|(program, _)| is_asked(program)).collect();
    facts.asking = who(|needs| needs.customers).into_iter().map(ProgramId).collect();
    if !customers.is_empty() {
        customer_store::lock_customers(db, &customers).await?;
        facts.customers = customer_store::load_customers(db, &customers).await?;
    }
    Ok(facts)
}

async fn load_zones(
    db: &mut PgConnection,
    programs: &[Uuid],
) -> Result<HashMap<ProgramId, Tz>, sqlx::Error> {
    let rows = sqlx::query!(
        r#"select program_id as "program_id: ProgramId", time_zone
           from programs
           where program_id = any($1)"#,
        programs,
    )
    .fetch_all(db)
    .await?;
    Ok(rows.into_iter().map(|r| (r.program_id, r.time_zone.parse().unwrap_or(Tz::UTC))).collect())
}

async fn load_people(
    db: &mut PgConnection,
    programs: &[Uuid],
) -> Result<HashMap<(ProgramId, PartnerId), Person>, sqlx::Error> {
    let rows = sqlx::query!(
        r#"select program_id as "program_id: ProgramId", partner_id as "partner_id: PartnerId",
                  from_at, rank, terms_group
           from terms_history
           where program_id = any($1)
           order by from_at"#,
        programs,
    )
    .fetch_all(&mut *db)
    .await?;
    let mut people: HashMap<_, Person> = HashMap::with_capacity(rows.len());
    for r in rows {
        let footing =
            Footing { rank: Some(Arc::from(r.rank)), group: r.terms_group.map(Arc::from) };
        let person = people.entry((r.program_id, r.partner_id)).or_default();
        person.footings.push((r.from_at, footing));
    }
    // Who may not earn now earns nothing, whoever had brought the partner.
    let changes = sqlx::query!(
        r#"select h.program_id as "program_id: ProgramId", h.partner_id as "partner_id: PartnerId",
                  h.from_at, p.partner_id as "recruiter_id?: PartnerId"
           from recruiter_history h
           left join enrollments r
               on r.program_id = h.program_id and r.partner_id = h.recruiter_id
               and r.status = 'active'
           left join partners p on p.partner_id = r.partner_id and p.status = 'active'
           where h.program_id = any($1)
           order by h.from_at"#,
        programs,
    )
    .fetch_all(db)
    .await?;
    for r in changes {
        if let Some(person) = people.get_mut(&(r.program_id, r.partner_id)) {
            person.recruiters.push((r.from_at, r.recruiter_id));
        }
    }
    Ok(people)
}

async fn load_rates(
    db: &mut PgConnection,
    programs: &[Uuid],
) -> Result<HashMap<ProgramId, Vec<FxRate>>, sqlx::Error> {
    let rows = sqlx::query!(
        r#"select program_id as "program_id: ProgramId", from_currency, to_currency, rate_nano,
                  source, at
           from fx_rates
           where program_id = any($1)
           order by at"#,
        programs,
    )
    .fetch_all(db)
    .await?;
    let mut rates: HashMap<ProgramId, Vec<FxRate>> = HashMap::new();
    for r in rows {
        let rate = FxRate {
            from: currency(&r.from_currency)?,
            to: currency(&r.to_currency)?,
            rate_nano: r.rate_nano,
            source: Arc::from(r.source),
            at: r.at,
        };
        rates.entry(r.program_id).or_default().push(rate);
    }
    Ok(rates)
}

fn currency(code: &str) -> Result<Currency, sqlx::Error> {
    code.parse().map_err(|_| sqlx::Error::Decode(format!("{code:?} is no currency").into()))
}

/// Keeps others from counting for these until the transaction ends; without a partner the whole
/// program. Always in one order, so two cannot lock each other out.
pub async fn lock_groups(
    db: &mut PgConnection,
    groups: &BTreeSet<(ProgramId, Option<PartnerId>)>,
) -> Result<(), sqlx::Error> {
    let names: Vec<String> = groups
        .iter()
        .map(|(program, partner)| serde_json::json!(["plan_sums", program, partner]).to_string())
        .collect();
    sqlx::query!(
        r#"select pg_advisory_xact_lock(o.lock) as "locked: ()"
           from (select distinct hashtextextended(n.name, 0) as lock
                 from unnest($1::text[]) as n (name)
                 order by 1) o"#,
        &names,
    )
    .fetch_all(db)
    .await
    .map(drop)
}

/// Returns who must not count at the same time as these sums are counted; `whole` are programs
/// with sums of all partners together.
pub fn groups(
    keys: impl IntoIterator<Item = SumKey>,
    whole: &HashSet<ProgramId>,
) -> BTreeSet<(ProgramId, Option<PartnerId>)> {
    let group = |key: SumKey| {
        let partner = key.partner_id.filter(|_| !whole.contains(&key.program_id));
        (key.program_id, partner)
    };
    keys.into_iter().map(group).collect()
}

/// Splits keys into columns, for `unnest`.
struct Columns {
    programs: Vec<Uuid>,
    partners: Vec<Uuid>,
    scopes: Vec<i64>,
    periods: Vec<String>,
    starts: Vec<NaiveDate>,
}

impl Columns {
    fn of<'a>(keys: impl Iterator<Item = &'a SumKey> + Clone) -> Self {
        Self {
            programs: keys.clone().map(|k| k.program_id.0).collect(),
            // The program's own sums lie under the nil id: a key has no null in it.
            partners: keys.clone().map(|k| k.partner_id.map_or(Uuid::nil(), |p| p.0)).collect(),
            scopes: keys.clone().map(|k| k.counter.scope.0).collect(),
            periods: keys.clone().map(|k| k.counter.period.code().to_owned()).collect(),
            starts: keys.map(|k| k.start).collect(),
        }
    }
}

/// Loads what these sums have come to.
pub async fn load_sums(
    db: &mut PgConnection,
    keys: &BTreeSet<SumKey>,
) -> Result<HashMap<SumKey, SumState>, sqlx::Error> {
    let of = Columns::of(keys.iter());
    let rows = sqlx::query!(
        r#"select program_id as "program_id: ProgramId", partner_id, scope, period, start_on, n,
                  amount_minor, earned_minor, last_at
           from plan_sums
           where (program_id, partner_id, scope, period, start_on) in (
               select * from unnest($1::uuid[], $2::uuid[], $3::bigint[], $4::text[], $5::date[]))"#,
        &of.programs,
        &of.partners,
        &of.scopes,
        &of.periods,
        &of.starts,
    )
    .fetch_all(db)
    .await?;
    let sums = rows.into_iter().filter_map(|r| {
        let partner_id = Some(r.partner_id).filter(|id| !id.is_nil()).map(PartnerId);
        let owner = if partner_id.is_some() { Owner::Partner } else { Owner::Program };
        let counter =
            Counter { scope: Scope(r.scope), owner, period: Period::from_code(&r.period)? };
        let key = SumKey { program_id: r.program_id, partner_id, counter, start: r.start_on };
        let volume = Volume { n: r.n, amount_minor: r.amount_minor };
        Some((key, SumState { volume, earned_minor: r.earned_minor, last_at: r.last_at }))
    });
    Ok(sums.collect())
}

/// Adds what steps count, and marks what is to be reckoned again.
pub async fn take_in(
    db: &mut PgConnection,
    steps: impl Iterator<Item = &Step> + Clone,
) -> Result<(), sqlx::Error> {
    let mut sums: BTreeMap<SumKey, SumState> = BTreeMap::new();
    for step in steps.clone() {
        for Counted { key, count } in &step.counted {
            let sum = sums.entry(*key).or_default();
            sum.volume = sum.volume.plus(count.volume);
            sum.earned_minor = sum.earned_minor.saturating_add(count.earned_minor);
            sum.last_at = sum.last_at.max(Some(step.after.occurred_at));
        }
    }
    if !sums.is_empty() {
        add_sums(db, &sums).await?;
    }
    let marked: Vec<&Step> = steps.filter(|step| step.is_unsettling()).collect();
    if marked.is_empty() {
        return Ok(());
    }
    sqlx::query!(
        "insert into plan_marks (program_id, partner_id, from_at)
         select n.program_id, n.partner_id, min(n.from_at)
         from unnest($1::uuid[], $2::uuid[], $3::timestamptz[])
             as n (program_id, partner_id, from_at)
         group by n.program_id, n.partner_id",
        &marked.iter().map(|s| s.after.program_id.0).collect::<Vec<_>>(),
        &marked.iter().map(|s| s.after.partner_id.0).collect::<Vec<_>>(),
        &marked.iter().map(|s| s.after.occurred_at).collect::<Vec<_>>(),
    )
    .execute(db)
    .await
    .map(drop)
}

async fn add_sums(
    db: &mut PgConnection,
    sums: &BTreeMap<SumKey, SumState>,
) -> Result<(), sqlx::Error> {
    let of = Columns::of(sums.keys());
    sqlx::query!(
        "insert into plan_sums
             (program_id, partner_id, scope, period, start_on, n, amount_minor, earned_minor, last_at)
         select * from unnest($1::uuid[], $2::uuid[], $3::bigint[], $4::text[], $5::date[],
                              $6::bigint[], $7::bigint[], $8::bigint[], $9::timestamptz[])
         on conflict on constraint plan_sums_pkey
         do update set n = plan_sums.n + excluded.n,
                       amount_minor = plan_sums.amount_minor + excluded.amount_minor,
                       earned_minor = plan_sums.earned_minor + excluded.earned_minor,
                       last_at = greatest(plan_sums.last_at, excluded.last_at)",
        &of.programs,
        &of.partners,
        &of.scopes,
        &of.periods,
        &of.starts,
        &sums.values().map(|s| s.volume.n).collect::<Vec<_>>(),
        &sums.values().map(|s| s.volume.amount_minor).collect::<Vec<_>>(),
        &sums.values().map(|s| s.earned_minor).collect::<Vec<_>>(),
        &sums.values().map(|s| s.last_at).collect::<Vec<_>>() as &[Option<Timestamp>],
    )
    .execute(db)
    .await
    .map(drop)
}

/// Writes what sums have come to, whatever they said before.
pub async fn write_sums(
    db: &mut PgConnection,
    sums: &BTreeMap<SumKey, SumState>,
) -> Result<(), sqlx::Error> {
    if sums.is_empty() {
        return Ok(());
    }
    let of = Columns::of(sums.keys());
    sqlx::query!(
        "insert into plan_sums
             (program_id, partner_id, scope, period, start_on, n, amount_minor, earned_minor, last_at)
         select * from unnest($1::uuid[], $2::uuid[], $3::bigint[], $4::text[], $5::date[],
                              $6::bigint[], $7::bigint[], $8::bigint[], $9::timestamptz[])
         on conflict on constraint plan_sums_pkey
         do update set n = excluded.n, amount_minor = excluded.amount_minor,
                       earned_minor = excluded.earned_minor, last_at = excluded.last_at",
        &of.programs,
        &of.partners,
        &of.scopes,
        &of.periods,
        &of.starts,
        &sums.values().map(|s| s.volume.n).collect::<Vec<_>>(),
        &sums.values().map(|s| s.volume.amount_minor).collect::<Vec<_>>(),
        &sums.values().map(|s| s.earned_minor).collect::<Vec<_>>(),
        &sums.values().map(|s| s.last_at).collect::<Vec<_>>() as &[Option<Timestamp>],
    )
    .execute(db)
    .await
    .map(drop)
}

/// Sets to nothing what a reckoning is about to write again: a period of which nothing is left is
/// written by nobody.
pub async fn clear_sums(
    db: &mut PgConnection,
    program_id: ProgramId,
    partner_id: Option<PartnerId>,
    floor: NaiveDate,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "update plan_sums
         set n = 0, amount_minor = 0, earned_minor = 0, last_at = null
         where program_id = $1 and ($2::uuid is null or partner_id = $2) and start_on >= $3",
        program_id.0,
        partner_id.map(|p| p.0),
        floor,
    )
    .execute(db)
    .await
    .map(drop)
}

/// Loads what clicks earned since.
pub async fn load_clicks(
    db: &mut PgConnection,
    program_id: ProgramId,
    partner_id: Option<PartnerId>,
    since: Timestamp,
) -> Result<Vec<Commission>, sqlx::Error> {
    let ids = sqlx::query_scalar!(
        r#"select commission_id as "commission_id: CommissionId"
           from commissions
           where program_id = $1
             and ($2::uuid is null or partner_id = $2)
             and kind = 'clicks'
             and state not in ('rejected', 'reversed')
             and occurred_at >= $3"#,
        program_id.0,
        partner_id.map(|p| p.0),
        since,
    )
    .fetch_all(&mut *db)
    .await?;
    let programs = [program_id];
    let filter = Filter { programs: Some(&programs), ids: Some(&ids), ..Filter::default() };
    store::load(db, filter, i64::MAX).await
}

/// Returns partners with periods to be reckoned again, those that wait longest first.
pub async fn marked(
    db: &mut PgConnection,
    program: Option<ProgramId>,
    limit: i64,
) -> Result<Vec<(ProgramId, PartnerId)>, sqlx::Error> {
    let rows = sqlx::query!(
        r#"select program_id as "program_id: ProgramId", partner_id as "partner_id: PartnerId"
           from plan_marks
           where $1::uuid is null or program_id = $1
           group by program_id, partner_id
           order by min(mark_id)
           limit $2"#,
        program.map(|p| p.0),
        limit,
    )
    .fetch_all(db)
    .await?;
    Ok(rows.into_iter().map(|r| (r.program_id, r.partner_id)).collect())
}

/// Takes the marks of a partner, or of all partners of a program, and returns the earliest time
/// and the partner it is for; none when somebody else took them.
pub async fn take_marks(
    db: &mut PgConnection,
    program_id: ProgramId,
    partner_id: Option<PartnerId>,
) -> Result<Option<Timestamp>, sqlx::Error> {
    sqlx::query_scalar!(
        r#"with taken as (
               delete from plan_marks
               where program_id = $1 and ($2::uuid is null or partner_id = $2)
               returning from_at)
           select min(from_at) from taken"#,
        program_id.0,
        partner_id.map(|p| p.0),
    )
    .fetch_one(db)
    .await
}

/// A program, as far as reckoning again needs it.
pub struct ProgramPlans {
    /// Its time zone.
    pub zone: Tz,
    /// Every edition of its plan.
    pub versions: Vec<PlanVersion>,
    /// Commissions of what happened before are not changed any more.
    pub fixed_until: Option<Timestamp>,
}

/// Keeps others from reckoning a program's periods again until the transaction ends.
pub async fn lock_program(db: &mut PgConnection, program_id: ProgramId) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "select program_id from programs where program_id = $1 for no key update",
        program_id.0,
    )
    .fetch_optional(db)
    .await
    .map(drop)
}

/// Loads a program's plans for who writes by them: what is fixed stays as it is read here until the
/// transaction ends.
pub async fn hold_program(
    db: &mut PgConnection,
    program_id: ProgramId,
) -> Result<ProgramPlans, sqlx::Error> {
    sqlx::query!("select 1 as one from programs where program_id = $1 for share", program_id.0)
        .fetch_one(&mut *db)
        .await?;
    load_program(db, program_id).await
}

/// Loads a program's plans.
pub async fn load_program(
    db: &mut PgConnection,
    program_id: ProgramId,
) -> Result<ProgramPlans, sqlx::Error> {
    let row = sqlx::query!(
        r#"select p.time_zone, f.fixed_until as "fixed_until?"
           from programs p
           left join plan_fixed f on f.program_id = p.program_id
           where p.program_id = $1"#,
        program_id.0,
    )
    .fetch_one(&mut *db)
    .await?;
    let versions = store::load_plans(db, &[program_id]).await?.into_iter().map(|(_, v)| v);
    Ok(ProgramPlans {
        zone: row.time_zone.parse().unwrap_or(Tz::UTC),
        versions: versions.collect(),
        fixed_until: row.fixed_until,
    })
}

/// Locks what was earned since, before it is read to be reckoned again.
pub async fn lock_earned(
    db: &mut PgConnection,
    program_id: ProgramId,
    partner_id: Option<PartnerId>,
    since: Timestamp,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "select c.commission_id
         from commissions c
         where c.program_id = $1
           and ($2::uuid is null or c.partner_id = $2)
           and c.kind = 'earned'
           and c.state not in ('rejected', 'reversed')
           and c.occurred_at >= $3
         for update of c",
        program_id.0,
        partner_id.map(|p| p.0),
        since,
    )
    .fetch_all(db)
    .await
    .map(drop)
}

/// Loads what was earned since, each with its corrections and refunds.
pub async fn load_earned(
    db: &mut PgConnection,
    program_id: ProgramId,
    partner_id: Option<PartnerId>,
    since: Timestamp,
    asks_customers: bool,
) -> Result<Vec<Earned>, sqlx::Error> {
    let rows = sqlx::query!(
        r#"select c.commission_id as "commission_id: CommissionId",
                  v.order_namespace, v.event, v.dedup_ref, v.currency, v.occurred_at,
                  v.customer_hash is not null as "is_named!", k.first_at as "first_at?",
                  v.details, r.refunded_minor as "refunded_minor?", r.is_all as "is_all?"
           from commissions c
           join conversions v
               on v.program_id = c.program_id and v.conversion_id = c.conversion_id
           left join lateral (
               select sum(f.amount_minor)::bigint as refunded_minor,
                      bool_or(f.amount_minor is null) as is_all
               from conversion_refunds f
               where f.program_id = c.program_id and f.conversion_id = c.conversion_id) r on true
           left join lateral (
               select min(b.occurred_at) as first_at
               from conversions b
               where b.program_id = v.program_id and b.customer_hash = v.customer_hash
                 and b.event = any($4) and not b.is_test) k on $5
           where c.program_id = $1
             and ($2::uuid is null or c.partner_id = $2)
             and c.kind = 'earned'
             and c.state not in ('rejected', 'reversed')
             and c.occurred_at >= $3"#,
        program_id.0,
        partner_id.map(|p| p.0),
        since,
        &PURCHASES.map(str::to_owned),
        asks_customers,
    )
    .fetch_all(&mut *db)
    .await?;
    let ids: Vec<CommissionId> = rows.iter().map(|r| r.commission_id).collect();
    let programs = [program_id];
    let filter = Filter { programs: Some(&programs), ids: Some(&ids), ..Filter::default() };
    let commissions = store::load(db, filter, i64::MAX).await?;
    let mut commissions: HashMap<_, _> =
        commissions.into_iter().map(|c| (c.commission_id, c)).collect();
    let following = store::load_following(db, program_id, &ids).await?;
    let mut followers = group_by_root(following);
    let mut earned = Vec::with_capacity(rows.len());
    for r in rows {
        let Some(commission) = commissions.remove(&r.commission_id) else { continue };
        let currency = r.currency.as_deref().map(currency).transpose()?;
        let amount = r.refunded_minor.zip(currency).map(|(m, c)| Money::new(m, c));
        let refund = match (r.is_all, amount) {
            (Some(true), _) => Some(None),
            (_, Some(amount)) => Some(Some(amount)),
            (_, None) => None,
        };
        let report = wire::from_wire(&r.details).map_err(|e| sqlx::Error::Decode(e.into()))?;
        earned.push(Earned {
            told: price_facts(&report),
            followers: followers.remove(&r.commission_id).unwrap_or_default(),
            name: [r.order_namespace, r.event, r.dedup_ref].join("\n"),
            refund: refund.map(|amount| Refund { refund_id: String::new(), amount }),
            customer: asks_customers.then(|| Customer {
                is_named: r.is_named,
                first_at: r.first_at,
                is_new: told(&report).is_new_customer,
            }),
            commission,
        });
    }
    Ok(earned)
}

/// Fixes what happened before: later facts do not change its commissions by tiers and caps.
pub async fn fix(
    db: &mut PgConnection,
    program_id: ProgramId,
    until: Timestamp,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "insert into plan_fixed (program_id, fixed_until)
         values ($1, $2)
         on conflict on constraint plan_fixed_pkey
         do update set fixed_until = greatest(plan_fixed.fixed_until, excluded.fixed_until)",
        program_id.0,
        until,
    )
    .execute(db)
    .await
    .map(drop)
}
