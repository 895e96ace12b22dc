//! The program `quick-start`: one partner, one link, one shop, no hold, so that the tour of the
//! README sees a commission paid in five minutes. Its keys are kept in `dev.env`.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use chrono::Duration;

use crate::account::audit_store::{self, Entry};
use crate::account::key::ApiKey;
use crate::account::{Role, store as accounts};
use crate::app::App;
use crate::commission::{PlanDocument, store as plans};
use crate::conversion::signature::WebhookSecret;
use crate::db::DbTx;
use crate::demo::DemoReport;
use crate::demo::payable::make_payable;
use crate::ids::{
    ApiKeyId, LinkId, LinkNo, PartnerId, PartnerNo, PlanVersionId, ProgramId, ProgramNo, SecretId,
    SourceId, UserId,
};
use crate::link::store::{self as links, Link};
use crate::link::token::LinkToken;
use crate::partner::{Enrollment, Partner, store as partners};
use crate::payout::method::MethodDocument;
use crate::program::{Program, Source, source_store, store as programs};
use crate::progress::Progress;
use crate::roles::Running;
use crate::sealing::random_bytes;

use super::settings::write_private;

const SLUG: &str = "quick-start";
/// What a click is made with from a shell: curl's own name is on every list of machines.
const BROWSER: &str = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) \
    Chrome/140.0.0.0 Safari/537.36";
const USERS: [(&str, &str, Role); 3] = [
    ("ADMIN_KEY", "Anna, admin", Role::Admin),
    ("FINANCE_KEY", "Felix, finance", Role::Finance),
    ("APPROVER_KEY", "Alma, approver", Role::Approver),
];

/// What the tour needs to know.
pub(super) struct Tour {
    file: PathBuf,
    values: HashMap<String, String>,
}

/// Makes users, keys and the quick-start program where they are missing.
pub(super) async fn seed(app: &App, data_dir: &Path) -> anyhow::Result<Tour> {
    let file = data_dir.join("dev.env");
    let mut tour = Tour { values: read(&file)?, file };
    let mut db_tx = app.background_db.begin().await?;
    seed_keys(app, &mut db_tx, &mut tour).await?;
    if programs::find_program_id_by_slug(&mut db_tx, SLUG).await?.is_none() {
        seed_program(app, &mut db_tx, &mut tour).await?;
    }
    db_tx.commit().await?;
    tour.set("BROWSER", BROWSER);
    tour.set("TRIBUTARY_URL", app.config.public_url.as_str().trim_end_matches('/'));
    if let Some(token) = tour.values.get("LINK_TOKEN").cloned() {
        tour.set("LINK", app.config.public_url.join(&format!("r/{token}"))?.as_str());
    }
    tour.write()?;
    Ok(tour)
}

async fn seed_keys(app: &App, db: &mut DbTx, tour: &mut Tour) -> anyhow::Result<()> {
    let now = app.clock.now();
    for (name, user, role) in USERS {
        let kept = tour.values.get(name).and_then(|text| ApiKey::parse(text));
        let key = kept.unwrap_or_else(ApiKey::generate);
        if accounts::find_caller(db, &key.hash()).await?.is_none() {
            let user = accounts::NewUser { user_id: UserId::new(), name: user.to_owned() };
            accounts::insert_user(db, &user, now).await?;
            let row = accounts::NewApiKey {
                api_key_id: ApiKeyId::new(),
                user_id: user.user_id,
                name: "dev".to_owned(),
                role,
                programs: None,
                partner_id: None,
                expires_at: None,
            };
            accounts::insert_api_key(db, &row, &key, now).await?;
            let made = Entry::by_system("api_key.create", row.api_key_id);
            audit_store::record(db, made, now).await?;
        }
        tour.set(name, key.expose());
    }
    Ok(())
}

async fn seed_program(app: &App, db: &mut DbTx, tour: &mut Tour) -> anyhow::Result<()> {
    let now = app.clock.now();
    let program = Program {
        program_id: ProgramId::new(),
        number: 0,
        name: "Quick start".to_owned(),
        slug: SLUG.to_owned(),
        status: "active".to_owned(),
        currency: "EUR".to_owned(),
        landing_template: "https://shop.example/?click_id={click_id}".to_owned(),
        click_id_param: "click_id".to_owned(),
        allowed_hosts: vec!["shop.example".to_owned()],
        allow_http: false,
        fallback_url: None,
        time_zone: "UTC".to_owned(),
        attribution_window_days: 30,
        min_payout_minor: 1000,
        created_at: now,
        updated_at: now,
    };
    let number = programs::insert_program(db, &program, now).await?;
    let plan: PlanDocument = serde_json::from_value(serde_json::json!({
        "v": 1,
        "rules": [{"event": "sale", "kind": "percent", "percent_bps": 2000}],
        // Nothing to wait for: the tour wants to see money.
        "hold_days": 0,
    }))?;
    let begin = now - Duration::days(365);
    let (program_id, version) = (program.program_id, PlanVersionId::new());
    plans::insert_plan(db, program_id, version, begin, &plan, UserId::new(), now).await?;
    let entry = Entry::by_system("plan.create", version).program(program_id);
    audit_store::record(db, entry, now).await?;
    let (partner_id, partner_number) = seed_partner(app, db, program_id).await?;
    seed_link(app, db, tour, (program_id, number), (partner_id, partner_number)).await?;
    let source = Source {
        program_id,
        source_id: SourceId::new(),
        name: "Example shop".to_owned(),
        status: "active".to_owned(),
        order_namespace: String::new(),
        requests_per_second: None,
        created_at: now,
    };
    source_store::insert_source(db, &source).await?;
    let secret: [u8; 32] = random_bytes();
    let sealed = app.sealer.seal(source.source_id.0.as_bytes(), &secret);
    source_store::rotate_secret(db, &source, SecretId::new(), &sealed, now, now).await?;
    tour.set("PROGRAM_ID", &program_id.to_string());
    tour.set("PARTNER_ID", &partner_id.to_string());
    tour.set("SOURCE_ID", &source.source_id.to_string());
    tour.set("SOURCE_SECRET", &WebhookSecret::from_bytes(&secret)?.expose());
    Ok(())
}

async fn seed_partner(
    app: &App,
    db: &mut DbTx,
    program_id: ProgramId,
) -> anyhow::Result<(PartnerId, i64)> {
    let now = app.clock.now();
    let partner = Partner {
        partner_id: PartnerId::new(),
        number: 0,
        name: "Blog 42".to_owned(),
        slug: "blog-42".to_owned(),
        kind: "webmaster".to_owned(),
        status: "active".to_owned(),
        country: Some("DE".to_owned()),
        email: None,
        created_at: now,
    };
    let number = partners::insert_partner(db, &partner, now).await?;
    let enrollment = Enrollment {
        program_id,
        partner_id: partner.partner_id,
        status: "active".to_owned(),
        rank: "C".to_owned(),
        owner: None,
        next_contact_due: None,
        min_payout_minor: None,
        created_at: now,
    };
    partners::insert_enrollment(db, &enrollment).await?;
    let method = MethodDocument {
        kind: "sepa".to_owned(),
        holder: partner.name.clone(),
        // The example of the IBAN registry.
        iban: Some("DE89370400440532013000".to_owned()),
        ..MethodDocument::default()
    };
    make_payable(db, app, (partner.partner_id, "DE"), &method, now).await?;
    Ok((partner.partner_id, number))
}

async fn seed_link(
    app: &App,
    db: &mut DbTx,
    tour: &mut Tour,
    program: (ProgramId, i32),
    partner: (PartnerId, i64),
) -> anyhow::Result<()> {
    let number = links::take_number(db, program.0, partner.0)
        .await?
        .context("the partner was enrolled a moment ago")?;
    let link = Link {
        program_id: program.0,
        link_id: LinkId::new(),
        partner_id: partner.0,
        number,
        label: "first link".to_owned(),
        subs: Default::default(),
        erid: None,
        expires_on: None,
        status: "active".to_owned(),
        created_at: app.clock.now(),
    };
    links::insert_link(db, &link).await?;
    let token = LinkToken {
        program: ProgramNo(u32::try_from(program.1)?),
        partner: PartnerNo(u32::try_from(partner.1)?),
        link: LinkNo(u32::try_from(number)?),
        expires_on: None,
    };
    tour.set("LINK_TOKEN", &token.sign(&app.config.link_keys)?);
    Ok(())
}

impl Tour {
    fn set(&mut self, name: &str, value: &str) {
        self.values.insert(name.to_owned(), value.to_owned());
    }

    fn get(&self, name: &str) -> &str {
        self.values.get(name).map_or("", String::as_str)
    }

    /// Keeps what the demo program is, for the commands that look at it.
    pub(super) fn set_demo(&mut self, report: &DemoReport) -> anyhow::Result<()> {
        self.set("DEMO_PROGRAM_ID", &report.program_id.to_string());
        self.write()
    }

    fn write(&self) -> anyhow::Result<()> {
        let mut lines: Vec<_> = self.values.iter().collect();
        lines.sort();
        let mut text = String::from("# Written by `tributary dev`; read it with: . this file\n");
        for (name, value) in lines {
            writeln!(text, "export {name}='{value}'")?;
        }
        write_private(&self.file, &text)
            .with_context(|| format!("{} cannot be written", self.file.display()))
    }

    /// Tells what to open and what to try.
    pub(super) fn tell(&self, running: &Running, progress: &Progress) {
        let base = self.get("TRIBUTARY_URL");
        let lines = [
            "Tributary runs. Ctrl-C stops it; started again, everything is still there.".to_owned(),
            String::new(),
            format!("  API          {base}/openapi.json"),
            format!("  Metrics      http://{}/metrics", running.admin_address),
            format!("  Readiness    http://{}/readyz", running.admin_address),
            format!("  A link       {}", self.get("LINK")),
            String::new(),
            "Try it from another terminal, in this folder:".to_owned(),
            String::new(),
            format!("  . {}", self.file.display()),
            "  curl -si -A \"$BROWSER\" \"$LINK\" | grep -i location       # a click".to_owned(),
            "  examples/send-conversion.sh CLICK_ID A-10045 149.90 EUR  # a signed conversion"
                .to_owned(),
            "  curl -s -H \"Authorization: Bearer $FINANCE_KEY\" \\".to_owned(),
            "    \"$TRIBUTARY_URL/v1/reports/payouts?program_id=$PROGRAM_ID&format=csv\""
                .to_owned(),
        ];
        for line in lines {
            progress.say(&line);
        }
    }
}

/// Reads the values kept by an earlier start.
fn read(file: &Path) -> anyhow::Result<HashMap<String, String>> {
    let text = match std::fs::read_to_string(file) {
        Ok(text) => text,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(HashMap::new()),
        Err(e) => return Err(e).with_context(|| format!("{} cannot be read", file.display())),
    };
    Ok(text
        .lines()
        .filter_map(|line| {
            let (name, value) = line.strip_prefix("export ")?.split_once('=')?;
            Some((name.to_owned(), value.trim_matches('\'').to_owned()))
        })
        .collect())
}
