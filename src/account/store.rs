//! SQL of users and API keys.

use sqlx::PgConnection;

use crate::account::key::ApiKey;
use crate::account::{Caller, Role};
use crate::clock::Timestamp;
use crate::ids::{ApiKeyId, PartnerId, ProgramId, UserId};

/// A user to be written.
#[derive(Clone, Debug)]
pub struct NewUser {
    /// Key of the row.
    pub user_id: UserId,
    /// What people call the user.
    pub name: String,
}

/// Inserts a user; one that is already there stays as it is.
pub async fn insert_user(
    db: &mut PgConnection,
    user: &NewUser,
    now: Timestamp,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "insert into users (user_id, name, created_at)
         values ($1, $2, $3)
         on conflict on constraint users_pkey do nothing",
        user.user_id.0,
        user.name,
        now,
    )
    .execute(db)
    .await
    .map(drop)
}

/// Tells whether a user is there.
pub async fn is_user(db: &mut PgConnection, user_id: UserId) -> Result<bool, sqlx::Error> {
    sqlx::query_scalar!(
        r#"select exists (select from users where user_id = $1) as "is_there!""#,
        user_id.0,
    )
    .fetch_one(db)
    .await
}

/// A key to be written: its hash, never itself.
#[derive(Clone, Debug)]
pub struct NewApiKey {
    /// Key of the row.
    pub api_key_id: ApiKeyId,
    /// Who owns it.
    pub user_id: UserId,
    /// What people call it.
    pub name: String,
    /// What it may do.
    pub role: Role,
    /// The programs it reaches; none given means all.
    pub programs: Option<Vec<ProgramId>>,
    /// The partner whose rows alone it reaches.
    pub partner_id: Option<PartnerId>,
    /// When it ends.
    pub expires_at: Option<Timestamp>,
}

/// Inserts a key; the same key given again changes nothing.
pub async fn insert_api_key(
    db: &mut PgConnection,
    row: &NewApiKey,
    key: &ApiKey,
    now: Timestamp,
) -> Result<(), sqlx::Error> {
    let programs = uuids(row.programs.as_deref());
    sqlx::query!(
        "insert into api_keys
             (api_key_id, user_id, name, role, program_ids, key_hash, prefix, created_at, expires_at,
              partner_id)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
         on conflict on constraint api_keys_hash_once do nothing",
        row.api_key_id.0,
        row.user_id.0,
        row.name,
        row.role.as_str(),
        programs.as_deref(),
        &key.hash()[..],
        key.shown(),
        now,
        row.expires_at,
        row.partner_id.map(|p| p.0),
    )
    .execute(db)
    .await
    .map(drop)
}

fn uuids(programs: Option<&[ProgramId]>) -> Option<Vec<uuid::Uuid>> {
    programs.map(|all| all.iter().map(|p| p.0).collect())
}

/// Finds who calls with a key of this hash; revoked keys and disabled users are nobody.
pub async fn find_caller(
    db: &mut PgConnection,
    key_hash: &[u8; 32],
) -> Result<Option<Caller>, sqlx::Error> {
    let row = sqlx::query!(
        r#"select k.api_key_id as "api_key_id: ApiKeyId", k.user_id as "user_id: UserId",
                  k.role, k.program_ids, k.expires_at,
                  k.partner_id as "partner_id?: PartnerId"
           from api_keys k
           join users u on u.user_id = k.user_id
           where k.key_hash = $1
             and k.revoked_at is null
             and u.disabled_at is null"#,
        &key_hash[..],
    )
    .fetch_optional(db)
    .await?;
    Ok(row.and_then(|r| {
        Some(Caller {
            api_key_id: r.api_key_id,
            user_id: r.user_id,
            role: Role::parse(&r.role)?,
            programs: r.program_ids.map(|all| all.into_iter().map(ProgramId).collect()),
            partner_id: r.partner_id,
            expires_at: r.expires_at,
        })
    }))
}

/// An API key as lists show it.
#[derive(Clone, Debug)]
pub struct ApiKeyRow {
    /// Key of the row.
    pub api_key_id: ApiKeyId,
    /// Who owns it.
    pub user_id: UserId,
    /// What people call it.
    pub name: String,
    /// What it may do, as text.
    pub role: String,
    /// The partner whose rows alone it reaches.
    pub partner_id: Option<PartnerId>,
    /// Its first characters.
    pub prefix: String,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it ends.
    pub expires_at: Option<Timestamp>,
    /// When it was revoked.
    pub revoked_at: Option<Timestamp>,
}

/// Lists keys, oldest first, after the given one: those that reach none but `programs`, or all.
pub async fn list_api_keys(
    db: &mut PgConnection,
    programs: Option<&[ProgramId]>,
    after: Option<ApiKeyId>,
    limit: i64,
) -> Result<Vec<ApiKeyRow>, sqlx::Error> {
    let programs = uuids(programs);
    sqlx::query_as!(
        ApiKeyRow,
        r#"select api_key_id as "api_key_id: ApiKeyId", user_id as "user_id: UserId",
                  name, role, partner_id as "partner_id?: PartnerId", prefix, created_at, expires_at,
                  revoked_at
           from api_keys
           where ($1::uuid[] is null or program_ids <@ $1)
             and ($2::uuid is null or api_key_id > $2)
           order by api_key_id
           limit $3"#,
        programs.as_deref(),
        after.map(|a| a.0),
        limit,
    )
    .fetch_all(db)
    .await
}

/// Revokes a key; false when there is none, it was revoked before, or it reaches more than
/// `programs`.
pub async fn revoke_api_key(
    db: &mut PgConnection,
    api_key_id: ApiKeyId,
    programs: Option<&[ProgramId]>,
    now: Timestamp,
) -> Result<bool, sqlx::Error> {
    let programs = uuids(programs);
    let done = sqlx::query!(
        "update api_keys set revoked_at = $2
         where api_key_id = $1
           and revoked_at is null
           and ($3::uuid[] is null or program_ids <@ $3)",
        api_key_id.0,
        now,
        programs.as_deref(),
    )
    .execute(db)
    .await?;
    Ok(done.rows_affected() == 1)
}
