//! The OpenRPC document as Markdown, for people.

use std::fmt::{self, Write as _};

use serde_json::Value;

use super::openrpc::variant_description;
use crate::api::error::ErrorKind;
use crate::api::event::EventType;

const OPENING: &str = "# The protocol

Generated from the gateway's types: do not edit. JSON-RPC 2.0 over WebSocket; parameters are given by name, and
unknown ones are refused unless a method says otherwise. *Ordered* methods are carried out in the order in which a
connection sent them; answers to the others may overtake each other.
";

/// The whole text.
pub(super) fn build(openrpc: &Value) -> String {
    let mut text = String::from(OPENING);
    let written = write_all(&mut text, openrpc);
    debug_assert!(written.is_ok(), "writing to a string can't fail");
    text
}

fn write_all(text: &mut String, openrpc: &Value) -> fmt::Result {
    let schemas = &openrpc["components"]["schemas"];
    methods(text, openrpc)?;
    writeln!(text, "\n## Notifications\n\n| name | params | when |\n|---|---|---|")?;
    for notification in list(&openrpc["x-notifications"]) {
        let params = type_words(&notification["params"]);
        writeln!(text, "| `{}` | {params} | {} |", word(&notification["name"]), word(&notification["summary"]))?;
    }
    writeln!(text, "\n## Events\n\n| `type` | `data` | what it tells |\n|---|---|---|")?;
    for kind in EventType::ALL.map(EventType::as_str) {
        let data = type_words(&openrpc["x-event-data"][kind]);
        writeln!(text, "| `{kind}` | {data} | {} |", cell(variant_description(schemas, "EventType", kind)))?;
    }
    errors(text, openrpc)?;
    writeln!(text, "\n## Types")?;
    for (name, schema) in schemas.as_object().into_iter().flatten() {
        type_section(text, name, schema)?;
    }
    Ok(())
}

fn methods(text: &mut String, openrpc: &Value) -> fmt::Result {
    writeln!(text, "\n## Methods\n\n| method | scope | ordered | what it does |\n|---|---|---|---|")?;
    for method in list(&openrpc["methods"]) {
        let scope = method["x-scope"].as_str().map_or_else(|| "any".to_owned(), |scope| format!("`{scope}`"));
        let ordered = if method["x-ordered"] == true { "yes" } else { "no" };
        writeln!(text, "| `{}` | {scope} | {ordered} | {} |", word(&method["name"]), word(&method["summary"]))?;
    }
    for method in list(&openrpc["methods"]) {
        writeln!(text, "\n### `{}`\n\n{}", word(&method["name"]), word(&method["summary"]))?;
        fields(text, "Parameter", &method["x-params-schema"])?;
        fields(text, "Result", &method["result"]["schema"])?;
    }
    Ok(())
}

/// A table of an object's fields; a line for what has none.
fn fields(text: &mut String, title: &str, schema: &Value) -> fmt::Result {
    let Some(properties) = schema["properties"].as_object().filter(|properties| !properties.is_empty()) else {
        let what = if schema["additionalProperties"] == false { "none".to_owned() } else { type_words(schema) };
        return writeln!(text, "\n{title}: {what}.");
    };
    let is_required = |name: &str| list(&schema["required"]).iter().any(|required| required == name);
    let (first, then): (Vec<_>, Vec<_>) = properties.iter().partition(|(name, _)| is_required(name));
    writeln!(text, "\n| {title} | type | required | meaning |\n|---|---|---|---|")?;
    for (name, field) in first.into_iter().chain(then) {
        let required = if is_required(name) { "yes" } else { "no" };
        writeln!(text, "| `{name}` | {} | {required} | {} |", type_words(field), word(&field["description"]))?;
    }
    Ok(())
}

fn errors(text: &mut String, openrpc: &Value) -> fmt::Result {
    writeln!(text, "\n## Errors\n\n| code | `data.kind` | `data.retryable` | meaning |\n|---|---|---|---|")?;
    for kind in ErrorKind::ALL {
        let error = &openrpc["components"]["errors"][kind.as_str()];
        let retryable = if kind.retryable() { "yes" } else { "no" };
        writeln!(text, "| {} | `{}` | {retryable} | {} |", kind.code(), kind.as_str(), word(&error["message"]))?;
    }
    Ok(())
}

fn type_section(text: &mut String, name: &str, schema: &Value) -> fmt::Result {
    writeln!(text, "\n### {name}\n\n{}", word(&schema["description"]))?;
    let variants = list(&schema["oneOf"]);
    if variants.iter().any(|variant| variant.get("const").is_some()) {
        writeln!(text, "\n| word | meaning |\n|---|---|")?;
        for variant in variants {
            writeln!(text, "| `{}` | {} |", word(&variant["const"]), word(&variant["description"]))?;
        }
        return Ok(());
    }
    fields(text, if schema["properties"].is_object() { "Field" } else { "Type" }, schema)
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

/// A text of the document, fit for a table.
fn word(value: &Value) -> String {
    cell(value.as_str().unwrap_or_default())
}

fn cell(text: &str) -> String {
    text.trim().replace('\n', " ").replace('|', "\\|")
}

/// A schema in a few words; types of the document as links.
fn type_words(schema: &Value) -> String {
    if let Some(reference) = schema["$ref"].as_str() {
        let name = reference.rsplit('/').next().unwrap_or_default();
        return format!("[{name}](#{})", name.to_lowercase());
    }
    if let Some(constant) = schema.get("const") {
        return format!("`{constant}`");
    }
    for choice in ["anyOf", "oneOf", "enum"] {
        let choices = list(&schema[choice]);
        if !choices.is_empty() {
            let words = choices.iter().map(|one| if choice == "enum" { format!("`{one}`") } else { type_words(one) });
            return words.collect::<Vec<_>>().join(" or ");
        }
    }
    match &schema["type"] {
        Value::String(one) => one_type(one, schema),
        Value::Array(several) => {
            several.iter().filter_map(Value::as_str).map(|one| one_type(one, schema)).collect::<Vec<_>>().join(" or ")
        }
        _ => "any JSON".to_owned(),
    }
}

fn one_type(name: &str, schema: &Value) -> String {
    match (name, schema.get("items"), schema["format"].as_str()) {
        ("array", Some(items), _) => format!("array of {}", type_words(items)),
        ("string", _, Some(format)) => format!("string ({format})"),
        _ => name.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::protocol_markdown;
    use super::*;
    use crate::api::method::TABLE;

    #[test]
    fn the_text_tells_every_method_event_error_and_reason() {
        let text = protocol_markdown();
        for method in TABLE {
            assert!(text.contains(&format!("\n### `{}`\n", method.name)), "{}", method.name);
        }
        for kind in ErrorKind::ALL {
            assert!(text.contains(&format!("| {} | `{}` |", kind.code(), kind.as_str())));
        }
        for line in text.lines().filter(|line| line.starts_with('|')) {
            assert!(!line.ends_with("|  |"), "without a meaning: {line}");
        }
    }

    #[test]
    fn every_link_has_its_heading() {
        let text = protocol_markdown();
        let headings: Vec<_> = text.lines().filter_map(|l| l.strip_prefix("### ")).map(str::to_lowercase).collect();
        let links: Vec<_> = text.split("](#").skip(1).map(|rest| rest.split(')').next().unwrap().to_owned()).collect();
        assert!(links.len() > 20);
        for link in links {
            assert!(headings.contains(&link), "{link}");
        }
    }

    #[test]
    fn the_text_is_the_same_every_time() {
        assert_eq!(protocol_markdown(), protocol_markdown());
    }

    #[test]
    fn types_are_told_in_words() {
        assert_eq!(type_words(&json!({"type": ["integer", "null"]})), "integer or null");
        assert_eq!(type_words(&json!({"type": "array", "items": {"type": "string"}})), "array of string");
        assert_eq!(type_words(&json!({"$ref": "#/components/schemas/Ended"})), "[Ended](#ended)");
        assert_eq!(type_words(&json!(true)), "any JSON");
        assert_eq!(cell("a | b\nc"), "a \\| b c");
    }
}
