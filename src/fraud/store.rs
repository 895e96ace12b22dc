//! SQL of suspicion: policies, flags, and the facts that rules look at; a batch at a time.

use std::collections::{BTreeMap, HashMap};

use chrono::NaiveDate;
use serde_json::json;
use sqlx::PgConnection;
use uuid::Uuid;

use crate::account::audit_store::{self, Entry};
use crate::clock::Timestamp;
use crate::fraud::facts::{CustomerHash, FraudFacts};
use crate::fraud::judge::{ClickMarks, Rate};
use crate::fraud::{Policy, PolicyDocument, RaisedFlag, Rule};
use crate::ids::{CommissionId, PartnerId, ProgramId};
use crate::link::paid::AdNetwork;
use crate::signing::Key;

/// Where a click's flags hold the code of the advertising network.
const PAID_SHIFT: i16 = 2;
const PAID_MASK: i16 = 7;

/// What the conversions of a batch name.
#[derive(Clone, Debug, Default)]
pub struct Named {
    /// Their programs.
    pub programs: Vec<ProgramId>,
    /// Their clicks, with the day of each.
    pub clicks: Vec<(ProgramId, NaiveDate, Uuid)>,
    /// Their customers.
    pub customers: Vec<(ProgramId, CustomerHash)>,
    /// The hours in which they happened.
    pub hours: Vec<(ProgramId, Timestamp)>,
}

/// Loads what the conversions of a batch are compared with. What no program asks for is not loaded.
pub async fn load_facts(
    db: &mut PgConnection,
    named: &Named,
    customer_key: &Key,
) -> Result<FraudFacts, sqlx::Error> {
    let mut facts = FraudFacts::new(customer_key.clone());
    facts.policies = load_policies(db, &named.programs).await?;
    let default = Policy::default();
    let wants = |program: &ProgramId, what: fn(&Policy) -> bool| {
        what(facts.policies.get(program).unwrap_or(&default))
    };
    let clicks: Vec<_> =
        named.clicks.iter().filter(|c| wants(&c.0, Policy::looks_at_clicks)).copied().collect();
    let customers: Vec<_> =
        named.customers.iter().filter(|c| wants(&c.0, |p| p.self_referral)).copied().collect();
    let has_pace = |p: &Policy| p.velocity_per_hour.is_some();
    let hours: Vec<_> = named.hours.iter().filter(|h| wants(&h.0, has_pace)).copied().collect();
    facts.clicks = load_clicks(db, &clicks).await?;
    load_identities(db, &customers, &mut facts).await?;
    load_hours(db, &hours, &mut facts).await?;
    Ok(facts)
}

/// Loads what programs want; those that have chosen nothing are left out.
pub async fn load_policies(
    db: &mut PgConnection,
    programs: &[ProgramId],
) -> Result<HashMap<ProgramId, Policy>, sqlx::Error> {
    let rows = sqlx::query!(
        r#"select program_id as "program_id: ProgramId", document
           from fraud_policies
           where program_id = any($1)"#,
        &programs.iter().map(|p| p.0).collect::<Vec<_>>(),
    )
    .fetch_all(db)
    .await?;
    rows.into_iter()
        .map(|r| {
            let document: PolicyDocument =
                serde_json::from_value(r.document).map_err(|e| sqlx::Error::Decode(e.into()))?;
            // It was checked before it was stored; what is there is believed.
            Ok((r.program_id, Policy::try_from(&document).unwrap_or_default()))
        })
        .collect()
}

/// Finds what a program has chosen.
pub async fn find_policy(
    db: &mut PgConnection,
    program_id: ProgramId,
) -> Result<Option<PolicyDocument>, sqlx::Error> {
    let found = sqlx::query_scalar!(
        "select document from fraud_policies where program_id = $1",
        program_id.0,
    )
    .fetch_optional(db)
    .await?;
    found.map(|d| serde_json::from_value(d).map_err(|e| sqlx::Error::Decode(e.into()))).transpose()
}

/// Writes what a program chooses.
pub async fn put_policy(
    db: &mut PgConnection,
    program_id: ProgramId,
    document: &PolicyDocument,
    now: Timestamp,
) -> Result<(), sqlx::Error> {
    let document = serde_json::to_value(document).map_err(|e| sqlx::Error::Encode(e.into()))?;
    sqlx::query!(
        "insert into fraud_policies (program_id, document, updated_at)
         values ($1, $2, $3)
         on conflict on constraint fraud_policies_pkey
         do update set document = excluded.document, updated_at = excluded.updated_at",
        program_id.0,
        document,
        now,
    )
    .execute(db)
    .await
    .map(drop)
}

/// Loads the marks of clicks that are there.
pub async fn load_clicks(
    db: &mut PgConnection,
    clicks: &[(ProgramId, NaiveDate, Uuid)],
) -> Result<HashMap<(ProgramId, Uuid), ClickMarks>, sqlx::Error> {
    if clicks.is_empty() {
        return Ok(HashMap::new());
    }
    let rows = sqlx::query!(
        r#"select c.program_id as "program_id: ProgramId", c.click_id, c.referrer_host, c.flags
           from unnest($1::uuid[], $2::date[], $3::uuid[]) as n (program_id, day, click_id)
           join clicks c
             on c.program_id = n.program_id and c.day = n.day and c.click_id = n.click_id"#,
        &clicks.iter().map(|c| c.0.0).collect::<Vec<_>>(),
        &clicks.iter().map(|c| c.1).collect::<Vec<_>>(),
        &clicks.iter().map(|c| c.2).collect::<Vec<_>>(),
    )
    .fetch_all(db)
    .await?;
    Ok(rows
        .into_iter()
        .map(|r| ((r.program_id, r.click_id), marks(r.referrer_host, r.flags)))
        .collect())
}

/// Loads who the partners are, where customers are named.
async fn load_identities(
    db: &mut PgConnection,
    customers: &[(ProgramId, CustomerHash)],
    facts: &mut FraudFacts,
) -> Result<(), sqlx::Error> {
    if customers.is_empty() {
        return Ok(());
    }
    let programs: Vec<Uuid> = customers.iter().map(|c| c.0.0).collect();
    let own = sqlx::query!(
        r#"select o.program_id as "program_id: ProgramId", o.partner_id as "partner_id: PartnerId",
                  o.customer_hash
           from partner_own_customers o
           where (o.program_id, o.customer_hash) in (
               select * from unnest($1::uuid[], $2::bytea[]))"#,
        &programs,
        &customers.iter().map(|c| c.1.to_vec()).collect::<Vec<_>>(),
    )
    .fetch_all(&mut *db)
    .await?;
    for row in own {
        if let Ok(hash) = row.customer_hash.try_into() {
            facts.own_customers.insert((row.program_id, row.partner_id, hash));
        }
    }
    let emails = sqlx::query!(
        r#"select e.program_id as "program_id!: ProgramId",
                  e.partner_id as "partner_id!: PartnerId", e.email as "email!"
           from (select n.program_id, n.partner_id, p.email
                 from enrollments n
                 join partners p on p.partner_id = n.partner_id
                 union
                 select a.program_id, a.partner_id, a.email
                 from applications a) e
           where e.program_id = any($1) and e.email is not null"#,
        &programs,
    )
    .fetch_all(db)
    .await?;
    for row in emails {
        facts.emails.entry((row.program_id, row.partner_id)).or_default().push(row.email);
    }
    Ok(())
}

/// Counts how often partners earned in hours.
async fn load_hours(
    db: &mut PgConnection,
    hours: &[(ProgramId, Timestamp)],
    facts: &mut FraudFacts,
) -> Result<(), sqlx::Error> {
    if hours.is_empty() {
        return Ok(());
    }
    let rows = sqlx::query!(
        r#"select n.program_id as "program_id!: ProgramId", n.hour as "hour!",
                  c.partner_id as "partner_id: PartnerId", count(*) as "n!"
           from (select distinct * from unnest($1::uuid[], $2::timestamptz[])
                     as h (program_id, hour)) n
           join conversions v
             on v.program_id = n.program_id
            and v.occurred_at >= n.hour and v.occurred_at < n.hour + interval '1 hour'
           join commissions c
             on c.program_id = v.program_id and c.conversion_id = v.conversion_id
            and c.kind = 'earned'
           group by 1, 2, 3"#,
        &hours.iter().map(|h| h.0.0).collect::<Vec<_>>(),
        &hours.iter().map(|h| h.1).collect::<Vec<_>>(),
    )
    .fetch_all(db)
    .await?;
    for row in rows {
        facts.hours.insert((row.program_id, row.partner_id, row.hour), count(row.n));
    }
    Ok(())
}

/// A commission whose hold is over.
#[derive(Clone, Debug)]
pub struct Review {
    /// The program.
    pub program_id: ProgramId,
    /// The commission.
    pub commission_id: CommissionId,
    /// Who earned it.
    pub partner_id: PartnerId,
    /// What is known of its click.
    pub click: Option<ClickMarks>,
    /// How often its partner earned in its hour.
    pub n_in_hour: u32,
    /// The rules that have spoken already.
    pub known: Vec<Rule>,
}

/// Loads what was earned among commissions whose hold is over, with its surroundings.
pub async fn load_reviews(
    db: &mut PgConnection,
    due: &[(ProgramId, CommissionId)],
) -> Result<Vec<Review>, sqlx::Error> {
    if due.is_empty() {
        return Ok(Vec::new());
    }
    let rows = sqlx::query!(
        r#"select c.program_id as "program_id: ProgramId",
                  c.commission_id as "commission_id: CommissionId",
                  c.partner_id as "partner_id: PartnerId", k.referrer_host as "referrer_host?",
                  k.flags as "flags?",
                  (select count(*) from commissions h
                   where h.program_id = c.program_id and h.partner_id = c.partner_id
                     and h.kind = 'earned'
                     and h.occurred_at >= date_trunc('hour', c.occurred_at, 'UTC')
                     and h.occurred_at < date_trunc('hour', c.occurred_at, 'UTC')
                                         + interval '1 hour') as "n_in_hour!",
                  array(select f.rule from commission_flags f
                        where f.program_id = c.program_id
                          and f.commission_id = c.commission_id) as "known!"
           from unnest($1::uuid[], $2::uuid[]) as n (program_id, commission_id)
           join commissions c
             on c.program_id = n.program_id and c.commission_id = n.commission_id
           join conversions v
             on v.program_id = c.program_id and v.conversion_id = c.conversion_id
           -- Of a shared conversion each partner answers for a click of its own.
           left join lateral (
               select s.*
               from parts_of(v.path, v.partner_id, v.link_number, v.click_at, v.click_id) s
               where s.partner_id = c.partner_id) s on true
           left join lateral (
               select k.referrer_host, k.flags
               from clicks k
               where k.program_id = c.program_id
                 and k.day = (s.click_at at time zone 'UTC')::date
                 and k.click_id >= click_keys_from(s.click_at)
                 and k.click_id < click_keys_from(s.click_at + interval '1 ms')
                 and k.partner_id = c.partner_id
                 and k.link_number = s.link_number
                 and k.at = s.click_at
                 and random_of_click(k.click_id) = random_of_click_id(s.click_id)
               limit 1) k on true
           where c.kind = 'earned'"#,
        &due.iter().map(|d| d.0.0).collect::<Vec<_>>(),
        &due.iter().map(|d| d.1.0).collect::<Vec<_>>(),
    )
    .fetch_all(db)
    .await?;
    let review = rows.into_iter().map(|r| Review {
        program_id: r.program_id,
        commission_id: r.commission_id,
        partner_id: r.partner_id,
        click: r.flags.map(|flags| marks(r.referrer_host, flags)),
        n_in_hour: count(r.n_in_hour),
        known: r.known.iter().filter_map(|code| Rule::from_code(code)).collect(),
    });
    Ok(review.collect())
}

/// A partner in a program, and since when its conversions are looked back at.
type Since = (ProgramId, PartnerId, Timestamp);

/// Counts, of what partners earned by conversions since a time, those that were refunded.
pub async fn load_refund_rates(
    db: &mut PgConnection,
    since: &[Since],
) -> Result<HashMap<(ProgramId, PartnerId), Rate>, sqlx::Error> {
    if since.is_empty() {
        return Ok(HashMap::new());
    }
    let rows = sqlx::query!(
        r#"select c.program_id as "program_id: ProgramId", c.partner_id as "partner_id: PartnerId",
                  count(*) as "n_all!", count(*) filter (where v.refunded_minor > 0) as "n_part!"
           from unnest($1::uuid[], $2::uuid[], $3::timestamptz[])
                as n (program_id, partner_id, since)
           join commissions c
             on c.program_id = n.program_id and c.partner_id = n.partner_id
            and c.kind = 'earned' and c.occurred_at >= n.since
           join conversions v
             on v.program_id = c.program_id and v.conversion_id = c.conversion_id
           group by 1, 2"#,
        &since.iter().map(|s| s.0.0).collect::<Vec<_>>(),
        &since.iter().map(|s| s.1.0).collect::<Vec<_>>(),
        &since.iter().map(|s| s.2).collect::<Vec<_>>(),
    )
    .fetch_all(db)
    .await?;
    let rate = |part, all| Rate { n_part: count(part), n_all: count(all) };
    Ok(rows.into_iter().map(|r| ((r.program_id, r.partner_id), rate(r.n_part, r.n_all))).collect())
}

/// Finds the referring host that brought most of what partners earned by clicks since a time.
pub async fn load_top_sources(
    db: &mut PgConnection,
    since: &[Since],
) -> Result<HashMap<(ProgramId, PartnerId), (String, Rate)>, sqlx::Error> {
    if since.is_empty() {
        return Ok(HashMap::new());
    }
    let rows = sqlx::query!(
        r#"select distinct on (s.program_id, s.partner_id)
                  s.program_id as "program_id: ProgramId", s.partner_id as "partner_id: PartnerId",
                  s.host as "host!", s.n_part as "n_part!",
                  (sum(s.n_part) over (partition by s.program_id, s.partner_id))::bigint
                      as "n_all!"
           from (select c.program_id, c.partner_id, coalesce(k.referrer_host, '') as host,
                        count(*) as n_part
                 from unnest($1::uuid[], $2::uuid[], $3::timestamptz[])
                      as n (program_id, partner_id, since)
                 join commissions c
                   on c.program_id = n.program_id and c.partner_id = n.partner_id
                  and c.kind = 'earned' and c.occurred_at >= n.since
                 join conversions v
                   on v.program_id = c.program_id and v.conversion_id = c.conversion_id
                 cross join lateral parts_of(
                     v.path, v.partner_id, v.link_number, v.click_at, v.click_id) s
                 cross join lateral (
                     select k.referrer_host
                     from clicks k
                     where k.program_id = c.program_id
                       and k.day = (s.click_at at time zone 'UTC')::date
                       and k.click_id >= click_keys_from(s.click_at)
                       and k.click_id < click_keys_from(s.click_at + interval '1 ms')
                       and k.partner_id = c.partner_id
                       and k.link_number = s.link_number
                       and k.at = s.click_at
                       and random_of_click(k.click_id) = random_of_click_id(s.click_id)
                     limit 1) k
                 where s.partner_id = c.partner_id
                 group by 1, 2, 3) s
           order by s.program_id, s.partner_id, s.n_part desc, s.host"#,
        &since.iter().map(|s| s.0.0).collect::<Vec<_>>(),
        &since.iter().map(|s| s.1.0).collect::<Vec<_>>(),
        &since.iter().map(|s| s.2).collect::<Vec<_>>(),
    )
    .fetch_all(db)
    .await?;
    let rate = |part, all| Rate { n_part: count(part), n_all: count(all) };
    Ok(rows
        .into_iter()
        .map(|r| ((r.program_id, r.partner_id), (r.host, rate(r.n_part, r.n_all))))
        .collect())
}

fn count(n: i64) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}

fn marks(referrer_host: Option<String>, flags: i16) -> ClickMarks {
    let paid = u8::try_from((flags >> PAID_SHIFT) & PAID_MASK).ok().and_then(AdNetwork::from_code);
    ClickMarks { referrer_host, paid }
}

/// Writes flags, with a line of the audit log for each commission; a rule that has spoken about a
/// commission already says nothing new.
pub async fn insert_flags(
    db: &mut PgConnection,
    raised: &[RaisedFlag],
    now: Timestamp,
) -> Result<(), sqlx::Error> {
    if raised.is_empty() {
        return Ok(());
    }
    let mut rules: BTreeMap<(ProgramId, CommissionId), Vec<&str>> = BTreeMap::new();
    for one in raised {
        let place = (one.program_id, one.commission_id);
        rules.entry(place).or_default().push(one.flag.rule.code());
    }
    for ((program_id, commission_id), rules) in rules {
        let entry = Entry::by_system("commission.flag", commission_id)
            .program(program_id)
            .details(json!({"rules": rules}));
        audit_store::record(db, entry, now).await?;
    }
    sqlx::query!(
        "insert into commission_flags
             (program_id, commission_id, rule, figures, sentence, raised_at)
         select n.program_id, n.commission_id, n.rule, n.figures, n.sentence, $1
         from unnest($2::uuid[], $3::uuid[], $4::text[], $5::jsonb[], $6::text[])
             as n (program_id, commission_id, rule, figures, sentence)
         on conflict on constraint commission_flags_pkey do nothing",
        now,
        &raised.iter().map(|r| r.program_id.0).collect::<Vec<_>>(),
        &raised.iter().map(|r| r.commission_id.0).collect::<Vec<_>>(),
        &raised.iter().map(|r| r.flag.rule.code().to_owned()).collect::<Vec<_>>(),
        &raised.iter().map(|r| r.flag.figures.clone()).collect::<Vec<_>>(),
        &raised.iter().map(|r| r.flag.sentence.clone()).collect::<Vec<_>>(),
    )
    .execute(db)
    .await
    .map(drop)
}

/// A flag as it lies in the table.
#[derive(Clone, Debug)]
pub struct FlagRow {
    /// Which rule spoke.
    pub rule: String,
    /// What it saw and what it allows.
    pub figures: serde_json::Value,
    /// The same, for people.
    pub sentence: String,
    /// When.
    pub raised_at: Timestamp,
}

/// Loads the flags of commissions of a program, oldest first.
pub async fn load_flags(
    db: &mut PgConnection,
    program_id: ProgramId,
    commissions: &[CommissionId],
) -> Result<HashMap<CommissionId, Vec<FlagRow>>, sqlx::Error> {
    let rows = sqlx::query!(
        r#"select commission_id as "commission_id: CommissionId", rule, figures, sentence, raised_at
           from commission_flags
           where program_id = $1 and commission_id = any($2)
           order by raised_at, rule"#,
        program_id.0,
        &commissions.iter().map(|c| c.0).collect::<Vec<_>>(),
    )
    .fetch_all(db)
    .await?;
    let mut flags: HashMap<CommissionId, Vec<FlagRow>> = HashMap::new();
    for r in rows {
        let row = FlagRow {
            rule: r.rule,
            figures: r.figures,
            sentence: r.sentence,
            raised_at: r.raised_at,
        };
        flags.entry(r.commission_id).or_default().push(row);
    }
    Ok(flags)
}

/// A customer that is a partner itself.
#[derive(Clone, Debug)]
pub struct OwnCustomer {
    /// The keyed hash of the shop's name of it.
    pub customer_hash: Vec<u8>,
    /// Since when it is known.
    pub created_at: Timestamp,
}

/// Keeps a customer as a partner's own; false where it is known.
pub async fn insert_own_customer(
    db: &mut PgConnection,
    (program_id, partner_id): (ProgramId, PartnerId),
    own: &OwnCustomer,
) -> Result<bool, sqlx::Error> {
    let done = sqlx::query!(
        "insert into partner_own_customers (program_id, partner_id, customer_hash, created_at)
         values ($1, $2, $3, $4)
         on conflict on constraint partner_own_customers_pkey do nothing",
        program_id.0,
        partner_id.0,
        own.customer_hash,
        own.created_at,
    )
    .execute(db)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Lists a partner's own customers in the order of their hashes.
pub async fn list_own_customers(
    db: &mut PgConnection,
    (program_id, partner_id): (ProgramId, PartnerId),
    after: Option<Vec<u8>>,
    limit: i64,
) -> Result<Vec<OwnCustomer>, sqlx::Error> {
    sqlx::query_as!(
        OwnCustomer,
        "select customer_hash, created_at
         from partner_own_customers
         where program_id = $1 and partner_id = $2 and ($3::bytea is null or customer_hash > $3)
         order by customer_hash
         limit $4",
        program_id.0,
        partner_id.0,
        after,
        limit,
    )
    .fetch_all(db)
    .await
}

/// Forgets a customer of a partner; false where there is none.
pub async fn delete_own_customer(
    db: &mut PgConnection,
    (program_id, partner_id): (ProgramId, PartnerId),
    customer_hash: &[u8],
) -> Result<bool, sqlx::Error> {
    let done = sqlx::query!(
        "delete from partner_own_customers
         where program_id = $1 and partner_id = $2 and customer_hash = $3",
        program_id.0,
        partner_id.0,
        customer_hash,
    )
    .execute(db)
    .await?;
    Ok(done.rows_affected() == 1)
}
