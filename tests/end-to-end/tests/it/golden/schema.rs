//! Real answers held against the document: a field that is not declared is a fault too, though
//! clients must bear it, or the document would fall behind.

use serde_json::Value;

use super::case::{Answer, target};

/// Says what of the answer is not as the document says.
pub(crate) fn check(document: &Value, request: &str, answer: &Answer) -> Result<(), String> {
    let body: Value =
        serde_json::from_str(&answer.body).map_err(|error| format!("the body: {error}"))?;
    let failure = &document["components"]["schemas"]["Failure"];
    let (method, path) = target(request);
    let Some(item) = document["paths"].get(path.as_str()) else {
        return fits(document, failure, &body);
    };
    let own = item.get(method.to_ascii_lowercase()).unwrap_or(&item["post"]);
    let status = answer.status.split(' ').next().unwrap_or_default();
    let response = follow(document, &own["responses"][status]);
    if response.is_null() {
        return Err(format!("{path}: status {status} is not in the document"));
    }
    fits(document, &response["content"]["application/json"]["schema"], &body)
}

fn follow<'v>(document: &'v Value, schema: &'v Value) -> &'v Value {
    match schema["$ref"].as_str() {
        Some(reference) => document.pointer(&reference[1..]).unwrap_or(&Value::Null),
        None => schema,
    }
}

/// The part of JSON Schema that the document uses for answers.
fn fits(document: &Value, schema: &Value, value: &Value) -> Result<(), String> {
    let schema = follow(document, schema);
    if let Some(wanted) = schema.get("const") {
        return is(wanted == value, schema, value);
    }
    if let Some(choices) = schema["enum"].as_array() {
        is(choices.contains(value), schema, value)?;
    }
    for several in ["oneOf", "anyOf"] {
        if let Some(schemas) = schema[several].as_array() {
            let results: Vec<_> = schemas.iter().map(|one| fits(document, one, value)).collect();
            let good = results.iter().filter(|result| result.is_ok()).count();
            let is_good = good == 1 || (good > 1 && several == "anyOf");
            let whys: Vec<String> = results.into_iter().filter_map(Result::err).collect();
            return if is_good { Ok(()) } else { Err(whys.join(" | ")) };
        }
    }
    match schema["type"].as_str() {
        Some("object") => object_fits(document, schema, value),
        Some("array") => {
            let items = value.as_array().ok_or_else(|| format!("{value} is no list"))?;
            items.iter().try_for_each(|item| fits(document, &schema["items"], item))
        }
        Some("string") => is(value.is_string(), schema, value),
        Some("integer") => is(value.is_i64(), schema, value),
        Some("number") => is(value.is_number(), schema, value),
        Some("boolean") => is(value.is_boolean(), schema, value),
        Some("null") => is(value.is_null(), schema, value),
        Some(other) => Err(format!("{other} is no type")),
        None => Ok(()),
    }
}

fn object_fits(document: &Value, schema: &Value, value: &Value) -> Result<(), String> {
    let fields = value.as_object().ok_or_else(|| format!("{value} is no object"))?;
    for name in schema["required"].as_array().into_iter().flatten() {
        let name = name.as_str().unwrap_or_default();
        if !fields.contains_key(name) {
            return Err(format!("{name} is missing"));
        }
    }
    for (name, field) in fields {
        let declared =
            schema["properties"].get(name).or_else(|| schema.get("additionalProperties"));
        let declared = declared.ok_or_else(|| format!("{name} is not declared"))?;
        fits(document, declared, field).map_err(|why| format!("{name}: {why}"))?;
    }
    Ok(())
}

fn is(good: bool, schema: &Value, value: &Value) -> Result<(), String> {
    if good { Ok(()) } else { Err(format!("{value} is not {schema}")) }
}

#[test]
fn answers_are_held_against_their_schema() {
    let object = serde_json::json!({
        "type": "object",
        "properties": {"a": {"type": "integer"}, "b": {"anyOf": [{"type": "null"}, {"const": 1}]}},
        "required": ["a"],
    });
    for (value, good) in [
        (serde_json::json!({"a": 1}), true),
        (serde_json::json!({"a": 1, "b": null}), true),
        (serde_json::json!({"a": 1, "b": 2}), false),
        (serde_json::json!({"a": 1.5}), false),
        (serde_json::json!({"a": 1, "c": 2}), false),
        (serde_json::json!({}), false),
    ] {
        assert_eq!(fits(&Value::Null, &object, &value).is_ok(), good, "{value}");
    }
}
