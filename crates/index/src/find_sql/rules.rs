//! Rules as tests of prepared text, and how selective they are.

use super::columns::Kind;
use model::matching::normalize;
use model::query::Rule;

/// How many rows a condition is expected to leave; less is better.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Selectivity {
    /// An identifier.
    Identifier,
    /// One of several identifiers.
    Identifiers,
    /// A value, a prefix, a label, a closed range of dates.
    Some,
    /// An open range.
    Many,
    /// The index is read whole, but nothing else is.
    Scan,
}

/// A rule with texts that are compared as they are.
pub(super) enum Test {
    Equal(String),
    In(Vec<String>),
    Like(String),
    Between(Option<String>, Option<String>),
}

impl Test {
    pub(super) fn new(rule: &Rule, prepare: impl Fn(&str) -> String) -> Self {
        let prepare = |text: &String| prepare(&text.replace('\0', " "));
        match rule {
            Rule::Single(text) => Self::Equal(prepare(text)),
            Rule::OneOf(list) => Self::In(list.iter().map(prepare).collect()),
            Rule::Wildcard(pattern) => match prepare(pattern) {
                empty if empty.is_empty() => Self::Equal(empty),
                pattern => Self::Like(pattern),
            },
            Rule::Range { from, to } => Self::Between(from.as_ref().map(prepare), to.as_ref().map(prepare)),
        }
    }

    pub(super) fn normalized(rule: &Rule) -> Self {
        Self::new(rule, normalize)
    }

    pub(super) fn exact(rule: &Rule) -> Self {
        Self::new(rule, |text| text.trim_matches(' ').to_owned())
    }

    /// What a case-sensitive rule implies for the normalised value; wildcards imply no more than their prefix, because an
    /// upper-cased character may become two.
    pub(super) fn implied(rule: &Rule) -> Option<Self> {
        match rule {
            Rule::Single(_) | Rule::OneOf(_) => Some(Self::normalized(rule)),
            Rule::Wildcard(pattern) => {
                let prefix = normalize(literal_prefix(pattern));
                (!prefix.is_empty()).then(|| Self::Between(Some(prefix.clone()), after_prefix(&prefix)))
            }
            Rule::Range { .. } => None,
        }
    }

    pub(super) fn selectivity(&self, kind: Kind) -> Option<Selectivity> {
        use Selectivity as S;
        Some(match (self, kind) {
            (_, Kind::Plain) => return None,
            (Self::Equal(_), Kind::Identifier) => S::Identifier,
            (Self::In(_), Kind::Identifier) => S::Identifiers,
            (_, Kind::Category) => S::Many,
            (Self::Equal(_) | Self::In(_) | Self::Between(Some(_), Some(_)), _) => S::Some,
            (Self::Like(pattern), _) if !literal_prefix(pattern).is_empty() => S::Some,
            (Self::Between(..), _) => S::Many,
            (Self::Like(_), _) => S::Scan,
        })
    }
}

pub(super) fn literal_prefix(pattern: &str) -> &str {
    pattern.split(['*', '?']).next().unwrap_or_default()
}

/// The least text that sorts after every text with this prefix; none if there is none.
pub(super) fn after_prefix(prefix: &str) -> Option<String> {
    let mut text = prefix.to_owned();
    while let Some(last) = text.pop() {
        let next = if last == '\u{D7FF}' { Some('\u{E000}') } else { char::from_u32(last as u32 + 1) };
        if let Some(next) = next {
            text.push(next);
            return Some(text);
        }
    }
    None
}
