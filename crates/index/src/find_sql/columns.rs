//! The columns that searches use, beside `tags`.

use dataset::Tag;
use model::{Level, MainTags, tags};

pub(super) fn alias(level: Level) -> &'static str {
    ["p", "st", "se", "i"][level as usize]
}

pub(super) fn table(level: Level) -> &'static str {
    ["patient", "study", "series", "instance"][level as usize]
}

/// A column with normalised text.
pub(super) struct Column {
    pub(super) level: Level,
    tag: Tag,
    name: &'static str,
    pub(super) kind: Kind,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Indexed, nearly unique.
    Identifier,
    /// Indexed; many values.
    Value,
    /// Indexed; few values.
    Category,
    /// Not indexed.
    Plain,
}

const fn column(level: Level, tag: Tag, name: &'static str, kind: Kind) -> Column {
    Column { level, tag, name, kind }
}

const COLUMNS: &[Column] = &[
    column(Level::Patient, tags::PATIENT_ID, "patient_id", Kind::Identifier),
    column(Level::Patient, tags::PATIENT_NAME, "name", Kind::Value),
    column(Level::Patient, tags::PATIENT_BIRTH_DATE, "birth_date", Kind::Plain),
    column(Level::Patient, tags::PATIENT_SEX, "sex", Kind::Plain),
    column(Level::Study, tags::STUDY_INSTANCE_UID, "study_uid", Kind::Identifier),
    column(Level::Study, tags::STUDY_DATE, "study_date", Kind::Value),
    column(Level::Study, Tag(0x0008, 0x0030), "study_time", Kind::Plain),
    column(Level::Study, tags::ACCESSION_NUMBER, "accession", Kind::Identifier),
    column(Level::Study, Tag(0x0020, 0x0010), "study_id", Kind::Plain),
    column(Level::Study, tags::STUDY_DESCRIPTION, "description", Kind::Value),
    column(Level::Study, Tag(0x0008, 0x0090), "referring", Kind::Plain),
    column(Level::Study, Tag(0x0008, 0x0080), "institution", Kind::Plain),
    column(Level::Study, tags::PATIENT_ID, "patient_id", Kind::Identifier),
    column(Level::Study, tags::PATIENT_NAME, "name", Kind::Value),
    column(Level::Study, tags::PATIENT_BIRTH_DATE, "birth_date", Kind::Plain),
    column(Level::Study, tags::PATIENT_SEX, "sex", Kind::Plain),
    column(Level::Series, tags::SERIES_INSTANCE_UID, "series_uid", Kind::Identifier),
    column(Level::Series, tags::MODALITY, "modality", Kind::Category),
    column(Level::Series, Tag(0x0008, 0x103E), "description", Kind::Plain),
    column(Level::Series, Tag(0x0018, 0x0015), "body_part", Kind::Plain),
    column(Level::Instance, tags::SOP_INSTANCE_UID, "sop_uid", Kind::Identifier),
];

/// A column with the tags of one level as JSON.
pub(super) struct TagsColumn {
    /// The level of the row that it is in.
    pub(super) level: Level,
    pub(super) expression: String,
}

/// Where a search at `level` finds the tags of `home`, which is at that level or above: studies have a copy of their patient's.
pub(super) fn tags(level: Level, home: Level) -> TagsColumn {
    match home {
        Level::Patient if level > Level::Patient => TagsColumn { level: Level::Study, expression: "st.patient_tags".to_owned() },
        _ => TagsColumn { level: home, expression: format!("{}.tags", alias(home)) },
    }
}

/// The columns with normalised text of a level's rows: name, the level whose tag it is, and the tag.
pub(crate) fn normalized(level: Level) -> impl Iterator<Item = (&'static str, Level, Tag)> {
    let home = move |tag| MainTags::default().level_of(level, tag).unwrap_or(level);
    COLUMNS.iter().filter(move |c| c.level == level).map(move |c| (c.name, home(c.tag), c.tag))
}

impl Column {
    /// The column that a search at `level` uses for `tag`. Studies repeat their patient's columns.
    pub(super) fn of(level: Level, tag: Tag) -> Option<&'static Column> {
        let home = MainTags::default().level_of(level, tag)?;
        let home = if home == Level::Patient && level > Level::Patient { Level::Study } else { home };
        COLUMNS.iter().find(|c| c.level == home && c.tag == tag)
    }

    pub(super) fn expression(&self) -> String {
        format!("{}.{}", alias(self.level), self.name)
    }

    pub(super) fn index(&self) -> Option<String> {
        (self.kind != Kind::Plain).then(|| format!("{}_{}", table(self.level), self.name))
    }
}
