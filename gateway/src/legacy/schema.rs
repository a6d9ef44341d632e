//! What answers are made of, as data: the document of the facade is written from it.

use serde_json::{Value, json};

/// What a value is.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Type {
    Text,
    Int,
    /// A number that may have decimals.
    Number,
    Bool,
    /// `2026-03-01`.
    Day,
    /// `2026-03-01T12:00:00Z`.
    Moment,
    /// One of these texts.
    OneOf(&'static [&'static str]),
    /// 1 or 0.
    Flag,
    List(&'static Type),
    Object(&'static [Field]),
    /// An object whose fields are named by data: currencies, say.
    Map(&'static Type),
    /// Null, or this.
    Maybe(&'static Type),
    /// Any JSON.
    Any,
}

/// A field of an answer.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Field {
    pub(crate) name: &'static str,
    pub(crate) kind: Type,
    /// What is to be known beyond the name; may be empty.
    pub(crate) about: &'static str,
    /// Whether every success has it.
    pub(crate) always: bool,
}

/// A field that every success has.
pub(crate) const fn field(name: &'static str, kind: Type, about: &'static str) -> Field {
    Field { name, kind, about, always: true }
}

/// A field that some successes have.
pub(crate) const fn maybe(name: &'static str, kind: Type, about: &'static str) -> Field {
    Field { name, kind, about, always: false }
}

impl Type {
    /// The JSON Schema.
    pub(crate) fn schema(self) -> Value {
        match self {
            Self::Text => json!({"type": "string"}),
            Self::Int => json!({"type": "integer", "format": "int64"}),
            Self::Number => json!({"type": "number"}),
            Self::Bool => json!({"type": "boolean"}),
            Self::Day => json!({"type": "string", "format": "date"}),
            Self::Moment => json!({"type": "string", "format": "date-time"}),
            Self::OneOf(texts) => json!({"type": "string", "enum": texts}),
            Self::Flag => json!({"type": "integer", "enum": [0, 1]}),
            Self::List(of) => json!({"type": "array", "items": of.schema()}),
            Self::Object(fields) => object(fields),
            Self::Map(of) => json!({"type": "object", "additionalProperties": of.schema()}),
            Self::Maybe(of) => json!({"anyOf": [of.schema(), {"type": "null"}]}),
            Self::Any => json!({}),
        }
    }
}

/// The JSON Schema of an object. Others than these fields may come: answers are extended, never
/// narrowed.
pub(crate) fn object(fields: &[Field]) -> Value {
    let mut properties = serde_json::Map::new();
    for field in fields {
        let mut schema = field.kind.schema();
        if !field.about.is_empty() {
            schema["description"] = field.about.into();
        }
        properties.insert(field.name.to_owned(), schema);
    }
    let required: Vec<&str> = fields.iter().filter(|f| f.always).map(|f| f.name).collect();
    json!({"type": "object", "properties": properties, "required": required})
}
