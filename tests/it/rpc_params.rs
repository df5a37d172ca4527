//! Every parameter of every method with values that do not fit. What there is comes from the document that the
//! gateway gives its callers, so no parameter can be forgotten.

use cc_gateway::api::method::TABLE;
use serde_json::{Map, Value, json};

use crate::support::{Client, Gateway};

const NOBODY: &str = "00000000-0000-4000-8000-000000000000";
/// Taken and ignored, whatever they are, as cc_executor does.
const TAKE_ANYTHING: [(&str, &str); 5] =
    [("execute", "id"), ("execute", "model"), ("execute", "temperature"), ("control", "id"), ("control", "session_id")];
/// Take any parameters.
const TAKE_ANY_PARAMETERS: [&str; 2] = ["pong", "hook_status"];

/// The document's schemas, as far as the gateway uses their language. A keyword that is not understood fails
/// the test: what it rules out would be left untried.
struct Schemas(Value);

impl Schemas {
    fn fits(&self, schema: &Value, value: &Value) -> bool {
        let Some(rules) = schema.as_object() else { return *schema == json!(true) };
        let number = |rule: &Value| rule.as_f64().expect("a number");
        rules.iter().all(|(keyword, rule)| match keyword.as_str() {
            "description" | "default" => true,
            "$ref" => self.fits(self.referred(rule), value),
            "anyOf" | "oneOf" => rule.as_array().expect("a list").iter().any(|schema| self.fits(schema, value)),
            "type" => match rule {
                Value::Array(types) => types.iter().any(|kind| is_of(kind, value)),
                kind => is_of(kind, value),
            },
            "const" => value == rule,
            "enum" => rule.as_array().expect("a list").contains(value),
            "minimum" => value.as_f64().is_none_or(|found| found >= number(rule)),
            "maximum" => value.as_f64().is_none_or(|found| found <= number(rule)),
            "minLength" => value.as_str().is_none_or(|text| text.len() as f64 >= number(rule)),
            "maxLength" => value.as_str().is_none_or(|text| text.len() as f64 <= number(rule)),
            "format" => match rule.as_str().expect("a word") {
                "uuid" => value.as_str().is_none_or(|text| uuid::Uuid::parse_str(text).is_ok()),
                "uint32" => value.as_f64().is_none_or(|found| found <= f64::from(u32::MAX)),
                "uint64" | "double" => true,
                other => panic!("the format {other} is not understood"),
            },
            "items" => value.as_array().is_none_or(|items| items.iter().all(|item| self.fits(rule, item))),
            "uniqueItems" => {
                let once = |items: &Vec<Value>| (1..items.len()).all(|at| !items[..at].contains(&items[at]));
                value.as_array().is_none_or(once)
            }
            "additionalProperties" => {
                value.as_object().is_none_or(|fields| fields.values().all(|field| self.fits(rule, field)))
            }
            other => panic!("the keyword {other} is not understood"),
        })
    }

    fn referred(&self, reference: &Value) -> &Value {
        let name = reference.as_str().and_then(|path| path.strip_prefix("#/components/schemas/"));
        self.0.get(name.expect("a reference to a schema")).expect("a schema")
    }

    /// Values of every type, and those at the schema's bounds.
    fn candidates(&self, schema: &Value) -> Vec<Value> {
        let mut values = vec![
            json!("text"),
            json!(""),
            json!("x".repeat(201)),
            json!(NOBODY),
            Value::Null,
            json!(false),
            json!(-1),
            json!(1.5),
            json!(5),
            json!(u64::from(u32::MAX) + 1),
            json!(1e300),
            json!([]),
            json!([5]),
            json!([null]),
            json!(["text"]),
            json!([[]]),
            json!({}),
            json!({"a": 5}),
            json!({"a": "text"}),
        ];
        self.add_of_bounds(schema, &mut values);
        values
    }

    fn add_of_bounds(&self, schema: &Value, values: &mut Vec<Value>) {
        for (keyword, rule) in schema.as_object().into_iter().flatten() {
            match keyword.as_str() {
                "const" => values.push(rule.clone()),
                "minimum" => values.push(json!(rule.as_i64().expect("a whole number") - 1)),
                "maximum" => values.push(json!(rule.as_i64().expect("a whole number") + 1)),
                "$ref" => self.add_of_bounds(self.referred(rule), values),
                "anyOf" | "oneOf" => {
                    rule.as_array().into_iter().flatten().for_each(|schema| self.add_of_bounds(schema, values));
                }
                _ => {}
            }
        }
    }

    fn wrong(&self, schema: &Value) -> Vec<Value> {
        self.candidates(schema).into_iter().filter(|value| !self.fits(schema, value)).collect()
    }

    fn right(&self, schema: &Value) -> Value {
        let fitting = self.candidates(schema).into_iter().find(|value| self.fits(schema, value));
        fitting.unwrap_or_else(|| panic!("no value fits {schema}"))
    }
}

fn is_of(kind: &Value, value: &Value) -> bool {
    match kind.as_str().expect("a type") {
        "null" => value.is_null(),
        "boolean" => value.is_boolean(),
        "integer" => value.is_i64() || value.is_u64(),
        "number" => value.is_number(),
        "string" => value.is_string(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        other => panic!("the type {other} is not understood"),
    }
}

/// Why the answer to a call with wrong parameters is not as it must be: −32602, with the parameter's name first.
async fn fault(client: &mut Client, method: &str, params: &Map<String, Value>, name: &str) -> Option<String> {
    let told = |answer: &Value| Some(format!("{method} {}: {answer}", Value::Object(params.clone())));
    let error = match client.call(method, Value::Object(params.clone())).await {
        Ok(result) => return told(&result),
        Err(error) => error,
    };
    let first = error["message"].as_str().unwrap_or_default().split('`').nth(1).unwrap_or_default();
    // A part of a parameter is named by its way: `labels.a`, `types[0]`.
    let named = first.strip_prefix(name).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']));
    let is_right = error["code"] == -32602 && error["data"]["retryable"] == false && named;
    if is_right { None } else { told(&error) }
}

#[tokio::test]
async fn b7_every_parameter_that_does_not_fit_is_refused_by_its_name() {
    let mut gateway = Gateway::builder().start().await;
    let mut client = gateway.client().await;
    let document = client.ok("rpc.discover", json!({})).await;
    let schemas = Schemas(document["components"]["schemas"].clone());
    let methods = document["methods"].as_array().expect("methods");
    assert_eq!(methods.len(), TABLE.len(), "the document names the whole table");
    let mut faults = Vec::new();
    for (method, info) in methods.iter().zip(TABLE) {
        let (name, schema) = (info.name, &method["x-params-schema"]);
        assert_eq!(method["name"], name);
        let nothing = Map::new();
        let properties = schema["properties"].as_object().unwrap_or(&nothing);
        let required: Vec<&str> =
            schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        let mut right: Map<String, Value> =
            required.iter().map(|name| ((*name).to_owned(), schemas.right(&properties[*name]))).collect();
        if name == "session.start" {
            // Bounds are looked at once there is something to start.
            right.insert("prompt".to_owned(), json!("p"));
        }
        for (property, schema) in properties {
            let wrong = schemas.wrong(schema);
            let is_free = TAKE_ANYTHING.contains(&(name, property.as_str()));
            assert_eq!(wrong.is_empty(), is_free, "{name}: {property} has {} wrong values", wrong.len());
            for value in wrong {
                let mut params = right.clone();
                params.insert(property.clone(), value);
                faults.extend(fault(&mut client, name, &params, property).await);
            }
        }
        for property in &required {
            let mut params = right.clone();
            params.remove(*property);
            faults.extend(fault(&mut client, name, &params, property).await);
        }
        let is_open = schema["additionalProperties"] != false;
        assert_eq!(is_open, TAKE_ANY_PARAMETERS.contains(&name), "{name} takes parameters that nobody described");
        if !is_open {
            let mut params = right.clone();
            params.insert("no_such_parameter".to_owned(), json!(1));
            faults.extend(fault(&mut client, name, &params, "no_such_parameter").await);
        }
        let error = client.error(name, json!([1])).await;
        assert_eq!(error["code"], -32602, "{name} by position");
    }
    assert!(faults.is_empty(), "{} answers are wrong:\n{}", faults.len(), faults.join("\n"));
    assert_eq!(gateway.started_agents(), 0, "nothing of this may start an agent");
    gateway.stop().await;
}
