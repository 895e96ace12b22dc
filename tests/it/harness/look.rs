//! What the stories look at behind the API: rows, the stream, bytes on the wire.

use std::collections::BTreeMap;
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tributary::account::key::ApiKey;
use tributary::clock::Clock;
use tributary::stream::Shard;

use super::app::{Answer, Scene, TestApp};
use super::services::services;

/// How many rows each table has.
pub type Rows = BTreeMap<String, i64>;

impl TestApp {
    /// Counts the rows of every table.
    pub async fn rows(&self) -> Rows {
        let mut db = self.owner().await;
        let tables: Vec<String> = sqlx::query_scalar(
            "select relname::text from pg_class
             where relkind in ('r', 'p') and not relispartition
               and relnamespace = 'public'::regnamespace",
        )
        .fetch_all(&mut db)
        .await
        .unwrap();
        let mut rows = Rows::new();
        for table in tables {
            let sql = sqlx::AssertSqlSafe(format!("select count(*) from {table}"));
            let n = sqlx::query_scalar(sql).fetch_one(&mut db).await.unwrap();
            rows.insert(table, n);
        }
        rows
    }

    /// Moves the clock to the machine's time, which other processes go by.
    pub fn keep_time(&self) {
        let behind = Clock::system().now() - self.clock.now();
        if behind > chrono::TimeDelta::zero() {
            self.clock.advance(behind);
        }
    }

    /// Counts what a question that counts finds now.
    pub async fn count(&self, sql: &'static str) -> i64 {
        sqlx::query_scalar(sql).fetch_one(&mut self.owner().await).await.unwrap()
    }

    /// Returns a figure of all rows, as text that can be compared.
    pub async fn figures(&self, sql: &'static str) -> Vec<String> {
        sqlx::query_scalar(sql).fetch_all(&mut self.owner().await).await.unwrap()
    }

    /// A connection to Redis past the wire that may be cut.
    pub async fn redis(&self) -> MultiplexedConnection {
        let client = redis::Client::open(services().redis_url.as_str()).unwrap();
        client.get_multiplexed_async_connection().await.unwrap()
    }

    /// The keys of the stream: its entries, and the name of its present life.
    pub fn stream_keys(&self) -> [String; 2] {
        let prefix = &self.app().config.stream_prefix;
        [Shard(0).events_key(prefix), Shard(0).generation_key(prefix)]
    }

    /// Appends bytes to the stream as they are.
    pub async fn append_bytes(&self, bytes: &[u8]) {
        let [events, _] = self.stream_keys();
        let mut command = redis::cmd("XADD");
        command.arg(events).arg("*").arg("b").arg(bytes);
        let _: String = command.query_async(&mut self.redis().await).await.unwrap();
    }

    /// Counts the entries of the stream.
    pub async fn stream_len(&self) -> i64 {
        let [events, _] = self.stream_keys();
        redis::cmd("XLEN").arg(events).query_async(&mut self.redis().await).await.unwrap()
    }

    /// Opens a connection to the public listener.
    pub async fn connect(&self) -> TcpStream {
        let address = self.base.socket_addrs(|| None).unwrap()[0];
        TcpStream::connect(address).await.unwrap()
    }

    /// Sends bytes that no client would send, and reads until the other side closes.
    pub async fn send_bytes(&self, request: &str) -> String {
        let mut stream = self.connect().await;
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        let reading = stream.read_to_end(&mut answer);
        tokio::time::timeout(Duration::from_secs(10), reading).await.unwrap().unwrap();
        String::from_utf8(answer).unwrap()
    }

    /// Sends a signed message until its look-up had the time to say what is known. A busy machine
    /// may answer 202, which is as right: settlement finds out then.
    pub async fn webhook_again(&self, scene: &Scene, id: &str, kind: &str, data: Value) -> Answer {
        for _ in 0..100 {
            let answer = self.webhook(scene, id, kind, data.clone()).await;
            if answer.status != 202 {
                return answer;
            }
        }
        panic!("the look-up never answered in time");
    }

    /// Sends a message under a new id each time until its look-up had the time to say what is known
    /// of its order: under one id a try that was taken in would make the next one a duplicate.
    pub async fn webhook_anew(&self, scene: &Scene, id: &str, kind: &str, data: Value) -> Answer {
        for n in 0..100 {
            let answer = self.webhook(scene, &format!("{id}-{n}"), kind, data.clone()).await;
            if answer.status != 202 {
                return answer;
            }
        }
        panic!("the look-up never answered in time");
    }

    /// Makes a key by the API; returns its id beside it.
    pub async fn new_key(&self, body: Value) -> (String, ApiKey) {
        let made = self.post(&self.admin_key, "/v1/api-keys", body).await.expect(201);
        let id = made["id"].as_str().unwrap().to_owned();
        (id, ApiKey::parse(made["key"].as_str().unwrap()).unwrap())
    }

    /// Waits until everything in the stream is settled: it is asked of a message sent last.
    pub async fn settle(&self, scene: &Scene) {
        let id = format!("last-{}", uuid::Uuid::now_v7());
        let data = serde_json::json!({"event": "lead", "order_id": id});
        let answer = self.webhook(scene, &id, "conversion.approved", data).await.expect(202);
        self.receipt(answer["receipt"].as_str().unwrap()).await;
    }
}
