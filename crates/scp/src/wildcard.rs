//! UID lists with `*` (any text) and `?` (any character), as Orthanc's options have them.

/// Whether `text` matches `pattern` as a whole.
pub(crate) fn matches(pattern: &str, text: &str) -> bool {
    let (pattern, text) = (pattern.as_bytes(), text.as_bytes());
    let (mut p, mut t) = (0, 0);
    // After the last `*`: where the pattern goes on, and up to where the star has eaten the text.
    let mut star: Option<(usize, usize)> = None;
    while let Some(&byte) = text.get(t) {
        match (pattern.get(p), star) {
            (Some(b'*'), _) => {
                star = Some((p + 1, t));
                p += 1;
            }
            (Some(&expected), _) if expected == byte || expected == b'?' => {
                p += 1;
                t += 1;
            }
            (_, Some((after, eaten))) => {
                star = Some((after, eaten + 1));
                p = after;
                t = eaten + 1;
            }
            _ => return false,
        }
    }
    pattern.iter().skip(p).all(|&byte| byte == b'*')
}

/// The UIDs of `known` that match any pattern, in their order, then the patterns without wildcard that are not known.
pub(crate) fn expand<'a>(patterns: &[String], known: impl Iterator<Item = &'a str>) -> Vec<String> {
    let mut found: Vec<String> = known.filter(|uid| patterns.iter().any(|p| matches(p, uid))).map(str::to_owned).collect();
    for pattern in patterns {
        if !pattern.contains(['*', '?']) && !found.contains(pattern) {
            found.push(pattern.clone());
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_whole_texts() {
        for (pattern, text, expected) in [
            ("1.2.*", "1.2.3", true),
            ("1.2.*", "1.2.", true),
            ("1.2.*", "1.2", false),
            ("*", "", true),
            ("", "", true),
            ("", "1", false),
            ("1.?.3", "1.2.3", true),
            ("1.?.3", "1.22.3", false),
            ("*.1*.9", "1.2.1.10.9", true),
            ("*.1*.9", "1.2.1.10.9.8", false),
            ("1.2", "1.2.3", false),
        ] {
            assert_eq!(matches(pattern, text), expected, "{pattern} and {text}");
        }
    }
}
