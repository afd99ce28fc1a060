//! Normalisation and matching (PS3.4 C.2.2.2). Both databases and the engine's own filter follow these rules.

use crate::query::Rule;

/// At most so many characters of a normalised value are indexed and compared.
pub const NORM_CHARS: usize = 256;

/// What matching compares unless it is case sensitive: upper-cased by Unicode, runs of white space squeezed to one
/// space, both ends trimmed, cut to [`NORM_CHARS`] characters. Accents and all scripts are kept
/// (Orthanc reduces to ASCII and so cannot find other scripts). U+0000 counts as white space.
pub fn normalize(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut chars = 0;
    let mut gap = false;
    for c in text.chars().flat_map(char::to_uppercase) {
        if c.is_whitespace() || c == '\0' {
            gap = chars > 0;
            continue;
        }
        if gap {
            if chars + 1 >= NORM_CHARS {
                break;
            }
            out.push(' ');
            chars += 1;
            gap = false;
        }
        if chars == NORM_CHARS {
            break;
        }
        out.push(c);
        chars += 1;
    }
    out
}

/// Reads the text of a query key: empty or `*` matches everything (none), a backslash separates alternatives, a `-` in a
/// date or time is a range, `*` and `?` are wildcards (PS3.4 C.2.2.2).
pub fn parse_rule(text: &str, ranges: Ranges) -> Option<Rule> {
    if text.is_empty() || text.chars().all(|c| c == '*') {
        return None;
    }
    if text.contains('\\') {
        return Some(Rule::OneOf(text.split('\\').map(str::to_owned).collect()));
    }
    if ranges == Ranges::Allowed
        && let Some((from, to)) = text.split_once('-')
    {
        let bound = |t: &str| (!t.trim().is_empty()).then(|| t.trim().to_owned());
        return match (bound(from), bound(to)) {
            (None, None) => None,
            (from, to) => Some(Rule::Range { from, to }),
        };
    }
    Some(if text.contains(['*', '?']) { Rule::Wildcard(text.to_owned()) } else { Rule::Single(text.to_owned()) })
}

/// Whether a `-` makes a range: for VR DA, TM and DT.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ranges {
    Allowed,
    Literal,
}

/// Whether `value` satisfies `rule`. Both are normalised first unless `case_sensitive`, which only trims.
pub fn matches(rule: &Rule, value: &str, case_sensitive: bool) -> bool {
    let prepare = |t: &str| {
        if case_sensitive { t.trim_matches([' ', '\0']).to_owned() } else { normalize(t) }
    };
    let value = prepare(value);
    match rule {
        Rule::Single(text) => prepare(text) == value,
        Rule::OneOf(list) => list.iter().any(|t| prepare(t) == value),
        Rule::Wildcard(pattern) => wildcard(&prepare(pattern), &value),
        Rule::Range { from, to } => {
            !value.is_empty()
                && from.as_ref().is_none_or(|f| value >= prepare(f))
                && to.as_ref().is_none_or(|t| value <= prepare(t))
        }
    }
}

/// Whether `text` matches `pattern`, in time proportional to the product of their lengths at worst.
fn wildcard(pattern: &str, text: &str) -> bool {
    let (p, t): (Vec<char>, Vec<char>) = (pattern.chars().collect(), text.chars().collect());
    let (mut i, mut j) = (0, 0);
    let mut retry = None; // after the last star: its position, and where in the text it tried to end
    while j < t.len() {
        match p.get(i) {
            Some('*') => {
                retry = Some((i, j));
                i += 1;
            }
            Some(c) if *c == '?' || *c == t[j] => {
                i += 1;
                j += 1;
            }
            _ => match retry {
                Some((star, end)) => {
                    retry = Some((star, end + 1));
                    i = star + 1;
                    j = end + 1;
                }
                None => return false,
            },
        }
    }
    p[i..].iter().all(|c| *c == '*')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, ranges: Ranges, value: &str, expected: bool) {
        let found = parse_rule(text, ranges).is_none_or(|r| matches(&r, value, false));
        assert_eq!(found, expected, "{text:?} against {value:?}");
    }

    #[test]
    fn wildcards_lists_and_ranges() {
        check("doe*", Ranges::Literal, "DOE^JOHN", true);
        check("*JOHN", Ranges::Literal, "DOE^JOHN", true);
        check("D?E^*", Ranges::Literal, "DOE^JOHN", true);
        check("D?E", Ranges::Literal, "DOE^JOHN", false);
        check("*a*b*c*", Ranges::Literal, "xxAyyBzzC", true);
        check("müller*", Ranges::Literal, "MÜLLER^ÉVA", true);
        check("山田*", Ranges::Literal, "山田^太郎", true);
        check("A\\B", Ranges::Literal, "b", true);
        check("A\\B", Ranges::Literal, "c", false);
        check("20200101-20201231", Ranges::Allowed, "20200615", true);
        check("20200101-", Ranges::Allowed, "20191231", false);
        check("-20200101", Ranges::Allowed, "", false);
        check("2020-2021", Ranges::Literal, "2020-2021", true);
        check("", Ranges::Literal, "anything", true);
        check(" doe  ^x", Ranges::Literal, "DOE ^X ", true);
    }

    #[test]
    fn norms_are_bounded_and_stable() {
        let long = "é ".repeat(100_000);
        let norm = normalize(&long);
        assert!(norm.chars().count() <= NORM_CHARS);
        assert_eq!(normalize(&norm), norm);
        assert_eq!(normalize("a\0b"), "A B");
        assert_eq!(normalize(" \0 "), "");
    }

    #[test]
    fn a_hostile_pattern_ends() {
        let pattern = "*a".repeat(200) + "b";
        assert!(!matches(&Rule::Wildcard(pattern), &"a".repeat(10_000), true));
    }
}
