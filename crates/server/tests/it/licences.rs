//! Every dependency may be shipped with an Apache-2.0 program.

use crate::tidy::metadata;

const ALLOWED: &[&str] = &[
    "0BSD",
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "BSL-1.0",
    "CC0-1.0",
    "CDLA-Permissive-2.0",
    "ISC",
    "MIT",
    "MIT-0",
    "Unicode-3.0",
    "Unlicense",
    "Zlib",
];

#[test]
fn licences_of_all_dependencies_are_compatible() {
    let metadata = metadata();
    let packages = metadata["packages"].as_array().unwrap();
    assert!(packages.len() > 50, "cargo metadata lists the dependencies");
    let refused: Vec<String> = packages
        .iter()
        .filter(|p| !p["license"].as_str().is_some_and(allows))
        .map(|p| format!("{} {}: {}", p["name"], p["version"], p["license"]))
        .collect();
    assert!(refused.is_empty(), "{refused:#?}");
}

/// Whether an SPDX expression can be satisfied by allowed licences alone.
fn allows(expression: &str) -> bool {
    let spaced = expression.replace('(', " ( ").replace(')', " ) ").replace('/', " OR ");
    let mut tokens: Vec<&str> = spaced.split_whitespace().rev().collect();
    let result = any_of(&mut tokens);
    result && tokens.is_empty()
}

fn any_of(tokens: &mut Vec<&str>) -> bool {
    let mut result = all_of(tokens);
    while tokens.pop_if(|t| *t == "OR").is_some() {
        result |= all_of(tokens);
    }
    result
}

fn all_of(tokens: &mut Vec<&str>) -> bool {
    let mut result = one(tokens);
    while tokens.pop_if(|t| *t == "AND").is_some() {
        result &= one(tokens);
    }
    result
}

fn one(tokens: &mut Vec<&str>) -> bool {
    match tokens.pop() {
        Some("(") => {
            let result = any_of(tokens);
            result && tokens.pop() == Some(")")
        }
        Some(name) if tokens.pop_if(|t| *t == "WITH").is_some() => {
            let exception = tokens.pop().unwrap_or_default();
            ALLOWED.contains(&format!("{name} WITH {exception}").as_str())
        }
        Some(name) => ALLOWED.contains(&name),
        None => false,
    }
}

#[test]
fn expressions_are_understood() {
    for yes in
        ["MIT", "MIT/Apache-2.0", "GPL-3.0 OR MIT", "(MIT OR GPL-2.0) AND ISC", "Apache-2.0 WITH LLVM-exception OR GPL-2.0"]
    {
        assert!(allows(yes), "{yes}");
    }
    for no in ["", "GPL-3.0", "MIT AND GPL-3.0", "(MIT OR ISC) AND GPL-2.0", "Apache-2.0 WITH Other", "(MIT"] {
        assert!(!allows(no), "{no}");
    }
}
