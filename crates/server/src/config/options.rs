//! The table of every option that Orthanc and its plugins know, by name: `options.tsv`.
//!
//! `option`: the path in the configuration; `*` stands for a name that the user chooses.
//! `type`: `bool`, `int:MIN..MAX`, `string`, `path`, `list` (of strings), `object`, `entries` (named objects, or arrays in an
//! older form), `enum:A|B` (`enum|bool:` if booleans are taken too), `any`.
//! `status`: see [`Status`]. A fifth column, `node`: see [`Scope`].

use serde_json::Value;
use std::collections::HashMap;
use std::sync::LazyLock;

/// What this version does with an option.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// Obeyed.
    Now,
    /// Known, not obeyed yet: worth a warning when it asks for something.
    Later,
    /// Has no meaning here (thread counts, memory arenas, …): accepted in silence.
    Moot,
    /// Protects, and is not obeyed yet: the server does not start when it asks for protection.
    Safety,
}

/// Whether the processes of a cluster may differ in an option.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// It must be equal on all of them.
    Shared,
    /// It concerns one process.
    Node,
}

/// What values an option takes.
#[derive(Clone, Debug, PartialEq)]
pub enum Kind {
    Bool,
    Integer { min: i64, max: i64 },
    Text,
    Path,
    List,
    Object,
    Entries,
    Choice { values: Vec<&'static str>, or_bool: bool },
    Any,
}

impl Kind {
    fn parse(text: &'static str) -> Option<Kind> {
        let (name, detail) = text.split_once(':').unwrap_or((text, ""));
        Some(match name {
            "bool" => Kind::Bool,
            "string" => Kind::Text,
            "path" => Kind::Path,
            "list" => Kind::List,
            "object" => Kind::Object,
            "entries" => Kind::Entries,
            "any" => Kind::Any,
            "enum" | "enum|bool" => Kind::Choice { values: detail.split('|').collect(), or_bool: name.ends_with("bool") },
            "int" => {
                let (min, max) = detail.split_once("..")?;
                let max = if max.is_empty() { i64::from(u32::MAX) } else { max.parse().ok()? };
                Kind::Integer { min: min.parse().ok()?, max }
            }
            _ => return None,
        })
    }

    pub fn accepts(&self, value: &Value) -> bool {
        match self {
            Kind::Bool => value.is_boolean(),
            Kind::Integer { min, max } => value.as_i64().is_some_and(|n| (*min..=*max).contains(&n)),
            Kind::Text | Kind::Path => value.is_string(),
            Kind::List => value.as_array().is_some_and(|items| items.iter().all(Value::is_string)),
            Kind::Object => value.is_object(),
            Kind::Entries => value.as_object().is_some_and(|o| o.values().all(|v| v.is_object() || v.is_array())),
            Kind::Choice { values, or_bool } => {
                value.as_str().is_some_and(|s| values.contains(&s)) || *or_bool && value.is_boolean()
            }
            Kind::Any => true,
        }
    }

    /// The phrase for error messages.
    pub fn expected(&self) -> String {
        match self {
            Kind::Bool => "true or false".into(),
            Kind::Integer { min, max } if *max == i64::from(u32::MAX) => format!("an integer of at least {min}"),
            Kind::Integer { min, max } => format!("an integer from {min} to {max}"),
            Kind::Text => "a string".into(),
            Kind::Path => "a string (a path)".into(),
            Kind::List => "an array of strings".into(),
            Kind::Object => "an object".into(),
            Kind::Entries => "an object of named objects (or arrays)".into(),
            Kind::Choice { values, .. } => format!("one of {}", values.join(", ")),
            Kind::Any => "any value".into(),
        }
    }

    /// Whether a text from the environment must stay a text even if it reads as JSON (a name that is `123`).
    pub fn is_text(&self) -> bool {
        matches!(self, Kind::Text | Kind::Path)
    }
}

/// One row of the table.
#[derive(Debug)]
pub struct Spec {
    pub path: &'static str,
    pub kind: Kind,
    pub default: Option<Value>,
    pub status: Status,
    pub scope: Scope,
}

/// The table.
pub struct Table {
    rows: Vec<Spec>,
    by_path: HashMap<&'static str, usize>,
}

static TABLE: LazyLock<Table> = LazyLock::new(|| {
    let rows: Vec<Spec> = include_str!("options.tsv").lines().filter(|l| !l.starts_with('#')).filter_map(row).collect();
    let by_path = rows.iter().enumerate().map(|(i, row)| (row.path, i)).collect();
    Table { rows, by_path }
});

/// The table of all known options.
pub fn table() -> &'static Table {
    &TABLE
}

fn row(line: &'static str) -> Option<Spec> {
    let mut columns = line.split('\t');
    let (path, kind, default, status) = (columns.next()?, columns.next()?, columns.next()?, columns.next()?);
    let status = match status {
        "now" => Status::Now,
        "later" => Status::Later,
        "moot" => Status::Moot,
        "safety" => Status::Safety,
        _ => return None,
    };
    let default = if default == "-" { None } else { Some(serde_json::from_str(default).ok()?) };
    let scope = match columns.next() {
        None => Scope::Shared,
        Some("node") => Scope::Node,
        Some(_) => return None,
    };
    Some(Spec { path, kind: Kind::parse(kind)?, default, status, scope })
}

impl Table {
    pub fn find(&self, path: &str) -> Option<&Spec> {
        self.by_path.get(path).map(|i| &self.rows[*i])
    }

    /// The options directly below `path` (`""` for the top), with their own names.
    pub fn below<'a>(&'a self, path: &'a str) -> impl Iterator<Item = (&'static str, &'a Spec)> {
        self.rows.iter().filter_map(move |row| {
            let rest = if path.is_empty() { row.path } else { row.path.strip_prefix(path)?.strip_prefix('.')? };
            (!rest.contains('.')).then_some((rest, row))
        })
    }
}

/// A name without case and underscores: how names are compared where their exact form is not known.
pub fn folded(name: &str) -> String {
    name.chars().filter(|c| *c != '_').map(|c| c.to_ascii_lowercase()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_of_the_table_is_read_and_its_default_fits_its_type() {
        let lines: Vec<_> = include_str!("options.tsv").lines().filter(|l| !l.starts_with('#')).collect();
        assert_eq!(table().rows.len(), lines.len());
        assert_eq!(table().by_path.len(), lines.len(), "an option stands there twice");
        for spec in &table().rows {
            if let Some(default) = &spec.default {
                assert!(spec.kind.accepts(default), "{}: {default}", spec.path);
            }
            if let Some((parent, _)) = spec.path.rsplit_once('.') {
                assert!(parent.ends_with(".*") || table().find(parent).is_some(), "{} has no section", spec.path);
            }
        }
    }

    #[test]
    fn names_stay_apart_when_folded() {
        for section in ["", "PostgreSQL", "DicomWeb", "DicomModalities.*"] {
            let mut names: Vec<_> = table().below(section).map(|(name, _)| folded(name)).collect();
            let count = names.len();
            names.sort();
            names.dedup();
            assert_eq!(names.len(), count);
        }
    }
}
