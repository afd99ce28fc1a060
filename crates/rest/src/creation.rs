//! What the bodies that create jobs have in common (Orthanc book, "Synchronous vs. asynchronous calls").

use crate::schema;
use axum::body::Body;
use engine::jobs::JobOptions;
use model::{Error, ErrorKind, Result};
use serde_json::{Map, Value};

/// A JSON object with typed fields. What has the wrong type is a bad file format, as Orthanc says.
pub struct Fields(pub Map<String, Value>);

fn bad(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::BadDicom, message)
}

/// The members that [`Fields::is_synchronous`] and [`Fields::options`] read.
pub fn members() -> [(&'static str, Value); 4] {
    [
        ("Asynchronous", schema::flag()),
        ("Priority", schema::integer()),
        ("Synchronous", schema::flag()),
        ("UserData", schema::anything()),
    ]
}

/// The body as JSON.
///
/// # Errors
/// `BadDicom` (Orthanc: "Bad file format") with `message`.
pub async fn json(body: Body, message: &str) -> Result<Value> {
    let bytes = web::body::read(body, web::json::MAX_JSON_BYTES).await?;
    serde_json::from_slice(&bytes).map_err(|_| bad(message))
}

impl Fields {
    /// # Errors
    /// `BadDicom` names a field that is no Boolean.
    pub fn flag(&self, key: &str, default: bool) -> Result<bool> {
        let value = self.0.get(key).map(|v| v.as_bool().ok_or_else(|| bad(format!("Boolean value expected in field: {key}"))));
        Ok(value.transpose()?.unwrap_or(default))
    }

    /// # Errors
    /// `BadDicom` names a field that is no integer, `BadParameterType` one that is too large or negative.
    pub fn integer<T: TryFrom<i64>>(&self, key: &str) -> Result<Option<T>> {
        let number = |v: &Value| {
            let number = v.as_i64().ok_or_else(|| bad(format!("Integer value expected in field: {key}")))?;
            let range = || Error::new(ErrorKind::BadParameterType, format!("Value out of range in field: {key}"));
            T::try_from(number).map_err(|_| range())
        };
        self.0.get(key).map(number).transpose()
    }

    /// # Errors
    /// `BadDicom` names a field that is no string.
    pub fn string(&self, key: &str) -> Result<Option<&str>> {
        self.0.get(key).map(|v| v.as_str().ok_or_else(|| bad(format!("String value expected in field: {key}")))).transpose()
    }

    /// `Synchronous`, or else `Asynchronous`; without both, the caller waits.
    pub fn is_synchronous(&self) -> Result<bool> {
        let asynchronous = self.flag("Asynchronous", false)?;
        self.flag("Synchronous", !asynchronous)
    }

    /// `Priority` and `UserData`.
    pub fn options(&self) -> Result<JobOptions> {
        let user_data = self.0.get("UserData").filter(|v| !v.is_null()).cloned();
        Ok(JobOptions { priority: self.integer("Priority")?.unwrap_or(0), user_data })
    }
}

/// The strings of an array; `None` if it is something else.
pub fn strings(value: &Value) -> Option<Vec<&str>> {
    value.as_array()?.iter().map(Value::as_str).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn fields(value: Value) -> Fields {
        let Value::Object(map) = value else { panic!("an object") };
        Fields(map)
    }

    #[test]
    fn synchronous_wins() {
        for (body, expected) in [
            (json!({}), true),
            (json!({"Asynchronous": true}), false),
            (json!({"Asynchronous": true, "Synchronous": true}), true),
            (json!({"Asynchronous": false, "Synchronous": false}), false),
        ] {
            assert_eq!(fields(body.clone()).is_synchronous().unwrap(), expected, "{body}");
        }
        for body in [json!({"Asynchronous": 1}), json!({"Synchronous": "x"}), json!({"Asynchronous": 1, "Synchronous": true})] {
            assert_eq!(fields(body).is_synchronous().unwrap_err().kind(), ErrorKind::BadDicom);
        }
    }

    #[test]
    fn priorities_are_32_bits() {
        assert_eq!(fields(json!({"Priority": -3})).options().unwrap().priority, -3);
        for bad in [json!({"Priority": "x"}), json!({"Priority": 1u64 << 31}), json!({"Priority": 1.5})] {
            assert!(fields(bad).options().is_err());
        }
        assert_eq!(fields(json!({"UserData": null})).options().unwrap().user_data, None);
    }
}
