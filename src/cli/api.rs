//! The API of a running service, called with a key: what the commands for finance stand on.
//!
//! The key comes from the environment alone: an argument could be read by everybody on the machine.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, anyhow, bail, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use clap::Args;
use reqwest::header::CONTENT_LENGTH;
use reqwest::redirect::Policy;
use reqwest::{Client, RequestBuilder, Response};
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use url::Url;
use uuid::Uuid;

use crate::config;
use crate::ids::ProgramId;
use crate::progress::Progress;

const KEY: &str = "TRIBUTARY_API_KEY";
const URL: &str = "TRIBUTARY_URL";
const URL_DEFAULT: &str = "http://localhost:8080";
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// A service that sends nothing for so long is not going to; a long report sends all the time.
const READ_TIMEOUT: Duration = Duration::from_secs(300);

/// Where the service is. The key is read from `TRIBUTARY_API_KEY`.
#[derive(Debug, Args)]
pub struct ApiArgs {
    /// Address of the service [default: TRIBUTARY_URL, else http://localhost:8080].
    #[arg(long, value_name = "URL")]
    url: Option<String>,
}

/// A service and the key to it.
pub struct Api {
    client: Client,
    base: Url,
    key: SecretString,
}

impl Api {
    /// Reads the key of the environment; nothing is called yet.
    pub fn new(args: &ApiArgs) -> anyhow::Result<Self> {
        let url = args.url.clone().or_else(|| config::environment(URL));
        let url = url.unwrap_or_else(|| URL_DEFAULT.to_owned());
        let base = Url::parse(&url).ok().filter(|u| ["http", "https"].contains(&u.scheme()));
        let base = base.with_context(|| format!("--url {url:?} is not an http(s) address"))?;
        let key = config::environment(KEY).filter(|key| !key.trim().is_empty());
        let key = key.with_context(|| {
            format!("{KEY} is not set: export it with an API key (trbk_…) of your own")
        })?;
        // Fails where the process has chosen already, which is as good.
        drop(rustls::crypto::ring::default_provider().install_default());
        let client = Client::builder()
            .user_agent(concat!("tributary-cli/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(CONNECT_TIMEOUT)
            .read_timeout(READ_TIMEOUT)
            .redirect(Policy::none())
            .build()?;
        Ok(Self { client, base, key: SecretString::from(key.trim().to_owned()) })
    }

    /// Asks for something; an answer that is no success is an error that says what to do.
    pub async fn get(&self, path: &str, query: &[(&str, &str)]) -> anyhow::Result<Response> {
        let mut url = self.address(path)?;
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        self.send(self.client.get(url)).await
    }

    /// Asks for something and reads it as JSON.
    pub async fn get_json(&self, path: &str, query: &[(&str, &str)]) -> anyhow::Result<Value> {
        read_json(self.get(path, query).await?).await
    }

    /// Posts a body once: the request carries an idempotency key of its own.
    pub async fn post_json(&self, path: &str, body: &Value) -> anyhow::Result<Value> {
        let request = self.client.post(self.address(path)?);
        let request = request
            .header("Idempotency-Key", Uuid::now_v7().to_string())
            .header("Content-Type", "application/json")
            .body(body.to_string());
        read_json(self.send(request).await?).await
    }

    /// Posts a question that changes nothing, and hands over each line of JSON of the answer as it
    /// comes.
    pub async fn post_lines(
        &self,
        path: &str,
        body: &Value,
        mut take: impl FnMut(Value) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        let request = self.client.post(self.address(path)?);
        let request = request.header("Content-Type", "application/json").body(body.to_string());
        let mut response = self.send(request).await?;
        let mut held: Vec<u8> = Vec::new();
        while let Some(chunk) = response.chunk().await.context("the answer ended early")? {
            held.extend_from_slice(&chunk);
            while let Some(end) = held.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = held.drain(..=end).collect();
                take(serde_json::from_slice(&line).context("a line is no JSON")?)?;
            }
        }
        Ok(())
    }

    /// Posts a file as it is, once.
    pub async fn post_bytes(
        &self,
        path: &str,
        query: &[(&str, &str)],
        bytes: Vec<u8>,
    ) -> anyhow::Result<Value> {
        let mut url = self.address(path)?;
        url.query_pairs_mut().extend_pairs(query);
        let request = self.client.post(url);
        let request = request
            .header("Idempotency-Key", Uuid::now_v7().to_string())
            .header("Content-Type", "application/octet-stream")
            .body(bytes);
        read_json(self.send(request).await?).await
    }

    /// Finds the program meant by an id, a slug, or by nothing where the key reaches only one.
    pub async fn program(&self, wanted: Option<&str>) -> anyhow::Result<String> {
        if let Some(id) = wanted.filter(|text| text.parse::<ProgramId>().is_ok()) {
            return Ok(id.to_owned());
        }
        let mut found: Vec<(String, String)> = Vec::new();
        let mut cursor: Option<String> = None;
        loop {
            let mut query = vec![("limit", "200")];
            if let Some(cursor) = &cursor {
                query.push(("cursor", cursor));
            }
            let page = self.get_json("/v1/programs", &query).await?;
            for row in page["data"].as_array().into_iter().flatten() {
                let text = |name: &str| row[name].as_str().unwrap_or_default().to_owned();
                found.push((text("id"), text("slug")));
            }
            cursor = page["next_cursor"].as_str().map(str::to_owned);
            if cursor.is_none() {
                break;
            }
        }
        let slugs = found.iter().map(|(_, slug)| slug.as_str()).collect::<Vec<_>>().join(", ");
        match (wanted, found.as_slice()) {
            (Some(wanted), _) => {
                let program = found.iter().find(|(_, slug)| slug == wanted);
                let program = program.map(|(id, _)| id.clone());
                program.ok_or_else(|| anyhow!("no program is called {wanted:?}; there are {slugs}"))
            }
            (None, [(id, _)]) => Ok(id.clone()),
            (None, []) => bail!("the key reaches no program"),
            (None, _) => bail!("name a program with --program: {slugs}"),
        }
    }

    fn address(&self, path: &str) -> anyhow::Result<Url> {
        self.base.join(path).with_context(|| format!("{path} is no address of the service"))
    }

    async fn send(&self, request: RequestBuilder) -> anyhow::Result<Response> {
        let response = request.bearer_auth(self.key.expose_secret()).send().await;
        let response = response.with_context(|| {
            format!("the service at {} cannot be reached; is --url right?", self.base)
        })?;
        if response.status().is_success() {
            return Ok(response);
        }
        Err(refusal(response).await)
    }
}

/// Tells a problem as a person reads it: what is wrong at which field, and what to quote.
async fn refusal(response: Response) -> anyhow::Error {
    let status = response.status();
    let problem: Value = match response.bytes().await {
        Ok(body) => serde_json::from_slice(&body).unwrap_or(Value::Null),
        Err(_) => Value::Null,
    };
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let mut said = match problem["title"].as_str() {
        Some(title) => title.to_owned(),
        None => format!("the service answered {status}"),
    };
    if let Some(detail) = problem["detail"].as_str() {
        said = format!("{said}: {detail}");
    }
    for error in problem["errors"].as_array().into_iter().flatten() {
        let field = text(&error["pointer"]);
        let line = format!("{} {}", field.trim_start_matches('/'), text(&error["detail"]));
        said = format!("{said}\n  {line}");
    }
    if let Some(request_id) = problem["request_id"].as_str() {
        said = format!("{said}\n  (request {request_id})");
    }
    anyhow!(said)
}

async fn read_json(response: Response) -> anyhow::Result<Value> {
    let body = response.bytes().await.context("the answer ended early")?;
    serde_json::from_slice(&body).context("the answer is no JSON; is --url that of Tributary?")
}

/// Writes an answer to a file, or to standard output, as it arrives; returns its length.
///
/// A file appears under its name only when it is whole: half a report looks like a report.
pub async fn save(
    mut response: Response,
    out: Option<&Path>,
    progress: &Progress,
) -> anyhow::Result<u64> {
    let length = response.headers().get(CONTENT_LENGTH);
    let length: Option<u64> = length.and_then(|v| v.to_str().ok()).and_then(|v| v.parse().ok());
    let digest = response.headers().get("Digest").and_then(|v| v.to_str().ok());
    let digest = digest.and_then(|v| v.strip_prefix("sha-256=")).map(str::to_owned);
    let mut file = Target::open(out)?;
    let bar = match length {
        Some(length) => progress.bytes(length, "Reading"),
        None => progress.flow("Reading"),
    };
    let (mut n_bytes, mut hash) = (0u64, Sha256::new());
    while let Some(chunk) =
        response.chunk().await.context("the answer ended early; nothing was kept")?
    {
        file.write(&chunk)?;
        hash.update(&chunk);
        n_bytes += chunk.len() as u64;
        bar.set(n_bytes);
    }
    if let Some(digest) = digest {
        let found = STANDARD.encode(hash.finalize());
        ensure!(found == digest, "what arrived is not what was sent; nothing was kept");
    }
    file.finish()?;
    bar.finish();
    Ok(n_bytes)
}

/// Where an answer is written.
enum Target {
    Stdout,
    File { part: PathBuf, path: PathBuf, file: std::fs::File, is_whole: bool },
}

impl Target {
    fn open(out: Option<&Path>) -> anyhow::Result<Self> {
        let Some(path) = out else { return Ok(Self::Stdout) };
        let name = path.file_name().with_context(|| format!("{} names no file", path.display()))?;
        let part = path.with_file_name(format!(".{}.part", name.to_string_lossy()));
        let file = std::fs::File::create(&part);
        let file = file.with_context(|| format!("writing beside {}", path.display()))?;
        Ok(Self::File { part, path: path.to_owned(), file, is_whole: false })
    }

    fn write(&mut self, chunk: &[u8]) -> anyhow::Result<()> {
        match self {
            Self::Stdout => {
                std::io::stdout().write_all(chunk).context("writing to standard output")
            }
            Self::File { file, part, .. } => {
                file.write_all(chunk).with_context(|| format!("writing {}", part.display()))
            }
        }
    }

    fn finish(&mut self) -> anyhow::Result<()> {
        if let Self::File { part, path, is_whole, .. } = self {
            std::fs::rename(&*part, &*path)
                .with_context(|| format!("writing {}", path.display()))?;
            *is_whole = true;
        }
        Ok(())
    }
}

impl Drop for Target {
    fn drop(&mut self) {
        if let Self::File { part, is_whole: false, .. } = self {
            // What is left behind is hidden and says `.part`.
            drop(std::fs::remove_file(part));
        }
    }
}
