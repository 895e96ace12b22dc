//! SQL of attribution: coupons, whose customers are and what binds them, and what changes of it.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use sqlx::PgConnection;
use uuid::Uuid;

use crate::clock::Timestamp;
use crate::conversion::{MessageType, candidate};
use crate::ids::{ConversionId, PartnerId, PartnerNo, ProgramId, ReceiptId, SourceId};
use crate::program::coupon;
use crate::settlement::Message;
use crate::settlement::attribution::bond::{Bond, Bonds, may_bind};
use crate::settlement::attribution::known::{CustomerKey, Known, Nobodys, Protection};
use crate::settlement::attribution::{Attribution, Owner};
use crate::settlement::facts::ProgramFacts;
use crate::settlement::store::MessageRow;

/// Bonds of one customer that are looked at, at most, oldest first: whoever has more is no person but
/// a name that a shop gives to everybody.
const BONDS_MAX: i64 = 1000;
/// Conversions of one customer that a bond makes somebody's, at most, oldest first.
const NOBODYS_MAX: i64 = 100;

/// The ids of partners by their numbers.
pub type PartnerIds = HashMap<(ProgramId, PartnerNo), PartnerId>;
/// The programs of a batch.
type Programs = HashMap<ProgramId, ProgramFacts>;

/// Loads what attribution must know of the coupons and customers that messages name.
pub async fn load_known(
    db: &mut PgConnection,
    messages: &[Message],
    programs: &Programs,
) -> Result<Known, sqlx::Error> {
    let keys: BTreeSet<(ProgramId, String)> = messages
        .iter()
        .filter_map(|m| Some((m.program_id, coupon::key(m.report.coupon_code.as_deref()?))))
        .collect();
    let keys: Vec<_> = keys.into_iter().collect();
    Ok(Known {
        coupons: coupon::store::load(&mut *db, &keys).await?,
        protections: load_protections(&mut *db, messages).await?,
        bonds: load_bonds(db, &spans(messages, programs)).await?,
        nobodys: Nobodys::default(),
    })
}

/// Returns the customers of new conversions in programs where customers are bound.
pub fn owned_customers(messages: &[Message], programs: &Programs) -> Vec<CustomerKey> {
    spans(messages, programs).into_keys().collect()
}

/// Returns the customers of new conversions in programs where customers are bound, each with the time
/// in which they did something.
fn spans(
    messages: &[Message],
    programs: &Programs,
) -> BTreeMap<CustomerKey, (Timestamp, Timestamp)> {
    let mut spans = BTreeMap::new();
    for message in messages.iter().filter(|m| m.report.message_type == MessageType::Created) {
        let Some(hash) = message.report.customer_hash else { continue };
        let program = programs.get(&message.program_id);
        if program.is_some_and(|program| program.policies.all().any(|p| p.ownership.is_some())) {
            let at = message.report.occurred_at;
            let span = spans.entry((message.program_id, hash)).or_insert((at, at));
            *span = (span.0.min(at), span.1.max(at));
        }
    }
    spans
}

/// Loads the bonds that held some time in these spans. What the shop has rejected, or what was taken
/// back before it was paid, binds nobody.
pub async fn load_bonds(
    db: &mut PgConnection,
    spans: &BTreeMap<CustomerKey, (Timestamp, Timestamp)>,
) -> Result<HashMap<CustomerKey, Bonds>, sqlx::Error> {
    let mut bonds: HashMap<CustomerKey, Bonds> = HashMap::new();
    if spans.is_empty() {
        return Ok(bonds);
    }
    let rows = sqlx::query!(
        r#"select n.program_id as "program_id!: ProgramId", n.customer_hash as "customer_hash!",
                  b.conversion_id as "conversion_id!: ConversionId", p.number as "number!",
                  b.since as "since!", b.until
           from unnest($1::uuid[], $2::bytea[], $3::timestamptz[], $4::timestamptz[])
               as n (program_id, customer_hash, first_at, last_at)
           cross join lateral (
               select b.conversion_id, b.partner_id, b.since, b.until
               from customer_bonds b
               join conversions c
                 on c.program_id = b.program_id and c.conversion_id = b.conversion_id
               where b.program_id = n.program_id and b.customer_hash = n.customer_hash
                 and b.since <= n.last_at and (b.until is null or b.until > n.first_at)
                 and c.rejected_at is null
                 and not exists (
                     select from commissions m
                     where m.program_id = b.program_id and m.conversion_id = b.conversion_id
                       and m.kind = 'earned' and m.state in ('rejected', 'reversed'))
               order by b.since, b.conversion_id
               limit $5) b
           join partners p on p.partner_id = b.partner_id"#,
        &spans.keys().map(|customer| customer.0.0).collect::<Vec<_>>(),
        &spans.keys().map(|customer| customer.1.to_vec()).collect::<Vec<_>>(),
        &spans.values().map(|span| span.0).collect::<Vec<_>>(),
        &spans.values().map(|span| span.1).collect::<Vec<_>>(),
        BONDS_MAX,
    )
    .fetch_all(db)
    .await?;
    for r in rows {
        let Ok(hash) = <[u8; 32]>::try_from(r.customer_hash) else { continue };
        let owner = Owner { partner: number(r.number), since: r.since };
        let bond = Bond { conversion_id: r.conversion_id, owner, until: r.until };
        bonds.entry((r.program_id, hash)).or_default().add(bond);
    }
    Ok(bonds)
}

/// Loads the conversions that may become somebody's by what messages bind: those of the same
/// customers that happened at that time or later and are nobody's.
pub async fn load_nobodys(
    db: &mut PgConnection,
    messages: &[Message],
    programs: &Programs,
) -> Result<Vec<Message>, sqlx::Error> {
    let mut since: BTreeMap<CustomerKey, Timestamp> = BTreeMap::new();
    for message in messages {
        let (report, Some(program)) = (&message.report, programs.get(&message.program_id)) else {
            continue;
        };
        if let Some(hash) =
            report.customer_hash.filter(|_| may_bind(report, program.policies.all()))
        {
            let first = since.entry((message.program_id, hash)).or_insert(report.occurred_at);
            *first = (*first).min(report.occurred_at);
        }
    }
    if since.is_empty() {
        return Ok(Vec::new());
    }
    let rows = sqlx::query_as!(
        MessageRow,
        r#"select c.program_id as "program_id!: ProgramId", c.source_id as "source_id!: SourceId",
                  c.channel as "channel!", c.trust as "trust!", c.occurred_at as "occurred_at!",
                  c.received_at as "received_at!", c.receipt_id as "receipt_id!: ReceiptId",
                  c.content_hash as "content_hash!", c.customer_hash, c.details as "details!"
           from unnest($1::uuid[], $2::bytea[], $3::timestamptz[])
               as n (program_id, customer_hash, since)
           cross join lateral (
               select c.*
               from conversions c
               where c.program_id = n.program_id and c.customer_hash = n.customer_hash
                 and c.occurred_at >= n.since and not c.is_test and c.rejected_at is null
                 and c.attribution not in ('click', 'coupon', 'customer')
                 and not exists (
                     select from commissions m
                     where m.program_id = c.program_id and m.conversion_id = c.conversion_id)
               order by c.occurred_at, c.conversion_id
               limit $4) c"#,
        &since.keys().map(|customer| customer.0.0).collect::<Vec<_>>(),
        &since.keys().map(|customer| customer.1.to_vec()).collect::<Vec<_>>(),
        &since.values().copied().collect::<Vec<_>>(),
        NOBODYS_MAX,
    )
    .fetch_all(db)
    .await?;
    rows.into_iter().map(Message::try_from).collect()
}

async fn load_protections(
    db: &mut PgConnection,
    messages: &[Message],
) -> Result<HashMap<CustomerKey, Protection>, sqlx::Error> {
    let customers: BTreeSet<CustomerKey> =
        messages.iter().filter_map(|m| Some((m.program_id, m.report.customer_hash?))).collect();
    if customers.is_empty() {
        return Ok(HashMap::new());
    }
    let (programs, hashes): (Vec<Uuid>, Vec<Vec<u8>>) =
        customers.into_iter().map(|(program, hash)| (program.0, hash.to_vec())).unzip();
    let rows = sqlx::query!(
        r#"select c.program_id as "program_id: ProgramId", c.customer_hash, p.number, c.since,
                  c.until
           from protected_customers c
           join partners p on p.partner_id = c.partner_id
           where (c.program_id, c.customer_hash) in (
               select * from unnest($1::uuid[], $2::bytea[]))"#,
        &programs,
        &hashes,
    )
    .fetch_all(db)
    .await?;
    Ok(rows
        .into_iter()
        .filter_map(|r| {
            let hash: [u8; 32] = r.customer_hash.try_into().ok()?;
            let owner = Owner { partner: number(r.number), since: r.since };
            let protection = Protection { owner, until: r.until };
            Some(((r.program_id, hash), protection))
        })
        .collect())
}

fn number(number: i64) -> PartnerNo {
    PartnerNo(u32::try_from(number).unwrap_or(0))
}

/// Finds the ids of partners by their numbers.
pub async fn load_partner_ids(
    db: &mut PgConnection,
    named: &BTreeSet<(ProgramId, PartnerNo)>,
) -> Result<PartnerIds, sqlx::Error> {
    if named.is_empty() {
        return Ok(HashMap::new());
    }
    let programs: BTreeSet<Uuid> = named.iter().map(|(program, _)| program.0).collect();
    let numbers: BTreeSet<i64> = named.iter().map(|(_, partner)| i64::from(partner.0)).collect();
    let rows = sqlx::query!(
        r#"select e.program_id as "program_id: ProgramId", p.number,
                  p.partner_id as "partner_id: PartnerId"
           from partners p
           join enrollments e on e.partner_id = p.partner_id
           where p.number = any($1) and e.program_id = any($2)"#,
        &numbers.into_iter().collect::<Vec<_>>(),
        &programs.into_iter().collect::<Vec<_>>(),
    )
    .fetch_all(db)
    .await?;
    Ok(rows.into_iter().map(|r| ((r.program_id, number(r.number)), r.partner_id)).collect())
}

/// What changes about whose conversions and customers are.
#[derive(Debug, Default)]
pub struct Changes {
    /// What binds customers.
    pub bonds: Vec<(Arc<Message>, Bond)>,
    /// What was nobody's: whose it is now, or why it earns nothing all the same.
    pub reattributed: Vec<(Arc<Message>, ConversionId, Attribution, Option<String>)>,
    /// What the shop has rejected.
    pub void: Vec<(Arc<Message>, ConversionId)>,
}

/// Writes the changes of a batch.
pub async fn apply(
    db: &mut PgConnection,
    changes: &Changes,
    now: Timestamp,
) -> Result<(), sqlx::Error> {
    let bound = changes.bonds.iter().map(|(m, bond)| (m.program_id, bond.owner.partner));
    let named = changes.reattributed.iter().flat_map(|(m, _, attribution, _)| {
        let candidates = attribution.candidates.iter().filter_map(|c| c.partner());
        candidates.map(move |partner| (m.program_id, partner))
    });
    let named: BTreeSet<(ProgramId, PartnerNo)> = bound.chain(named).collect();
    let partners = load_partner_ids(&mut *db, &named).await?;
    insert_bonds(&mut *db, &changes.bonds, &partners, now).await?;
    reattribute(&mut *db, &changes.reattributed, &partners).await?;
    if changes.void.is_empty() {
        return Ok(());
    }
    sqlx::query!(
        "update conversions
         set rejected_at = $1
         where (program_id, conversion_id) in (select * from unnest($2::uuid[], $3::uuid[]))",
        now,
        &changes.void.iter().map(|(m, _)| m.program_id.0).collect::<Vec<_>>(),
        &changes.void.iter().map(|(_, id)| id.0).collect::<Vec<_>>(),
    )
    .execute(db)
    .await
    .map(drop)
}

async fn insert_bonds(
    db: &mut PgConnection,
    bonds: &[(Arc<Message>, Bond)],
    partners: &PartnerIds,
    now: Timestamp,
) -> Result<(), sqlx::Error> {
    let rows: Vec<(&Message, &Bond, Uuid, Vec<u8>)> = bonds
        .iter()
        .filter_map(|(m, bond)| {
            let partner = partners.get(&(m.program_id, bond.owner.partner))?;
            Some((m.as_ref(), bond, partner.0, m.report.customer_hash?.to_vec()))
        })
        .collect();
    if rows.is_empty() {
        return Ok(());
    }
    sqlx::query!(
        "insert into customer_bonds
             (program_id, conversion_id, partner_id, customer_hash, since, until, created_at)
         select n.program_id, n.conversion_id, n.partner_id, n.customer_hash, n.since, n.until, $1
         from unnest($2::uuid[], $3::uuid[], $4::uuid[], $5::bytea[], $6::timestamptz[],
                     $7::timestamptz[])
             as n (program_id, conversion_id, partner_id, customer_hash, since, until)
         on conflict on constraint customer_bonds_pkey do nothing",
        now,
        &rows.iter().map(|r| r.0.program_id.0).collect::<Vec<_>>(),
        &rows.iter().map(|r| r.1.conversion_id.0).collect::<Vec<_>>(),
        &rows.iter().map(|r| r.2).collect::<Vec<_>>(),
        &rows.iter().map(|r| r.3.clone()).collect::<Vec<_>>(),
        &rows.iter().map(|r| r.1.owner.since).collect::<Vec<_>>(),
        &rows.iter().map(|r| r.1.until).collect::<Vec<_>>() as &[Option<Timestamp>],
    )
    .execute(db)
    .await
    .map(drop)
}

/// Writes whose conversions are that were nobody's; their receipts tell it, too.
async fn reattribute(
    db: &mut PgConnection,
    changed: &[(Arc<Message>, ConversionId, Attribution, Option<String>)],
    partners: &PartnerIds,
) -> Result<(), sqlx::Error> {
    if changed.is_empty() {
        return Ok(());
    }
    let id_of = |m: &Message, partner| partners.get(&(m.program_id, partner)).copied();
    let programs: Vec<Uuid> = changed.iter().map(|c| c.0.program_id.0).collect();
    sqlx::query!(
        "update conversions c
         set attribution = n.attribution, partner_id = n.partner_id, link_number = null,
             click_at = null, candidates = n.candidates
         from unnest($1::uuid[], $2::uuid[], $3::text[], $4::uuid[], $5::jsonb[])
             as n (program_id, conversion_id, attribution, partner_id, candidates)
         where c.program_id = n.program_id and c.conversion_id = n.conversion_id",
        &programs,
        &changed.iter().map(|c| c.1.0).collect::<Vec<_>>(),
        &changed.iter().map(|c| c.2.as_str().to_owned()).collect::<Vec<_>>(),
        &changed.iter().map(|c| id_of(&c.0, c.2.partner()?).map(|id| id.0)).collect::<Vec<_>>()
            as &[Option<Uuid>],
        &changed
            .iter()
            .map(|c| candidate::to_wire(c.2.to_wire(|partner| id_of(&c.0, partner))))
            .collect::<Vec<_>>(),
    )
    .execute(&mut *db)
    .await?;
    sqlx::query!(
        "update webhook_messages k
         set reason = n.reason
         from unnest($1::uuid[], $2::uuid[], $3::text[]) as n (program_id, receipt_id, reason)
         where k.program_id = n.program_id and k.receipt_id = n.receipt_id",
        &programs,
        &changed.iter().map(|c| c.0.receipt_id.0).collect::<Vec<_>>(),
        &changed.iter().map(|c| c.3.clone()).collect::<Vec<_>>() as &[Option<String>],
    )
    .execute(db)
    .await
    .map(drop)
}
