//! The invariants of the workspace that a program can check (`ARCHITECTURE.md`).

use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;

/// Which rooms each room uses. What it uses, it may use through others too.
const USES: &[(&str, &[&str])] = &[
    ("dataset", &[]),
    ("model", &["dataset"]),
    ("imaging", &["dataset"]),
    ("dimse", &["dataset"]),
    ("index", &["model"]),
    ("storage", &["model"]),
    ("client", &["model"]),
    ("engine", &["model", "imaging", "dimse"]),
    ("scripting", &["engine"]),
    ("scp", &["engine", "dimse"]),
    ("web", &["engine"]),
    ("rest", &["web", "engine"]),
    ("dicomweb", &["web", "engine"]),
    ("server", &["index", "storage", "client", "scripting", "scp", "rest", "dicomweb"]),
    ("testkit", &["index", "storage", "scp", "rest"]),
];

/// The rooms that clients talk to. They use the engine, and never what lies behind it.
const DOORS: &[&str] = &["scp", "web", "rest", "dicomweb"];

const MAX_LINES: usize = 1000;
/// Longer files, each with its reason.
const LONG: &[(&str, &str)] = &[];

static METADATA: LazyLock<Value> = LazyLock::new(|| {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version=1", "--locked"])
        .current_dir(root())
        .output()
        .expect("cargo is there: it runs this test");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("cargo metadata prints JSON")
});

/// What cargo knows of the workspace and all its dependencies.
pub fn metadata() -> &'static Value {
    &METADATA
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
}

/// The files that are under version control, or will be.
fn files() -> Vec<PathBuf> {
    let listed = Command::new("git")
        .args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"])
        .current_dir(root())
        .output()
        .expect("git is installed");
    assert!(listed.status.success(), "{}", String::from_utf8_lossy(&listed.stderr));
    let names = String::from_utf8(listed.stdout).unwrap();
    let files: Vec<PathBuf> = names.split_terminator('\0').map(PathBuf::from).filter(|f| root().join(f).is_file()).collect();
    assert!(files.len() > 50, "git lists the files");
    files
}

fn has_extension(file: &Path, extensions: &[&str]) -> bool {
    file.extension().is_some_and(|e| extensions.iter().any(|x| e == *x))
}

/// The rooms that `room` may use, directly or not.
fn reachable(room: &str) -> BTreeSet<&'static str> {
    let direct = USES.iter().find(|(name, _)| *name == room).unwrap_or_else(|| panic!("{room} is not in the table of rooms")).1;
    direct.iter().flat_map(|used| reachable(used).into_iter().chain([*used])).collect()
}

#[test]
fn rooms_use_only_what_the_architecture_allows() {
    let members: BTreeMap<&str, &Value> = metadata()["packages"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|p| p["source"].is_null())
        .map(|p| (p["name"].as_str().unwrap(), p))
        .collect();
    assert!(members.len() >= 10, "{:?}", members.keys());
    for (room, package) in &members {
        let allowed = reachable(room);
        for dependency in package["dependencies"].as_array().unwrap() {
            let name = dependency["name"].as_str().unwrap();
            let is_dev = dependency["kind"] == "dev";
            assert!(is_dev || !members.contains_key(name) || allowed.contains(name), "{room} must not use {name}");
        }
    }
}

#[test]
fn doors_do_not_reach_behind_the_engine() {
    let mut seen = 0;
    for file in files().iter().filter(|f| has_extension(f, &["rs"])) {
        let text = fs::read_to_string(root().join(file)).unwrap();
        let is_door = DOORS.iter().any(|door| file.starts_with(format!("crates/{door}/src")));
        seen += usize::from(is_door);
        assert!(!is_door || !text.contains("ports::"), "{} uses a port", file.display());
    }
    assert!(seen > 10);
    let engine = fs::read_to_string(root().join("crates/engine/src/engine.rs")).unwrap();
    let fields = engine.split("pub struct Engine {").nth(1).and_then(|s| s.split('}').next()).unwrap();
    for port in ["index", "storage", "hooks"] {
        assert!(fields.contains(&format!("pub(crate) {port}:")), "the engine's {port} must be pub(crate)");
    }
}

#[test]
fn files_are_short() {
    for file in files().iter().filter(|f| has_extension(f, &["rs", "py", "sql"])) {
        let lines = fs::read_to_string(root().join(file)).unwrap().lines().count();
        let excused = LONG.iter().any(|(name, reason)| file == Path::new(name) && !reason.is_empty());
        assert!(lines <= MAX_LINES || excused, "{} has {lines} lines", file.display());
    }
}

#[test]
fn rooms_say_what_they_are() {
    for (room, _) in USES {
        let source =
            ["lib.rs", "main.rs"].iter().map(|f| root().join("crates").join(room).join("src").join(f)).find(|f| f.exists());
        let Some(source) = source else { continue };
        let text = fs::read_to_string(source).unwrap();
        assert!(text.lines().take_while(|l| l.starts_with("//!")).count() >= 3, "{room} does not open with what it is");
    }
}

#[test]
fn nothing_names_the_machine_it_was_written_on() {
    // Split, so that this file does not name them itself.
    let folders = [["/wo", "rk/"], ["/ro", "ot/"], ["/ho", "me/"], ["/Us", "ers/"]].map(|parts| parts.concat());
    for file in files() {
        let Ok(text) = fs::read_to_string(root().join(&file)) else { continue };
        for folder in &folders {
            let at_start = |at: usize| !text[..at].ends_with(|c: char| c.is_alphanumeric() || ".-_}".contains(c));
            let found = text.match_indices(folder.as_str()).find(|(at, _)| at_start(*at));
            assert!(found.is_none(), "{} names {folder}", file.display());
        }
    }
}

#[test]
fn both_databases_have_the_same_migrations() {
    let names = |database: &str| -> Vec<String> {
        let folder = Path::new("crates/index/src/migrations").join(database);
        files().iter().filter(|f| f.starts_with(&folder)).map(|f| f.file_name().unwrap().to_string_lossy().into_owned()).collect()
    };
    let (sqlite, postgres) = (names("sqlite"), names("postgres"));
    assert!(!sqlite.is_empty());
    assert!(postgres.is_empty() || sqlite == postgres, "{sqlite:?} {postgres:?}");
}

#[test]
fn decisions_are_numbered() {
    let decisions = files();
    let decisions = decisions.iter().filter(|f| f.starts_with("docs/decisions"));
    let names: Vec<_> = decisions.map(|f| f.file_name().unwrap().to_string_lossy().into_owned()).collect();
    let numbers: BTreeSet<_> = names.iter().map(|n| &n[..4]).collect();
    assert!(!names.is_empty() && numbers.len() == names.len(), "{names:?}");
    assert!(numbers.iter().all(|n| n.parse::<u16>().is_ok()), "{names:?}");
}

/// The part of a source that tests.
fn tests_of(file: &Path) -> String {
    let text = fs::read_to_string(root().join(file)).unwrap_or_default();
    let in_tests = file.components().any(|part| part.as_os_str() == "tests");
    if in_tests { text } else { text.split_once("#[cfg(test)]").map(|(_, tests)| tests.to_owned()).unwrap_or_default() }
}

#[test]
fn every_option_that_is_obeyed_is_named_in_a_test() {
    let sources = files().into_iter().filter(|f| has_extension(f, &["rs", "py"]) && !f.ends_with("tidy.rs"));
    let tests: String = sources.map(|f| tests_of(&f)).collect();
    let words: BTreeSet<&str> = tests.split(|c: char| !c.is_alphanumeric()).collect();
    let table = fs::read_to_string(root().join("crates/server/src/config/options.tsv")).unwrap();
    let options = table.lines().filter(|line| !line.starts_with('#')).map(|line| line.split('\t').collect::<Vec<_>>());
    let obeyed: Vec<_> = options.filter(|columns| ["now", "safety"].contains(&columns[3])).map(|columns| columns[0]).collect();
    assert!(obeyed.len() > 150, "{}", obeyed.len());
    let untested = obeyed.iter().filter(|option| !words.contains(option.rsplit('.').next().unwrap_or(option)));
    assert_eq!(untested.collect::<Vec<_>>(), Vec::<&&str>::new(), "options that no test names");
}

/// Documents whose tables name a test for each line, in the last column.
const PROVED: [&str; 2] = ["docs/job-contract.md", "docs/security.md"];

#[test]
fn what_documents_promise_has_tests_that_exist() {
    let sources = files().into_iter().filter(|f| has_extension(f, &["rs", "py"]));
    let all: String = sources.map(|f| fs::read_to_string(root().join(f)).unwrap_or_default()).collect();
    let mut proofs = 0;
    for document in PROVED {
        let text = fs::read_to_string(root().join(document)).unwrap();
        for line in text.lines().filter(|line| line.starts_with("| ")) {
            for name in line.rsplit('|').nth(1).unwrap_or_default().split('`').skip(1).step_by(2) {
                let forms = match name.strip_prefix("diff ") {
                    Some(case) => [format!("Case('{case}',"), String::new()],
                    None => [format!("fn {name}("), format!("def {name}(")],
                };
                assert!(forms.iter().any(|form| !form.is_empty() && all.contains(form)), "{document}: no {name}");
                proofs += 1;
            }
        }
    }
    assert!(proofs > 70, "{proofs}");
}
