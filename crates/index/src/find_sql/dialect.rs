//! Where databases write the same thing differently.

use super::columns::alias;
use crate::postgres::functions::norm_name;
use model::Level;
use model::query::OrderAs;

/// A database's SQL.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Dialect {
    Sqlite,
    Postgres,
}

impl Dialect {
    pub(super) fn placeholder(self, number: usize) -> String {
        match self {
            Self::Sqlite => format!("?{number}"),
            Self::Postgres => format!("${number}"),
        }
    }

    /// The text under `key` of a JSON object.
    pub(super) fn json_text(self, column: &str, key: &str) -> String {
        match self {
            Self::Sqlite => format!("json_extract({column}, '$.\"{key}\"')"),
            Self::Postgres => format!("({column}::json ->> '{key}') COLLATE \"C\""),
        }
    }

    /// Rows of one column `value`, from a JSON array.
    pub(super) fn elements(self, array: &str) -> String {
        match self {
            Self::Sqlite => format!("json_each({array})"),
            Self::Postgres => format!("json_array_elements_text({array}::json)"),
        }
    }

    /// Whether a text is in a JSON array.
    pub(super) fn among(self, text: &str, array: &str) -> String {
        let elements = self.elements(array);
        match self {
            Self::Sqlite => format!("{text} IN (SELECT value FROM {elements})"),
            Self::Postgres => format!("{text} = ANY (ARRAY(SELECT value FROM {elements}))"),
        }
    }

    /// Whether a number is in a JSON array.
    pub(super) fn among_integers(self, number: &str, array: &str) -> String {
        match self {
            Self::Sqlite => format!("{number} IN (SELECT value FROM json_each({array}))"),
            Self::Postgres => {
                format!("{number} = ANY (ARRAY(SELECT value::bigint FROM json_array_elements_text({array}::json)))")
            }
        }
    }

    /// `model::matching::normalize` in the database, NULL for empty text.
    pub(super) fn normalized(self, text: &str) -> String {
        match self {
            Self::Sqlite => format!("norm({text})"),
            Self::Postgres => format!("{}({text}) COLLATE \"C\"", norm_name()),
        }
    }

    /// Without spaces at both ends.
    pub(super) fn trimmed(self, text: &str) -> String {
        match self {
            Self::Sqlite => format!("trim({text}, ' ')"),
            Self::Postgres => format!("btrim({text}, ' ') COLLATE \"C\""),
        }
    }

    /// A wildcard match, and the pattern as the operator wants it.
    pub(super) fn wildcard(self, text: &str, pattern: &str) -> String {
        match self {
            Self::Sqlite => format!("{text} GLOB {pattern}"),
            Self::Postgres => format!("{text} LIKE {pattern}"),
        }
    }

    pub(super) fn pattern(self, pattern: &str) -> String {
        match self {
            Self::Sqlite => pattern.replace('[', "[[]"),
            Self::Postgres => {
                pattern.replace('\\', "\\\\").replace('%', "\\%").replace('_', "\\_").replace('*', "%").replace('?', "_")
            }
        }
    }

    /// A text as a number: what it begins with, 0 without any digit.
    pub(super) fn number(self, text: &str, cast: OrderAs) -> String {
        let prefix = |pattern: &str| format!("coalesce(substring({text} FROM '{pattern}')::numeric, 0 * length({text}))");
        match (self, cast) {
            (_, OrderAs::Text) => text.to_owned(),
            (Self::Sqlite, OrderAs::Integer) => format!("CAST({text} AS INTEGER)"),
            (Self::Sqlite, OrderAs::Float) => format!("CAST({text} AS REAL)"),
            (Self::Postgres, OrderAs::Integer) => prefix("^\\s*([-+]?[0-9]{1,40})"),
            (Self::Postgres, OrderAs::Float) => {
                prefix("^\\s*([-+]?(?:[0-9]{1,40}(?:[.][0-9]{0,40})?|[.][0-9]{1,40})(?:[eE][-+]?[0-9]{1,2})?)")
            }
        }
    }

    /// Seconds since 1970 as `20261124T101530`.
    pub(super) fn iso(self, seconds: &str) -> String {
        match self {
            Self::Sqlite => format!("strftime('%Y%m%dT%H%M%S', {seconds}, 'unixepoch')"),
            Self::Postgres => {
                format!("to_char(to_timestamp({seconds}) AT TIME ZONE 'UTC', 'YYYYMMDD\"T\"HH24MISS') COLLATE \"C\"")
            }
        }
    }

    /// Keys that sort patients, studies or series by their last update.
    pub(super) fn by_last_update(self, level: Level, descending: bool) -> String {
        let (row, direction) = (alias(level), if descending { "DESC" } else { "ASC" });
        match (self, level) {
            // The index is on a coarser unit.
            (Self::Postgres, Level::Study) => format!("{row}.update_slot {direction}, {row}.last_update {direction}"),
            (Self::Postgres, _) => format!("{row}.last_update {direction}"),
            (Self::Sqlite, _) => format!("{row}.last_update {direction} NULLS LAST"),
        }
    }

    pub(super) fn label_is(self, table: &str, label: &str) -> String {
        match self {
            Self::Sqlite => format!("{table}.label = {label}"),
            // The key is a digest, because a label may be longer than an index entry.
            Self::Postgres => format!("md5({table}.label) = md5({label})"),
        }
    }

    /// A column that no index may be used for.
    pub(super) fn without_index(self, column: &str) -> String {
        match self {
            Self::Sqlite => format!("+{column}"),
            Self::Postgres if column.ends_with(".id") => format!("({column} + 0)"),
            Self::Postgres => format!("({column} || '')"),
        }
    }

    /// The text of a wildcard match: beside a range of its prefix, the range alone is for the index.
    pub(super) fn matched_text(self, text: &str, pattern: &str, has_prefix: bool) -> String {
        // All of an index of trigrams is read for a pattern that has none.
        let has_trigram = || pattern.split(|c: char| !c.is_alphanumeric()).any(|run| run.chars().nth(2).is_some());
        match self {
            Self::Sqlite => self.without_index(text.trim_start_matches('+')),
            Self::Postgres if !has_prefix && has_trigram() => text.to_owned(),
            Self::Postgres => self.without_index(text),
        }
    }

    /// A key of the order. Unless rows are read in their order anyway, the planner must not prefer an index that has it.
    pub(super) fn order_key(self, key: &str, walked: bool) -> String {
        match self {
            Self::Postgres if !walked && key.ends_with(".id") => format!("({key} + 0)"),
            Self::Postgres if !walked && !key.contains('(') => format!("({key} || '')"),
            _ => key.to_owned(),
        }
    }

    pub(super) fn use_index(self, index: &str) -> String {
        match self {
            Self::Sqlite => format!(" INDEXED BY {index}"),
            Self::Postgres => String::new(),
        }
    }

    pub(super) fn join(self) -> &'static str {
        match self {
            Self::Sqlite => "CROSS JOIN",
            Self::Postgres => "JOIN",
        }
    }
}
