//! How a search becomes one SELECT of internal ids.
//!
//! No plan is left to the planner's statistics: the most selective condition is chosen here (the driver), its table comes first
//! and names its index, the others are joined outwards by key, and conditions that are not the driver cannot use an index.
//! Columns of values hold `normalize`d text, NULL if it is empty; a case-sensitive condition also compares the value itself,
//! from `tags`.

mod columns;
mod dialect;
mod rules;

pub(crate) use columns::normalized;
pub(crate) use dialect::Dialect;

use columns::{Column, alias, table};
use dataset::Tag;
use model::query::{LabelsRule, MetadataConstraint, OrderAs, OrderBy, OrderKey, Rule, TagConstraint};
use model::{Error, ErrorKind, FindRequest, Level, MainTags, MetadataKind, Result, tags};
use rules::{Selectivity, Test, after_prefix, literal_prefix};

/// A value that a statement is given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Param {
    Text(String),
    Int(i64),
}

/// A statement and its values.
#[derive(Debug)]
pub(crate) struct Search {
    pub(crate) sql: String,
    pub(crate) params: Vec<Param>,
}

/// What a search is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum What {
    /// Internal ids, in order, of one page.
    Ids,
    /// How many there are, without paging.
    Count,
}

/// What the first table is read by.
struct Driver {
    level: Level,
    index: Option<String>,
    by: DrivenBy,
}

#[derive(PartialEq, Eq)]
enum DrivenBy {
    Nothing,
    Related(usize),
    Among,
    Tag(usize),
    Label,
    Order,
}

/// What a search needs to know of the database.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Scope<'s> {
    /// The internal ids of `FindRequest::related_to`.
    pub(crate) related: &'s [(Level, i64)],
    /// The level and the internal ids of `FindRequest::among`.
    pub(crate) among: Option<(Level, &'s [i64])>,
    /// Whether instances may be hidden by their series.
    pub(crate) hidden: bool,
}

/// Bytes of a case-sensitive pattern at most; others are cut to `NORM_CHARS` anyway.
const PATTERN_BYTES: usize = 4096;

/// # Errors
/// `OutOfRange` for a pattern that nobody means.
pub(crate) fn check(request: &FindRequest) -> Result<()> {
    let tags = request.tags.iter().map(|c| (&c.rule, c.case_sensitive));
    let metadata = request.metadata.iter().map(|c| (&c.rule, c.case_sensitive));
    let too_long = |(rule, exact): (&Rule, bool)| exact && matches!(rule, Rule::Wildcard(p) if p.len() > PATTERN_BYTES);
    if tags.chain(metadata).any(too_long) {
        return Err(Error::new(ErrorKind::OutOfRange, format!("a wildcard may have {PATTERN_BYTES} bytes at most")));
    }
    if request.among.as_ref().is_some_and(|(level, _)| *level > request.level) {
        return Err(Error::new(ErrorKind::Internal, "a search among resources below the level that is searched"));
    }
    Ok(())
}

/// Whether nothing but `related_to` restricts the search.
pub(crate) fn is_bare(request: &FindRequest) -> bool {
    let labels = !request.labels.is_empty() || request.labels_rule == LabelsRule::None;
    request.among.is_none() && request.tags.is_empty() && request.metadata.is_empty() && !labels
}

/// Builds the statement.
pub(crate) fn build(dialect: Dialect, request: &FindRequest, scope: Scope<'_>, what: What) -> Search {
    let Scope { related, among, hidden } = scope;
    let levels = (request.level, request.level);
    let mut builder = Builder { dialect, request, params: vec![], levels, hidden, conditions: vec![] };
    let driver = builder.choose_driver(related, among.map(|(level, _)| level), what);
    builder.need(driver.level);
    builder.related(related, &driver);
    builder.among(among, &driver);
    for (at, constraint) in request.tags.iter().enumerate() {
        builder.tag(constraint, driver.by == DrivenBy::Tag(at));
    }
    for constraint in &request.metadata {
        builder.metadata(constraint);
    }
    builder.labels(&driver);
    let order = if what == What::Ids { builder.order(&driver) } else { String::new() };
    builder.finish(&driver, &order, what)
}

struct Builder<'r> {
    dialect: Dialect,
    request: &'r FindRequest,
    params: Vec<Param>,
    /// The highest and lowest table that is joined.
    levels: (Level, Level),
    hidden: bool,
    conditions: Vec<String>,
}

impl Builder<'_> {
    fn text(&mut self, value: impl Into<String>) -> String {
        self.params.push(Param::Text(value.into()));
        self.dialect.placeholder(self.params.len())
    }

    fn int(&mut self, value: i64) -> String {
        self.params.push(Param::Int(value));
        self.dialect.placeholder(self.params.len())
    }

    fn need(&mut self, level: Level) {
        self.levels = (self.levels.0.min(level), self.levels.1.max(level));
    }

    fn choose_driver(&self, related: &[(Level, i64)], among: Option<Level>, what: What) -> Driver {
        // The lowest of the related resources is the most selective.
        if let Some((at, (level, _))) = related.iter().enumerate().max_by_key(|(_, (level, _))| *level) {
            return Driver { level: *level, index: None, by: DrivenBy::Related(at) };
        }
        if let Some(level) = among {
            return Driver { level, index: None, by: DrivenBy::Among };
        }
        let level = self.request.level;
        let mut best: Option<(Selectivity, Driver)> = None;
        let mut offer = |selectivity: Selectivity, driver: Driver| {
            if best.as_ref().is_none_or(|(s, d)| (selectivity, d.level) < (*s, driver.level)) {
                best = Some((selectivity, driver));
            }
        };
        for (at, constraint) in self.request.tags.iter().enumerate() {
            let Some(column) = Column::of(level, constraint.tag) else { continue };
            let test = match constraint.case_sensitive {
                true => Test::implied(&constraint.rule),
                false => Some(Test::normalized(&constraint.rule)),
            };
            if let Some(selectivity) = test.and_then(|t| t.selectivity(column.kind)) {
                offer(selectivity, Driver { level: column.level, index: column.index(), by: DrivenBy::Tag(at) });
            }
        }
        if self.single_label().is_some() {
            offer(Selectivity::Some, Driver { level, index: None, by: DrivenBy::Label });
        }
        let order = (what == What::Ids).then(|| self.order_index()).flatten();
        match (best, order) {
            (Some((selectivity, driver)), order) if order.is_none() || selectivity < Selectivity::Many => driver,
            (_, Some(index)) => Driver { level, index: Some(index), by: DrivenBy::Order },
            (_, None) => Driver { level, index: None, by: DrivenBy::Nothing },
        }
    }

    /// The index that yields the rows in the order asked for.
    fn order_index(&self) -> Option<String> {
        let OrderBy { key, cast, .. } = self.request.order.first()?;
        match key {
            OrderKey::Tag(tag) if *cast == OrderAs::Text => {
                Column::of(self.request.level, *tag).filter(|c| c.level == self.request.level).and_then(Column::index)
            }
            OrderKey::Metadata(MetadataKind::LAST_UPDATE) if self.request.level == Level::Study => {
                Some("study_last_update".into())
            }
            _ => None,
        }
    }

    fn related(&mut self, related: &[(Level, i64)], driver: &Driver) {
        for (at, (level, row)) in related.iter().enumerate() {
            self.need(*level);
            let id = format!("{}.id", alias(*level));
            let id = if driver.by == DrivenBy::Related(at) { id } else { self.dialect.without_index(&id) };
            let row = self.int(*row);
            self.conditions.push(format!("{id} = {row}"));
        }
    }

    fn among(&mut self, among: Option<(Level, &[i64])>, driver: &Driver) {
        let Some((level, rows)) = among else { return };
        self.need(level);
        let id = format!("{}.id", alias(level));
        let id = if driver.by == DrivenBy::Among { id } else { self.dialect.without_index(&id) };
        let array = self.text(serde_json::Value::from(rows).to_string());
        self.conditions.push(self.dialect.among_integers(&id, &array));
    }

    fn tag(&mut self, constraint: &TagConstraint, drives: bool) {
        let TagConstraint { tag, rule, case_sensitive, or_unkept } = constraint;
        if *tag == tags::MODALITIES_IN_STUDY {
            return self.modalities(rule, *case_sensitive);
        }
        if let Some(column) = Column::of(self.request.level, *tag) {
            self.need(column.level);
            let name = column.expression();
            let test = if *case_sensitive { Test::implied(rule) } else { Some(Test::normalized(rule)) };
            if let Some(test) = test {
                let condition =
                    if drives { self.test(&name, &test) } else { self.test(&self.dialect.without_index(&name), &test) };
                self.conditions.push(condition);
            }
            if !case_sensitive {
                return;
            }
        }
        let value = self.value(*tag);
        let mut condition = self.free_test(&value, rule, *case_sensitive);
        if let Some(home) = *or_unkept {
            condition = format!("({condition} OR {})", self.unkept(home, *tag, &value));
        }
        self.conditions.push(condition);
    }

    /// Whether the row of `home` may lack a tag that its file has. A study's copy of its patient's tags has no signature: what is not
    /// there is uncertain.
    fn unkept(&mut self, home: Level, tag: Tag, value: &str) -> String {
        if home == Level::Patient && self.request.level > home {
            return format!("{value} IS NULL");
        }
        self.need(home);
        let column = format!("{}.metadata", alias(home));
        let signature = self.dialect.json_text(&column, &MetadataKind::MAIN_DICOM_TAGS_SIGNATURE.0.to_string());
        let name = self.text(format!("%{:04x},{:04x}%", tag.0, tag.1));
        format!("coalesce({signature}, '') NOT LIKE {name}")
    }

    /// The value of a tag as it is stored, NULL if it is absent.
    fn value(&mut self, tag: Tag) -> String {
        let key = format!("{:04x}{:04x}", tag.0, tag.1);
        let level = self.request.level;
        // The level of a tag of `ExtraMainDicomTags` is not known here: the nearest that has it counts.
        let levels = match MainTags::default().level_of(level, tag) {
            Some(home) => vec![home],
            None => Level::ALL[..=level as usize].iter().rev().copied().collect(),
        };
        let mut sources = vec![];
        for home in levels {
            let source = columns::tags(level, home);
            self.need(source.level);
            sources.push(self.dialect.json_text(&source.expression, &key));
        }
        match sources.as_slice() {
            [one] => one.clone(),
            many => format!("coalesce({})", many.join(", ")),
        }
    }

    fn modalities(&mut self, rule: &Rule, case_sensitive: bool) {
        self.need(Level::Study);
        let condition = self.free_test("m.value", rule, case_sensitive);
        let elements = self.dialect.elements("st.modalities");
        self.conditions.push(format!("EXISTS (SELECT 1 FROM {elements} m WHERE {condition})"));
    }

    fn metadata(&mut self, constraint: &MetadataConstraint) {
        let value = self.metadata_value(constraint.kind);
        let condition = self.free_test(&value, &constraint.rule, constraint.case_sensitive);
        self.conditions.push(condition);
    }

    fn metadata_value(&self, kind: MetadataKind) -> String {
        let row = alias(self.request.level);
        if kind == MetadataKind::LAST_UPDATE && self.request.level < Level::Instance {
            return self.dialect.iso(&format!("{row}.last_update"));
        }
        self.dialect.json_text(&format!("{row}.metadata"), &kind.0.to_string())
    }

    /// A test of a value that has no normalised column.
    fn free_test(&mut self, value: &str, rule: &Rule, case_sensitive: bool) -> String {
        if case_sensitive {
            self.test(&format!("nullif({}, '')", self.dialect.trimmed(value)), &Test::exact(rule))
        } else {
            self.test(&self.dialect.normalized(value), &Test::normalized(rule))
        }
    }

    fn test(&mut self, expression: &str, test: &Test) -> String {
        match test {
            Test::Equal(text) if text.is_empty() => format!("{expression} IS NULL"),
            Test::Equal(text) => {
                let text = self.text(text);
                format!("{expression} = {text}")
            }
            Test::In(list) => {
                let array = self.text(serde_json::Value::from(list.as_slice()).to_string());
                let among = self.dialect.among(expression, &array);
                if list.iter().any(String::is_empty) { format!("({among} OR {expression} IS NULL)") } else { among }
            }
            Test::Like(pattern) if pattern.chars().all(|c| c == '*') => "1 = 1".to_owned(),
            Test::Like(pattern) => {
                let prefix = literal_prefix(pattern);
                let mut parts = vec![];
                if !prefix.is_empty() {
                    let from = self.text(prefix);
                    parts.push(format!("{expression} >= {from}"));
                    if let Some(end) = after_prefix(prefix) {
                        let end = self.text(end);
                        parts.push(format!("{expression} < {end}"));
                    }
                }
                let plain = self.dialect.matched_text(expression, pattern, !prefix.is_empty());
                let pattern = self.text(self.dialect.pattern(pattern));
                parts.push(self.dialect.wildcard(&plain, &pattern));
                parts.join(" AND ")
            }
            Test::Between(from, to) => {
                let mut parts = vec![];
                if from.is_none() && to.is_none() {
                    parts.push(format!("{expression} IS NOT NULL"));
                }
                if let Some(from) = from {
                    let from = self.text(from);
                    parts.push(format!("{expression} >= {from}"));
                }
                if let Some(to) = to {
                    let to = self.text(to);
                    parts.push(format!("{expression} <= {to}"));
                }
                parts.join(" AND ")
            }
        }
    }

    /// The one label that every answer must have.
    fn single_label(&self) -> Option<&str> {
        match (self.request.labels_rule, self.request.labels.as_slice()) {
            (LabelsRule::All, [first, ..]) | (LabelsRule::Any, [first]) => Some(first),
            _ => None,
        }
    }

    fn labels(&mut self, driver: &Driver) {
        let level = self.request.level;
        let of_row = format!("l.level = {} AND l.resource = {}.id", level as u8, alias(level));
        let labels: Vec<String> = self.request.labels.iter().map(|l| crate::text::clean(l).into_owned()).collect();
        if labels.is_empty() {
            if self.request.labels_rule == LabelsRule::None {
                self.conditions.push(format!("NOT EXISTS (SELECT 1 FROM label l WHERE {of_row})"));
            }
            return;
        }
        if driver.by == DrivenBy::Label {
            let label = self.text(labels[0].as_str());
            let is = self.dialect.label_is("dl", &label);
            self.conditions.push(format!("{is} AND dl.level = {}", level as u8));
        }
        if self.request.labels_rule == LabelsRule::All {
            for label in labels.into_iter().skip(usize::from(driver.by == DrivenBy::Label)) {
                let label = self.text(label);
                let is = self.dialect.label_is("l", &label);
                self.conditions.push(format!("EXISTS (SELECT 1 FROM label l WHERE {is} AND {of_row})"));
            }
            return;
        }
        if driver.by == DrivenBy::Label {
            return;
        }
        let list = self.text(serde_json::Value::from(labels).to_string());
        let not = if self.request.labels_rule == LabelsRule::None { "NOT " } else { "" };
        let elements = self.dialect.elements(&list);
        let (join, is) = (self.dialect.join(), self.dialect.label_is("l", "w.value"));
        self.conditions.push(format!("{not}EXISTS (SELECT 1 FROM {elements} w {join} label l ON {is} WHERE {of_row})"));
    }

    fn order(&mut self, driver: &Driver) -> String {
        let walked = matches!(driver.by, DrivenBy::Order | DrivenBy::Nothing);
        let mut keys = vec![];
        for OrderBy { key, cast, descending } in &self.request.order {
            let column = match key {
                OrderKey::Tag(tag) if *cast == OrderAs::Text => Column::of(self.request.level, *tag),
                _ => None,
            };
            let expression = match (column, key) {
                (Some(column), _) => {
                    self.need(column.level);
                    column.expression()
                }
                (None, OrderKey::Tag(tag)) => {
                    let value = self.value(*tag);
                    self.dialect.number(&format!("nullif({value}, '')"), *cast)
                }
                (None, OrderKey::Metadata(MetadataKind::LAST_UPDATE))
                    if *cast == OrderAs::Text && self.request.level < Level::Instance =>
                {
                    keys.push(self.dialect.by_last_update(self.request.level, *descending));
                    continue;
                }
                (None, OrderKey::Metadata(kind)) => self.dialect.number(&self.metadata_value(*kind), *cast),
            };
            // Absent values are NULL and come last in either direction, as in Orthanc.
            let direction = if *descending { "DESC" } else { "ASC" };
            keys.push(format!("{} {direction} NULLS LAST", self.dialect.order_key(&expression, walked)));
        }
        // The same number, but the label's index is in its order.
        keys.push(match driver.by {
            DrivenBy::Label => "dl.resource".to_owned(),
            _ => self.dialect.order_key(&format!("{}.id", alias(self.request.level)), walked),
        });
        keys.join(", ")
    }

    fn finish(mut self, driver: &Driver, order: &str, what: What) -> Search {
        if self.levels.1 == Level::Instance && self.hidden {
            self.need(Level::Series);
        }
        let id = format!("{}.id", alias(self.request.level));
        let mut sql = match what {
            What::Ids => format!("SELECT {id} FROM "),
            What::Count => "SELECT count(*) FROM ".to_owned(),
        };
        sql.push_str(&self.tables(driver));
        for level in Level::ALL[self.levels.0 as usize..=self.levels.1 as usize].iter().filter(|l| **l < Level::Instance) {
            self.conditions.push(format!("{}.deleted = 0", alias(*level)));
        }
        if !self.conditions.is_empty() {
            sql.push_str(" WHERE ");
            sql.push_str(&self.conditions.join(" AND "));
        }
        if what == What::Ids {
            sql.push_str(" ORDER BY ");
            sql.push_str(order);
            let limit = match self.request.limit {
                0 => i64::MAX,
                limit => i64::try_from(limit).unwrap_or(i64::MAX),
            };
            let (limit, offset) = (self.int(limit), self.int(i64::try_from(self.request.since).unwrap_or(i64::MAX)));
            sql.push_str(&format!(" LIMIT {limit} OFFSET {offset}"));
        }
        Search { sql, params: self.params }
    }

    /// The driver's table, then those below it, then those above it.
    fn tables(&self, driver: &Driver) -> String {
        let join = self.dialect.join();
        let from = driver.level;
        let mut sql = String::new();
        if driver.by == DrivenBy::Label {
            sql = format!("label dl {join} {} {} ON {1}.id = dl.resource", table(from), alias(from));
        } else {
            sql.push_str(&format!("{} {}", table(from), alias(from)));
            if let Some(index) = &driver.index {
                sql.push_str(&self.dialect.use_index(index));
            }
        }
        for below in Level::ALL[from as usize + 1..].iter().filter(|l| **l <= self.levels.1) {
            let above = Level::ALL[*below as usize - 1];
            sql.push_str(&format!(" {join} {} {} ON {1}.{} = {}.id", table(*below), alias(*below), table(above), alias(above)));
        }
        for above in Level::ALL[..from as usize].iter().rev().filter(|l| **l >= self.levels.0) {
            let below = Level::ALL[*above as usize + 1];
            sql.push_str(&format!(" {join} {} {} ON {1}.id = {}.{}", table(*above), alias(*above), alias(below), table(*above)));
        }
        sql
    }
}
