//! The life of the server, from top to bottom: read what is configured, open what stores, clean up, open the doors, wait,
//! and stop in the reverse order.

use crate::cli::Cli;
use crate::config::{self, Settings};
use crate::telemetry::Filter;
use crate::wire;
use anyhow::Context;
use engine::jobs::Jobs;
use engine::{Engine, sweeps};
use rest::Rest;
use scp::Scp;
use scripting::Lua;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;
use web::metrics::Latencies;

/// The version of Orthanc whose API is spoken.
pub const ORTHANC_VERSION: &str = "1.13.0";

/// How long running requests and associations may go on after the signal to stop. Containers are usually killed after 10 s.
const GRACE: Duration = Duration::from_secs(8);

/// How much of it a process that is not alone goes on to take requests, although `/readyz` says no: so long a balancer may need to see that.
const NOTICE: Duration = Duration::from_secs(2);

/// Why the server stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// A signal, or `POST /tools/shutdown`.
    ForGood,
    /// `POST /tools/reset`: it is to start again.
    ToRestart,
}

/// Runs until a signal, `POST /tools/shutdown` or `POST /tools/reset`.
///
/// # Errors
/// What keeps it from starting, or from ending well.
pub fn serve(cli: &Cli, settings: &Settings, logs: Filter) -> anyhow::Result<Ended> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().context("cannot start threads")?;
    let ended = runtime.block_on(live(cli, settings, logs));
    // File work that hangs (a dead network file system) must not keep the process alive.
    runtime.shutdown_timeout(Duration::from_secs(1));
    ended
}

async fn live(cli: &Cli, settings: &Settings, logs: Filter) -> anyhow::Result<Ended> {
    let mut signals = Signals::new()?; // first of all, so that a signal during a long start is not lost
    let mut config = config::orthanc::config(settings).context("the configuration is refused")?;
    config.engine.log_levels = cli.logs.levels;
    config.engine.jobs.new_jobs_only = cli.no_jobs;
    greet(cli, settings);

    let (engine, lua) = wire::engine(&mut config).await?;
    engine.settings.on_log_levels(move |levels| logs.set(levels));
    let jobs = if config.engine.read_only { None } else { Some(join_patiently(&engine, &config).await?) };
    let shutdown = CancellationToken::new();
    let restart = Arc::new(AtomicBool::new(false));
    let doors = Doors::open(engine.clone(), lua.as_deref(), config, (shutdown.clone(), restart.clone())).await?;
    tracing::info!("ready");

    tokio::select! {
        name = signals.next() => tracing::info!("{name}: stopping"),
        () = shutdown.cancelled() => tracing::info!("asked to stop by a client"),
    }
    shutdown.cancel(); // `/readyz` says so
    tokio::select! {
        () = close(&engine, doors, jobs) => {}
        name = signals.next() => tracing::warn!("{name} again: not waiting for what still runs"),
    }
    engine.close().await.context("the index did not close well")?;
    tracing::info!("stopped");
    Ok(if restart.load(Ordering::Relaxed) { Ended::ToRestart } else { Ended::ForGood })
}

/// Joins, and tries again while the database is away or has no room, as often as a connection is tried.
async fn join_patiently(engine: &Arc<Engine>, config: &config::orthanc::Config) -> anyhow::Result<Jobs> {
    let (mut retries, pause) = config.postgres.as_ref().map_or((0, Duration::ZERO), |p| (p.retries, p.retry_interval));
    let is_away = |error: &anyhow::Error| {
        error.downcast_ref::<model::Error>().is_some_and(|error| error.kind() == model::ErrorKind::DatabaseUnavailable)
    };
    loop {
        match join(engine, config).await {
            Err(error) if retries > 0 && is_away(&error) => {
                retries -= 1;
                tracing::warn!(error = format!("{error:#}"), retries, "the database is not available; trying again");
                tokio::time::sleep(pause).await;
            }
            joined => return joined,
        }
    }
}

/// Cleans up after the last run, brings in what the configuration says, and takes part in the work of all processes.
async fn join(engine: &Arc<Engine>, config: &config::orthanc::Config) -> anyhow::Result<Jobs> {
    let configured = engine::settings::Configured {
        scripts: &config.scripts_digest,
        accepted_transfer_syntaxes: &config.system.accepted_transfer_syntaxes,
        unknown_sop_class_accepted: config.system.unknown_sop_class_accepted,
        metrics_enabled: config.system.metrics_enabled,
    };
    engine::settings::seed(engine, configured).await?;
    engine::remotes::seed(engine).await?;
    engine::events::listen(engine).await?; // before a sweep makes anything stable
    sweeps::all(engine).await.context("cannot clean up after the last run")?;
    engine::jobs::start(engine.clone()).await.context("cannot join the other processes")
}

/// Hands jobs over at once, lets balancers see that this process stops, and refuses new work then; what runs may end.
async fn close(engine: &Engine, doors: Doors, jobs: Option<Jobs>) {
    let notice = if engine.is_shared() { NOTICE } else { Duration::ZERO };
    let doors = async {
        tokio::time::sleep(notice).await;
        doors.close(GRACE - notice).await;
    };
    let released = async {
        if let Some(jobs) = &jobs {
            jobs.release(GRACE).await;
        }
    };
    tokio::join!(doors, released);
    if let Some(jobs) = jobs {
        jobs.leave().await;
    }
}

fn greet(cli: &Cli, settings: &Settings) {
    tracing::info!("Pleiad {}, with the API of Orthanc {ORTHANC_VERSION}", env!("CARGO_PKG_VERSION"));
    let sources: Vec<_> = cli.configuration.iter().map(|p| p.display().to_string()).collect();
    let sources = if sources.is_empty() { "the defaults".to_owned() } else { sources.join(", ") };
    tracing::info!("configured by {sources}; relative paths count from {:?}", settings.folder);
    for warning in &settings.warnings {
        tracing::warn!("{warning}");
    }
    if cli.upgrade {
        tracing::info!("--upgrade changes nothing: upgrades are always allowed");
    }
}

/// By what clients stop the server, and whether it is to start again.
type Stops = (CancellationToken, Arc<AtomicBool>);

/// The open doors.
struct Doors {
    http: Option<web::Server>,
    dicom: Option<Scp>,
}

impl Doors {
    async fn open(engine: Arc<Engine>, lua: Option<&Lua>, config: config::orthanc::Config, stops: Stops) -> anyhow::Result<Self> {
        let (shutdown, restart) = stops;
        let latencies = Arc::new(Latencies::default());
        let rest = Rest {
            engine: engine.clone(),
            system: config.system,
            latencies: latencies.clone(),
            shutdown,
            restart,
            started: Instant::now(),
        };
        let router = rest::router(Arc::new(rest));
        if let Some(lua) = lua {
            wire::attach(lua, router.clone());
        }
        let dicom = match config.dicom {
            Some(scp) => Some(open_dicom(engine, scp).await?),
            None => None,
        };
        let http = match config.http {
            Some(http) => Some(open_http(http, router, latencies).await?),
            None => None,
        };
        Ok(Self { http, dicom })
    }

    /// Refuses new work and lets the current end.
    async fn close(self, grace: Duration) {
        let http = async {
            if let Some(http) = self.http {
                http.stop(grace).await;
            }
        };
        let dicom = async {
            if let Some(dicom) = self.dicom {
                dicom.stop(grace).await;
            }
        };
        tokio::join!(http, dicom);
    }
}

async fn open_dicom(engine: Arc<Engine>, config: scp::ScpConfig) -> anyhow::Result<Scp> {
    let (listen, aet) = (config.listen, config.aet.clone());
    let dicom = Scp::start(engine, config)
        .await
        .with_context(|| format!("cannot listen for DICOM on port {} (DicomPort)", listen.port()))?;
    tracing::info!("DICOM: AET {aet} on {}", dicom.local_addr());
    Ok(dicom)
}

async fn open_http(config: web::HttpConfig, router: axum::Router, latencies: Arc<Latencies>) -> anyhow::Result<web::Server> {
    let (port, scheme) = (config.port, if config.tls.is_some() { "https" } else { "http" });
    let http = web::serve(config, router, latencies)
        .await
        .with_context(|| format!("cannot listen for HTTP on port {port} (HttpPort)"))?;
    for address in &http.addresses {
        let host = if address.ip().is_unspecified() { "localhost".to_owned() } else { address.ip().to_string() };
        tracing::info!("HTTP: {scheme}://{host}:{} ({address})", address.port());
    }
    Ok(http)
}

/// The signals that mean "stop".
struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn new() -> anyhow::Result<Self> {
        let open = |kind| signal(kind).context("cannot listen for signals");
        Ok(Self { terminate: open(SignalKind::terminate())?, interrupt: open(SignalKind::interrupt())? })
    }

    async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }
}
