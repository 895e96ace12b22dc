//! Users, roles and API keys: who may do what.
//!
//! A key belongs to a user, has one role and reaches some programs or all; a partner's key reaches
//! the rows of that partner in one program. Roles are sets of scopes; handlers ask for a scope in
//! their signature (see [`http::Caller`]). Four eyes compares users, so two keys of one person are
//! one pair of eyes.

pub mod audit_store;
pub mod http;
pub mod idempotency_store;
pub mod key;
pub mod once_http;
pub mod store;

use crate::clock::Timestamp;
use crate::ids::{ApiKeyId, PartnerId, ProgramId, UserId};

/// One thing that a key may do: `resource:action`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "each variant is its text form, which `as_str` shows")]
pub enum Scope {
    Admin,
    ProgramsRead,
    ProgramsWrite,
    PartnersRead,
    PartnersWrite,
    LinksRead,
    LinksWrite,
    ClicksWrite,
    ConversionsRead,
    ConversionsWrite,
    CommissionsRead,
    CommissionsWrite,
    ClaimsWrite,
    PayoutsRead,
    PayoutsWrite,
    PayoutsApprove,
    ReportsRead,
    LedgerRead,
    WebhooksRead,
    WebhooksWrite,
}

impl Scope {
    /// Returns the text form, as problems and documents show it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Admin => "admin",
            Self::ProgramsRead => "programs:read",
            Self::ProgramsWrite => "programs:write",
            Self::PartnersRead => "partners:read",
            Self::PartnersWrite => "partners:write",
            Self::LinksRead => "links:read",
            Self::LinksWrite => "links:write",
            Self::ClicksWrite => "clicks:write",
            Self::ConversionsRead => "conversions:read",
            Self::ConversionsWrite => "conversions:write",
            Self::CommissionsRead => "commissions:read",
            Self::CommissionsWrite => "commissions:write",
            Self::ClaimsWrite => "claims:write",
            Self::PayoutsRead => "payouts:read",
            Self::PayoutsWrite => "payouts:write",
            Self::PayoutsApprove => "payouts:approve",
            Self::ReportsRead => "reports:read",
            Self::LedgerRead => "ledger:read",
            Self::WebhooksRead => "webhooks:read",
            Self::WebhooksWrite => "webhooks:write",
        }
    }
}

/// What a key is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Everything but approving payouts: that is a role of its own on purpose.
    Admin,
    /// Runs programs, partners and links, and decides on commissions.
    Manager,
    /// Reads every figure and prepares payouts.
    Finance,
    /// Approves what finance prepared.
    Approver,
    /// A shop's or app's system: tells of clicks, reads what became of what it sent.
    Source,
    /// A partner: own rows only.
    Partner,
}

impl Role {
    /// Every role.
    pub const ALL: [Self; 6] =
        [Self::Admin, Self::Manager, Self::Finance, Self::Approver, Self::Source, Self::Partner];

    /// Returns the text form kept in the database.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Admin => "admin",
            Self::Manager => "manager",
            Self::Finance => "finance",
            Self::Approver => "approver",
            Self::Source => "source",
            Self::Partner => "partner",
        }
    }

    /// Returns the role with this text form.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|r| r.as_str() == text)
    }

    /// Tells whether the role includes the scope.
    pub fn allows(self, scope: Scope) -> bool {
        use Scope::*;
        match self {
            Self::Admin => scope != PayoutsApprove,
            Self::Manager => matches!(
                scope,
                ProgramsRead
                    | ProgramsWrite
                    | PartnersRead
                    | PartnersWrite
                    | LinksRead
                    | LinksWrite
                    | ClicksWrite
                    | ConversionsRead
                    | ConversionsWrite
                    | CommissionsRead
                    | CommissionsWrite
                    | ClaimsWrite
                    | ReportsRead
                    | WebhooksRead
                    | WebhooksWrite
            ),
            Self::Finance => matches!(
                scope,
                ProgramsRead
                    | PartnersRead
                    | ConversionsRead
                    | CommissionsRead
                    | PayoutsRead
                    | PayoutsWrite
                    | ReportsRead
                    | LedgerRead
            ),
            Self::Approver => matches!(
                scope,
                ProgramsRead
                    | PartnersRead
                    | CommissionsRead
                    | PayoutsRead
                    | PayoutsApprove
                    | ReportsRead
                    | LedgerRead
            ),
            Self::Source => matches!(scope, ClicksWrite | ConversionsRead | WebhooksRead),
            // Own rows alone, and only where a handler says that it looks after that.
            Self::Partner => matches!(
                scope,
                LinksRead | LinksWrite | CommissionsRead | ClaimsWrite | ReportsRead | LedgerRead
            ),
        }
    }
}

/// The caller of a request: whose key it is and what it reaches.
#[derive(Clone, Debug)]
pub struct Caller {
    /// The key.
    pub api_key_id: ApiKeyId,
    /// The person or system that owns it.
    pub user_id: UserId,
    /// What it may do.
    pub role: Role,
    /// The programs it reaches; none given means all.
    pub programs: Option<Vec<ProgramId>>,
    /// The partner whose rows alone it reaches; given for the role partner, and for no other.
    pub partner_id: Option<PartnerId>,
    /// When the key ends, if it does.
    pub expires_at: Option<Timestamp>,
}

impl Caller {
    /// Tells whether the key reaches the program.
    pub fn reaches(&self, program: ProgramId) -> bool {
        self.programs.as_ref().is_none_or(|all| all.contains(&program))
    }

    /// Tells whether the key reaches what a partner has in a program.
    pub fn owns(&self, program: ProgramId, partner: PartnerId) -> bool {
        self.reaches(program) && self.partner_id.is_none_or(|own| own == partner)
    }

    /// Returns how the audit log names the caller.
    pub fn actor(&self) -> String {
        format!("user:{}", self.user_id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_but_an_approver_approves_payouts() {
        for role in Role::ALL {
            assert_eq!(role.allows(Scope::PayoutsApprove), role == Role::Approver, "{role:?}");
        }
        assert!(!Role::Approver.allows(Scope::PayoutsWrite), "who approves does not prepare");
    }

    #[test]
    fn a_partners_key_owns_what_is_its_partners_in_its_program() {
        let (program, other) = (ProgramId::new(), ProgramId::new());
        let (partner, stranger) = (PartnerId::new(), PartnerId::new());
        let of = |role, partner_id| Caller {
            api_key_id: ApiKeyId::new(),
            user_id: UserId::new(),
            role,
            programs: Some(vec![program]),
            partner_id,
            expires_at: None,
        };
        let own = of(Role::Partner, Some(partner));
        let found = [(program, partner), (program, stranger), (other, partner)];
        assert_eq!(
            found.map(|(program, partner)| own.owns(program, partner)),
            [true, false, false]
        );
        let staff = of(Role::Manager, None);
        assert_eq!(
            found.map(|(program, partner)| staff.owns(program, partner)),
            [true, true, false]
        );
    }

    #[test]
    fn roles_round_trip_through_their_text() {
        for role in Role::ALL {
            assert_eq!(Role::parse(role.as_str()), Some(role));
        }
        assert_eq!(Role::parse("root"), None);
    }
}
