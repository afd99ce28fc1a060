//! How resources are called in folders, and back. Where a name would lose something (a slash, blanks at its ends, its end if it is too
//! long) or is taken, the public id follows in brackets.

use super::{Entry, Place, View, value};
use dataset::Tag;
use model::{Level, Resource, tags};

/// Bytes of the longest name, without the id.
const LONGEST: usize = 180;

const SERIES_DESCRIPTION: Tag = Tag(0x0008, 0x103E);

/// The name of a resource in a view.
pub(super) fn of(view: View, resource: &Resource) -> String {
    let text = |level, tag| value(resource, level, tag).unwrap_or_default();
    let parts: Vec<&str> = match (view, resource.level) {
        (View::Uids, Level::Study) => vec![text(Level::Study, tags::STUDY_INSTANCE_UID)],
        (View::Uids, Level::Series) => vec![text(Level::Series, tags::SERIES_INSTANCE_UID)],
        (View::Uids, Level::Instance) => return format!("{}.dcm", text(Level::Instance, tags::SOP_INSTANCE_UID)),
        (_, Level::Instance) => return format!("{}.dcm", resource.id),
        (_, Level::Series) => vec![text(Level::Series, tags::MODALITY), text(Level::Series, SERIES_DESCRIPTION)],
        (View::Patients, Level::Study) => {
            vec![text(Level::Study, tags::STUDY_DATE), text(Level::Study, tags::STUDY_DESCRIPTION)]
        }
        (_, Level::Patient) => vec![text(Level::Patient, tags::PATIENT_ID), text(Level::Patient, tags::PATIENT_NAME)],
        (_, Level::Study) => vec![
            text(Level::Patient, tags::PATIENT_ID),
            text(Level::Patient, tags::PATIENT_NAME),
            text(Level::Study, tags::STUDY_DESCRIPTION),
        ],
    };
    let name = parts.iter().filter(|p| !p.is_empty()).copied().collect::<Vec<_>>().join(" - ");
    let tidy = tidied(&name);
    // Whoever has no identifier cannot be found by it.
    let is_found = view == View::Uids || resource.level == Level::Series || parts.first().is_some_and(|p| !p.is_empty());
    if tidy == name && is_found { name } else { format!("{tidy} [{}]", resource.id).trim_start().to_owned() }
}

/// What can be the name of a file on any system.
fn tidied(name: &str) -> String {
    let kept: String = name.chars().filter(|c| !c.is_control() && !"/\\".contains(*c)).collect();
    let mut end = kept.len().min(LONGEST);
    while !kept.is_char_boundary(end) {
        end -= 1;
    }
    let kept = kept[..end].trim_matches(|c: char| c.is_whitespace() || c == '.');
    kept.to_owned()
}

/// The name of one whose plain name is taken.
pub(super) fn with_id(entry: &Entry) -> String {
    match &entry.place {
        Place::Folder(_, _, id) => format!("{} [{id}]", entry.name),
        Place::File(id) => format!("{} [{id}].dcm", entry.name.trim_end_matches(".dcm")),
        _ => entry.name.clone(),
    }
}

/// Searches that may find the resource of a name: a tag and its value, or no tag and the public id. The name is compared afterwards.
pub(super) fn keys(view: View, level: Level, name: &str) -> Vec<(Option<Tag>, String)> {
    let stem = if level == Level::Instance { name.strip_suffix(".dcm").unwrap_or_default() } else { name };
    let bracketed = stem.strip_suffix(']').and_then(|n| n.rsplit_once('[')).map(|(_, id)| (None, id.to_owned()));
    let plain = match (view, level) {
        (View::Uids, Level::Study) => vec![(Some(tags::STUDY_INSTANCE_UID), stem.to_owned())],
        (View::Uids, Level::Series) => vec![(Some(tags::SERIES_INSTANCE_UID), stem.to_owned())],
        (View::Uids, Level::Instance) => vec![(Some(tags::SOP_INSTANCE_UID), stem.to_owned())],
        (_, Level::Instance) => vec![(None, stem.to_owned())],
        (_, Level::Series) => series_keys(stem),
        (View::Patients, Level::Study) => dated_keys(stem),
        // An id may hold the separator itself.
        (_, Level::Patient | Level::Study) => {
            let ends = stem.match_indices(" - ").take(8).map(|(at, _)| at).chain([stem.len()]).filter(|at| *at > 0);
            ends.map(|at| (Some(tags::PATIENT_ID), stem[..at].to_owned())).collect()
        }
    };
    // A wildcard in a value finds more than it says, never less; a backslash is in no name.
    bracketed.into_iter().chain(plain).collect()
}

fn series_keys(name: &str) -> Vec<(Option<Tag>, String)> {
    // A modality has no separator (CS); empty matches everything.
    let modality = name.split_once(" - ").map_or("", |(modality, _)| modality);
    vec![(Some(tags::MODALITY), modality.to_owned())]
}

fn dated_keys(name: &str) -> Vec<(Option<Tag>, String)> {
    let date = name.split_once(" - ").map_or("", |(date, _)| date);
    let is_date = date.len() == 8 && date.bytes().all(|b| b.is_ascii_digit());
    vec![(Some(tags::STUDY_DATE), if is_date { date.to_owned() } else { String::new() })]
}

/// The file that describes a study or series.
pub(super) fn record(level: Level) -> Option<&'static str> {
    match level {
        Level::Study => Some("study.json"),
        Level::Series => Some("series.json"),
        Level::Patient | Level::Instance => None,
    }
}

/// `2007`
pub(super) fn year(name: &str) -> Option<String> {
    (name.len() == 4 && name.bytes().all(|b| b.is_ascii_digit())).then(|| name.to_owned())
}

/// `2007-01` as `200701`.
pub(super) fn month(year: &str, name: &str) -> Option<String> {
    let month = name.strip_prefix(year)?.strip_prefix('-').filter(|month| month.bytes().all(|b| b.is_ascii_digit()))?;
    let number: u8 = month.parse().ok()?;
    (month.len() == 2 && (1..=12).contains(&number)).then(|| format!("{year}{month}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_fit_every_file_system() {
        for (name, expected) in [
            ("MR - AX.  FSE PD", "MR - AX.  FSE PD"),
            ("a/b\\c\u{0}\r\n", "abc"),
            ("..", ""),
            (" - ", "-"),
            ("été - 山田", "été - 山田"),
        ] {
            assert_eq!(tidied(name), expected, "{name:?}");
        }
        assert_eq!(tidied(&"é".repeat(200)).len(), LONGEST);
    }

    #[test]
    fn keys_of_names() {
        let keys = |name: &str| keys(View::Studies, Level::Study, name);
        let id = |text: &str| (Some(tags::PATIENT_ID), text.to_owned());
        assert_eq!(keys("a - b - c"), [id("a"), id("a - b"), id("a - b - c")]);
        assert_eq!(keys("x"), [id("x")]);
        assert_eq!(keys("x [y]"), [(None, "y".to_owned()), id("x [y]")]);
        assert_eq!(keys(""), []);
    }

    #[test]
    fn months_belong_to_their_year() {
        assert_eq!(month("2007", "2007-01"), Some("200701".into()));
        for name in ["2008-01", "2007-13", "2007-00", "2007-1", "200701", "2007-+1"] {
            assert_eq!(month("2007", name), None, "{name}");
        }
    }
}
