//! A wire with faults: a proxy between the service and a store that can be cut, slow or silent.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tempfile::TempDir;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{UnixListener, UnixStream};
use tokio::runtime::Runtime;
use tokio::sync::watch;

/// How a wire behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// As a wire should.
    Open,
    /// No connection holds, and none is made.
    Cut,
    /// Everything takes so long, each way.
    Slow(Duration),
    /// Half open: connections hold and are made, and nothing comes through; it does later.
    Silent,
}

/// A proxy on a unix socket of its own.
pub struct Wire {
    dir: TempDir,
    socket: PathBuf,
    way: watch::Sender<Way>,
    runtime: Option<Runtime>,
}

impl Wire {
    /// Lays a wire to `upstream`; `name` is the file name of the socket, which PostgreSQL fixes.
    pub fn to(upstream: &Path, name: &str) -> Self {
        let dir = tempfile::tempdir_in("/tmp").unwrap();
        let socket = dir.path().join(name);
        let (way, watched) = watch::channel(Way::Open);
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let listener = {
            let _inside = runtime.enter();
            UnixListener::bind(&socket).unwrap()
        };
        let upstream = upstream.to_owned();
        runtime.spawn(async move {
            loop {
                let Ok((near, _)) = listener.accept().await else { continue };
                if *watched.borrow() == Way::Cut {
                    continue;
                }
                let (upstream, way, mut until) =
                    (upstream.clone(), watched.clone(), watched.clone());
                tokio::spawn(async move {
                    tokio::select! {
                        _ = carry(near, &upstream, way) => {}
                        _ = until.wait_for(|way| *way == Way::Cut) => {}
                    }
                });
            }
        });
        Self { dir, socket, way, runtime: Some(runtime) }
    }

    pub fn socket(&self) -> &Path {
        &self.socket
    }

    pub fn folder(&self) -> &Path {
        self.dir.path()
    }

    /// Changes how it behaves, also on connections that there are.
    pub fn turn(&self, way: Way) {
        self.way.send_replace(way);
    }

    /// Ends every connection and takes no new one.
    pub fn cut(&self) {
        self.turn(Way::Cut);
    }

    pub fn restore(&self) {
        self.turn(Way::Open);
    }
}

async fn carry(near: UnixStream, upstream: &Path, way: watch::Receiver<Way>) -> io::Result<()> {
    let (from_near, to_near) = near.into_split();
    let (from_far, to_far) = UnixStream::connect(upstream).await?.into_split();
    tokio::try_join!(pump(from_near, to_far, way.clone()), pump(from_far, to_near, way))?;
    Ok(())
}

async fn pump(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    mut way: watch::Receiver<Way>,
) -> io::Result<()> {
    let mut bytes = vec![0; 64 * 1024];
    loop {
        let n = from.read(&mut bytes).await?;
        if n == 0 {
            return to.shutdown().await;
        }
        let now = *way.borrow();
        if let Way::Slow(delay) = now {
            tokio::time::sleep(delay).await;
        }
        let hears = |way: &Way| *way != Way::Silent;
        drop(way.wait_for(hears).await.map_err(|_| io::ErrorKind::BrokenPipe)?);
        to.write_all(&bytes[..n]).await?;
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}
