//! The OpenAPI document of the facade, written from the table of actions that routes and validates:
//! what it says of names, methods, parameters and bounds is what happens.
//!
//! Paths and parameters are canonical; the names that clients in the field send instead are told in
//! words, so that nobody new begins to send them.

use std::sync::LazyLock;

use bytes::Bytes;
use serde_json::{Map, Value, json};

use super::login::{SESSION_ACTIONS, SessionAction};
use super::params::{IDEMPOTENCY_KEY, Kind, PLAN_ID, Param, S3UID};
use super::schema::{Field, object};
use super::table::{ACTIONS, Action, IdMeans};

/// The document, as it is sent.
pub(crate) fn document() -> Bytes {
    static DOCUMENT: LazyLock<Bytes> = LazyLock::new(|| build().to_string().into());
    DOCUMENT.clone()
}

/// Statuses that are answered with the failure envelope, and what each means.
const FAILURES: &[(&str, &str)] = &[
    ("401", "The token is missing, unknown, expired or revoked. Nothing was executed."),
    ("405", "Another method than the action takes. Nothing was executed."),
    ("409", "The idempotency key is in use: by another request, or by one still running."),
    ("413", "The body is too large. Nothing was executed."),
    ("415", "The body is of a type that is not read. Nothing was executed."),
    ("429", "Too many requests. Nothing was executed; wait as long as `Retry-After` says."),
    ("500", "A fault of ours; `details.request_id` names the request."),
    ("503", "A part is away, and a resend is safe; wait as long as `Retry-After` says."),
];

const READS: &str = "Reads";
const CHANGES: &str = "Changes";
const BY_PARAMETER: &str = "Routes by parameter";

const ABOUT: &str = "\
Parameters come in the query string, a form (also with GET), multipart/form-data or a JSON object; \
later ones win, in that order. PHP's brackets are read: `params[name]`, `ids[]`. A number and its \
text mean the same. Unknown parameters are ignored.

A failure of business is HTTP 200 with the failure envelope: look at `result`.";

fn build() -> Value {
    let mut paths = Map::new();
    for action in ACTIONS {
        paths.insert(format!("/s3/{}", action.name), action_path(action));
    }
    paths.insert("/s3.php".to_owned(), s3_php());
    paths.insert("/auth.php".to_owned(), auth_php());
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Stowage",
            "version": env!("CARGO_PKG_VERSION"),
            "description": ABOUT,
        },
        "servers": [{"url": "/"}],
        "tags": [
            {"name": READS, "description": "Safe to send again at any time."},
            {"name": CHANGES, "description": "Take an idempotency key."},
            {"name": BY_PARAMETER, "description": "The parameter `action` says what to do."},
        ],
        "security": [{"token": []}, {"bearer": []}, {"header": []}],
        "paths": paths,
        "components": {
            "schemas": schemas(),
            "responses": responses(),
            "securitySchemes": {
                "token": {
                    "type": "apiKey",
                    "in": "query",
                    "name": "token",
                    "description": "Also taken from the body.",
                },
                "bearer": {"type": "http", "scheme": "bearer"},
                "header": {"type": "apiKey", "in": "header", "name": "X-Auth-Token"},
            },
        },
    })
}

/// The answers of all actions by name, and the envelope of failures.
fn schemas() -> Map<String, Value> {
    let mut schemas = Map::new();
    for action in ACTIONS {
        schemas.insert(action.name.to_owned(), success(action.name, action.answer));
    }
    let session = |action: &str, answer: &[Field]| {
        json!({
            "type": "object",
            "properties": {"result": object(answer), "action": {"const": action}},
            "required": ["result", "action"],
        })
    };
    for SessionAction { name, answer, .. } in &SESSION_ACTIONS {
        let schema = answer.map_or_else(|| success(name, &[]), |answer| session(name, answer));
        schemas.insert((*name).to_owned(), schema);
    }
    schemas.insert(
        "Failure".to_owned(),
        json!({
            "type": "object",
            "properties": {
                "code": {"const": -1},
                "message": {"type": "string"},
                "result": {"const": -1},
                "error": {"type": "string", "description": "`message` again."},
                "details": {
                    "type": "object",
                    "properties": {
                        "error": {"type": "string", "description": "The reason, in words."},
                        "request_id": {"type": "string"},
                    },
                },
            },
            "required": ["code", "message", "result", "error"],
        }),
    );
    schemas
}

fn success(action: &str, answer: &[Field]) -> Value {
    let mut schema = object(answer);
    schema["properties"]["result"] = json!({"const": "OK"});
    schema["properties"]["action"] = json!({"const": action});
    if let Some(required) = schema["required"].as_array_mut() {
        required.insert(0, "result".into());
        required.insert(1, "action".into());
    }
    schema
}

fn responses() -> Map<String, Value> {
    let header = |about: &str, kind: &str, required: bool| {
        let schema = json!({"type": kind});
        json!({"description": about, "required": required, "schema": schema})
    };
    let mut responses = Map::new();
    for (status, about) in FAILURES {
        let mut headers = json!({"X-Request-Id": header("Names the request.", "string", true)});
        match *status {
            "405" => headers["Allow"] = header("Methods of the action.", "string", true),
            "409" => {
                headers["Retry-After"] = header("Seconds, if it still runs.", "integer", false)
            }
            "429" | "503" => headers["Retry-After"] = header("Seconds.", "integer", true),
            _ => {}
        }
        let response = json!({
            "description": about,
            "headers": headers,
            "content": {"application/json": {"schema": reference("schemas", "Failure")}},
        });
        responses.insert((*status).to_owned(), response);
    }
    responses
}

fn reference(kind: &str, name: &str) -> Value {
    json!({"$ref": format!("#/components/{kind}/{name}")})
}

/// The answers of an operation that succeeds as one of `actions`.
fn answers(actions: &[&str]) -> Value {
    let mut schemas: Vec<Value> = actions.iter().map(|name| reference("schemas", name)).collect();
    schemas.push(reference("schemas", "Failure"));
    let mut answers = json!({
        "200": {
            "description": "A success, or a failure of business.",
            "headers": {
                "X-Request-Id": {
                    "description": "Names the request; the one sent, if one was.",
                    "required": true,
                    "schema": {"type": "string"},
                },
            },
            "content": {"application/json": {"schema": {"oneOf": schemas}}},
        },
    });
    for (status, _) in FAILURES {
        answers[*status] = reference("responses", status);
    }
    answers
}

/// A parameter of an operation.
struct Sent {
    name: &'static str,
    /// What a good value is.
    param: &'static Param,
    required: bool,
    about: String,
}

fn sent_with(action: &Action) -> Vec<Sent> {
    let required = action.required.iter().map(|param| (*param, true));
    let optional = action.optional.iter().map(|param| (*param, false));
    required.chain(optional).map(|(param, is_required)| sent(action, param, is_required)).collect()
}

fn sent(action: &Action, param: &'static Param, is_required: bool) -> Sent {
    let is_plan = param.name == "id" && action.id == IdMeans::Plan;
    let mut about = if is_plan { "A plan." } else { param.about }.to_owned();
    let may_be_guessed = !action.writes && std::ptr::eq(param, &S3UID);
    if may_be_guessed && action.name != "get_users" {
        about.push_str(" Without it, the customer's account if there is exactly one.");
    }
    if let Kind::Int { max, clamp: true, .. } = param.kind {
        about.push_str(&format!(" More than {max} is taken as {max}."));
    }
    if !param.aliases.is_empty() {
        about.push_str(&format!(" Also read from `{}`.", param.aliases.join("`, `")));
    }
    let (name, param) = (param.name, if is_plan { &PLAN_ID } else { param });
    Sent { name, param, required: is_required && !may_be_guessed, about }
}

fn action_path(action: &Action) -> Value {
    let params = sent_with(action);
    let mut path = json!({"post": operation(action, "post", &params)});
    if action.get {
        path["get"] = operation(action, "get", &params);
    }
    path
}

fn operation(action: &Action, method: &str, params: &[Sent]) -> Value {
    let mut operation = json!({
        "operationId": format!("{}_{method}", action.name),
        "summary": action.about,
        "tags": [if action.writes { CHANGES } else { READS }],
        "parameters": headers(action.writes),
        "responses": answers(&[action.name]),
    });
    put_params(&mut operation, method, &params.iter().map(described).collect::<Vec<_>>());
    operation
}

/// What is sent: its name, whether it must be, and its schemas in the query and in a body.
struct Described {
    name: &'static str,
    required: bool,
    about: String,
    in_query: Value,
    in_body: Value,
}

fn described(sent: &Sent) -> Described {
    Described {
        name: sent.name,
        required: sent.required,
        about: sent.about.clone(),
        in_query: in_query(sent.param),
        in_body: in_body(sent.param),
    }
}

/// Puts parameters where the method has them: into the query, or into a body of any type.
fn put_params(operation: &mut Value, method: &str, params: &[Described]) {
    if method == "get" {
        for param in params {
            let parameter = json!({
                "name": param.name,
                "in": "query",
                "required": param.required,
                "description": param.about,
                "schema": param.in_query,
            });
            if let Some(all) = operation["parameters"].as_array_mut() {
                all.push(parameter);
            }
        }
        return;
    }
    let mut properties = Map::new();
    for param in params {
        let mut schema = param.in_body.clone();
        schema["description"] = param.about.clone().into();
        properties.insert(param.name.to_owned(), schema);
    }
    let required: Vec<&str> = params.iter().filter(|p| p.required).map(|p| p.name).collect();
    let mut schema = json!({"type": "object", "properties": properties});
    if !required.is_empty() {
        schema["required"] = required.clone().into();
    }
    let content = json!({"schema": schema});
    operation["requestBody"] = json!({
        "required": !required.is_empty(),
        "content": {
            "application/x-www-form-urlencoded": content,
            "application/json": content,
            "multipart/form-data": content,
        },
    });
}

fn headers(writes: bool) -> Vec<Value> {
    let mut headers = vec![json!({
        "name": "X-Request-Id",
        "in": "header",
        "description": "Names the request; comes back with the answer.",
        "schema": {"type": "string", "minLength": 1, "maxLength": 64, "pattern": "^[!-~]+$"},
    })];
    if writes {
        headers.push(json!({
            "name": "Idempotency-Key",
            "in": "header",
            "description": IDEMPOTENCY_KEY.about,
            "schema": {"type": "string", "minLength": 1, "maxLength": 64, "pattern": "^[!-~]+$"},
        }));
    }
    headers
}

/// The schema of a value in a query, where all is text.
fn in_query(param: &Param) -> Value {
    let mut schema = match param.kind {
        Kind::Text { bytes_max } => json!({"type": "string", "maxLength": bytes_max}),
        Kind::Int { min, max, clamp } => {
            let mut schema = json!({"type": "integer", "format": "int64", "minimum": min});
            schema["maximum"] = if clamp { i64::MAX } else { max }.into();
            schema
        }
        Kind::Date => json!({"type": "string", "format": "date"}),
        Kind::Account => json!({"type": "string", "pattern": "^([0-9a-f]{32}|[1-9][0-9]{0,17})$"}),
        Kind::Bucket => json!({
            "type": "string",
            "minLength": 3,
            "maxLength": 63,
            "pattern": "^[a-z0-9][a-z0-9.-]*[a-z0-9]$",
        }),
        Kind::Location => json!({"type": "string", "pattern": "^[A-Za-z0-9-]{2,16}$"}),
        Kind::Choice(choices) => json!({"type": "string", "enum": choices}),
    };
    if !param.example.is_empty() {
        schema["examples"] = json!([example(param)]);
    }
    schema
}

/// The schema of a value in a body, where a number and its text mean the same.
fn in_body(param: &Param) -> Value {
    let mut schema = in_query(param);
    match param.kind {
        Kind::Int { .. } => {
            schema["type"] = json!(["integer", "string"]);
            schema["pattern"] = "^[0-9]{1,18}$".into();
        }
        Kind::Account => {
            schema["type"] = json!(["string", "integer"]);
            schema["minimum"] = 1.into();
        }
        _ => {}
    }
    schema
}

fn example(param: &Param) -> Value {
    match (param.kind, param.example.parse::<i64>()) {
        (Kind::Int { .. }, Ok(number)) => number.into(),
        _ => param.example.into(),
    }
}

/// An operation of a route whose parameter `action` decides.
fn by_parameter(id: &str, about: &str, names: &[&str], params: &[&'static Param]) -> Value {
    let mut path = Map::new();
    for method in ["get", "post"] {
        let schema = json!({"type": "string", "enum": names});
        let mut all = vec![Described {
            name: "action",
            required: true,
            about: "What to do.".to_owned(),
            in_query: schema.clone(),
            in_body: schema,
        }];
        all.extend(params.iter().map(|param| {
            let about = param.about.to_owned();
            described(&Sent { name: param.name, param, required: false, about })
        }));
        let answered: Vec<&str> =
            names.iter().copied().filter(|name| *name != "get_user_info").collect();
        let mut operation = json!({
            "operationId": format!("{id}_{method}"),
            "summary": about,
            "tags": [BY_PARAMETER],
            "parameters": headers(true),
            "responses": answers(&answered),
        });
        put_params(&mut operation, method, &all);
        path.insert(method.to_owned(), operation);
    }
    path.into()
}

fn s3_php() -> Value {
    let mut names: Vec<&str> = ACTIONS.iter().map(|action| action.name).collect();
    names.push("get_user_info");
    let mut params: Vec<&'static Param> = Vec::new();
    for param in ACTIONS.iter().flat_map(|action| action.required.iter().chain(action.optional)) {
        if !params.iter().any(|seen| seen.name == param.name) {
            params.push(param);
        }
    }
    let about = "Any action, by its parameter `action`, with that action's parameters and methods. \
                 `get_user_info` is `get_buckets_rmq`.";
    by_parameter("s3_php", about, &names, &params)
}

fn auth_php() -> Value {
    let about = "`login` makes a token of an API key; `info` tells of a token, `logout` ends it.";
    let names = SESSION_ACTIONS.each_ref().map(|action| action.name);
    let params = SESSION_ACTIONS.iter().flat_map(|a| a.required.iter().chain(a.optional)).copied();
    let mut path = by_parameter("auth_php", about, &names, &params.collect::<Vec<_>>());
    for method in ["get", "post"] {
        path[method]["security"] = json!([{}, {"token": []}, {"bearer": []}, {"header": []}]);
    }
    path
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read() -> Value {
        serde_json::from_slice(&document()).unwrap()
    }

    #[test]
    fn every_action_is_documented_with_its_methods_and_parameters() {
        let document = read();
        for action in ACTIONS {
            let path = &document["paths"][format!("/s3/{}", action.name)];
            assert_eq!(path["get"].is_object(), action.get, "{}", action.name);
            let content = &path["post"]["requestBody"]["content"];
            let properties = &content["application/x-www-form-urlencoded"]["schema"]["properties"];
            for param in action.required.iter().chain(action.optional) {
                let place = format!("{} {}", action.name, param.name);
                assert!(!param.about.is_empty(), "{place}");
                assert!(properties[param.name].is_object(), "{place}");
                for alias in param.aliases {
                    let about = properties[param.name]["description"].as_str().unwrap();
                    assert!(about.contains(&format!("`{alias}`")), "{place} {alias}");
                }
                let in_query = path["get"]["parameters"]
                    .as_array()
                    .is_some_and(|all| all.iter().any(|given| given["name"] == param.name));
                assert_eq!(in_query, action.get, "{place}");
            }
            for status in ["200", "401", "405", "413", "415", "429", "500", "503"] {
                assert!(path["post"]["responses"][status].is_object(), "{} {status}", action.name);
            }
        }
        let all = ACTIONS.len() + 2;
        assert_eq!(document["paths"].as_object().unwrap().len(), all, "and nothing else is");
    }

    #[test]
    fn every_reference_leads_somewhere_and_every_example_is_good() {
        let document = read();
        let text = document.to_string();
        let mut references = 0;
        for rest in text.split(r##""$ref":"#"##).skip(1) {
            let (pointer, _) = rest.split_once('"').unwrap();
            assert!(document.pointer(pointer).is_some(), "{pointer}");
            references += 1;
        }
        assert!(references > ACTIONS.len());
        for action in ACTIONS {
            for param in action.required.iter().chain(action.optional) {
                assert_eq!(param.fault(param.example).filter(|_| !param.example.is_empty()), None);
            }
        }
    }
}
