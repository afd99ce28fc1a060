//! The binary `pleiad`: command line, configuration, logs, wiring, start and stop.
//!
//! Start at [`run`], which reads from top to bottom.

mod cli;
mod config;
mod run;
mod telemetry;
mod wire;

use anyhow::Context;
use cli::{Action, Cli};
use std::path::Path;
use std::process::ExitCode;

fn main() -> ExitCode {
    let cli = match cli::parse(std::env::args_os()) {
        Ok(cli) => cli,
        Err(error) => {
            let _ = error.print();
            return if error.use_stderr() { failure() } else { ExitCode::SUCCESS };
        }
    };
    match act(&cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("pleiad: {error:#}");
            failure()
        }
    }
}

/// Orthanc ends with -1 after an error; scripts may look at it.
fn failure() -> ExitCode {
    ExitCode::from(255)
}

fn act(cli: &Cli) -> anyhow::Result<()> {
    match &cli.action {
        Action::Version => print(&format!("pleiad {} (Orthanc API {})\n", env!("CARGO_PKG_VERSION"), run::ORTHANC_VERSION)),
        Action::WriteConfig(path) => write(path, config::sample::TEXT),
        Action::WriteOpenApi(path) => write(path, &format!("{:#}\n", rest::openapi())),
        Action::PrintConfig => {
            let settings = settings(cli)?;
            settings.warnings.iter().for_each(|warning| eprintln!("pleiad: {warning}"));
            print(&format!("{}\n", config::print::effective(&settings.values)))
        }
        Action::Serve => {
            let first = settings(cli)?;
            let logs = telemetry::start(&cli.logs)?;
            let ended = serve(cli, first, &logs.filter);
            if let Err(error) = &ended {
                tracing::error!("{error:#}");
            }
            drop(logs);
            ended
        }
    }
}

/// Runs the server, and again with what the configuration says by then as often as a client asks for that.
fn serve(cli: &Cli, mut settings: config::Settings, logs: &telemetry::Filter) -> anyhow::Result<()> {
    while run::serve(cli, &settings, logs.clone())? == run::Ended::ToRestart {
        settings = self::settings(cli)?;
    }
    Ok(())
}

/// Reads the configuration. The environment is read here and nowhere else.
fn settings(cli: &Cli) -> anyhow::Result<config::Settings> {
    let environment = std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
    config::load(&cli.configuration, &environment.collect()).context("the configuration is refused")
}

/// Writes to a file, or to standard output (`-`).
fn write(path: &Path, text: &str) -> anyhow::Result<()> {
    if path.as_os_str() == "-" {
        return print(text);
    }
    std::fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
}

/// Prints, and does not mind a reader that has had enough.
fn print(text: &str) -> anyhow::Result<()> {
    use std::io::Write;
    match std::io::stdout().write_all(text.as_bytes()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(()),
    }
}
