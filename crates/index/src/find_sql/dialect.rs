//! Where databases write the same thing differently.

use model::query::OrderAs;

/// A database's SQL.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Dialect {
    Sqlite,
}

impl Dialect {
    pub(super) fn placeholder(self, number: usize) -> String {
        match self {
            Self::Sqlite => format!("?{number}"),
        }
    }

    /// The text under `key` of a JSON object.
    pub(super) fn json_text(self, column: &str, key: &str) -> String {
        match self {
            Self::Sqlite => format!("json_extract({column}, '$.\"{key}\"')"),
        }
    }

    /// Rows of one column `value`, from a JSON array.
    pub(super) fn elements(self, array: &str) -> String {
        match self {
            Self::Sqlite => format!("json_each({array})"),
        }
    }

    /// A SELECT of the numbers of a JSON array.
    pub(super) fn integers(self, array: &str) -> String {
        match self {
            Self::Sqlite => format!("SELECT value FROM json_each({array})"),
        }
    }

    /// `model::matching::normalize` in the database, NULL for empty text.
    pub(super) fn normalized(self, text: &str) -> String {
        match self {
            Self::Sqlite => format!("norm({text})"),
        }
    }

    /// A wildcard match, and the pattern as the operator wants it.
    pub(super) fn wildcard(self, text: &str, pattern: &str) -> String {
        match self {
            Self::Sqlite => format!("{text} GLOB {pattern}"),
        }
    }

    pub(super) fn pattern(self, pattern: &str) -> String {
        match self {
            Self::Sqlite => pattern.replace('[', "[[]"),
        }
    }

    pub(super) fn number(self, text: &str, cast: OrderAs) -> String {
        match (self, cast) {
            (Self::Sqlite, OrderAs::Integer) => format!("CAST({text} AS INTEGER)"),
            (Self::Sqlite, OrderAs::Float) => format!("CAST({text} AS REAL)"),
            (Self::Sqlite, OrderAs::Text) => text.to_owned(),
        }
    }

    /// A column that no index may be used for.
    pub(super) fn without_index(self, column: &str) -> String {
        match self {
            Self::Sqlite => format!("+{column}"),
        }
    }

    pub(super) fn use_index(self, index: &str) -> String {
        match self {
            Self::Sqlite => format!(" INDEXED BY {index}"),
        }
    }

    pub(super) fn join(self) -> &'static str {
        match self {
            Self::Sqlite => "CROSS JOIN",
        }
    }
}
