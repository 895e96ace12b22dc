//! `serve` and `healthcheck`.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context as _, bail};
use tokio::signal::unix::{SignalKind, signal};

use super::{build_app, read_config};
use crate::app::App;
use crate::config::{self, SETTINGS, Unset};
use crate::roles::{self, Running};

const HEALTH_TIMEOUT: Duration = Duration::from_secs(3);

/// Runs the service with the settings of the environment.
pub(super) async fn run() -> anyhow::Result<()> {
    let app = build_app(read_config()?).await?;
    until_signal(app, |running| {
        tracing::info!("serving on {}, admin on {}", running.public_address, running.admin_address);
    })
    .await
}

/// Runs the service until SIGINT, SIGTERM or SIGQUIT, or until a part of it ends, then drains it.
pub(super) async fn until_signal(app: App, ready: impl FnOnce(&Running)) -> anyhow::Result<()> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut quit = signal(SignalKind::quit())?;
    let mut running = roles::start(app).await?;
    ready(&running);
    let ended = tokio::select! {
        _ = interrupt.recv() => false,
        _ = terminate.recv() => false,
        _ = quit.recv() => false,
        () = running.wait_for_end() => true,
    };
    running.stop().await;
    if ended {
        bail!("a part of the service ended by itself; see the log");
    }
    Ok(())
}

/// Asks `/readyz` of the admin listener of this machine.
pub(super) fn healthcheck() -> anyhow::Result<()> {
    let name = "TRIBUTARY_ADMIN_BIND";
    let default = SETTINGS.iter().find(|s| s.name == name).map(|s| match s.unset {
        Unset::Default(value) => value,
        Unset::Required(_) | Unset::Optional => "127.0.0.1:9090",
    });
    let text = config::environment(name).or(default.map(str::to_owned)).unwrap_or_default();
    let mut address: SocketAddr = text.parse().with_context(|| format!("{name}={text}"))?;
    // A listener on all addresses is asked on the loopback one.
    if address.ip().is_unspecified() {
        address.set_ip(match address {
            SocketAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
            SocketAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
        });
    }
    let mut stream = TcpStream::connect_timeout(&address, HEALTH_TIMEOUT)
        .with_context(|| format!("no service answers on {address}"))?;
    stream.set_read_timeout(Some(HEALTH_TIMEOUT))?;
    stream.write_all(b"GET /readyz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let body = answer.split_once("\r\n\r\n").map_or("", |(_, body)| body);
    if answer.starts_with("HTTP/1.1 200") {
        super::print(body);
        Ok(())
    } else {
        bail!("not ready: {body}")
    }
}
