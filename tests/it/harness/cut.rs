//! A wire that can be cut: a proxy between the service and a store.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tempfile::TempDir;
use tokio::io::copy_bidirectional;
use tokio::net::{UnixListener, UnixStream};
use tokio::runtime::Runtime;
use tokio::sync::broadcast;

/// A proxy on a unix socket of its own.
pub struct Wire {
    dir: TempDir,
    socket: PathBuf,
    is_cut: Arc<AtomicBool>,
    cutting: broadcast::Sender<()>,
    runtime: Option<Runtime>,
}

impl Wire {
    /// Lays a wire to `upstream`; `name` is the file name of the socket, which PostgreSQL fixes.
    pub fn to(upstream: &Path, name: &str) -> Self {
        let dir = tempfile::tempdir_in("/tmp").unwrap();
        let socket = dir.path().join(name);
        let is_cut = Arc::new(AtomicBool::new(false));
        let (cutting, _) = broadcast::channel(1);
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let listener = {
            let _inside = runtime.enter();
            UnixListener::bind(&socket).unwrap()
        };
        let (upstream, cut, sender) = (upstream.to_owned(), Arc::clone(&is_cut), cutting.clone());
        runtime.spawn(async move {
            loop {
                let Ok((mut near, _)) = listener.accept().await else { continue };
                if cut.load(Ordering::SeqCst) {
                    continue;
                }
                let (upstream, mut until) = (upstream.clone(), sender.subscribe());
                tokio::spawn(async move {
                    let Ok(mut far) = UnixStream::connect(&upstream).await else { return };
                    tokio::select! {
                        _ = copy_bidirectional(&mut near, &mut far) => {}
                        _ = until.recv() => {}
                    }
                });
            }
        });
        Self { dir, socket, is_cut, cutting, runtime: Some(runtime) }
    }

    pub fn socket(&self) -> &Path {
        &self.socket
    }

    pub fn folder(&self) -> &Path {
        self.dir.path()
    }

    /// Ends every connection and takes no new one.
    pub fn cut(&self) {
        self.is_cut.store(true, Ordering::SeqCst);
        // Nobody listening means that nobody is connected.
        drop(self.cutting.send(()));
    }

    pub fn restore(&self) {
        self.is_cut.store(false, Ordering::SeqCst);
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}
