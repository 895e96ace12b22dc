//! Real PostgreSQL and Redis for the tests: those that the run was given, or private ones.

use std::sync::{LazyLock, mpsc};

use sqlx::{Connection, Executor, PgConnection};
use tributary::engines::{EngineOptions, Engines, default_data_dir};
use tributary::progress::Progress;
use tributary::{config, db};

/// Where the services are.
#[derive(Clone, Debug)]
pub struct Services {
    /// The database `postgres` of the owner.
    pub postgres_url: String,
    pub redis_url: String,
}

/// `./x test` holds engines around the run and names them; a bare `cargo test` starts its own. A
/// thread that never ends holds those, because engines end with the thread that started them.
pub fn services() -> &'static Services {
    static SERVICES: LazyLock<Services> = LazyLock::new(|| {
        let given = ["TRIBUTARY_TEST_PG", "TRIBUTARY_TEST_REDIS"].map(config::environment);
        if let [Some(postgres_url), Some(redis_url)] = given {
            return Services { postgres_url, redis_url };
        }
        let (send, receive) = mpsc::channel();
        std::thread::spawn(move || {
            let mut options = EngineOptions::new(default_data_dir());
            options.search_path = config::environment("PATH").map(Into::into);
            let engines = Engines::start_scratch(&options, &Progress::stderr()).unwrap();
            let services =
                Services { postgres_url: engines.database_url(), redis_url: engines.redis_url() };
            send.send(services).unwrap();
            loop {
                std::thread::park();
            }
        });
        receive.recv().unwrap()
    });
    &SERVICES
}

/// A database of one test.
#[derive(Clone, Debug)]
pub struct Database {
    pub owner_url: String,
    pub service_url: String,
}

fn with_database(url: &str, name: &str) -> String {
    let mut url = url::Url::parse(url).unwrap();
    url.set_path(name);
    url.to_string()
}

/// Copies the template, which holds the migrated schema. Whoever comes first makes it; the name
/// holds a hash of the migrations, so that a changed one makes another template.
pub async fn create_database() -> Database {
    let server = &services().postgres_url;
    let mut owner = PgConnection::connect(server).await.unwrap();
    let checksums: Vec<u8> =
        db::MIGRATIONS.iter().flat_map(|m| m.checksum.iter().copied()).collect();
    let template = format!("template_{:08x}", crc32fast::hash(&checksums));
    // Under nextest each test is a process: the lock is PostgreSQL's.
    owner.execute("select pg_advisory_lock(71)").await.unwrap();
    let is_there: bool =
        sqlx::query_scalar("select exists (select 1 from pg_database where datname = $1)")
            .bind(&template)
            .fetch_one(&mut owner)
            .await
            .unwrap();
    if !is_there {
        run(&mut owner, format!("create database {template}_new")).await;
        db::migrate(&with_database(server, &format!("{template}_new"))).await.unwrap();
        run(&mut owner, format!("alter role {} login", db::SERVICE_ROLE)).await;
        run(&mut owner, format!("alter database {template}_new rename to {template}")).await;
    }
    let name = format!("test_{}", uuid::Uuid::now_v7().simple());
    run(&mut owner, format!("create database {name} template {template} strategy file_copy")).await;
    owner.execute("select pg_advisory_unlock(71)").await.unwrap();
    let owner_url = with_database(server, &name);
    let mut service_url = url::Url::parse(&owner_url).unwrap();
    service_url.set_username(db::SERVICE_ROLE).unwrap();
    Database { owner_url, service_url: service_url.to_string() }
}

async fn run(owner: &mut PgConnection, sql: String) {
    owner.execute(sqlx::AssertSqlSafe(sql)).await.unwrap();
}
