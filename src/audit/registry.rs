//! Every invariant, in the order in which they are told.
//!
//! Adding one is a query in `store/` or a proof in `proof/`, an entry here, and a way to break it in
//! the stories: without that the stories fail.

use super::proof;
use super::store::{click, commission, conversion, ledger, log, notice, payout, service};
use super::{Check, Invariant, PROOF_ROWS, QUERY_ROWS};

/// An invariant that a query judges.
const fn query(
    name: &'static str,
    of: &'static str,
    means: &'static str,
    remedy: &'static str,
    check: Check,
) -> Invariant {
    Invariant { name, of, means, remedy, rows: QUERY_ROWS, check }
}

/// An invariant that is reckoned again.
const fn proof(
    name: &'static str,
    of: &'static str,
    means: &'static str,
    remedy: &'static str,
    check: Check,
) -> Invariant {
    Invariant { name, of, means, remedy, rows: PROOF_ROWS, check }
}

/// Partners of a page where each takes the sum of all its clicks.
const ENROLLMENT_ROWS: i64 = 100;

const TAMPERED: &str = "Somebody changed rows as the owner of the database: compare with a backup, \
    and with the chain hashes of closed months.";
const BY_HAND: &str = "Pay nobody from these figures; find who wrote past the service in the log of \
    PostgreSQL, then correct by postings, never by updates.";
const REPORT: &str = "This is a defect of the service: keep the rows named here and report them; \
    correct by an adjustment.";

/// Every invariant.
///
/// The stream comes first: the position that a run sees must not be minutes old by then.
pub static REGISTRY: &[Invariant] = &[
    proof(
        "stream_position",
        "shard",
        "No shard has settled what the stream never held, and its counters are possible.",
        "Redis was set back: restore its newest append-only file, or let the service read the stream \
         from its start; unique ids keep that harmless.",
        proof::stream::positions,
    ),
    proof(
        "stream_waiting",
        "shard",
        "No event waits to be settled while events ten minutes younger are in the stream.",
        "See that a process with the role settle runs, and what its log says; nothing is lost, it \
         only waits.",
        proof::stream::waiting,
    ),
    proof(
        "stream_entries",
        "shard",
        "Every entry that was ever added to a shard was settled or still waits in it.",
        "Entries were removed from the stream by hand, or it was set back: see that its key is written \
         by this service alone; what is missing is in the newest append-only file of Redis.",
        proof::stream::entries,
    ),
    proof(
        "edge",
        "spool",
        "What this process acknowledged by its spool waits there, or was moved to the stream.",
        "Events that a shop or a visitor was told are safe are not: look for files *.bad in the spool \
         folder and for what its disk said in the log, then ask the shops to send that time again.",
        proof::stream::edge,
    ),
    proof(
        "spool",
        "spool",
        "The spool of this process has lost nothing that it acknowledged.",
        "Events of the files *.bad in the spool folder were damaged by its disk: keep them, replace the \
         disk, ask the shops to send that time again.",
        proof::stream::spool,
    ),
    query(
        "ledger_transactions_balance",
        "transaction",
        "The entries of each ledger transaction are two or more, of its currency, and sum to zero.",
        TAMPERED,
        ledger::transactions,
    ),
    query(
        "ledger_book_balances",
        "program",
        "All entries of a program sum to zero in each currency.",
        TAMPERED,
        ledger::books,
    ),
    query(
        "ledger_balances",
        "account",
        "The kept balance of each account is the sum of its entries.",
        BY_HAND,
        ledger::balances,
    ),
    query(
        "ledger_days",
        "account",
        "The kept sum of each day of an account is that of its entries.",
        BY_HAND,
        ledger::days,
    ),
    proof(
        "ledger_hashes",
        "transaction",
        "Each transaction of the ledger still hashes to what was stored when it was written.",
        TAMPERED,
        proof::ledger::hashes,
    ),
    query(
        "ledger_chain",
        "transaction",
        "Each transaction carries the hash of the one before it, without a gap.",
        TAMPERED,
        ledger::chain,
    ),
    query(
        "ledger_heads",
        "program",
        "Each program's ledger ends with the transaction that its head names.",
        TAMPERED,
        ledger::heads,
    ),
    query(
        "ledger_reversals",
        "transaction",
        "Each reversal undoes exactly what it reverses, account by account.",
        BY_HAND,
        ledger::reversals,
    ),
    query(
        "ledger_causes",
        "transaction",
        "Each ledger transaction was made by exactly one step of a commission, adjustment or payout.",
        REPORT,
        ledger::causes,
    ),
    query(
        "append_only",
        "guard",
        "The service may neither change nor remove what must only be added to, and the triggers \
         that refuse it work.",
        "Revoke the privilege or enable the trigger named here, then audit again: nothing guarded \
         those rows meanwhile.",
        ledger::append_only,
    ),
    query(
        "closed_months",
        "program",
        "Closed months follow one another, and the hash kept at each close is still the chain's.",
        TAMPERED,
        ledger::closed_months,
    ),
    query(
        "statements",
        "statement",
        "Each statement has the hash it was numbered with, and the ledger still closes as it says.",
        TAMPERED,
        ledger::statements,
    ),
    query(
        "commission_once",
        "commission",
        "A conversion pays each partner once for each kind and cause.",
        "Reverse or claw back all but the first, and put the constraint commissions_once back.",
        commission::once,
    ),
    query(
        "commission_ledger",
        "commission",
        "What the ledger holds of each commission, pending and payable, is its amount in its state.",
        REPORT,
        commission::ledger,
    ),
    query(
        "commission_history",
        "commission",
        "The history of each commission has every step with its actor and ends where it stands.",
        BY_HAND,
        commission::history,
    ),
    query(
        "commission_states",
        "commission",
        "A paid commission is in a paid payout, a reserved one in an open payout, any other in none.",
        REPORT,
        commission::states,
    ),
    query(
        "commission_holds",
        "commission",
        "Time alone approves no commission before its hold is over.",
        "Hold the commissions named here and look at the clock of the machine that runs the timers.",
        commission::holds,
    ),
    query(
        "commission_plans",
        "commission",
        "Each commission was priced by the edition of the plan that was in force when it happened.",
        REPORT,
        commission::plans,
    ),
    query(
        "commission_currencies",
        "commission",
        "A conversion, its commissions and their ledger are in one currency, or the rate is kept.",
        REPORT,
        commission::currencies,
    ),
    query(
        "commission_corrections",
        "commission",
        "Corrections belong to the partner and order of what they correct and take no more than \
         there was.",
        REPORT,
        commission::corrections,
    ),
    proof(
        "commission_arithmetic",
        "commission",
        "Reckoned again from the inputs stored with it, each commission comes to its amount, step by \
         step.",
        REPORT,
        proof::commission::arithmetic,
    ),
    proof(
        "commission_nets",
        "commission",
        "What a partner has of a commission with all corrections is what its latest arithmetic says.",
        REPORT,
        proof::commission::nets,
    ),
    Invariant {
        rows: ENROLLMENT_ROWS,
        ..proof(
            "plan_sums",
            "partner",
            "The sums that tiers, caps and budgets of the open periods go by are those of the \
             commissions.",
            "Mark the periods to be reckoned again: `insert into plan_marks (program_id, partner_id, \
             from_at)` with the beginning of the period; the timers do the rest.",
            proof::plan::sums,
        )
    },
    query(
        "payout_items",
        "payout",
        "Each payout is the sum of its commissions and adjustments, and no other live payout has \
         them.",
        "Cancel the batch if it is not exported; else stop the payment at the bank.",
        payout::items,
    ),
    query(
        "payout_ledger",
        "payout",
        "The ledger reserved, paid and undid exactly what each payout says.",
        BY_HAND,
        payout::ledger,
    ),
    query(
        "payout_in_transit",
        "program",
        "What is in transit to the bank is what the open payouts are to move.",
        BY_HAND,
        payout::in_transit,
    ),
    query(
        "payout_four_eyes",
        "batch",
        "A second person approved each batch before any of its payouts moved.",
        "Stop the batch at the bank and let a second person look at it now.",
        payout::four_eyes,
    ),
    proof(
        "payout_files",
        "batch",
        "Each payment file opens, has the digest it was told with, and carries exactly the payouts \
         that name it.",
        "Do not send the file; compare the digest with that of the file at the bank.",
        proof::payout_file::files,
    ),
    query(
        "partner_balances",
        "account",
        "Each balance of a partner is what its commissions, adjustments and payouts come to.",
        REPORT,
        payout::partner_balances,
    ),
    query(
        "partner_debts",
        "account",
        "No partner owes more than what was taken back from it.",
        REPORT,
        payout::debts,
    ),
    query(
        "adjustments",
        "adjustment",
        "Each adjustment is in the ledger with its amount and kind, and in no payout that is over.",
        BY_HAND,
        payout::adjustments,
    ),
    query(
        "conversion_once",
        "conversion",
        "Each order is one conversion of its event, however often and by whatever way it came.",
        "Reject the commissions of all but the first, and put the constraint conversions_dedup_once \
         back.",
        conversion::once,
    ),
    query(
        "conversion_receipts",
        "conversion",
        "Each conversion came by a message whose receipt says so.",
        BY_HAND,
        conversion::receipts,
    ),
    query(
        "conversion_refunds",
        "conversion",
        "What is told as refunded is the sum of the refunds, at most the price.",
        REPORT,
        conversion::refunds,
    ),
    query(
        "conversion_clicks",
        "conversion",
        "A conversion that a click brought has partner, link and a click before it, within the window.",
        REPORT,
        conversion::clicks,
    ),
    query(
        "conversion_tenancy",
        "conversion",
        "Source and partner of each conversion belong to its program.",
        BY_HAND,
        conversion::tenancy,
    ),
    query(
        "conversion_times",
        "conversion",
        "Nothing is settled before it came, paid before it was settled, or comes from the future.",
        "Compare the clocks of the machines with that of PostgreSQL.",
        conversion::times,
    ),
    query(
        "commission_earners",
        "commission",
        "Each commission belongs to the partner of its conversion, or to that partner's recruiter.",
        REPORT,
        conversion::earners,
    ),
    query(
        "claims",
        "claim",
        "An accepted claim paid the partner who made it, and no other claim paid anybody.",
        REPORT,
        conversion::claims,
    ),
    query(
        "coupons",
        "coupon",
        "Each coupon is of a partner of its program, and its code is nobody else's at that time.",
        "End the coupon that was given last, and put the trigger coupons_refuse_overlap back.",
        conversion::coupons,
    ),
    query(
        "coupon_conversions",
        "conversion",
        "The partner of a conversion that a coupon brought had a coupon in force.",
        REPORT,
        conversion::coupon_conversions,
    ),
    query(
        "bonds",
        "conversion",
        "Each bond binds the customer of its conversion to the partner of that conversion.",
        REPORT,
        conversion::bonds,
    ),
    query(
        "click_hours",
        "partner",
        "The hourly sums that reports read are the clicks, as far back as clicks are kept.",
        REPORT,
        click::hours,
    ),
    query(
        "click_days",
        "partner",
        "Each click lies in the day of its own key, where its key is there once.",
        BY_HAND,
        click::days,
    ),
    query(
        "click_landings",
        "partner",
        "The sums by landing page that incidents are found by are the clicks, as far back as both \
         are kept.",
        REPORT,
        click::landings,
    ),
    query(
        "audit_log",
        "change",
        "Each change of which a row says that a person made it is in the audit log: of plans, policies, \
         commissions, payouts and what banks said of them, adjustments, months, coupons, claims, \
         messages, terms of payment and API keys.",
        "Somebody wrote past the service, or removed lines as the owner of the database: compare with \
         a backup.",
        log::changes,
    ),
    query(
        "notices",
        "notice",
        "No notice was passed over by later ones, and each delivery says how it ended.",
        "See that a process with the role deliver runs; what was passed over is sent again by \
         `POST /v1/webhook-endpoints/{id}/deliveries/{delivery_id}/retry`.",
        notice::notices,
    ),
    query(
        "dead_letters",
        "dead_letter",
        "Each dead letter has its reason and was counted, and whoever let it be read again is named.",
        BY_HAND,
        service::dead_letters,
    ),
    query(
        "guards",
        "guard",
        "Every constraint and index is valid, and those that each event counts once by are there.",
        "Put back what is missing by the statement of the migration that made it; then audit again.",
        service::guards,
    ),
    query(
        "amounts_are_whole",
        "column",
        "Every column of an amount is a bigint of minor units.",
        "Change the column back; a figure that was rounded meanwhile is in the ledger's hash.",
        service::amounts,
    ),
    query(
        "tenancy_keys",
        "key",
        "Every foreign key between tables of programs carries the program.",
        "Replace the key by one that carries program_id.",
        service::tenancy_keys,
    ),
    query(
        "sessions",
        "session",
        "No session of the database holds a transaction open for minutes and does nothing.",
        "End the session with pg_terminate_backend; it holds locks and keeps dead rows.",
        service::sessions,
    ),
];
