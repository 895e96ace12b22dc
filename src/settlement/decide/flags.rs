//! Suspicion at settlement: what looks wrong opens `on_hold` and waits for a person.

use crate::click::click_id::ClickId;
use crate::clock::Timestamp;
use crate::commission::{Commission, CommissionState, Hand, NoStep, Step};
use crate::fraud::facts::Opening;
use crate::fraud::{self, Flag, RaisedFlag};
use crate::ids::{LinkNo, PartnerNo};
use crate::settlement::Message;
use crate::settlement::facts::Facts;
use crate::settlement::path::Path;

/// A conversion on its way to its commissions, with what may look wrong about it.
#[derive(Clone, Copy)]
pub(super) struct Suspicion<'a> {
    pub(super) facts: &'a Facts,
    pub(super) message: &'a Message,
    /// The click that led to it.
    pub(super) click: Option<(PartnerNo, LinkNo, Timestamp)>,
    /// All clicks that led to it, where the shop named more than the last.
    pub(super) path: Option<&'a Path>,
}

/// A commission that was opened, and what looks wrong about it.
pub(super) struct Opened {
    pub(super) step: Step,
    flags: Vec<Flag>,
}

impl Opened {
    /// Returns a commission that nobody looks at for itself: it follows another.
    pub(super) fn unsuspicious(step: Step) -> Self {
        Self { step, flags: Vec::new() }
    }

    /// Returns its flags as they are kept.
    pub(super) fn raised(&self) -> Vec<RaisedFlag> {
        let (program_id, commission_id) =
            (self.step.after.program_id, self.step.after.commission_id);
        let raised = |flag: &Flag| RaisedFlag { program_id, commission_id, flag: flag.clone() };
        self.flags.iter().map(raised).collect()
    }
}

impl Suspicion<'_> {
    /// Opens a commission, on hold where something looks wrong. What is refused stays refused.
    pub(super) fn open(
        &self,
        mut row: Commission,
        partner: PartnerNo,
        mut by: Hand,
    ) -> Result<Opened, NoStep> {
        let flags = match row.state {
            CommissionState::Pending => self.facts.fraud.flags(&self.opening(&row, partner)),
            CommissionState::OnHold
            | CommissionState::Approved
            | CommissionState::Rejected
            | CommissionState::Reversed
            | CommissionState::Paid => Vec::new(),
        };
        if !flags.is_empty() {
            row.state = CommissionState::OnHold;
            row.reason = Some(fraud::reason(&flags));
            by.note = Some(fraud::note(&flags));
        }
        Ok(Opened { step: row.open(by)?, flags })
    }

    fn opening(&self, row: &Commission, partner: PartnerNo) -> Opening {
        let report = &self.message.report;
        let (click_at, click_id) = match self.path {
            // Each partner of a path answers for its own last click.
            Some(path) => {
                let click = path.last_of(partner);
                (click.map(|click| click.at), click)
            }
            None => {
                let click = self.click.filter(|click| click.0 == partner);
                let click_at = click.map(|click| click.2);
                let text = report.click_id.as_deref();
                let click_id = text
                    .and_then(|text| ClickId::verify(&self.facts.click_keys, text).ok())
                    .filter(|click| click.partner == partner && Some(click.at) == click_at);
                (click_at, click_id)
            }
        };
        Opening {
            program_id: row.program_id,
            partner_id: row.partner_id,
            occurred_at: row.occurred_at,
            click_at,
            click_id: click_id.map(|click| click.to_uuid()),
            customer_hash: report.customer_hash,
        }
    }
}
