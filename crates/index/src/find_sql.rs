//! Turns a `FindRequest` into one statement. Values travel as parameters, never in the text.

use crate::sqlite::encode_rule;
use dataset::Tag;
use model::matching::normalize;
use model::query::{LabelsRule, OrderAs, OrderKey, Rule, TagConstraint};
use model::{FindRequest, Level, MetadataKind, tags};

/// A statement without its `SELECT` list: `FROM … WHERE … ORDER BY … LIMIT …`.
pub(crate) struct Sql {
    pub from_where: String,
    pub order_limit: String,
    pub values: Vec<String>,
}

/// The alias of a level's table.
pub(crate) fn alias(level: Level) -> &'static str {
    ["p", "s", "e", "i"][level as usize]
}

struct Builder {
    conditions: Vec<String>,
    values: Vec<String>,
    /// The topmost level that a condition narrows: the join starts there.
    start: Level,
}

impl Builder {
    fn value(&mut self, value: String) -> String {
        self.values.push(value);
        format!("?{}", self.values.len())
    }

    fn narrow(&mut self, level: Level) {
        self.start = self.start.min(level);
    }
}

/// Builds the statement.
pub(crate) fn build(request: &FindRequest) -> Sql {
    let own = request.level;
    let mut b = Builder { conditions: vec![], values: vec![], start: own };
    for (level, id) in &request.related_to {
        let hex: String = id.0.iter().map(|byte| format!("{byte:02x}")).collect();
        let value = b.value(hex);
        if *level <= own {
            b.conditions.push(format!("{}.public_id = unhex({value})", alias(*level)));
            b.narrow(*level);
        } else {
            let chain = joins(own, *level, *level);
            b.conditions.push(format!(
                "{}.id IN (SELECT {0}.id FROM {chain} WHERE {}.public_id = unhex({value}))",
                alias(own),
                alias(*level)
            ));
        }
    }
    for constraint in &request.tags {
        tag(&mut b, own, constraint);
    }
    for constraint in &request.metadata {
        let column = metadata_column(own, constraint.kind);
        let value = b.value(encode_rule(&constraint.rule, constraint.case_sensitive));
        b.conditions.push(format!("dicom_match({column}, {value})"));
    }
    labels(&mut b, request);
    let from_where = format!(
        "FROM {}{}",
        joins(Level::Patient, own, b.start),
        if b.conditions.is_empty() { String::new() } else { format!(" WHERE {}", b.conditions.join(" AND ")) }
    );
    let limit = if request.limit == 0 { -1 } else { i64::try_from(request.limit).unwrap_or(i64::MAX) };
    let since = i64::try_from(request.since).unwrap_or(i64::MAX);
    let order_limit = format!("ORDER BY {} LIMIT {limit} OFFSET {since}", order(request));
    Sql { from_where, order_limit, values: b.values }
}

/// Joins the tables from `top` to `bottom`, in the fixed order that starts at `start`: down to the bottom, then up.
/// `CROSS JOIN` keeps that order: plans must not depend on statistics.
fn joins(top: Level, bottom: Level, start: Level) -> String {
    let table = |l: Level| ["patient p", "study s", "series e", "instance i"][l as usize];
    let condition = |l: Level| ["", "s.patient_id = p.id", "e.study_id = s.id", "i.series_id = e.id"][l as usize];
    let mut text = table(start).to_owned();
    for level in Level::ALL.into_iter().filter(|l| *l > start && *l <= bottom) {
        text += &format!(" CROSS JOIN {} ON {}", table(level), condition(level));
    }
    for level in Level::ALL.into_iter().rev().filter(|l| *l < start && *l >= top) {
        text += &format!(" CROSS JOIN {} ON {}", table(level), condition(Level::ALL[level as usize + 1]));
    }
    text
}

/// The indexed, normalised column of a tag as seen from `own`, and the level that it narrows.
fn column(own: Level, tag: Tag) -> Option<(&'static str, Level)> {
    use Level::*;
    let below_patient = own > Patient;
    Some(match tag {
        tags::PATIENT_ID if below_patient => ("s.patient_id_norm", Study),
        tags::PATIENT_NAME if below_patient => ("s.name_norm", Study),
        tags::PATIENT_ID => ("p.patient_id_norm", Patient),
        tags::PATIENT_NAME => ("p.name_norm", Patient),
        tags::STUDY_INSTANCE_UID => ("s.study_uid_norm", Study),
        tags::STUDY_DATE => ("s.study_date", Study),
        tags::ACCESSION_NUMBER => ("s.accession_norm", Study),
        tags::STUDY_DESCRIPTION => ("s.description_norm", Study),
        tags::SERIES_INSTANCE_UID => ("e.series_uid_norm", Series),
        tags::MODALITY => ("e.modality_norm", Series),
        tags::SOP_INSTANCE_UID => ("i.sop_uid_norm", Instance),
        _ => return None,
    })
    .filter(|(_, level)| *level <= own)
}

/// The value of a tag in the JSON of its row.
fn json(level: Level, tag: Tag) -> String {
    format!("json_extract({}.tags, '$.\"{:04x}{:04x}\"')", alias(level), tag.0, tag.1)
}

/// The level whose rows hold `tag`, from `own` upwards.
fn home(own: Level, tag: Tag) -> Level {
    model::MainTags::default().level_of(own, tag).unwrap_or(own)
}

fn tag(b: &mut Builder, own: Level, c: &TagConstraint) {
    if c.tag == tags::MODALITIES_IN_STUDY {
        let value = b.value(encode_rule(&c.rule, c.case_sensitive));
        b.conditions.push(format!("dicom_match(s.modalities, {value})"));
        return;
    }
    let indexed = column(own, c.tag);
    if let Some((column, level)) = indexed {
        b.narrow(level);
        let condition = on_column(b, column, &c.rule);
        b.conditions.push(condition);
    }
    let long = |t: &String| t.chars().count() >= model::matching::NORM_CHARS;
    let exact = match &c.rule {
        Rule::Single(t) | Rule::Wildcard(t) => !long(t),
        Rule::OneOf(list) => !list.iter().any(long),
        Rule::Range { .. } => true,
    };
    if indexed.is_none() || c.case_sensitive || !exact {
        let value = b.value(encode_rule(&c.rule, c.case_sensitive));
        let stored: Vec<String> = Level::ALL[..=own as usize].iter().rev().map(|l| json(*l, c.tag)).collect();
        let stored = if stored.len() == 1 { stored.concat() } else { format!("coalesce({})", stored.join(", ")) };
        b.conditions.push(format!("dicom_match({stored}, {value})"));
    }
}

fn on_column(b: &mut Builder, column: &str, rule: &Rule) -> String {
    match rule {
        Rule::Single(text) => format!("{column} = {}", b.value(normalize(text))),
        Rule::OneOf(list) => {
            let all: Vec<String> = list.iter().map(|t| b.value(normalize(t))).collect();
            format!("{column} IN ({})", all.join(", "))
        }
        Rule::Range { from, to } => {
            let mut both = vec![format!("{column} <> ''")];
            if let Some(from) = from {
                both.push(format!("{column} >= {}", b.value(normalize(from))));
            }
            if let Some(to) = to {
                both.push(format!("{column} <= {}", b.value(normalize(to))));
            }
            both.join(" AND ")
        }
        Rule::Wildcard(pattern) => {
            let pattern = normalize(pattern);
            let prefix: String = pattern.chars().take_while(|c| !matches!(c, '*' | '?')).collect();
            let glob = pattern.replace('[', "[[]");
            let mut both = vec![format!("{column} GLOB {}", b.value(glob))];
            if !prefix.is_empty() {
                both.push(format!("{column} >= {}", b.value(prefix.clone())));
                both.push(format!("{column} < {}", b.value(format!("{prefix}\u{10FFFF}"))));
            }
            both.join(" AND ")
        }
    }
}

fn metadata_column(own: Level, kind: MetadataKind) -> String {
    match kind {
        MetadataKind::LAST_UPDATE if own < Level::Instance => format!("{}.last_update", alias(own)),
        _ => format!("json_extract({}.metadata, '$.\"{}\"[0]')", alias(own), kind.0),
    }
}

fn labels(b: &mut Builder, request: &FindRequest) {
    let column = format!("{}.labels", alias(request.level));
    if request.labels.is_empty() {
        // Orthanc: `None` without labels finds what has no label at all.
        if request.labels_rule == LabelsRule::None {
            b.conditions.push(format!("{column} = '[]'"));
        }
        return;
    }
    let values: Vec<String> = request.labels.iter().map(|l| b.value(l.clone())).collect();
    let has = |list: &str| format!("EXISTS (SELECT 1 FROM json_each({column}) WHERE value IN ({list}))");
    match request.labels_rule {
        LabelsRule::All => b.conditions.extend(values.iter().map(|v| has(v))),
        LabelsRule::Any => b.conditions.push(has(&values.join(", "))),
        LabelsRule::None => b.conditions.push(format!("NOT {}", has(&values.join(", ")))),
    }
}

fn order(request: &FindRequest) -> String {
    let own = request.level;
    let mut keys = vec![];
    for by in &request.order {
        let value = match by.key {
            OrderKey::Tag(tag) => match column(own, tag) {
                Some((column, _)) if by.cast == OrderAs::Text => column.to_owned(),
                _ => json(home(own, tag), tag),
            },
            OrderKey::Metadata(kind) => metadata_column(own, kind),
        };
        let value = match by.cast {
            OrderAs::Text => value,
            OrderAs::Integer => format!("CAST({value} AS INTEGER)"),
            OrderAs::Float => format!("CAST({value} AS REAL)"),
        };
        keys.push(format!("{value}{}", if by.descending { " DESC" } else { "" }));
    }
    // Ties in the direction of the last key, so that an index on it gives the whole order.
    let descending = request.order.last().is_some_and(|o| o.descending);
    keys.push(format!("{}.id{}", alias(own), if descending { " DESC" } else { "" }));
    keys.join(", ")
}
