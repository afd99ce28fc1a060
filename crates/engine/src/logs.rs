//! How much is logged: Orthanc's levels and categories, as the command line and clients choose them
//! (Orthanc: `--verbose`, `--trace-http`, `/tools/log-level`, `/tools/log-level-{category}`).

use model::{Error, ErrorKind, Result};
use serde_json::{Map, Value};

/// How much is said; more is greater.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verbosity {
    Default,
    Verbose,
    Trace,
}

impl Verbosity {
    const ALL: [Self; 3] = [Self::Default, Self::Verbose, Self::Trace];

    pub fn name(self) -> &'static str {
        ["default", "verbose", "trace"][self as usize]
    }

    /// Reads a name.
    ///
    /// # Errors
    /// `OutOfRange`, with Orthanc's words.
    pub fn parse(name: &str) -> Result<Self> {
        Self::ALL.into_iter().find(|v| v.name() == name).ok_or_else(|| {
            let message = format!("Verbosity can be \"default\", \"verbose\" or \"trace\": {name}");
            Error::new(ErrorKind::OutOfRange, message)
        })
    }
}

/// Orthanc's categories of log lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Category {
    Generic,
    Plugins,
    Http,
    Sqlite,
    Dicom,
    Jobs,
    Lua,
}

impl Category {
    pub const ALL: [Category; 7] = {
        use Category::*;
        [Generic, Plugins, Http, Sqlite, Dicom, Jobs, Lua]
    };

    pub fn name(self) -> &'static str {
        ["generic", "plugins", "http", "sqlite", "dicom", "jobs", "lua"][self as usize]
    }
}

/// The verbosity of each category.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogLevels([Verbosity; 7]);

impl Default for LogLevels {
    fn default() -> Self {
        Self::all(Verbosity::Default)
    }
}

impl LogLevels {
    pub fn all(verbosity: Verbosity) -> Self {
        Self([verbosity; 7])
    }

    pub fn of(&self, category: Category) -> Verbosity {
        self.0[category as usize]
    }

    pub fn set(&mut self, category: Category, verbosity: Verbosity) {
        self.0[category as usize] = verbosity;
    }

    /// The verbosity of the most talkative category: what Orthanc answers for all of them.
    pub fn highest(&self) -> Verbosity {
        self.0.into_iter().max().unwrap_or(Verbosity::Default)
    }

    /// `{"generic":"default",…}`
    pub(crate) fn to_json(self) -> String {
        let names = Category::ALL.into_iter().map(|c| (c.name().to_owned(), Value::from(self.of(c).name())));
        Value::Object(names.collect::<Map<_, _>>()).to_string()
    }

    /// Reads what [`Self::to_json`] wrote. Categories that are not there are silent.
    pub(crate) fn from_json(text: &str) -> Option<Self> {
        let names: Map<String, Value> = serde_json::from_str(text).ok()?;
        let mut levels = Self::default();
        for category in Category::ALL {
            if let Some(name) = names.get(category.name()) {
                levels.set(category, Verbosity::parse(name.as_str()?).ok()?);
            }
        }
        Some(levels)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_have_names_and_a_highest() {
        let mut levels = LogLevels::default();
        assert_eq!(levels.highest(), Verbosity::Default);
        levels.set(Category::Http, Verbosity::Trace);
        assert_eq!((levels.highest(), levels.of(Category::Dicom)), (Verbosity::Trace, Verbosity::Default));
        assert!(levels.to_json().contains(r#""http":"trace""#));
        assert_eq!(LogLevels::from_json(&levels.to_json()), Some(levels));
        assert_eq!(LogLevels::from_json(r#"{"http": 1}"#), None);
        for verbosity in Verbosity::ALL {
            assert_eq!(Verbosity::parse(verbosity.name()).unwrap(), verbosity);
        }
        assert_eq!(Verbosity::parse("Trace").unwrap_err().kind(), ErrorKind::OutOfRange);
    }
}
