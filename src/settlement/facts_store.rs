//! SQL of what settlement must know: the facts that a batch of messages touches.

use std::borrow::Cow;
use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use futures_util::future::join;
use sqlx::PgConnection;
use uuid::Uuid;

use crate::click::click_id::ClickId;
use crate::clock::Timestamp;
use crate::commission::plan::Owner;
use crate::commission::pricing::{self, Needs, PricingFacts, SumKey};
use crate::commission::refund::Refund;
use crate::commission::store::Filter;
use crate::commission::{self, Commission};
use crate::conversion::{MessageType, wire};
use crate::fraud;
use crate::fraud::facts::{FraudFacts, hour_of};
use crate::fraud::store::Named;
use crate::ids::{ConversionId, PartnerId, PartnerNo, ProgramId, ProgramNo, ReceiptId, SourceId};
use crate::money::Money;
use crate::program;
use crate::program::attribution::{Policies, PolicyVersion};
use crate::settlement::attribution;
use crate::settlement::attribution::known::Known;
use crate::settlement::decide::price_facts;
use crate::settlement::facts::{ConversionFacts, Facts, ProgramFacts};
use crate::settlement::grant::Moved;
use crate::settlement::order_store::{Columns, Locks, lock_orders};
use crate::settlement::record::{self, Undecodable};
use crate::settlement::waiting::{self, Room};
use crate::settlement::{Decided, Decision, Earner, Message, OrderKey};
use crate::signing::{Key, KeyRing};

/// What is asked of the database before a batch is decided.
#[derive(Clone, Copy, Debug)]
pub struct Asking {
    /// How others are kept away from its orders.
    pub locks: Locks,
    /// Whether the messages of new conversions, and their orders, are taken for new without a look: where
    /// one is not, the batch breaks a constraint. A look of each costs as much as writing it once more.
    pub takes_for_new: bool,
}

impl From<Locks> for Asking {
    /// Everything is asked.
    fn from(locks: Locks) -> Self {
        Self { locks, takes_for_new: false }
    }
}

/// Loads what a batch of messages touches, and keeps others away from its orders.
pub async fn load_facts(
    db: &mut PgConnection,
    asking: impl Into<Asking>,
    messages: &[Message],
    (click_keys, customer_key): (&KeyRing, &Key),
    now: Timestamp,
) -> Result<Facts, sqlx::Error> {
    let Asking { locks, takes_for_new } = asking.into();
    let programs: Vec<ProgramId> =
        messages.iter().map(|m| m.program_id).collect::<BTreeSet<_>>().into_iter().collect();
    // Signatures are checked and keys sorted while the server looks for something.
    let checking = async { clicks_of(messages, click_keys) };
    let (loaded, mut clicks) = join(load_programs(db, &programs), checking).await;
    let mut facts = Facts {
        now,
        click_keys: click_keys.clone(),
        programs: loaded?,
        namespaces: HashMap::new(),
        approved_by_time: HashSet::new(),
        earners: HashMap::new(),
        pricing: PricingFacts::default(),
        conversions: HashMap::new(),
        messages: HashMap::new(),
        receipts: Default::default(),
        waiting: HashMap::new(),
        rooms: HashMap::new(),
        fraud: FraudFacts::new(customer_key.clone()),
        known: Known::default(),
    };
    load_sources(db, messages, &mut facts).await?;
    let is_asked = |m: &&Message| !takes_for_new || m.report.message_type != MessageType::Created;
    // Whoever has a program to himself and looks for nothing asks nothing by the orders' names.
    let are_named = !takes_for_new || locks == Locks::OfOrders;
    let sorting = async {
        let keys = if are_named { keys_of(&facts, messages) } else { Vec::new() };
        let columns = Columns::of(&keys);
        (keys, columns)
    };
    let finding = find_known(db, messages.iter().filter(is_asked).collect());
    let (known, (keys, columns)) = join(finding, sorting).await;
    let (known, of_later) = known?;
    facts.receipts = known.values().chain(of_later.values()).map(|(receipt, _)| *receipt).collect();
    facts.messages = known.into_iter().map(|(id, (_, hash))| (id, hash)).collect();
    let customers = attribution::store::owned_customers(messages, &facts.programs);
    lock_orders(db, locks, &programs, &keys, &customers).await?;
    facts.known = attribution::store::load_known(db, messages, &facts.programs).await?;
    let nobodys = attribution::store::load_nobodys(db, messages, &facts.programs).await?;
    // What may become somebody's is locked, priced and suspected like what comes.
    let all = if nobodys.is_empty() {
        Cow::Borrowed(messages)
    } else {
        load_sources(db, &nobodys, &mut facts).await?;
        lock_orders(db, locks, &programs, &keys_of(&facts, &nobodys), &[]).await?;
        clicks.extend(clicks_of(&nobodys, click_keys));
        Cow::Owned(messages.iter().chain(&nobodys).cloned().collect())
    };
    let asked = if takes_for_new || !nobodys.is_empty() {
        let asked = messages.iter().filter(is_asked).chain(&nobodys);
        Cow::Owned(Columns::of(&keys_of(&facts, asked)))
    } else {
        Cow::Borrowed(&columns)
    };
    for message in nobodys {
        facts.known.nobodys.add(facts.order_key(&message), Arc::new(message));
    }
    facts.fraud = fraud::store::load_facts(db, &named_in(&all, &clicks), customer_key).await?;
    if is_waiting(db, &programs).await? {
        let all = (!are_named).then(|| Columns::of(&keys_of(&facts, messages)));
        facts.waiting = load_waiting(db, all.as_ref().unwrap_or(&columns)).await?;
    }
    facts.conversions = load_conversions(db, &asked).await?;
    let clicked = clicks.iter().map(|(program_id, click)| (*program_id, click.partner));
    let named: BTreeSet<_> = clicked.chain(facts.known.partners()).collect();
    load_earners(db, &mut facts, &named).await?;
    facts.pricing = load_pricing(db, &all, &facts).await?;
    facts.reserve(messages.len());
    Ok(facts)
}

fn keys_of<'m>(facts: &Facts, messages: impl IntoIterator<Item = &'m Message>) -> Vec<OrderKey> {
    messages.into_iter().map(|m| facts.order_key(m)).collect::<BTreeSet<_>>().into_iter().collect()
}

/// Returns the clicks that messages name and that are ours.
fn clicks_of(messages: &[Message], click_keys: &KeyRing) -> Vec<(ProgramId, ClickId)> {
    let mut clicks = Vec::with_capacity(messages.len());
    for message in messages {
        let ours = message.report.path().filter_map(|text| ClickId::verify(click_keys, text).ok());
        clicks.extend(ours.map(|click| (message.program_id, click)));
    }
    clicks
}

/// Returns what suspicion looks up for the conversions of a batch.
fn named_in(messages: &[Message], clicks: &[(ProgramId, ClickId)]) -> Named {
    let clicks = clicks.iter().map(|(program, click)| (*program, click.day(), click.to_uuid()));
    let mut named = Named { clicks: clicks.collect(), ..Named::default() };
    for message in messages {
        let (program_id, report) = (message.program_id, &message.report);
        named.customers.extend(report.customer_hash.map(|hash| (program_id, hash)));
        named.hours.push((program_id, hour_of(report.occurred_at)));
    }
    let programs: BTreeSet<ProgramId> = messages.iter().map(|m| m.program_id).collect();
    named.programs = programs.into_iter().collect();
    named
}

async fn load_pricing(
    db: &mut PgConnection,
    messages: &[Message],
    facts: &Facts,
) -> Result<PricingFacts, sqlx::Error> {
    let needs: HashMap<ProgramId, Needs> = facts
        .programs
        .iter()
        .map(|(id, program)| {
            let all = program.plans.iter().map(|version| Needs::of(&version.terms));
            (*id, all.fold(Needs::default(), Needs::or))
        })
        .collect();
    let customers: BTreeSet<(ProgramId, [u8; 32])> =
        messages.iter().filter_map(|m| Some((m.program_id, m.report.customer_hash?))).collect();
    let customers: Vec<_> = customers.into_iter().collect();
    pricing::store::load_facts(db, &needs, &customers).await
}

/// Loads the sums that the commissions to be opened are priced by, and keeps others from counting
/// for the same partners until the transaction ends.
pub async fn load_sums(
    db: &mut PgConnection,
    facts: &mut Facts,
    decided: &[Decided],
) -> Result<(), sqlx::Error> {
    let keys: BTreeSet<SumKey> = decided
        .iter()
        .filter_map(|d| match &d.decision {
            Decision::Commission(step) => Some(&step.counted),
            Decision::Record(_)
            | Decision::Refund { .. }
            | Decision::Restate { .. }
            | Decision::Bind(_)
            | Decision::Reattribute { .. }
            | Decision::Void(_)
            | Decision::Flag(_)
            | Decision::Verdict { .. }
            | Decision::Wait(_)
            | Decision::TurnAway(_)
            | Decision::Admit(_) => None,
        })
        .flatten()
        .map(|counted| counted.key)
        .collect();
    let counts_whole = |program: &ProgramFacts| {
        let mut counters = program.plans.iter().flat_map(|version| version.terms.counters());
        counters.any(|counter| counter.owner == Owner::Program)
    };
    let whole: HashSet<ProgramId> = facts
        .programs
        .iter()
        .filter(|(_, program)| counts_whole(program))
        .map(|(id, _)| *id)
        .collect();
    let groups = pricing::store::groups(keys.iter().copied(), &whole);
    pricing::store::lock_groups(db, &groups).await?;
    facts.pricing.sums = pricing::store::load_sums(db, &keys).await?;
    Ok(())
}

async fn load_programs(
    db: &mut PgConnection,
    programs: &[ProgramId],
) -> Result<HashMap<ProgramId, ProgramFacts>, sqlx::Error> {
    let ids: Vec<Uuid> = programs.iter().map(|p| p.0).collect();
    let rows = sqlx::query!(
        r#"select program_id as "program_id: ProgramId", number
           from programs
           where program_id = any($1)"#,
        &ids,
    )
    .fetch_all(&mut *db)
    .await?;
    let mut editions: HashMap<ProgramId, Vec<PolicyVersion>> = HashMap::new();
    for (program_id, version) in program::attribution::store::load(&mut *db, programs).await? {
        editions.entry(program_id).or_default().push(version);
    }
    let mut facts: HashMap<ProgramId, ProgramFacts> = rows
        .into_iter()
        .map(|r| {
            let number = ProgramNo(u32::try_from(r.number).unwrap_or(0));
            let policies = Policies::new(editions.remove(&r.program_id).unwrap_or_default());
            (r.program_id, ProgramFacts { number, policies, plans: Vec::new() })
        })
        .collect();
    for (program_id, version) in commission::store::load_plans(db, programs).await? {
        if let Some(program) = facts.get_mut(&program_id) {
            program.plans.push(version);
        }
    }
    Ok(facts)
}

async fn load_sources(
    db: &mut PgConnection,
    messages: &[Message],
    facts: &mut Facts,
) -> Result<(), sqlx::Error> {
    let sources: Vec<Uuid> =
        messages.iter().map(|m| m.source_id.0).collect::<BTreeSet<_>>().into_iter().collect();
    let rows = sqlx::query!(
        r#"select s.source_id as "source_id!: SourceId", s.order_namespace as "order_namespace!",
                  coalesce(b.approves_by_time, false) as "approves_by_time!"
           from sources s
           left join source_postbacks b
             on b.program_id = s.program_id and b.source_id = s.source_id
           where s.source_id = any($1)"#,
        &sources,
    )
    .fetch_all(db)
    .await?;
    for r in rows {
        facts.namespaces.insert(r.source_id, r.order_namespace);
        if r.approves_by_time {
            facts.approved_by_time.insert(r.source_id);
        }
    }
    Ok(())
}

/// Loads those of the partners named that take part, and those who earned the conversions that are
/// there: a program has more partners than a batch can load.
pub(super) async fn load_earners(
    db: &mut PgConnection,
    facts: &mut Facts,
    named: &BTreeSet<(ProgramId, PartnerNo)>,
) -> Result<(), sqlx::Error> {
    let earned = facts.conversions.values().flat_map(|conversion| &conversion.commissions);
    let earned: BTreeSet<(ProgramId, PartnerId)> =
        earned.map(|commission| (commission.program_id, commission.partner_id)).collect();
    let programs: BTreeSet<ProgramId> =
        named.iter().map(|n| n.0).chain(earned.iter().map(|e| e.0)).collect();
    if programs.is_empty() {
        return Ok(());
    }
    let rows = sqlx::query!(
        r#"select e.program_id as "program_id: ProgramId", p.number,
                  p.partner_id as "partner_id: PartnerId",
                  (e.status = 'active' and p.status = 'active') as "is_good!"
           from partners p
           join enrollments e on e.partner_id = p.partner_id and e.program_id = any($1)
           where p.number = any($2) or p.partner_id = any($3)"#,
        &programs.iter().map(|p| p.0).collect::<Vec<_>>(),
        &named.iter().map(|n| i64::from(n.1.0)).collect::<Vec<_>>(),
        &earned.iter().map(|e| e.1.0).collect::<Vec<_>>(),
    )
    .fetch_all(db)
    .await?;
    for r in rows {
        let number = PartnerNo(u32::try_from(r.number).unwrap_or(0));
        let earner = Earner { partner_id: r.partner_id, is_in_good_standing: r.is_good };
        facts.earners.insert((r.program_id, number), earner);
    }
    Ok(())
}

/// Finds what is kept of the messages under their ids; and, of those whose id is taken by another one,
/// under their receipts.
async fn find_known(
    db: &mut PgConnection,
    messages: Vec<&Message>,
) -> Result<(KnownMessages, KnownMessages), sqlx::Error> {
    let ids = messages.iter().map(|m| m.message_id.clone()).collect();
    let known = find_messages(db, &messages, ids).await?;
    let is_taken = |m: &&Message| {
        let of = known.get(&(m.source_id, m.message_id.clone()));
        of.is_some_and(|(receipt_id, _)| *receipt_id != m.receipt_id)
    };
    let later: Vec<&Message> =
        if known.is_empty() { Vec::new() } else { messages.into_iter().filter(is_taken).collect() };
    let ids = later.iter().map(|m| m.id_by_receipt()).collect();
    let of_later = find_messages(db, &later, ids).await?;
    Ok((known, of_later))
}

type KnownMessages = HashMap<(SourceId, String), (ReceiptId, [u8; 32])>;

/// Finds the messages that are kept under these ids, one for each of the messages given.
async fn find_messages(
    db: &mut PgConnection,
    messages: &[&Message],
    ids: Vec<String>,
) -> Result<KnownMessages, sqlx::Error> {
    if messages.is_empty() {
        return Ok(HashMap::new());
    }
    let rows = sqlx::query!(
        r#"select k.source_id as "source_id: SourceId", k.webhook_id,
                  k.receipt_id as "receipt_id: ReceiptId", k.content_hash
           from unnest($1::uuid[], $2::uuid[], $3::text[]) as n (program_id, source_id, webhook_id)
           join webhook_messages k
             on k.program_id = n.program_id and k.source_id = n.source_id
            and k.webhook_id = n.webhook_id"#,
        &messages.iter().map(|m| m.program_id.0).collect::<Vec<_>>(),
        &messages.iter().map(|m| m.source_id.0).collect::<Vec<_>>(),
        &ids,
    )
    .fetch_all(db)
    .await?;
    let known = rows.into_iter().map(|r| {
        let hash = r.content_hash.try_into().unwrap_or_default();
        ((r.source_id, r.webhook_id), (r.receipt_id, hash))
    });
    Ok(known.collect())
}

/// Tells whether any message of programs waits for its conversion.
async fn is_waiting(db: &mut PgConnection, programs: &[ProgramId]) -> Result<bool, sqlx::Error> {
    sqlx::query_scalar!(
        r#"select exists (select from waiting_messages where program_id = any($1)) as "is_any!""#,
        &programs.iter().map(|program| program.0).collect::<Vec<_>>(),
    )
    .fetch_one(db)
    .await
}

async fn load_waiting(
    db: &mut PgConnection,
    keys: &Columns,
) -> Result<HashMap<OrderKey, Vec<Arc<Message>>>, sqlx::Error> {
    let rows = sqlx::query!(
        r#"select w.program_id as "program_id: ProgramId", w.order_namespace, w.event, w.dedup_ref,
                  w.record
           from waiting_messages w
           where (w.program_id, w.order_namespace, w.event, w.dedup_ref) in (
               select * from unnest($1::uuid[], $2::text[], $3::text[], $4::text[]))"#,
        &keys.programs,
        &keys.namespaces,
        &keys.events,
        &keys.refs,
    )
    .fetch_all(db)
    .await?;
    let mut waiting: HashMap<OrderKey, Vec<Arc<Message>>> = HashMap::new();
    for r in rows {
        let key = OrderKey {
            program_id: r.program_id,
            order_namespace: r.order_namespace,
            event: r.event,
            dedup_ref: r.dedup_ref,
        };
        let record = serde_json::from_value(r.record).map_err(|e| sqlx::Error::Decode(e.into()))?;
        let message = record::message(&record)
            .map_err(|e: Undecodable| sqlx::Error::Decode(e.to_string().into()))?;
        waiting.entry(key).or_default().push(Arc::new(message));
    }
    Ok(waiting)
}

/// Looks how full the waiting rooms are, of those programs that a message of the batch may have to
/// wait in: it moves an order that is not there.
pub async fn load_rooms(
    db: &mut PgConnection,
    facts: &mut Facts,
    messages: &[Message],
    places: i64,
) -> Result<(), sqlx::Error> {
    let may_wait = |m: &&Message| {
        m.report.message_type != MessageType::Created
            && !facts.conversions.contains_key(&facts.order_key(m))
    };
    let programs: BTreeSet<ProgramId> =
        messages.iter().filter(may_wait).map(|m| m.program_id).collect();
    if programs.is_empty() {
        return Ok(());
    }
    let programs: Vec<ProgramId> = programs.into_iter().collect();
    let counted = waiting::store::count_waiting(db, &programs, places).await?;
    let room = |(program_id, n_waiting)| (program_id, Room { n_waiting, places });
    facts.rooms = counted.into_iter().map(room).collect();
    Ok(())
}

/// Loads the conversions with these keys, each of which is given once.
async fn load_conversions(
    db: &mut PgConnection,
    keys: &Columns,
) -> Result<HashMap<OrderKey, ConversionFacts>, sqlx::Error> {
    if keys.refs.is_empty() {
        return Ok(HashMap::new());
    }
    let rows = sqlx::query!(
        r#"select c.program_id as "program_id: ProgramId",
                  c.conversion_id as "conversion_id: ConversionId", c.order_namespace, c.event,
                  c.dedup_ref, c.content_hash, c.occurred_at, c.customer_hash, c.details,
                  c.restated_at, c.restated_by
           from unnest($1::uuid[], $2::text[], $3::text[], $4::text[])
                as k (program_id, order_namespace, event, dedup_ref)
           join conversions c
             on c.program_id = k.program_id and c.order_namespace = k.order_namespace
            and c.event = k.event and c.dedup_ref = k.dedup_ref
           for update of c"#,
        &keys.programs,
        &keys.namespaces,
        &keys.events,
        &keys.refs,
    )
    .fetch_all(&mut *db)
    .await?;
    if rows.is_empty() {
        return Ok(HashMap::new());
    }
    let ids: Vec<ConversionId> = rows.iter().map(|r| r.conversion_id).collect();
    let mut refunds = load_refunds(db, &ids).await?;
    let mut commissions: HashMap<ConversionId, Vec<Commission>> = HashMap::new();
    let filter = Filter { conversions: Some(&ids), ..Filter::default() };
    for commission in commission::store::load(db, filter, i64::MAX).await? {
        if let Some(id) = commission.conversion_id {
            commissions.entry(id).or_default().push(commission);
        }
    }
    rows.into_iter()
        .map(|r| {
            let report = wire::from_wire(&r.details).map_err(|e| sqlx::Error::Decode(e.into()))?;
            let currency = report.currency;
            let facts = ConversionFacts {
                conversion_id: r.conversion_id,
                content_hash: r.content_hash.try_into().unwrap_or_default(),
                occurred_at: r.occurred_at,
                customer_hash: r.customer_hash.and_then(|hash| hash.try_into().ok()),
                price: price_facts(&report),
                restated: r.restated_at.zip(r.restated_by),
                refunds: refunds
                    .remove(&r.conversion_id)
                    .unwrap_or_default()
                    .into_iter()
                    .map(|(refund_id, minor)| Refund {
                        refund_id,
                        amount: minor.zip(currency).map(|(m, c)| Money::new(m, c)),
                    })
                    .collect(),
                commissions: commissions.remove(&r.conversion_id).unwrap_or_default(),
            };
            let key = OrderKey {
                program_id: r.program_id,
                order_namespace: r.order_namespace,
                event: r.event,
                dedup_ref: r.dedup_ref,
            };
            Ok((key, facts))
        })
        .collect()
}

async fn load_refunds(
    db: &mut PgConnection,
    conversions: &[ConversionId],
) -> Result<HashMap<ConversionId, Vec<(String, Option<i64>)>>, sqlx::Error> {
    let rows = sqlx::query!(
        r#"select conversion_id as "conversion_id: ConversionId", refund_id, amount_minor
           from conversion_refunds
           where conversion_id = any($1)"#,
        &conversions.iter().map(|c| c.0).collect::<Vec<_>>(),
    )
    .fetch_all(db)
    .await?;
    let mut refunds: HashMap<ConversionId, Vec<(String, Option<i64>)>> = HashMap::new();
    for r in rows {
        refunds.entry(r.conversion_id).or_default().push((r.refund_id, r.amount_minor));
    }
    Ok(refunds)
}

/// A conversion that a partner brought and that earned nothing.
pub struct Unpaid {
    /// The program.
    pub program_id: ProgramId,
    /// The conversion.
    pub conversion_id: ConversionId,
    /// Who brought it.
    pub partner_id: PartnerId,
    /// The partner's number.
    pub partner: PartnerNo,
    /// The click id that it came with.
    pub click_id: Option<String>,
}

/// Loads what these customers did after the given times that earned nothing, in the order of time.
pub async fn load_unpaid(db: &mut PgConnection, moved: &Moved) -> Result<Vec<Unpaid>, sqlx::Error> {
    let rows = sqlx::query!(
        r#"select v.program_id as "program_id: ProgramId",
                  v.conversion_id as "conversion_id: ConversionId",
                  p.partner_id as "partner_id: PartnerId", p.number, v.click_id
           from unnest($1::uuid[], $2::bytea[], $3::timestamptz[])
               as n (program_id, customer_hash, first_at)
           join conversions v
               on v.program_id = n.program_id and v.customer_hash = n.customer_hash
               and v.occurred_at > n.first_at
           join partners p on p.partner_id = v.partner_id
           where not v.is_test and v.rejected_at is null
             -- The click of one that is nobody's is shown with it and brought nothing.
             and v.attribution in ('click', 'coupon', 'customer')
             and not exists (
                 select from commissions c
                 where c.program_id = v.program_id and c.conversion_id = v.conversion_id)
           order by v.occurred_at, v.conversion_id"#,
        &moved.keys().map(|key| key.0.0).collect::<Vec<_>>(),
        &moved.keys().map(|key| key.1.to_vec()).collect::<Vec<_>>(),
        &moved.values().copied().collect::<Vec<_>>(),
    )
    .fetch_all(db)
    .await?;
    Ok(rows
        .into_iter()
        .map(|r| Unpaid {
            program_id: r.program_id,
            conversion_id: r.conversion_id,
            partner_id: r.partner_id,
            partner: PartnerNo(u32::try_from(r.number).unwrap_or(0)),
            click_id: r.click_id,
        })
        .collect())
}
