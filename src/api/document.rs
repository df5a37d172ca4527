//! The documents generated from the types and tables of [`crate::api`]: OpenRPC, OpenAPI and the protocol as
//! Markdown. Nothing in them is written twice: a change of a type or a table changes them.

use std::sync::LazyLock;

use schemars::SchemaGenerator;
use schemars::generate::SchemaSettings;
use serde_json::{Value, json};

mod markdown;
mod notification;
mod openapi;
mod openrpc;

/// Where both kinds of document keep shared schemas.
const SCHEMAS: &str = "/components/schemas";

/// The JSON-RPC side as an OpenRPC 1.3.2 document; the answer of `rpc.discover`.
#[must_use]
pub fn openrpc() -> Value {
    static DOCUMENT: LazyLock<Value> = LazyLock::new(openrpc::build);
    DOCUMENT.clone()
}

/// The HTTP side as an OpenAPI 3.1 document.
#[must_use]
pub fn openapi() -> Value {
    static DOCUMENT: LazyLock<Value> = LazyLock::new(openapi::build);
    DOCUMENT.clone()
}

/// The JSON-RPC protocol for people, as Markdown: methods, notifications, events, errors, shared types.
/// The same text for the same version, so that it can be checked in and compared.
#[must_use]
pub fn protocol_markdown() -> String {
    markdown::build(&openrpc())
}

/// A generator whose references point into [`SCHEMAS`].
///
/// Schemas describe what is read: a field that may be left out is not required.
fn generator() -> SchemaGenerator {
    SchemaSettings::draft2020_12()
        .with(|settings| {
            settings.definitions_path = SCHEMAS.into();
            settings.meta_schema = None;
        })
        .into_generator()
}

/// The schemas that were referred to, for `components.schemas`.
fn definitions(mut generator: SchemaGenerator) -> Value {
    Value::Object(generator.take_definitions(true))
}

fn license() -> Value {
    json!({ "name": "MIT", "identifier": "MIT" })
}

/// For tests: every `$ref` in `document` that leads nowhere.
#[cfg(test)]
fn dangling(document: &Value) -> Vec<String> {
    fn walk<'a>(value: &'a Value, found: &mut Vec<&'a str>) {
        match value {
            Value::Object(fields) => {
                found.extend(fields.get("$ref").and_then(Value::as_str));
                fields.values().for_each(|field| walk(field, found));
            }
            Value::Array(items) => items.iter().for_each(|item| walk(item, found)),
            _ => {}
        }
    }
    let mut references = Vec::new();
    walk(document, &mut references);
    assert!(!references.is_empty());
    let leads_somewhere = |reference: &str| reference.strip_prefix('#').and_then(|at| document.pointer(at)).is_some();
    references.into_iter().filter(|reference| !leads_somewhere(reference)).map(str::to_owned).collect()
}
