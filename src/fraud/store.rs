//! SQL of suspicion: policies, flags, and the facts that rules look at; a batch at a time.

use std::collections::HashMap;

use chrono::NaiveDate;
use sqlx::PgConnection;
use uuid::Uuid;

use crate::clock::Timestamp;
use crate::fraud::facts::{CustomerHash, FraudFacts};
use crate::fraud::judge::ClickMarks;
use crate::fraud::{Policy, PolicyDocument, RaisedFlag};
use crate::ids::{CommissionId, PartnerId, ProgramId};
use crate::link::paid::AdNetwork;
use crate::signing::Key;

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
    let marks = rows.into_iter().map(|r| {
        let paid = u8::try_from((r.flags >> 2) & 7).ok().and_then(AdNetwork::from_code);
        ((r.program_id, r.click_id), ClickMarks { referrer_host: r.referrer_host, paid })
    });
    Ok(marks.collect())
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
        let n = u32::try_from(row.n).unwrap_or(u32::MAX);
        facts.hours.insert((row.program_id, row.partner_id, row.hour), n);
    }
    Ok(())
}

/// Writes flags; a rule that has spoken about a commission already says nothing new.
pub async fn insert_flags(
    db: &mut PgConnection,
    raised: &[RaisedFlag],
    now: Timestamp,
) -> Result<(), sqlx::Error> {
    if raised.is_empty() {
        return Ok(());
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
