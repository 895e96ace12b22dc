//! What a settled batch adds to the counters of `/metrics`, once it holds.

use std::collections::{BTreeMap, HashSet};

use crate::conversion::MessageType;
use crate::ids::ReceiptId;
use crate::metrics as metric;
use crate::settlement::{Decided, Decision};

/// Figures of a batch.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Tally {
    /// New conversions that are nobody's, by the way they came.
    unattributed: BTreeMap<String, u64>,
    n_admitted: u64,
    n_turned_away: u64,
    /// Messages of the batch that had no verdict yet.
    unheard: HashSet<ReceiptId>,
}

impl Tally {
    /// Begins the figures of a batch of messages with these receipts.
    pub(super) fn of(receipts: HashSet<ReceiptId>) -> Self {
        Self { unheard: receipts, ..Self::default() }
    }

    /// Adds what was decided.
    pub(super) fn add(&mut self, decided: &[Decided]) {
        for Decided { message, decision } in decided {
            match decision {
                Decision::Record(new) if new.attribution.partner().is_none() => {
                    *self.unattributed.entry(message.channel.clone()).or_default() += 1;
                }
                // A message of the batch about an order that is there has one verdict; another one
                // ends a wait.
                Decision::Verdict { .. } if message.report.message_type != MessageType::Created => {
                    self.n_admitted += u64::from(!self.unheard.remove(&message.receipt_id));
                }
                Decision::TurnAway(_) => self.n_turned_away += 1,
                Decision::Record(_)
                | Decision::Refund { .. }
                | Decision::Restate { .. }
                | Decision::Bind(_)
                | Decision::Reattribute { .. }
                | Decision::Void(_)
                | Decision::Commission(_)
                | Decision::Flag(_)
                | Decision::Verdict { .. }
                | Decision::Wait(_)
                | Decision::Admit(_) => {}
            }
        }
    }

    /// Adds the figures to the counters.
    pub(super) fn count(self) {
        for (channel, n) in self.unattributed {
            let result = "unattributed";
            metrics::counter!(metric::CONVERSIONS, "channel" => channel, "result" => result)
                .increment(n);
        }
        for (result, n) in [("admitted", self.n_admitted), ("turned_away", self.n_turned_away)] {
            if n > 0 {
                metrics::counter!(metric::WAITING_ROOM_VERDICTS, "result" => result).increment(n);
            }
        }
    }
}
