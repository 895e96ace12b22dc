//! The demo program: a shop with sixty partners and two hundred days behind it.
//!
//! [`cast`] invents the partners, [`traffic`] their clicks and [`shop`] what the shop reports of
//! them: pure, and the same for the same seed. `travel` sends all of it through the true rules
//! of settlement with a clock that is moved from day to day, so that holds end and commissions are
//! approved as they would have been; `rows` writes what a merchant would have set up by hand.

pub mod cast;
pub(crate) mod payable;
mod payday;
mod rows;
pub mod shop;
pub mod traffic;
mod travel;

#[cfg(test)]
#[path = "seed_tests.rs"]
mod seed_tests;
#[cfg(test)]
#[path = "story_tests.rs"]
mod story_tests;

use chrono::{Days, NaiveDate};

use crate::app::App;
use crate::clock::Timestamp;
use crate::ids::{LinkId, LinkNo, PartnerId, PartnerNo, ProgramId, ProgramNo, SourceId, UserId};
use crate::progress::Progress;
use crate::sealing::random_bytes;

/// The demo program's name in addresses; where it is there, nothing is seeded again.
pub const SLUG: &str = "demo-shop";

/// How large the demo is to be. The same options give the same story.
#[derive(Clone)]
pub struct DemoOptions {
    /// Days of traffic, the last one that of `end`.
    pub days: u32,
    /// Partners, the three in decline among them.
    pub partners: u32,
    /// What the story is drawn from.
    pub seed: u64,
    /// When the story ends: now, as a rule.
    pub end: Timestamp,
    /// The secret that the shop signs its webhooks with.
    pub webhook_secret: [u8; 32],
    /// Who is told as the maker of the plans.
    pub created_by: UserId,
}

impl DemoOptions {
    /// Returns the usual size with a random secret: 200 days, 60 partners.
    pub fn ending(end: Timestamp) -> Self {
        Self {
            days: 200,
            partners: 60,
            seed: 20_240_229,
            end,
            webhook_secret: random_bytes(),
            created_by: UserId::new(),
        }
    }

    /// Returns the first day of the story.
    pub fn first_day(&self) -> NaiveDate {
        let days_back = Days::new(u64::from(self.days.saturating_sub(1)));
        self.end.date_naive().checked_sub_days(days_back).unwrap_or(NaiveDate::MIN)
    }
}

/// A partner by id and name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Named {
    /// Key of the row.
    pub partner_id: PartnerId,
    /// What people call it.
    pub name: String,
}

/// What was written by this call.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Seeded {
    /// Clicks of every class.
    pub n_clicks: u64,
    /// Messages of the shop, retries included.
    pub n_messages: u64,
    /// Commissions that time approved.
    pub n_approved: u64,
    /// Payouts that were paid.
    pub n_paid: u64,
}

/// What the demo holds, with ids to look at.
#[derive(Clone, Debug)]
pub struct DemoReport {
    /// What was written; none where the program was there before.
    pub seeded: Option<Seeded>,
    /// The program.
    pub program_id: ProgramId,
    /// Its number in link tokens.
    pub program: ProgramNo,
    /// The shop's source.
    pub source_id: SourceId,
    /// The largest partner.
    pub partner: Named,
    /// Its number in link tokens.
    pub partner_no: PartnerNo,
    /// A link of it.
    pub link_id: LinkId,
    /// The link's number in its token.
    pub link_no: LinkNo,
    /// The partners in decline: the one that stopped, the one that fades, the one that lost most.
    pub declining: Vec<Named>,
}

/// Seeds the demo program, unless it is there: then nothing is written.
pub async fn seed(
    app: &App,
    options: &DemoOptions,
    progress: &Progress,
) -> anyhow::Result<DemoReport> {
    if let Some(program) = rows::find_program(app).await? {
        progress.say(if program.status == "active" {
            "The demo program is there already; nothing was changed."
        } else {
            "The demo program is there, but paused: perhaps its making was broken off. \
             For a whole one, begin with an empty database."
        });
        return rows::describe(app, &program, None).await;
    }
    let cast = cast::Cast::invent(options);
    let ground = rows::set_up(app, options, &cast).await?;
    let seeded = travel::travel(app, options, &cast, &ground, progress).await?;
    rows::open(app, &ground.program, options.end).await?;
    rows::describe(app, &ground.program, Some(seeded)).await
}
