//! The routes of the network.

pub mod absences;
pub mod aims;
pub mod applications;
pub mod customers;
pub mod logins;
pub mod longlist;
pub mod ranks;
pub mod relations;
pub mod talks;

use serde::Deserialize;
use sqlx::PgConnection;
use utoipa::IntoParams;
use utoipa_actix_web::service_config::ServiceConfig;

use crate::ids::{PartnerId, ProgramId};
use crate::partner::network::{Books, store};
use crate::partner::{Enrollment, store as partners};
use crate::web::{Code, Problem};

/// Adds the routes of the network; before those of partners, whose `/v1/partners/{id}` would take
/// the lists for ids.
pub fn configure(cfg: &mut ServiceConfig) {
    applications::configure(cfg);
    ranks::configure(cfg);
    longlist::configure(cfg);
    relations::configure(cfg);
    absences::configure(cfg);
    logins::configure(cfg);
    talks::configure(cfg);
    aims::configure(cfg);
    customers::configure(cfg);
}

/// Which program an answer is about.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct ProgramQuery {
    /// The program.
    #[param(value_type = String)]
    pub program_id: ProgramId,
}

/// Returns how a program that is there counts.
async fn find_books(db: &mut PgConnection, program_id: ProgramId) -> Result<Books, Problem> {
    store::find_books(db, program_id).await?.ok_or_else(|| Problem::new(Code::NotFound))
}

/// Returns what a partner is in a program where it is enrolled, and keeps others from changing it.
async fn lock_enrolled(
    db: &mut PgConnection,
    (program_id, partner_id): (ProgramId, PartnerId),
) -> Result<Enrollment, Problem> {
    let found = partners::lock_enrollment(db, program_id, partner_id).await?;
    found.ok_or_else(|| Problem::new(Code::NotFound))
}

/// Refuses a partner that is not enrolled in the program.
async fn check_enrolled(
    db: &mut PgConnection,
    (program_id, partner_id): (ProgramId, PartnerId),
) -> Result<(), Problem> {
    let found = partners::find_enrollment(db, program_id, partner_id).await?;
    found.map(drop).ok_or_else(|| Problem::new(Code::NotFound))
}
