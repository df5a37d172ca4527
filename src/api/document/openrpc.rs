//! The OpenRPC document: methods, errors and, as an extension, the notifications and the data of events.

use schemars::SchemaGenerator;
use serde_json::{Map, Value, json};

use super::notification::{NOTIFICATIONS, event_data};
use crate::api::error::{ErrorData, ErrorKind};
use crate::api::event::EventType;
use crate::api::method::{MethodInfo, Order, TABLE};
use crate::api::{PROTOCOL_VERSION, principal::Scope};

const ABOUT: &str = "JSON-RPC 2.0 over WebSocket. Parameters are given by name. The server sends the notifications \
    of `x-notifications`; `x-scope` is the scope that a caller's token needs, `x-ordered` methods keep their order \
    on a connection.";

pub(super) fn build() -> Value {
    let mut generator = super::generator();
    let methods: Vec<Value> = TABLE.iter().map(|info| method(info, &mut generator)).collect();
    let notifications: Vec<Value> = NOTIFICATIONS
        .iter()
        .map(|info| json!({ "name": info.name, "summary": info.summary, "params": (info.params)(&mut generator) }))
        .collect();
    let events: Map<String, Value> = EventType::ALL
        .iter()
        .map(|kind| (kind.as_str().to_owned(), event_data(*kind, &mut generator).to_value()))
        .collect();
    drop(generator.subschema_for::<ErrorData>());
    let schemas = super::definitions(generator);
    let errors: Map<String, Value> =
        ErrorKind::ALL.iter().map(|kind| (kind.as_str().to_owned(), error(*kind, &schemas))).collect();
    json!({
        "openrpc": "1.3.2",
        "info": {
            "title": "cc-gateway",
            "version": PROTOCOL_VERSION,
            "description": ABOUT,
            "license": super::license(),
        },
        "methods": methods,
        "components": { "schemas": schemas, "errors": errors },
        "x-notifications": notifications,
        "x-event-data": events,
    })
}

fn method(info: &MethodInfo, generator: &mut SchemaGenerator) -> Value {
    let params = (info.params)(generator).to_value();
    json!({
        "name": info.name,
        "summary": info.summary.trim(),
        "paramStructure": "by-name",
        "params": descriptors(&params),
        "result": { "name": "result", "schema": (info.result)(generator) },
        "errors": own_errors().map(|kind| json!({ "$ref": format!("#/components/errors/{}", kind.as_str()) }))
            .collect::<Vec<_>>(),
        "x-scope": info.scope.map(scope_word),
        "x-ordered": info.order == Order::Ordered,
        // Also says whether fields beside these are refused.
        "x-params-schema": params,
    })
}

/// One content descriptor for each property of an object's schema; the required ones first, as OpenRPC asks.
fn descriptors(params: &Value) -> Vec<Value> {
    let required: Vec<&str> = params["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let mut descriptors: Vec<Value> = params["properties"]
        .as_object()
        .into_iter()
        .flatten()
        .map(|(name, schema)| {
            let mut schema = schema.clone();
            let description = schema.as_object_mut().and_then(|fields| fields.remove("description"));
            json!({
                "name": name,
                "description": description.unwrap_or_else(|| "".into()),
                "required": required.contains(&name.as_str()),
                "schema": schema,
            })
        })
        .collect();
    descriptors.sort_by_key(|descriptor| descriptor["required"] == false);
    descriptors
}

/// The application's own errors. (OpenRPC wants each code once in a method, and the specification's own
/// codes need no mention. Of kinds that share a code the first stands for them.)
fn own_errors() -> impl Iterator<Item = ErrorKind> {
    let first = |kind: &ErrorKind| ErrorKind::ALL.into_iter().find(|other| other.code() == kind.code()) == Some(*kind);
    ErrorKind::ALL.into_iter().filter(|kind| kind.code() > -32_600).filter(first)
}

fn error(kind: ErrorKind, schemas: &Value) -> Value {
    json!({
        "code": kind.code(),
        "message": variant_description(schemas, "ErrorKind", kind.as_str()),
        "data": { "kind": kind.as_str(), "retryable": kind.retryable() },
    })
}

/// What a variant's documentation comment says, from the schema of its enum.
pub(super) fn variant_description<'a>(schemas: &'a Value, of: &str, word: &str) -> &'a str {
    schemas[of]["oneOf"]
        .as_array()
        .and_then(|variants| variants.iter().find(|variant| variant["const"] == word))
        .and_then(|variant| variant["description"].as_str())
        .unwrap_or_default()
}

fn scope_word(scope: Scope) -> Value {
    serde_json::to_value(scope).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde_json::Value;

    use super::super::{dangling, openrpc};
    use super::*;
    use crate::api::method::{self, Method};

    fn documented(name: &str) -> BTreeSet<String> {
        let document = openrpc();
        let methods = document["methods"].as_array().unwrap();
        let method = methods.iter().find(|method| method["name"] == name).unwrap_or_else(|| panic!("no {name}"));
        let params = method["params"].as_array().unwrap();
        params.iter().map(|param| param["name"].as_str().unwrap().to_owned()).collect()
    }

    /// The fields that serde itself says it knows.
    fn known_to_serde<M: Method>() -> BTreeSet<String> {
        let error = serde_json::from_value::<M::Params>(json!({ "no such field": 1 })).err().unwrap().to_string();
        error.split('`').skip(3).step_by(2).map(str::to_owned).collect()
    }

    fn fields_agree<M: Method>(aliases: &[&str]) {
        let known: BTreeSet<_> = known_to_serde::<M>().into_iter().filter(|f| !aliases.contains(&f.as_str())).collect();
        assert_eq!(documented(M::NAME), known, "{}", M::NAME);
    }

    #[test]
    fn every_method_names_every_field_it_takes() {
        fields_agree::<method::SessionStart>(&[]);
        fields_agree::<method::SessionAttach>(&[]);
        fields_agree::<method::SessionDetach>(&[]);
        fields_agree::<method::SessionGet>(&[]);
        fields_agree::<method::SessionList>(&[]);
        fields_agree::<method::SessionEvents>(&[]);
        fields_agree::<method::SessionInterrupt>(&[]);
        fields_agree::<method::SessionStop>(&[]);
        fields_agree::<method::ServerInfo>(&[]);
        fields_agree::<method::RpcDiscover>(&[]);
        fields_agree::<method::Execute>(&[]);
        fields_agree::<method::Control>(&["action"]);
    }

    #[test]
    fn the_document_holds_every_method_of_the_table_and_no_other() {
        let document = openrpc();
        let methods = document["methods"].as_array().unwrap();
        let names: Vec<_> = methods.iter().map(|method| method["name"].as_str().unwrap()).collect();
        assert_eq!(names, TABLE.iter().map(|info| info.name).collect::<Vec<_>>());
        for method in methods {
            assert!(method["x-params-schema"].is_object(), "{method}");
            assert!(method["result"]["schema"].is_object() || method["result"]["schema"] == true, "{method}");
            for param in method["params"].as_array().unwrap() {
                assert_ne!(param["description"], "", "{method}");
            }
        }
    }

    #[test]
    fn a_session_is_named_first_because_it_is_required() {
        let document = openrpc();
        let attach = document["methods"].as_array().unwrap().iter().find(|m| m["name"] == "session.attach").unwrap();
        assert_eq!(attach["params"][0]["name"], "session_id");
        assert_eq!(attach["params"][0]["required"], true);
        assert_eq!(attach["params"][1]["required"], false);
        assert_eq!((&attach["x-scope"], &attach["x-ordered"]), (&json!("watch"), &json!(true)));
    }

    #[test]
    fn every_reference_leads_somewhere() {
        assert_eq!(dangling(&openrpc()), [""; 0]);
    }

    #[test]
    fn every_error_has_its_code_and_words_and_no_method_names_a_code_twice() {
        let document = openrpc();
        for kind in ErrorKind::ALL {
            let error = &document["components"]["errors"][kind.as_str()];
            assert_eq!(error["code"], kind.code());
            assert!(error["message"].as_str().unwrap().len() > 10, "{error}");
        }
        for method in document["methods"].as_array().unwrap() {
            let referred = method["errors"].as_array().unwrap().iter().map(|error| {
                document.pointer(&error["$ref"].as_str().unwrap()[1..]).unwrap()["code"].as_i64().unwrap()
            });
            let codes: Vec<_> = referred.collect();
            assert_eq!(codes.iter().collect::<BTreeSet<_>>().len(), codes.len());
            assert!(codes.contains(&-32_001) && codes.contains(&-32_011));
        }
    }

    #[test]
    fn every_notification_and_every_type_of_event_is_described() {
        let document = openrpc();
        let names: Vec<_> =
            document["x-notifications"].as_array().unwrap().iter().map(|n| n["name"].as_str().unwrap()).collect();
        for name in ["connected", "session.event", "session.cursor", "server.draining", "ping", "process.completed"] {
            assert!(names.contains(&name), "{name}");
        }
        let events: BTreeSet<_> = document["x-event-data"].as_object().unwrap().keys().map(String::as_str).collect();
        assert_eq!(events, EventType::ALL.iter().map(|kind| kind.as_str()).collect());
        assert!(matches!(&document["components"]["schemas"]["Ended"], Value::Object(_)));
    }
}
