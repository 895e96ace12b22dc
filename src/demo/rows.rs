//! What a merchant sets up before the first click: program, plan, source, partners, links.

use anyhow::Context as _;
use chrono::{Days, NaiveTime};

use crate::account::audit_store::{self, Entry};
use crate::app::App;
use crate::clock::Timestamp;
use crate::commission::PlanDocument;
use crate::commission::plan::RuleDocument;
use crate::db::DbTx;
use crate::demo::cast::{Cast, DECLINING, LinkPlan, PartnerPlan};
use crate::demo::{DemoOptions, DemoReport, Named, SLUG, Seeded, payable};
use crate::ids::{
    LinkId, LinkNo, PartnerId, PartnerNo, PlanVersionId, ProgramId, ProgramNo, SecretId, SourceId,
};
use crate::link::store::Link;
use crate::partner::{Enrollment, Partner};
use crate::payout::method::MethodDocument;
use crate::program::{Program, Source};
use crate::{commission, link, partner, program};

/// A deployment has few programs; a demo is looked for among the first of them.
const PROGRAMS_MAX: i64 = 1_000;
/// Partners of the demo looked at to describe it.
const PARTNERS_MAX: i64 = 1_000;

/// The rows that the story stands on.
pub(super) struct Ground {
    /// The program.
    pub(super) program: Program,
    /// The shop's source.
    pub(super) source_id: SourceId,
    /// Numbers of the partners, in the order of the cast, each with those of its links.
    pub(super) partners: Vec<(PartnerNo, Vec<LinkNo>)>,
}

/// Finds the demo program.
pub(super) async fn find_program(app: &App) -> anyhow::Result<Option<Program>> {
    let mut db = app.background_db.acquire().await?;
    let programs = program::store::list_programs(&mut db, None, None, PROGRAMS_MAX).await?;
    Ok(programs.into_iter().find(|p| p.slug == SLUG))
}

/// Writes everything that is there before the first click, in one database transaction.
pub(super) async fn set_up(
    app: &App,
    options: &DemoOptions,
    cast: &Cast,
) -> anyhow::Result<Ground> {
    let mut db = app.background_db.begin().await?;
    let before = day_start(cast, 0) - chrono::Duration::days(7);
    let program = make_program(&mut db, before).await?;
    make_plans(&mut db, options, cast, program.program_id, before).await?;
    let source_id = make_source(&mut db, app, options, program.program_id, before).await?;
    let mut partners = Vec::with_capacity(cast.partners.len());
    for plan in &cast.partners {
        let made = make_partner(&mut db, app, cast, plan, program.program_id).await;
        partners.push(made.with_context(|| format!("the partner {} was not made", plan.name))?);
    }
    db.commit().await?;
    Ok(Ground { program, source_id, partners })
}

fn day_start(cast: &Cast, day: u32) -> Timestamp {
    cast.date(day).and_time(NaiveTime::MIN).and_utc()
}

async fn make_program(db: &mut DbTx, now: Timestamp) -> Result<Program, sqlx::Error> {
    let mut program = Program {
        program_id: ProgramId::new(),
        number: 0,
        name: "Demo Shop".to_owned(),
        slug: SLUG.to_owned(),
        status: "active".to_owned(),
        currency: "EUR".to_owned(),
        landing_template: "https://shop.example/welcome?click_id={click_id}".to_owned(),
        click_id_param: "click_id".to_owned(),
        allowed_hosts: vec!["shop.example".to_owned()],
        allow_http: false,
        fallback_url: Some("https://shop.example/".to_owned()),
        time_zone: "Europe/Berlin".to_owned(),
        attribution_window_days: 30,
        min_payout_minor: 2_500,
        created_at: now,
        updated_at: now,
    };
    program.number = program::store::insert_program(db, &program, now).await?;
    // Active in the end: a story that was broken off can be told from a whole one.
    program.status = "paused".to_owned();
    program::store::update_program(db, &program, now).await?;
    Ok(program)
}

/// Opens the program, now that all of its story is there.
pub(super) async fn open(app: &App, program: &Program, now: Timestamp) -> anyhow::Result<()> {
    let mut db = app.background_db.begin().await?;
    let program = Program { status: "active".to_owned(), ..program.clone() };
    program::store::update_program(&mut db, &program, now).await?;
    db.commit().await?;
    Ok(())
}

/// Two editions: 15 % in the beginning, 20 % later; 5 euros for a lead all the time.
async fn make_plans(
    db: &mut DbTx,
    options: &DemoOptions,
    cast: &Cast,
    program_id: ProgramId,
    before: Timestamp,
) -> Result<(), sqlx::Error> {
    let editions = [(1_500, before), (2_000, day_start(cast, cast.plan_change))];
    for (percent_bps, effective_from) in editions {
        let version = PlanVersionId::new();
        commission::store::insert_plan(
            db,
            program_id,
            version,
            effective_from,
            &plan(percent_bps),
            options.created_by,
            before,
        )
        .await?;
        let entry = Entry::by_system("plan.create", version).program(program_id);
        audit_store::record(db, entry, before).await?;
    }
    Ok(())
}

fn plan(percent_bps: u32) -> PlanDocument {
    let rules =
        vec![RuleDocument::percent("sale", percent_bps), RuleDocument::flat("lead", "EUR", "5.00")];
    PlanDocument { rules, ..PlanDocument::default() }
}

async fn make_source(
    db: &mut DbTx,
    app: &App,
    options: &DemoOptions,
    program_id: ProgramId,
    now: Timestamp,
) -> Result<SourceId, sqlx::Error> {
    let source = Source {
        program_id,
        source_id: SourceId::new(),
        name: "Demo Shop checkout".to_owned(),
        status: "active".to_owned(),
        order_namespace: String::new(),
        requests_per_second: None,
        created_at: now,
    };
    program::source_store::insert_source(db, &source).await?;
    let sealed = app.sealer.seal(source.source_id.0.as_bytes(), &options.webhook_secret);
    let secret_id = SecretId::new();
    program::source_store::rotate_secret(db, &source, secret_id, &sealed, now, now).await?;
    Ok(source.source_id)
}

async fn make_partner(
    db: &mut DbTx,
    app: &App,
    cast: &Cast,
    plan: &PartnerPlan,
    program_id: ProgramId,
) -> anyhow::Result<(PartnerNo, Vec<LinkNo>)> {
    let joined_at = day_start(cast, plan.joined) - chrono::Duration::hours(30);
    let row = Partner {
        partner_id: PartnerId::new(),
        number: 0,
        name: plan.name.clone(),
        slug: plan.slug.clone(),
        kind: plan.kind.to_owned(),
        status: "active".to_owned(),
        country: Some(plan.country.to_owned()),
        email: Some(format!("partners@{}.example", plan.slug)),
        created_at: joined_at,
    };
    let number = partner::store::insert_partner(db, &row, joined_at).await?;
    let enrollment = Enrollment {
        program_id,
        partner_id: row.partner_id,
        status: "active".to_owned(),
        rank: plan.rank.to_owned(),
        owner: plan.owner.map(str::to_owned),
        next_contact_due: next_contact(cast, plan),
        min_payout_minor: None,
        created_at: joined_at,
    };
    partner::store::insert_enrollment(db, &enrollment).await?;
    let method = MethodDocument {
        kind: "paypal".to_owned(),
        holder: row.name.clone(),
        email: row.email.clone(),
        ..MethodDocument::default()
    };
    payable::make_payable(db, app, (row.partner_id, plan.country), &method, joined_at).await?;
    let mut links = Vec::with_capacity(plan.links.len());
    for link in &plan.links {
        links.push(make_link(db, &enrollment, link, joined_at).await?);
    }
    Ok((PartnerNo(u32::try_from(number)?), links))
}

/// The better the partner, the sooner its owner calls.
fn next_contact(cast: &Cast, plan: &PartnerPlan) -> Option<chrono::NaiveDate> {
    let in_days = match plan.rank {
        "A" => 3,
        "B" => 10,
        "C" => 30,
        _ => return None,
    };
    cast.date(cast.days).checked_add_days(Days::new(in_days))
}

async fn make_link(
    db: &mut DbTx,
    enrollment: &Enrollment,
    plan: &LinkPlan,
    now: Timestamp,
) -> anyhow::Result<LinkNo> {
    let (program_id, partner_id) = (enrollment.program_id, enrollment.partner_id);
    let number = link::store::take_number(db, program_id, partner_id)
        .await?
        .context("the enrollment made just now is not active")?;
    let row = Link {
        program_id,
        link_id: LinkId::new(),
        partner_id,
        number,
        label: plan.label.to_owned(),
        subs: [plan.sub1.clone(), None, None, None, None],
        erid: None,
        expires_on: None,
        status: "active".to_owned(),
        created_at: now,
    };
    link::store::insert_link(db, &row).await?;
    Ok(LinkNo(u32::try_from(number)?))
}

/// Reads what the demo holds.
pub(super) async fn describe(
    app: &App,
    program: &Program,
    seeded: Option<Seeded>,
) -> anyhow::Result<DemoReport> {
    let mut db = app.background_db.acquire().await?;
    let id = program.program_id;
    let sources = program::source_store::list_sources(&mut db, id, None, 1).await?;
    let source = sources.into_iter().next().context("the demo program has no source")?;
    let partners = partner::store::list_partners(&mut db, Some(&[id]), None, PARTNERS_MAX).await?;
    // The largest was made first.
    let largest = partners.first().context("the demo program has no partner")?;
    let links = link::store::list_links(&mut db, id, Some(largest.partner_id), None, 1).await?;
    let link = links.into_iter().next().context("the demo's largest partner has no link")?;
    let named = |p: &Partner| Named { partner_id: p.partner_id, name: p.name.clone() };
    let declining = DECLINING
        .iter()
        .filter_map(|decliner| partners.iter().find(|p| p.slug == decliner.3).map(named))
        .collect();
    Ok(DemoReport {
        seeded,
        program_id: id,
        program: ProgramNo(u32::try_from(program.number)?),
        source_id: source.source_id,
        partner: named(largest),
        partner_no: PartnerNo(u32::try_from(largest.number)?),
        link_id: link.link_id,
        link_no: LinkNo(u32::try_from(link.number)?),
        declining,
    })
}
