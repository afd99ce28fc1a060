//! How folders and files of an archive are called: by Orthanc's rules, measured on 1.13 (see `docs/differences.md`).

use model::{TagMap, tags};
use std::collections::HashMap;

/// Longest name of one folder or file, in bytes: file systems take 255, and a number may follow.
const MAX_NAME_BYTES: usize = 240;
/// What Windows does not allow in a name, and what separates folders.
const FORBIDDEN: [char; 9] = ['/', ':', '*', '?', '"', '<', '>', '|', '\\'];

/// Which characters names may have (Orthanc: `Utf8`, option `ZipUseUtf8`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Characters {
    Ascii,
    Utf8,
}

/// `PatientID - PatientName`
pub(super) fn patient(tags: &TagMap, characters: Characters) -> String {
    let (id, name) = (value(tags, tags::PATIENT_ID), value(tags, tags::PATIENT_NAME));
    let folder = if name.is_empty() { id.to_owned() } else { format!("{id} - {name}") };
    clean(&folder, characters, "Unknown Patient")
}

/// `AccessionNumber - StudyDescription`
pub(super) fn study(tags: &TagMap, characters: Characters) -> String {
    let parts = [tags::ACCESSION_NUMBER, tags::STUDY_DESCRIPTION].map(|tag| value(tags, tag));
    clean(&join(&parts), characters, "Unknown Study")
}

/// `SeriesNumber - Modality - SeriesDescription`
pub(super) fn series(tags: &TagMap, characters: Characters) -> String {
    let parts = [tags::SERIES_NUMBER, tags::MODALITY, tags::SERIES_DESCRIPTION].map(|tag| value(tags, tag));
    clean(&join(&parts), characters, "Unknown Series")
}

/// Eight characters: the first two of the modality and a number, as in `CT000001.dcm`.
pub(super) fn file(series: &TagMap, number: i32, characters: Characters) -> String {
    let prefix: String = value(series, tags::MODALITY).chars().take(2).map(|c| c.to_ascii_uppercase()).collect();
    let digits = 8 - prefix.chars().count();
    clean(&format!("{prefix}{number:0digits$}.dcm"), characters, "Unknown Instance")
}

fn value(tags: &TagMap, tag: dataset::Tag) -> &str {
    tags.get(tag).unwrap_or_default().trim()
}

/// What is not empty, with hyphens between.
fn join(parts: &[&str]) -> String {
    parts.iter().filter(|part| !part.is_empty()).copied().collect::<Vec<_>>().join(" - ")
}

/// A name that every file system takes, and that leads nowhere but into its own folder.
fn clean(text: &str, characters: Characters, otherwise: &str) -> String {
    let kept = text.chars().filter(|c| characters == Characters::Utf8 || matches!(c, '\n' | ' '..='~'));
    let spaced: String = kept.map(|c| if c < ' ' || FORBIDDEN.contains(&c) { ' ' } else { c }).collect();
    let mut name = spaced.split(' ').filter(|part| !part.is_empty()).collect::<Vec<_>>().join(" ");
    while name.len() > MAX_NAME_BYTES {
        name.pop();
    }
    let name = name.trim_end();
    if name.chars().all(|c| c == '.' || c == ' ') { otherwise.to_owned() } else { name.to_owned() }
}

/// The names of one folder. No two differ in case only, so that none is lost where case does not count.
#[derive(Default)]
pub(super) struct Names {
    /// Each name that is taken, in lower case, with the next number to try behind it.
    taken: HashMap<String, u64>,
}

impl Names {
    /// The name itself, or with the first free number behind it: `name-2`, `name-3`.
    pub(super) fn unique(&mut self, name: String) -> String {
        let key = name.to_lowercase();
        let Some(mut number) = self.taken.get(&key).copied() else {
            self.taken.insert(key, 2);
            return name;
        };
        while self.taken.contains_key(&format!("{key}-{number}")) {
            number += 1;
        }
        self.taken.insert(format!("{key}-{number}"), 2);
        self.taken.insert(key, number + 1);
        format!("{name}-{number}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use dataset::Tag;

    fn map<const N: usize>(values: [(Tag, &str); N]) -> TagMap {
        values.into_iter().map(|(tag, value)| (tag, value.to_owned())).collect()
    }

    fn study_folder(accession: &str, description: &str, characters: Characters) -> String {
        study(&map([(tags::ACCESSION_NUMBER, accession), (tags::STUDY_DESCRIPTION, description)]), characters)
    }

    /// As answered by Orthanc 1.13, except where the comment says so.
    #[test]
    fn folders() {
        use Characters::{Ascii, Utf8};
        for (id, name, expected) in [
            ("P1", "Doe^John^^Dr", "P1 - Doe^John^^Dr"),
            ("P1", "", "P1"),
            ("", "Doe^John", "- Doe^John"),
            ("", "", "Unknown Patient"),
            ("/", "/", "-"),
            ("P1", "  lead  trail   in  ", "P1 - lead trail in"),
            ("P1", "Doe^John=X=Y", "P1 - Doe^John=X=Y"),
        ] {
            let tags = map([(tags::PATIENT_ID, id), (tags::PATIENT_NAME, name)]);
            assert_eq!(patient(&tags, Ascii), expected);
        }
        assert_eq!(patient(&TagMap::new(), Utf8), "Unknown Patient");
        for (accession, description, ascii, utf8) in [
            ("A1", "Study", "A1 - Study", "A1 - Study"),
            ("", "Study", "Study", "Study"),
            ("A1", "", "A1", "A1"),
            ("", "  ", "Unknown Study", "Unknown Study"),
            ("A1", "/", "A1 -", "A1 -"),
            ("/", "/", "-", "-"),
            (
                "A1",
                "a/b:c*d?e\"f<g>h|i,j;k'l(m)n[o]p{q}r!s@t#u$v%w^x&y+z=~`",
                "A1 - a b c d e f g h i,j;k'l(m)n[o]p{q}r!s@t#u$v%w^x&y+z=~`",
                "A1 - a b c d e f g h i,j;k'l(m)n[o]p{q}r!s@t#u$v%w^x&y+z=~`",
            ),
            ("A1", "a\tb\rc\nd\u{1}e\u{7f}f", "A1 - abc def", "A1 - a b c d e\u{7f}f"),
            ("A1", "été Δ e\u{301} \u{1F600}", "A1 - t e", "A1 - été Δ e\u{301} \u{1F600}"),
            ("A1", "..", "A1 - ..", "A1 - .."),
            ("", "../../etc/passwd", ".. .. etc passwd", ".. .. etc passwd"),
            // Orthanc: `..`, the folder above, and no folder at all.
            ("", "..", "Unknown Study", "Unknown Study"),
            ("", "./..", "Unknown Study", "Unknown Study"),
            ("", "é", "Unknown Study", "é"),
        ] {
            assert_eq!(study_folder(accession, description, Ascii), ascii);
            assert_eq!(study_folder(accession, description, Utf8), utf8);
        }
        let only_modality = map([(tags::MODALITY, "RTSTRUCT")]);
        assert_eq!(series(&only_modality, Ascii), "RTSTRUCT");
        assert_eq!(series(&TagMap::new(), Ascii), "Unknown Series");
        let numbered = [(tags::SERIES_NUMBER, "12 "), (tags::MODALITY, "CT"), (tags::SERIES_DESCRIPTION, "Lung")];
        assert_eq!(series(&map(numbered), Ascii), "12 - CT - Lung");
        assert_eq!(series(&map([(tags::SERIES_NUMBER, "12"), (tags::MODALITY, "CT")]), Ascii), "12 - CT");
    }

    #[test]
    fn files() {
        for (modality, number, expected) in [
            ("CT", 0, "CT000000.dcm"),
            ("ct", 7, "CT000007.dcm"),
            ("", 0, "00000000.dcm"),
            ("X", 12, "X0000012.dcm"),
            ("RTSTRUCT", 0, "RT000000.dcm"),
            ("c-d", 0, "C-000000.dcm"),
            ("a/b", 0, "A 000000.dcm"),
            ("?", 0, "0000000.dcm"),
            ("CT", 1_000_000, "CT1000000.dcm"),
            ("CT", -647_710_720, "CT-647710720.dcm"),
        ] {
            assert_eq!(file(&map([(tags::MODALITY, modality)]), number, Characters::Ascii), expected);
        }
        assert_eq!(file(&TagMap::new(), 3, Characters::Utf8), "00000003.dcm");
    }

    #[test]
    fn long_names_are_cut_between_characters() {
        let name = study_folder("", &"é".repeat(200), Characters::Utf8);
        assert_eq!((name.len(), name.chars().count()), (240, 120));
        assert_eq!(study_folder("", &format!("{} b", "a".repeat(239)), Characters::Utf8), "a".repeat(239));
    }

    #[test]
    fn names_of_a_folder_are_unique() {
        let mut names = Names::default();
        let mut add = |name: &str| names.unique(name.to_owned());
        assert_eq!([add("a"), add("a"), add("a")], ["a", "a-2", "a-3"]);
        // Orthanc: the same name twice.
        assert_eq!([add("b"), add("b-2"), add("b")], ["b", "b-2", "b-3"]);
        assert_eq!([add("C"), add("c")], ["C", "c-2"]);
    }
}
