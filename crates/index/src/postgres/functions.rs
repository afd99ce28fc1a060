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

/// Creates what is missing. Call it under the lock of the migrations.
pub(super) async fn create(client: &Client) -> Result<()> {
    let functions = [(norm_name(), norm()), ("job_tick_1".into(), include_str!("functions/jobs_1.sql").into())];
    for (name, statement) in functions {
        let missing: bool = client
            .query_one(
                "SELECT NOT EXISTS (SELECT FROM pg_proc WHERE proname = $1 AND pronamespace = to_regnamespace(current_schema()))",
                &[&name],
            )
            .await
            .map_err(sql)?
            .get(0);
        if missing {
            client.batch_execute(&statement).await.map_err(sql)?;
        }
    }
    Ok(())
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
