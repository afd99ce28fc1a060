//! The listening socket, the number of associations, and the graceful stop.

use std::collections::HashSet;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use dimse::Transport;
use engine::Engine;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::config::ScpConfig;
use crate::dispatch;

/// Connections beyond the limit that are told so at the same time; more are just closed.
const MAX_REFUSALS: usize = 16;
/// Longest pause of accepting after a failure such as "too many open files".
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// Longest wait for tasks that have been told to abort.
const KILL_WAIT: Duration = Duration::from_secs(3);

/// What all associations share.
pub(crate) struct Shared {
    pub config: ScpConfig,
    pub sop_classes: HashSet<String>,
    pub engine: Arc<Engine>,
    /// Cancelled when the grace time is over: operations are cut off.
    pub killing: CancellationToken,
}

/// The DICOM server, listening. To be ended with [`Scp::stop`].
pub struct Scp {
    local_addr: SocketAddr,
    stopping: CancellationToken,
    killing: CancellationToken,
    tasks: TaskTracker,
}

impl Scp {
    /// Listens and serves.
    ///
    /// # Errors
    /// If the address cannot be listened on.
    pub async fn start(engine: Arc<Engine>, config: ScpConfig) -> io::Result<Self> {
        let listener = TcpListener::bind(config.listen).await?;
        let local_addr = listener.local_addr()?;
        let (stopping, killing, tasks) = (CancellationToken::new(), CancellationToken::new(), TaskTracker::new());
        let sop_classes = config.accepted_sop_classes.iter().cloned().collect();
        let shared = Arc::new(Shared { config, sop_classes, engine, killing: killing.clone() });
        tracing::info!(addr = %local_addr, aet = shared.config.aet, "DICOM server listens");
        tasks.spawn(accept_all(listener, shared, tasks.clone(), stopping.clone()));
        Ok(Self { local_addr, stopping, killing, tasks })
    }

    /// Where it listens.
    pub fn local_addr(&self) -> SocketAddr {
        self.local_addr
    }

    /// Stops listening. Associations end after their current operation, at the latest after `grace`.
    pub async fn stop(self, grace: Duration) {
        self.stopping.cancel();
        self.tasks.close();
        if timeout(grace, self.tasks.wait()).await.is_err() {
            tracing::warn!(associations = self.tasks.len(), "associations are cut off: the grace time is over");
            self.killing.cancel();
            // Peers that do not take their A-ABORT in time are left to the end of the process.
            let _ = timeout(KILL_WAIT, self.tasks.wait()).await;
        }
    }
}

async fn accept_all(listener: TcpListener, shared: Arc<Shared>, tasks: TaskTracker, stopping: CancellationToken) {
    let places = Arc::new(Semaphore::new(shared.config.max_associations));
    let refusals = Arc::new(Semaphore::new(MAX_REFUSALS));
    let mut next_id = 1_u64;
    loop {
        let accepted = tokio::select! {
            biased;
            accepted = listener.accept() => accepted, // what waits in the kernel's queue is served even when stopping
            () = stopping.cancelled() => return,
        };
        let transport = match accepted {
            Ok((stream, addr)) => transport(stream, addr),
            Err(error) => {
                tracing::warn!("cannot accept a connection: {error}");
                // Without a pause, a lack of file descriptors would keep a processor busy.
                let _ = timeout(ACCEPT_PAUSE, stopping.cancelled()).await;
                continue;
            }
        };
        let Some(transport) = transport else { continue };
        let (id, shared, stopping) = (next_id, shared.clone(), stopping.clone());
        next_id += 1;
        if let Ok(place) = places.clone().try_acquire_owned() {
            tasks.spawn(async move {
                dispatch::serve(&shared, transport, id, &stopping).await;
                drop(place);
            });
        } else if let Ok(place) = refusals.clone().try_acquire_owned() {
            tasks.spawn(async move {
                tokio::select! {
                    () = dispatch::refuse(&shared, transport, id) => {}
                    () = stopping.cancelled() => {}
                }
                drop(place);
            });
        }
    }
}

fn transport(stream: TcpStream, addr: SocketAddr) -> Option<Transport> {
    match Transport::tcp(stream) {
        Ok(transport) => Some(transport),
        Err(error) => {
            tracing::info!(peer.addr = %addr, "the connection was gone at once: {error}");
            None
        }
    }
}
