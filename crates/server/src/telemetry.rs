//! Logs: to standard error or a file, by Orthanc's levels and categories.
//!
//! By default warnings, errors and the life of the server are logged; `--verbose` adds one line for each request,
//! association and job; `--trace` everything. A log that cannot be written in time (a pipe that nobody reads) costs lines,
//! which are counted, and never stops the server.

use anyhow::Context;
use engine::LogLevels;
use engine::logs::{Category, Verbosity};
use std::fs::{self, File};
use std::io::{self, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::time::{Duration, Instant};
use tracing::level_filters::LevelFilter;
use tracing_subscriber::Registry;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::reload;
use tracing_subscriber::util::SubscriberInitExt;

/// Lines that may wait for the log to be written.
const QUEUE: usize = 4096;
/// How much is written at once, in bytes.
const BATCH: usize = 64 << 10;
/// How long the end of the program waits for the last lines.
const FLUSH: Duration = Duration::from_secs(1);

/// The rooms (and parts of them) whose lines belong to a category.
fn targets(category: Category) -> &'static [&'static str] {
    match category {
        Category::Generic => &["pleiad", "engine", "storage", "model", "dataset"],
        Category::Plugins => &["plugins"],
        Category::Http => &["http", "web", "rest"],
        Category::Sqlite => &["index"],
        Category::Dicom => &["dicom", "dimse", "scp"],
        Category::Jobs => &["jobs", "engine::jobs"],
        Category::Lua => &["lua", "scripting"],
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LogTarget {
    Stderr,
    File(PathBuf),
    /// A new file in this folder, named by time and process.
    Folder(PathBuf),
}

/// What is logged at first, and where to.
#[derive(Clone, Debug)]
pub struct Logs {
    pub target: LogTarget,
    pub levels: LogLevels,
}

fn filter(levels: &LogLevels) -> Targets {
    let base = |category| match levels.of(category) {
        Verbosity::Default => LevelFilter::WARN,
        Verbosity::Verbose => LevelFilter::INFO,
        Verbosity::Trace => LevelFilter::TRACE,
    };
    // Libraries are worth their warnings, and no more than that.
    let mut all = Targets::new().with_default(LevelFilter::WARN);
    for category in Category::ALL {
        all = all.with_targets(targets(category).iter().map(|target| (*target, base(category))));
    }
    // The life of the server itself is always told.
    all.with_target("pleiad", base(Category::Generic).max(LevelFilter::INFO))
}

/// Begins to log. Keep the result until the end.
///
/// # Errors
/// If the file or folder cannot be written to.
pub fn start(logs: &Logs) -> anyhow::Result<LogGuard> {
    let ansi = logs.target == LogTarget::Stderr && io::stderr().is_terminal();
    let sink = match &logs.target {
        LogTarget::Stderr => Sink::start(io::stderr()),
        LogTarget::File(path) => Sink::start(open_log(path)?),
        LogTarget::Folder(folder) => {
            let name = format!("Pleiad.log.{}.{}", model::time::now_iso().replace('T', "-"), std::process::id());
            Sink::start(open_log(&folder.join(name))?)
        }
    };
    let (filter, handle) = reload::Layer::new(filter(&logs.levels));
    let guard = LogGuard { sink: sink.clone(), filter: Filter(handle) };
    let layer = tracing_subscriber::fmt::layer().with_ansi(ansi).with_writer(sink);
    tracing_subscriber::registry().with(filter).with(layer).try_init().context("logs began twice")?;
    log_panics();
    Ok(guard)
}

fn open_log(path: &Path) -> anyhow::Result<File> {
    let open = || {
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)?;
        }
        File::options().create(true).append(true).open(path)
    };
    open().with_context(|| format!("cannot write the log file {}", path.display()))
}

/// A panic is logged with its place. Its message is logged only if it is a literal: others may hold data of patients.
fn log_panics() {
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        let message = panic.payload().downcast_ref::<&'static str>().copied().unwrap_or("(a message with values, not logged)");
        tracing::error!(target: "pleiad", place, "panic, which is a bug: {message}");
    }));
}

enum Message {
    Line(Vec<u8>),
    Flush(SyncSender<()>),
}

/// Takes lines without ever waiting; a thread of its own writes them.
#[derive(Clone)]
struct Sink {
    queue: SyncSender<Message>,
    lost: Arc<AtomicU64>,
}

impl Sink {
    fn start(output: impl Write + Send + 'static) -> Self {
        let (queue, messages) = sync_channel(QUEUE);
        let lost = Arc::new(AtomicU64::new(0));
        let lost_lines = lost.clone();
        // Not joined: it may wait for ever for a reader of the pipe.
        std::thread::spawn(move || write_lines(&messages, output, &lost_lines));
        Self { queue, lost }
    }
}

fn write_lines(messages: &Receiver<Message>, mut output: impl Write, lost: &AtomicU64) {
    while let Ok(first) = messages.recv() {
        let (mut batch, mut waiting) = (vec![], vec![]);
        let mut next = Some(first);
        while let Some(message) = next {
            match message {
                Message::Line(line) => batch.extend_from_slice(&line),
                Message::Flush(done) => waiting.push(done),
            }
            next = if batch.len() < BATCH { messages.try_recv().ok() } else { None };
        }
        match lost.swap(0, Ordering::Relaxed) {
            0 => {}
            n => batch.extend_from_slice(format!("{n} lines were lost here: the log could not be written in time\n").as_bytes()),
        }
        // Nothing can be done, and nobody told, if the log itself fails.
        let _ = output.write_all(&batch).and_then(|()| output.flush());
        for done in waiting {
            let _ = done.try_send(());
        }
    }
}

impl Write for Sink {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        if let Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) = self.queue.try_send(Message::Line(line.to_vec())) {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for Sink {
    type Writer = Sink;

    fn make_writer(&self) -> Sink {
        self.clone()
    }
}

/// What is logged now.
#[derive(Clone)]
pub struct Filter(reload::Handle<Targets, Registry>);

impl Filter {
    /// Logs so much from now on.
    pub fn set(&self, levels: &LogLevels) {
        // It fails only when logging has ended.
        let _ = self.0.reload(filter(levels));
    }
}

/// Writes the last lines when it is dropped, if that is possible within a second.
pub struct LogGuard {
    sink: Sink,
    pub filter: Filter,
}

impl Drop for LogGuard {
    fn drop(&mut self) {
        let (done, wait) = sync_channel(1);
        let end = Instant::now() + FLUSH;
        while Instant::now() < end {
            match self.sink.queue.try_send(Message::Flush(done.clone())) {
                Ok(()) => {
                    let _ = wait.recv_timeout(end.saturating_duration_since(Instant::now()));
                    return;
                }
                Err(_) => std::thread::sleep(Duration::from_millis(5)),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;
    use tracing::Level;

    #[test]
    fn a_pipe_that_nobody_reads_costs_lines_and_not_the_server() {
        let (mut reader, writer) = io::pipe().unwrap();
        let mut sink = Sink::start(writer);
        let lines = 3 * QUEUE;
        for n in 0..lines {
            sink.write_all(format!("{n:0>100}\n").as_bytes()).unwrap();
        }
        // All lines are accepted above although the pipe was full; now somebody reads.
        let filter = Filter(reload::Layer::new(filter(&LogLevels::default())).1);
        let guard = LogGuard { sink: sink.clone(), filter };
        drop(sink);
        let all = std::thread::spawn(move || {
            let mut text = String::new();
            reader.read_to_string(&mut text).unwrap();
            text
        });
        drop(guard);
        let text = all.join().unwrap();
        let (mut written, mut lost) = (0, 0);
        for line in text.lines() {
            match line.split_once(" lines were lost") {
                Some((n, _)) => lost += n.parse::<usize>().unwrap(),
                None => written += 1,
            }
        }
        assert!(lost > 0 && written > 0);
        assert_eq!(written + lost, lines, "every line is written or counted");
    }

    #[test]
    fn levels_and_categories_are_orthancs() {
        let logs = |verbosity, categories: &[(Category, Verbosity)]| {
            let mut levels = LogLevels::all(verbosity);
            categories.iter().for_each(|(category, verbosity)| levels.set(*category, *verbosity));
            filter(&levels)
        };
        let quiet = logs(Verbosity::Default, &[]);
        assert!(quiet.would_enable("pleiad::run", &Level::INFO) && quiet.would_enable("hyper", &Level::WARN));
        assert!(!quiet.would_enable("http", &Level::INFO) && !quiet.would_enable("engine::store", &Level::INFO));
        let verbose = logs(Verbosity::Verbose, &[(Category::Dicom, Verbosity::Trace)]);
        assert!(verbose.would_enable("http", &Level::INFO) && !verbose.would_enable("http", &Level::DEBUG));
        assert!(verbose.would_enable("scp::store", &Level::TRACE) && !verbose.would_enable("hyper", &Level::INFO));
        let one = logs(Verbosity::Default, &[(Category::Jobs, Verbosity::Verbose)]);
        assert!(one.would_enable("engine::jobs", &Level::INFO) && !one.would_enable("engine::find", &Level::INFO));
    }
}
