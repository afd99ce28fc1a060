//! Arguments that many routes share: which tags, which parts of a resource.

use crate::routes::{Kind, Parameter};
use crate::state::Rest;
use dataset::Tag;
use model::{Error, ErrorKind, Fields, Level, Result};
use web::Params;

/// Which parts of a resource to show (Orthanc: `/tools/find` "ResponseContent").
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Show {
    pub main_tags: bool,
    pub metadata: bool,
    pub children: bool,
    pub parent: bool,
    pub labels: bool,
    pub attachments: bool,
    pub status: bool,
    pub is_stable: bool,
    pub is_protected: bool,
    /// Also what only a whole record shows, such as `LastUpdate` and `FileSize`.
    pub record: bool,
}

/// What a record shows: `GET /{level}/{id}`, `?expand`.
pub const RECORD: Show = Show {
    main_tags: true,
    metadata: false,
    children: true,
    parent: true,
    labels: true,
    attachments: false,
    status: true,
    is_stable: true,
    is_protected: true,
    record: true,
};

impl Show {
    /// Reads names of parts.
    ///
    /// # Errors
    /// `OutOfRange` names an unknown one.
    pub fn parse<'a>(names: impl Iterator<Item = &'a str>) -> Result<Self> {
        let mut show = Self::default();
        for name in names {
            match name {
                "MainDicomTags" => show.main_tags = true,
                "Metadata" => show.metadata = true,
                "Children" => show.children = true,
                "Parent" => show.parent = true,
                "Labels" => show.labels = true,
                "Attachments" => show.attachments = true,
                "Status" => show.status = true,
                "IsStable" => show.is_stable = true,
                "IsProtected" => show.is_protected = true,
                // They show whenever they are asked for.
                "RequestedTags" => {}
                _ => {
                    return Err(Error::new(
                        ErrorKind::OutOfRange,
                        format!("unrecognized value for \"ResponseContent\": {name:?}"),
                    ));
                }
            }
        }
        Ok(show)
    }

    /// What must be loaded for resources of a level.
    pub fn fields(self, level: Level) -> Fields {
        Fields {
            parent_tags: self.main_tags,
            parent_metadata: false,
            metadata: self.metadata || self.record || self.main_tags,
            labels: self.labels,
            children: self.children,
            // Of attachments, a record shows the DICOM file only.
            attachments: self.attachments || (self.record && level == Level::Instance),
        }
    }
}

/// The names of parts that [`Show::parse`] knows.
pub const PARTS: [&str; 10] = [
    "MainDicomTags",
    "Metadata",
    "Children",
    "Parent",
    "Labels",
    "Attachments",
    "Status",
    "IsStable",
    "IsProtected",
    "RequestedTags",
];

/// The argument that [`requested_tags`] reads.
pub const REQUESTED: Parameter = ("requested-tags", Kind::Text, "Tags that are shown beside the main ones: `A;B`");

/// Arguments that [`show`] and [`requested_tags`] read.
pub const SHOW: [Parameter; 3] = [
    ("expand", Kind::Flag, "Records, not only identifiers"),
    ("response-content", Kind::Text, "The parts of the records: `MainDicomTags;Labels`"),
    REQUESTED,
];

/// `?expand` and `?response-content=A;B`: `None` asks for ids only.
///
/// # Errors
/// `OutOfRange` for an unknown part or a bad flag.
pub fn show(params: &Params, expand_unless_told: bool) -> Result<Option<Show>> {
    let expand = if params.has("expand") { params.flag("expand")? } else { expand_unless_told };
    if let Some(names) = params.get("response-content") {
        return Show::parse(names.split(';').filter(|n| !n.is_empty())).map(Some);
    }
    Ok(expand.then_some(RECORD))
}

/// Reads a tag by name or number.
///
/// # Errors
/// `UnknownDicomTag` names it.
pub fn tag(rest: &Rest, text: &str) -> Result<Tag> {
    let unknown = || Error::new(ErrorKind::UnknownDicomTag, format!("unknown DICOM tag: {text:?}"));
    rest.engine.config.dictionary.parse_tag(text).ok_or_else(unknown)
}

/// `?requested-tags=A;B` (`requestedTags` before Orthanc 1.11.1).
///
/// # Errors
/// `BadRequest` names an unknown tag.
pub fn requested_tags(rest: &Rest, params: &Params) -> Result<Vec<Tag>> {
    let list = params.get("requested-tags").or_else(|| params.get("requestedTags")).unwrap_or_default();
    let bad = |e: Error| Error::new(ErrorKind::BadRequest, format!("invalid requested-tags argument: {}", e.message()));
    list.split(';').filter(|t| !t.is_empty()).map(|t| tag(rest, t).map_err(bad)).collect()
}
