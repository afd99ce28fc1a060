//! Functions inside the database. Each carries a version in its name, so that two releases can run side by side: a changed function
//! is a new one.

use super::error::sql;
use model::Result;
use model::matching::NORM_CHARS;
use tokio_postgres::Client;

/// The name of `model::matching::normalize` in the database; NULL for empty text. The tables of upper case are those of this
/// program, and their version is in the name.
pub(crate) fn norm_name() -> String {
    format!("norm_{}_{}", char::UNICODE_VERSION.0, char::UNICODE_VERSION.1)
}

macro_rules! functions {
    ($($name:literal),*) => { &[$(($name, include_str!(concat!("functions/", $name, ".sql")))),*] };
}

const FUNCTIONS: &[(&str, &str)] = functions![
    "merge_1",
    "complete_1",
    "change_1",
    "path_1",
    "purge_1",
    "refresh_1",
    "store_1",
    "store_more_1",
    "delete_1",
    "sweep_1",
    "stable_1",
    "attach_1",
    "quota_1",
    "job_finish_2"
];

/// Creates what is missing. Call it under the lock of the migrations.
pub(super) async fn create(client: &Client) -> Result<()> {
    let rows = client
        .query("SELECT proname::text FROM pg_proc WHERE pronamespace = to_regnamespace(quote_ident(current_schema()))", &[])
        .await
        .map_err(sql)?;
    let there: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
    let missing = |name: &str| !there.iter().any(|n| n == name);
    let mut script = String::new();
    if missing(&norm_name()) {
        script.push_str(&norm());
        script.push_str(";\n");
    }
    // One file has all functions of the jobs registry; the last of them tells whether they are there.
    let jobs = ("job_tick_1", include_str!("functions/jobs_1.sql"));
    // The same of uploads.
    let uploads = ("upload_1", include_str!("functions/upload_1.sql"));
    for (_, statement) in FUNCTIONS.iter().chain([&jobs, &uploads]).filter(|(name, _)| missing(name)) {
        script.push_str(statement);
        script.push_str(";\n");
    }
    client.batch_execute(&script).await.map_err(sql)
}

/// Most texts are ASCII: only others pay for the tables.
fn norm() -> String {
    let (mut from, mut to, mut longer) = (String::new(), String::new(), vec![]);
    for c in char::MIN..=char::MAX {
        let upper: Vec<char> = c.to_uppercase().collect();
        match upper.as_slice() {
            [one] if *one == c => {}
            [one] => {
                from.push(c);
                to.push(*one);
            }
            many => longer.push((c, many.iter().collect::<String>())),
        }
    }
    let blanks: String = (char::MIN..=char::MAX).filter(|c| c.is_whitespace() && *c != ' ').collect();
    let spaces = " ".repeat(blanks.chars().count());
    let specials: String = longer.iter().map(|(c, _)| *c).collect();
    let mut replaced = "value".to_owned();
    for (c, upper) in &longer {
        replaced = format!("replace({replaced}, '{c}', '{upper}')");
    }
    let name = norm_name();
    format!(
        "CREATE FUNCTION {name} (value text) RETURNS text LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE AS $norm$
BEGIN
    IF octet_length(value) = char_length(value) THEN
        value := upper(value COLLATE \"C\");
    ELSE
        value := translate(value, '{from}', '{to}');
        IF translate(value, '{specials}', '') <> value THEN
            value := {replaced};
        END IF;
    END IF;
    value := btrim(regexp_replace(translate(value, '{blanks}', '{spaces}'), ' {{2,}}', ' ', 'g'), ' ');
    RETURN nullif(rtrim(left(value, {NORM_CHARS}), ' '), '');
END $norm$"
    )
}
