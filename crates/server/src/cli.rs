//! The command line, with Orthanc's options.

use crate::telemetry::{LogTarget, Logs};
use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};
use engine::LogLevels;
use engine::logs::{Category, Verbosity};
use std::ffi::OsString;
use std::path::PathBuf;

/// What the command line asks for.
#[derive(Debug, PartialEq)]
pub enum Action {
    /// Run the server.
    Serve,
    /// Write a commented configuration to a file, or to standard output (`-`).
    WriteConfig(PathBuf),
    /// Show the configuration in force, without secrets.
    PrintConfig,
    /// Write the description of the REST API to a file, or to standard output (`-`).
    WriteOpenApi(PathBuf),
    /// Print the names and versions.
    Version,
}

/// The parsed command line.
#[derive(Debug)]
pub struct Cli {
    pub action: Action,
    /// Configuration files and folders.
    pub configuration: Vec<PathBuf>,
    pub logs: Logs,
    /// Do not take up jobs that an earlier run left.
    pub no_jobs: bool,
    /// Allow the database to be upgraded.
    pub upgrade: bool,
}

/// Reads the command line. `--help` and mistakes are answered by the error.
///
/// # Errors
/// The text to print, with its exit status.
pub fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Cli, clap::Error> {
    let matches = command().try_get_matches_from(arguments)?;
    let path = |name: &str| matches.get_one::<PathBuf>(name).cloned();
    let action = match path("config") {
        _ if matches.get_flag("version") => Action::Version,
        Some(file) => Action::WriteConfig(file),
        None if matches.get_flag("print-config") => Action::PrintConfig,
        None => path("openapi").map_or(Action::Serve, Action::WriteOpenApi),
    };
    let target = match (path("logfile"), path("logdir")) {
        (Some(file), _) => LogTarget::File(file),
        (None, Some(folder)) => LogTarget::Folder(folder),
        (None, None) => LogTarget::Stderr,
    };
    Ok(Cli {
        action,
        configuration: matches.get_many("configuration").into_iter().flatten().cloned().collect(),
        logs: Logs { target, levels: levels(&matches) },
        no_jobs: matches.get_flag("no-jobs"),
        upgrade: matches.get_flag("upgrade"),
    })
}

fn verbosity(matches: &ArgMatches, verbose: &str, trace: &str) -> Verbosity {
    if matches.get_flag(trace) {
        Verbosity::Trace
    } else if matches.get_flag(verbose) {
        Verbosity::Verbose
    } else {
        Verbosity::Default
    }
}

/// The verbosity of all, and of the categories that have one of their own.
fn levels(matches: &ArgMatches) -> LogLevels {
    let mut levels = LogLevels::all(verbosity(matches, "verbose", "trace"));
    for category in Category::ALL {
        let [verbose, trace] = flags(category);
        match verbosity(matches, verbose, trace) {
            Verbosity::Default => {}
            own => levels.set(category, own),
        }
    }
    levels
}

/// The options of one category of log lines.
fn flags(category: Category) -> [&'static str; 2] {
    match category {
        Category::Generic => ["verbose-generic", "trace-generic"],
        Category::Plugins => ["verbose-plugins", "trace-plugins"],
        Category::Http => ["verbose-http", "trace-http"],
        Category::Sqlite => ["verbose-sqlite", "trace-sqlite"],
        Category::Dicom => ["verbose-dicom", "trace-dicom"],
        Category::Jobs => ["verbose-jobs", "trace-jobs"],
        Category::Lua => ["verbose-lua", "trace-lua"],
    }
}

fn command() -> Command {
    let flag = |name: &'static str, help: &'static str| Arg::new(name).long(name).action(ArgAction::SetTrue).help(help);
    let path = |name: &'static str, value: &'static str, help: &'static str| {
        Arg::new(name).long(name).value_name(value).value_parser(value_parser!(PathBuf)).help(help)
    };
    let command = Command::new("pleiad")
        .about("Pleiad: a DICOM server that speaks Orthanc's REST API and reads its configuration")
        .disable_version_flag(true)
        .args_override_self(true)
        .arg(
            Arg::new("configuration")
                .value_name("FILE|FOLDER")
                .num_args(0..)
                .value_parser(value_parser!(PathBuf))
                .help("Configuration files, and folders whose *.json files are read; without any, the defaults hold"),
        )
        .arg(path("config", "FILE", "Write a commented configuration to FILE (- for standard output) and exit"))
        .arg(flag("print-config", "Print the configuration in force, secrets masked, and exit"))
        .arg(path("openapi", "FILE", "Write a description of the REST API (OpenAPI 3) to FILE (- for standard output) and exit"))
        .arg(flag("verbose", "Log each request, association and job"))
        .arg(flag("trace", "Log everything"))
        .arg(path("logdir", "FOLDER", "Log to a new file in FOLDER instead of standard error"))
        .arg(path("logfile", "FILE", "Log to FILE instead of standard error"))
        .arg(flag("no-jobs", "Do not take up the jobs that an earlier run left"))
        .arg(flag("upgrade", "Allow an upgrade of the database (always allowed: accepted for Orthanc's sake)"))
        .arg(flag("version", "Print the version and exit"))
        .arg(flag("logs-no-thread", "Accepted for Orthanc's sake").hide(true))
        .arg(flag("logs-no-context", "Accepted for Orthanc's sake").hide(true))
        .arg(flag("logs-thread-names-in-context", "Accepted for Orthanc's sake").hide(true));
    Category::ALL.into_iter().fold(command, |command, category| {
        let ([verbose, trace], name) = (flags(category), category.name());
        let one = |flag: &'static str, what| {
            Arg::new(flag)
                .long(flag)
                .action(ArgAction::SetTrue)
                .hide_short_help(true)
                .help(format!("{what} of the category {name}"))
        };
        command.arg(one(verbose, "Log requests and the like")).arg(one(trace, "Log everything"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(arguments: &str) -> Result<Cli, clap::Error> {
        parse(std::iter::once("pleiad").chain(arguments.split_whitespace()).map(OsString::from))
    }

    #[test]
    fn the_forms_of_orthancs_users_are_understood() {
        let cli = parsed("a.json --no-jobs folder --verbose --trace-dicom --logfile=x.log --upgrade").unwrap();
        assert_eq!(cli.action, Action::Serve);
        assert_eq!(cli.configuration, [PathBuf::from("a.json"), PathBuf::from("folder")]);
        assert!(cli.no_jobs && cli.upgrade);
        assert_eq!(cli.logs.target, LogTarget::File("x.log".into()));
        let levels = cli.logs.levels;
        assert_eq!((levels.of(Category::Http), levels.of(Category::Dicom)), (Verbosity::Verbose, Verbosity::Trace));
        assert!(parsed("").unwrap().configuration.is_empty());
    }

    #[test]
    fn actions_that_end_at_once() {
        assert_eq!(parsed("--config=x.json").unwrap().action, Action::WriteConfig("x.json".into()));
        assert_eq!(parsed("--config=-").unwrap().action, Action::WriteConfig("-".into()));
        assert_eq!(parsed("--print-config a.json").unwrap().action, Action::PrintConfig);
        assert_eq!(parsed("--openapi=x.json").unwrap().action, Action::WriteOpenApi("x.json".into()));
        assert_eq!(parsed("--version").unwrap().action, Action::Version);
        assert!(parsed("--help").is_err() && parsed("--nonsense").is_err() && parsed("--config").is_err());
    }
}
