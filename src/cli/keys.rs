//! `keys create`: a key for a person, made at the database. The first one can come from nowhere else.

use anyhow::{Context as _, bail, ensure};
use clap::{Args, Subcommand};
use secrecy::ExposeSecret as _;

use super::{print, read_config};
use crate::account::audit_store::{self, Entry};
use crate::account::key::ApiKey;
use crate::account::{Role, store};
use crate::clock::{Clock, Timestamp};
use crate::db;
use crate::ids::{ApiKeyId, UserId};
use crate::web::fields::NAME_MAX;

/// Commands about API keys.
#[derive(Debug, Subcommand)]
pub(super) enum KeysCommand {
    /// Make a key that reaches every program, and print it; it is never shown again.
    ///
    /// It is written into the database of the environment, so who can run this could read all the
    /// same. Further keys are made by `POST /v1/api-keys` with the first.
    Create(CreateArgs),
}

#[derive(Debug, Args)]
pub(super) struct CreateArgs {
    /// Whose key it is: a person's or a system's name.
    #[arg(long)]
    name: String,
    /// What it may do: admin, manager, finance, approver or source.
    #[arg(long, default_value = "admin", value_parser = parse_role)]
    role: Role,
    /// The user who gets one key more [default: a new one].
    #[arg(long, value_name = "ID")]
    user: Option<UserId>,
    /// When it ends, like 2027-01-31T00:00:00Z [default: never].
    #[arg(long, value_name = "TIME")]
    expires_at: Option<Timestamp>,
}

fn parse_role(text: &str) -> Result<Role, String> {
    match Role::parse(text) {
        Some(Role::Partner) => {
            Err("a partner's key names a program: POST /v1/api-keys makes it".to_owned())
        }
        Some(role) => Ok(role),
        None => Err("must be admin, manager, finance, approver or source".to_owned()),
    }
}

/// Runs a command about keys.
pub(super) async fn run(command: KeysCommand) -> anyhow::Result<()> {
    let KeysCommand::Create(args) = command;
    let n_chars = args.name.trim().chars().count();
    ensure!((1..=NAME_MAX).contains(&n_chars), "--name must have 1 to {NAME_MAX} characters");
    let now = Clock::system().now();
    if args.expires_at.is_some_and(|end| end <= now) {
        bail!("--expires-at lies in the past; it is {} here", now.to_rfc3339());
    }
    let config = read_config()?;
    let pool = db::connect_lazily(config.database_url.expose_secret(), 1)?;
    let mut db = pool.begin().await.context("the database cannot be reached")?;
    let key = ApiKey::generate();
    let row = store::NewApiKey {
        api_key_id: ApiKeyId::new(),
        user_id: args.user.unwrap_or_default(),
        name: args.name.trim().to_owned(),
        role: args.role,
        programs: None,
        partner_id: None,
        expires_at: args.expires_at,
    };
    if let Some(user_id) = args.user {
        ensure!(store::is_user(&mut db, user_id).await?, "--user: there is no user {user_id}");
    } else {
        let user = store::NewUser { user_id: row.user_id, name: row.name.clone() };
        store::insert_user(&mut db, &user, now).await?;
    }
    store::insert_api_key(&mut db, &row, &key, now).await?;
    let made = Entry::by_system("api_key.create", row.api_key_id).details(serde_json::json!({
        "role": row.role.as_str(), "user_id": row.user_id, "made_by": "tributary keys create"}));
    audit_store::record(&mut db, made, now).await?;
    db.commit().await?;
    eprintln!("{} for {} ({}), role {}:", row.api_key_id, row.name, row.user_id, row.role.as_str());
    print(key.expose());
    Ok(())
}
