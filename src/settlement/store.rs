//! SQL of settling conversions: decisions to the tables, many at a time.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use sqlx::PgConnection;
use uuid::Uuid;

use crate::clock::Timestamp;
use crate::commission;
use crate::commission::store::ApplyError;
use crate::conversion::{MessageType, candidate, wire};
use crate::db::DbTx;
use crate::db::copy::{COPY_MIN, Copying, Jsonb, RowFields, copy_rows, let_go};
use crate::fraud;
use crate::ids::{ConversionId, PartnerId, PartnerNo, ProgramId, ReceiptId, SourceId};
use crate::money::Money;
use crate::settlement::ahead::Deciding;
use crate::settlement::attribution;
use crate::settlement::attribution::store::{Changes, PartnerIds};
use crate::settlement::facts::Facts;
use crate::settlement::tally::Tally;
use crate::settlement::{Decided, Decision, Message, NewConversion, OrderKey, record, waiting};
use crate::stream::ConversionRecord;

/// Writes all decisions of a batch, in the transaction of its position.
pub async fn apply(db: &mut DbTx, decided: Vec<Decided>, now: Timestamp) -> Result<(), ApplyError> {
    let mut writing = Writing::default();
    let new = writing.keep(decided);
    insert_conversions(db, &new, &mut writing.partners, now).await?;
    writing.write_rest(db, now).await
}

/// Decisions of a batch on their way: conversions are written as they come, and what names them when all
/// have come.
#[derive(Default)]
pub(super) struct Writing {
    /// The ids of partners, as far as they are known.
    partners: PartnerIds,
    /// Whether messages were taken for new without a look: one that is not has to break a constraint.
    takes_for_new: bool,
    refunds: Vec<Refunded>,
    restated: BTreeMap<ConversionId, (Arc<Message>, Option<Money>)>,
    verdicts: Verdicts,
    waiting: Vec<(Arc<Message>, OrderKey)>,
    turned_away: BTreeMap<String, Vec<ConversionRecord>>,
    admitted: Vec<OrderKey>,
    steps: Vec<commission::Step>,
    flags: Vec<fraud::RaisedFlag>,
    changes: Changes,
}

impl Writing {
    /// Nothing yet; those who may earn are known.
    pub(super) fn begin(facts: &Facts, takes_for_new: bool) -> Self {
        let earners = facts.earners.iter();
        let partners = earners.map(|(named, earner)| (*named, earner.partner_id)).collect();
        Self { partners, takes_for_new, ..Self::default() }
    }

    /// Writes what is decided of a batch; `n_new` of its messages are of new conversions.
    pub(super) async fn write(
        mut self,
        db: &mut DbTx,
        deciding: &mut Deciding,
        tally: &mut Tally,
        n_new: usize,
        now: Timestamp,
    ) -> Result<(), ApplyError> {
        if n_new >= COPY_MIN {
            self.copy_conversions(db, deciding, tally, now).await?;
        } else {
            let mut new = Vec::new();
            while let Some(decided) = deciding.next().await {
                tally.add(&decided);
                new.extend(self.keep(decided));
            }
            insert_conversions(db, &new, &mut self.partners, now).await?;
        }
        self.write_rest(db, now).await
    }

    /// Writes conversions by one copy that goes on while the next are decided.
    async fn copy_conversions(
        &mut self,
        db: &mut DbTx,
        deciding: &mut Deciding,
        tally: &mut Tally,
        now: Timestamp,
    ) -> Result<(), sqlx::Error> {
        let (mut written, mut of_strangers) = (Vec::new(), Vec::new());
        let mut copying = Copying::begin(db, CONVERSIONS).await?;
        while let Some(decided) = deciding.next().await {
            tally.add(&decided);
            for new in self.keep(decided) {
                if strangers(&new, &self.partners).next().is_some() {
                    of_strangers.push(new);
                    continue;
                }
                copying.put(|to| write_conversion(to, &new, &self.partners, now));
                copying.send_full().await?;
                written.push(new);
            }
        }
        copying.end().await?;
        let_go(written.len(), written);
        insert_conversions(db, &of_strangers, &mut self.partners, now).await
    }

    /// Takes decisions, in their order; returns the new conversions among them.
    fn keep(&mut self, decided: Vec<Decided>) -> Vec<Recorded> {
        let mut new = Vec::new();
        for Decided { message, decision } in decided {
            match decision {
                Decision::Record(conversion) => new.push((message, *conversion)),
                Decision::Refund { conversion_id, refund_id, amount } => {
                    self.refunds.push((message, conversion_id, refund_id, amount));
                }
                Decision::Restate { conversion_id, base } => {
                    self.restated.insert(conversion_id, (message, base));
                }
                Decision::Bind(bond) => self.changes.bonds.push((message, bond)),
                Decision::Reattribute { conversion_id, attribution, no_commission } => {
                    let changed = (message, conversion_id, attribution, no_commission);
                    self.changes.reattributed.push(changed);
                }
                Decision::Void(conversion_id) => self.changes.void.push((message, conversion_id)),
                Decision::Commission(step) => self.steps.push(*step),
                Decision::Flag(raised) => self.flags.push(*raised),
                Decision::Verdict { verdict, reason, conversion_id, is_id_taken } => {
                    let told = (message, verdict, reason, conversion_id, is_id_taken);
                    self.verdicts.insert(id_of_verdict(&told), told);
                }
                Decision::Wait(key) => self.waiting.push((message, key)),
                Decision::TurnAway(why) => {
                    let record = record::record(&message);
                    self.turned_away.entry(why).or_default().push(record);
                }
                Decision::Admit(key) => self.admitted.push(key),
            }
        }
        new
    }

    /// Writes what names conversions, when they are there.
    async fn write_rest(self, db: &mut DbTx, now: Timestamp) -> Result<(), ApplyError> {
        insert_refunds(db, &self.refunds, now).await?;
        for (conversion_id, (message, base)) in self.restated {
            restate(db, conversion_id, &message, base).await?;
        }
        waiting::store::insert_waiting(db, &self.waiting, now).await?;
        waiting::store::delete_admitted(db, &self.admitted).await?;
        for (why, records) in self.turned_away {
            waiting::store::insert_letters(db, &records, &why, now).await?;
        }
        insert_verdicts(db, &self.verdicts, self.takes_for_new, now).await?;
        let_go(self.verdicts.len(), self.verdicts);
        // Late, because whoever posts keeps others from posting until the transaction ends.
        commission::store::apply(db, self.steps, now).await?;
        fraud::store::insert_flags(db, &self.flags, now).await?;
        // Last, because it changes what was written before.
        Ok(attribution::store::apply(db, &self.changes, now).await?)
    }
}

type Recorded = (Arc<Message>, NewConversion);

#[expect(clippy::too_many_lines, reason = "one line for each column of one statement")]
async fn insert_conversions(
    db: &mut PgConnection,
    new: &[Recorded],
    partners: &mut PartnerIds,
    now: Timestamp,
) -> Result<(), sqlx::Error> {
    if new.is_empty() {
        return Ok(());
    }
    load_partners(&mut *db, new, partners).await?;
    let partners = &*partners;
    if new.len() >= COPY_MIN {
        let write = |to: &mut RowFields<'_>, r: &Recorded| write_conversion(to, r, partners, now);
        return copy_rows(db, CONVERSIONS, new, write).await.map(drop);
    }
    let text = |f: fn(&Recorded) -> String| new.iter().map(f).collect::<Vec<_>>();
    let uuid = |f: fn(&Recorded) -> Uuid| new.iter().map(f).collect::<Vec<_>>();
    let click = |r: &Recorded| r.1.attribution.click();
    sqlx::query!(
        "insert into conversions
             (program_id, conversion_id, order_namespace, event, dedup_ref, source_id, channel,
              trust, order_id, click_id, partner_id, link_number, click_at, attribution,
              amount_minor, base_minor, currency, coupon_code, customer_hash, is_test, occurred_at,
              received_at, settled_at, receipt_id, content_hash, details, candidates, path)
         select n.program_id, n.conversion_id, n.order_namespace, n.event, n.dedup_ref,
                n.source_id, n.channel, n.trust, n.order_id, n.click_id, n.partner_id,
                n.link_number, n.click_at, n.attribution, n.amount_minor, n.base_minor, n.currency,
                n.coupon_code, n.customer_hash, n.is_test, n.occurred_at, n.received_at, $1,
                n.receipt_id, n.content_hash, n.details, n.candidates, n.path
         from unnest(
             $2::uuid[], $3::uuid[], $4::text[], $5::text[], $6::text[], $7::uuid[], $8::text[],
             $9::text[], $10::text[], $11::text[], $12::uuid[], $13::bigint[], $14::timestamptz[],
             $15::text[], $16::bigint[], $17::bigint[], $18::text[], $19::text[], $20::bytea[],
             $21::boolean[], $22::timestamptz[], $23::timestamptz[], $24::uuid[], $25::bytea[],
             $26::jsonb[], $27::jsonb[], $28::jsonb[])
             as n (program_id, conversion_id, order_namespace, event, dedup_ref, source_id,
                   channel, trust, order_id, click_id, partner_id, link_number, click_at,
                   attribution, amount_minor, base_minor, currency, coupon_code, customer_hash,
                   is_test, occurred_at, received_at, receipt_id, content_hash, details,
                   candidates, path)",
        now,
        &uuid(|r| r.1.key.program_id.0),
        &uuid(|r| r.1.conversion_id.0),
        &text(|r| r.1.key.order_namespace.clone()),
        &text(|r| r.1.key.event.clone()),
        &text(|r| r.1.key.dedup_ref.clone()),
        &uuid(|r| r.0.source_id.0),
        &text(|r| r.0.channel.clone()),
        &text(|r| record::trust_code(r.0.trust).to_owned()),
        &new.iter().map(|r| r.0.report.order_id.clone()).collect::<Vec<_>>() as &[Option<String>],
        &new.iter().map(|r| shown_click(r).map(str::to_owned)).collect::<Vec<_>>()
            as &[Option<String>],
        &new.iter()
            .map(|r| id_of(partners, r, r.1.attribution.shown_partner()?).map(|p| p.0))
            .collect::<Vec<_>>() as &[Option<Uuid>],
        &new.iter().map(|r| click(r).map(|c| i64::from(c.1.0))).collect::<Vec<_>>()
            as &[Option<i64>],
        &new.iter().map(|r| click(r).map(|c| c.2)).collect::<Vec<_>>() as &[Option<Timestamp>],
        &text(|r| r.1.attribution.as_str().to_owned()),
        &new.iter().map(|r| r.0.report.amount.map(|m| m.minor)).collect::<Vec<_>>()
            as &[Option<i64>],
        &new.iter().map(|r| r.1.base.map(|m| m.minor)).collect::<Vec<_>>() as &[Option<i64>],
        &new.iter()
            .map(|r| r.0.report.amount.map(|m| m.currency.code().to_owned()))
            .collect::<Vec<_>>() as &[Option<String>],
        &new.iter().map(|r| r.0.report.coupon_code.clone()).collect::<Vec<_>>()
            as &[Option<String>],
        &new.iter().map(|r| r.0.report.customer_hash.map(|h| h.to_vec())).collect::<Vec<_>>()
            as &[Option<Vec<u8>>],
        &new.iter().map(|r| r.0.report.is_test).collect::<Vec<_>>(),
        &new.iter().map(|r| r.0.report.occurred_at).collect::<Vec<_>>(),
        &new.iter().map(|r| r.0.received_at).collect::<Vec<_>>(),
        &uuid(|r| r.0.receipt_id.0),
        &new.iter().map(|r| r.1.content_hash.to_vec()).collect::<Vec<_>>(),
        &new.iter().map(|r| wire::to_wire(&r.0.report)).collect::<Vec<_>>(),
        &new.iter().map(|r| candidates(partners, r)).collect::<Vec<_>>()
            as &[Option<serde_json::Value>],
        &new.iter().map(|r| path(partners, r)).collect::<Vec<_>>()
            as &[Option<serde_json::Value>],
    )
    .execute(db)
    .await
    .map(drop)
}

/// The table with the columns that [`write_conversion`] fills.
const CONVERSIONS: &str = "conversions (program_id, conversion_id, order_namespace, event, dedup_ref, source_id, channel, \
     trust, order_id, click_id, partner_id, link_number, click_at, attribution, amount_minor, \
     base_minor, currency, coupon_code, customer_hash, is_test, occurred_at, received_at, \
     settled_at, receipt_id, content_hash, details, candidates, path)";

/// Writes what [`insert_conversions`] inserts, as a row of a copy.
fn write_conversion(
    to: &mut RowFields<'_>,
    r: &Recorded,
    partners: &PartnerIds,
    settled_at: Timestamp,
) {
    let (message, new) = r;
    let (report, attribution) = (&message.report, &new.attribution);
    let click = attribution.click();
    let partner = attribution.shown_partner().and_then(|number| id_of(partners, r, number));
    to.put(new.key.program_id.0).put(new.conversion_id.0);
    to.put(&new.key.order_namespace).put(&new.key.event).put(&new.key.dedup_ref);
    to.put(message.source_id.0).put(&message.channel).put(record::trust_code(message.trust));
    to.put(report.order_id.as_ref()).put(shown_click(r));
    to.put(partner.map(|p| p.0)).put(click.map(|c| i64::from(c.1.0))).put(click.map(|c| c.2));
    to.put(attribution.as_str());
    to.put(report.amount.map(|m| m.minor)).put(new.base.map(|m| m.minor));
    to.put(report.amount.as_ref().map(|m| m.currency.code()));
    to.put(report.coupon_code.as_ref()).put(report.customer_hash.as_ref().map(|h| &h[..]));
    to.put(report.is_test).put(report.occurred_at).put(message.received_at).put(settled_at);
    to.put(message.receipt_id.0).put(&new.content_hash[..]);
    to.put(Jsonb(wire::ReportWire::from(report)));
    to.put(candidates(partners, r).map(Jsonb)).put(path(partners, r).map(Jsonb));
}

/// Finds the partners of conversions that are not known yet: finance asks also about those of what did
/// not count.
async fn load_partners(
    db: &mut PgConnection,
    new: &[Recorded],
    known: &mut PartnerIds,
) -> Result<(), sqlx::Error> {
    let missing: BTreeSet<_> = new.iter().flat_map(|r| strangers(r, known)).collect();
    known.extend(attribution::store::load_partner_ids(db, &missing).await?);
    Ok(())
}

/// Returns those partners of a conversion whose ids are not known yet.
fn strangers(
    (_, new): &Recorded,
    known: &PartnerIds,
) -> impl Iterator<Item = (ProgramId, PartnerNo)> {
    let named = new.attribution.partners().map(|number| (new.key.program_id, number));
    named.filter(|named| !known.contains_key(named))
}

fn id_of(partners: &PartnerIds, r: &Recorded, partner: PartnerNo) -> Option<PartnerId> {
    partners.get(&(r.1.key.program_id, partner)).copied()
}

/// Of a path the click that it is shown with, so that id, link and time are of one click.
fn shown_click(r: &Recorded) -> Option<&str> {
    let leading = r.1.attribution.path.as_ref().and_then(|path| path.leading());
    leading.map(|touch| touch.text.as_str()).or(r.0.report.click_id.as_deref())
}

fn candidates(partners: &PartnerIds, r: &Recorded) -> Option<serde_json::Value> {
    let attribution = &r.1.attribution;
    let kept = || candidate::to_wire(attribution.to_wire(|partner| id_of(partners, r, partner)));
    (!attribution.is_plain()).then(kept)
}

fn path(partners: &PartnerIds, r: &Recorded) -> Option<serde_json::Value> {
    let path = r.1.attribution.path.as_ref()?;
    Some(path.to_wire(|partner| id_of(partners, r, partner)).to_wire())
}

type Refunded = (Arc<Message>, ConversionId, String, Option<Money>);

async fn insert_refunds(
    db: &mut PgConnection,
    refunds: &[Refunded],
    now: Timestamp,
) -> Result<(), sqlx::Error> {
    if refunds.is_empty() {
        return Ok(());
    }
    let programs: Vec<Uuid> = refunds.iter().map(|r| r.0.program_id.0).collect();
    let conversions: Vec<Uuid> = refunds.iter().map(|r| r.1.0).collect();
    let amounts: Vec<Option<i64>> = refunds.iter().map(|r| r.3.map(|m| m.minor)).collect();
    sqlx::query!(
        "insert into conversion_refunds
             (program_id, conversion_id, refund_id, amount_minor, refunded_at, receipt_id)
         select n.program_id, n.conversion_id, n.refund_id, n.amount_minor, $1, n.receipt_id
         from unnest($2::uuid[], $3::uuid[], $4::text[], $5::bigint[], $6::uuid[])
             as n (program_id, conversion_id, refund_id, amount_minor, receipt_id)",
        now,
        &programs,
        &conversions,
        &refunds.iter().map(|r| r.2.clone()).collect::<Vec<_>>(),
        &amounts as &[Option<i64>],
        &refunds.iter().map(|r| r.0.receipt_id.0).collect::<Vec<_>>(),
    )
    .execute(&mut *db)
    .await?;
    // A refund without amount takes back all that is left; one beyond the price is the price.
    sqlx::query!(
        "update conversions c
         set refunded_minor = least(
             coalesce(c.amount_minor, 0),
             (select case when bool_or(r.amount_minor is null) then coalesce(c.amount_minor, 0)
                          else sum(r.amount_minor)::bigint end
              from conversion_refunds r
              where r.program_id = c.program_id and r.conversion_id = c.conversion_id))
         where (c.program_id, c.conversion_id) in (
             select * from unnest($1::uuid[], $2::uuid[]))",
        &programs,
        &conversions,
    )
    .execute(&mut *db)
    .await?;
    mark_counted(db, &programs, &conversions).await
}

async fn restate(
    db: &mut PgConnection,
    conversion_id: ConversionId,
    message: &Message,
    base: Option<Money>,
) -> Result<(), sqlx::Error> {
    let report = &message.report;
    sqlx::query!(
        "update conversions
         set amount_minor = $3, base_minor = $4, currency = $5, content_hash = $6, details = $7,
             restated_at = $8, restated_by = $9
         where program_id = $1 and conversion_id = $2",
        message.program_id.0,
        conversion_id.0,
        report.amount.map(|m| m.minor),
        base.map(|m| m.minor),
        report.amount.map(|m| m.currency.code()),
        &report.content_hash()[..],
        wire::to_wire(report),
        message.sent_at,
        message.message_id,
    )
    .execute(&mut *db)
    .await?;
    mark_counted(db, &[message.program_id.0], &[conversion_id.0]).await
}

/// Marks the periods that conversions count in to be reckoned again: where a cap leaves an amount as
/// it was no step says so, and what comes after it may change all the same.
async fn mark_counted(
    db: &mut PgConnection,
    programs: &[Uuid],
    conversions: &[Uuid],
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "insert into plan_marks (program_id, partner_id, from_at)
         select c.program_id, c.partner_id, min(c.occurred_at)
         from commissions c
         where (c.program_id, c.conversion_id) in (select * from unnest($1::uuid[], $2::uuid[]))
           and c.kind = 'earned' and c.state not in ('rejected', 'reversed')
           and jsonb_array_length(c.calculation -> 'sums') > 0
         group by c.program_id, c.partner_id",
        programs,
        conversions,
    )
    .execute(db)
    .await
    .map(drop)
}

type Told = (Arc<Message>, super::Verdict, Option<String>, Option<ConversionId>, bool);

/// What became of messages: the last verdict under each id. A message that waited gets its true verdict;
/// one whose id is taken is kept under its receipt, so that its sender still finds the answer.
type Verdicts = BTreeMap<(ProgramId, SourceId, String), Told>;

fn id_of_verdict(told: &Told) -> (ProgramId, SourceId, String) {
    let message = &told.0;
    let id = if told.4 { message.id_by_receipt() } else { message.message_id.clone() };
    (message.program_id, message.source_id, id)
}

async fn insert_verdicts(
    db: &mut PgConnection,
    last: &Verdicts,
    are_new: bool,
    now: Timestamp,
) -> Result<(), sqlx::Error> {
    // Only what is about an order may have waited for it, and be there already.
    let (new, rest): (Vec<_>, Vec<_>) =
        last.iter().partition(|(_, told)| told.0.report.message_type == MessageType::Created);
    if new.len() < COPY_MIN && !are_new {
        return upsert_verdicts(db, last.iter().collect(), now).await;
    }
    copy_rows(db, VERDICTS, new, |to, row| write_verdict(to, row, now)).await?;
    upsert_verdicts(db, rest, now).await
}

/// The table with the columns that [`write_verdict`] fills.
const VERDICTS: &str = "webhook_messages (program_id, source_id, webhook_id, receipt_id, content_hash, status, reason, \
     conversion_id, received_at, settled_at)";

/// A verdict by the id that it is kept under.
type Named<'a> = (&'a (ProgramId, SourceId, String), &'a Told);

/// Writes what [`upsert_verdicts`] inserts, as a row of a copy.
fn write_verdict(to: &mut RowFields<'_>, (id, told): Named<'_>, settled_at: Timestamp) {
    let (message, verdict, reason, conversion_id, _) = told;
    to.put(id.0.0).put(id.1.0).put(&id.2).put(message.receipt_id.0).put(&message.body_hash[..]);
    to.put(verdict.as_str()).put(reason.as_ref()).put(conversion_id.map(|id| id.0));
    to.put(message.received_at).put(settled_at);
}

async fn upsert_verdicts(
    db: &mut PgConnection,
    rows: Vec<Named<'_>>,
    now: Timestamp,
) -> Result<(), sqlx::Error> {
    if rows.is_empty() {
        return Ok(());
    }
    sqlx::query!(
        "insert into webhook_messages
             (program_id, source_id, webhook_id, receipt_id, content_hash, status, reason,
              conversion_id, received_at, settled_at)
         select n.program_id, n.source_id, n.webhook_id, n.receipt_id, n.content_hash, n.status,
                n.reason, n.conversion_id, n.received_at, $1
         from unnest($2::uuid[], $3::uuid[], $4::text[], $5::uuid[], $6::bytea[], $7::text[],
                     $8::text[], $9::uuid[], $10::timestamptz[])
             as n (program_id, source_id, webhook_id, receipt_id, content_hash, status, reason,
                   conversion_id, received_at)
         on conflict on constraint webhook_messages_pkey
         do update set status = excluded.status, reason = excluded.reason,
                       conversion_id = excluded.conversion_id, settled_at = excluded.settled_at
         where webhook_messages.status = 'waiting'",
        now,
        &rows.iter().map(|(id, _)| id.0.0).collect::<Vec<_>>(),
        &rows.iter().map(|(id, _)| id.1.0).collect::<Vec<_>>(),
        &rows.iter().map(|(id, _)| id.2.clone()).collect::<Vec<_>>(),
        &rows.iter().map(|(_, r)| r.0.receipt_id.0).collect::<Vec<_>>(),
        &rows.iter().map(|(_, r)| r.0.body_hash.to_vec()).collect::<Vec<_>>(),
        &rows.iter().map(|(_, r)| r.1.as_str().to_owned()).collect::<Vec<_>>(),
        &rows.iter().map(|(_, r)| r.2.clone()).collect::<Vec<_>>() as &[Option<String>],
        &rows.iter().map(|(_, r)| r.3.map(|c| c.0)).collect::<Vec<_>>() as &[Option<Uuid>],
        &rows.iter().map(|(_, r)| r.0.received_at).collect::<Vec<_>>(),
    )
    .execute(db)
    .await
    .map(drop)
}

/// Finds the message of a conversion as it stands now: with the content of its last update.
pub async fn find_message(
    db: &mut PgConnection,
    program_id: ProgramId,
    conversion_id: ConversionId,
) -> Result<Option<Message>, sqlx::Error> {
    let row = sqlx::query_as!(
        MessageRow,
        r#"select program_id as "program_id: ProgramId", source_id as "source_id: SourceId", channel,
                  trust, occurred_at, received_at, receipt_id as "receipt_id: ReceiptId",
                  content_hash, customer_hash, details
           from conversions
           where program_id = $1 and conversion_id = $2
           for update"#,
        program_id.0,
        conversion_id.0,
    )
    .fetch_optional(db)
    .await?;
    row.map(Message::try_from).transpose()
}

/// What a conversion holds of its message.
pub(super) struct MessageRow {
    pub(super) program_id: ProgramId,
    pub(super) source_id: SourceId,
    pub(super) channel: String,
    pub(super) trust: String,
    pub(super) occurred_at: Timestamp,
    pub(super) received_at: Timestamp,
    pub(super) receipt_id: ReceiptId,
    pub(super) content_hash: Vec<u8>,
    pub(super) customer_hash: Option<Vec<u8>>,
    pub(super) details: serde_json::Value,
}

impl TryFrom<MessageRow> for Message {
    type Error = sqlx::Error;

    fn try_from(r: MessageRow) -> Result<Self, sqlx::Error> {
        let mut report = wire::from_wire(&r.details).map_err(|e| sqlx::Error::Decode(e.into()))?;
        report.message_type = MessageType::Created;
        report.occurred_at = r.occurred_at;
        // An update may leave the customer out.
        let customer_hash = r.customer_hash.and_then(|hash| hash.try_into().ok());
        report.customer_hash = customer_hash.or(report.customer_hash);
        let trust = record::trust_of(&r.trust).map_err(|e| sqlx::Error::Decode(e.into()))?;
        Ok(Self {
            receipt_id: r.receipt_id,
            program_id: r.program_id,
            source_id: r.source_id,
            channel: r.channel,
            message_id: r.receipt_id.to_string(),
            body_hash: r.content_hash.try_into().unwrap_or_default(),
            received_at: r.received_at,
            sent_at: r.received_at,
            trust,
            report,
        })
    }
}

/// Says whose a conversion is by a claim; why nothing else made it so stays in `attribution`.
pub async fn set_partner(
    db: &mut PgConnection,
    program_id: ProgramId,
    conversion_id: ConversionId,
    partner_id: PartnerId,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "update conversions set partner_id = $3 where program_id = $1 and conversion_id = $2",
        program_id.0,
        conversion_id.0,
        partner_id.0,
    )
    .execute(db)
    .await
    .map(drop)
}
