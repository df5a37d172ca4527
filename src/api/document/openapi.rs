//! The OpenAPI document, from the table of routes.

use schemars::SchemaGenerator;
use serde_json::{Map, Value, json};

use crate::api::VERSION;
use crate::api::http::{Problem, WsHealth};
use crate::api::route::{BodyInfo, ROUTES, RouteInfo, Verb};

/// Problems that every route can answer.
const EVERYWHERE: [(u16, &str); 7] = [
    (400, "The request or its `Host` is malformed"),
    (403, "A name in `Host` that is not the gateway's"),
    (404, "No such route"),
    (405, "The route does not take that method; `Allow` names those it takes"),
    (413, "The request announces a larger body than is taken"),
    (500, "The gateway's own fault"),
    (503, "The gateway could not answer in time, or its store is away"),
];

pub(super) fn build() -> Value {
    let mut generator = super::generator();
    let mut paths = Map::new();
    for route in ROUTES {
        paths.insert(route.path.to_owned(), path_item(route, &mut generator));
    }
    let ws_health = generator.subschema_for::<WsHealth>();
    drop(generator.subschema_for::<Problem>());
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "cc-gateway",
            "version": VERSION,
            "description": "The HTTP side: login, Claude's login, health, metrics, documents. \
                The JSON-RPC side is described by `/openrpc.json`.",
            "license": super::license(),
        },
        "paths": paths,
        "components": {
            "schemas": super::definitions(generator),
            "securitySchemes": { "accessToken": { "type": "http", "scheme": "bearer", "bearerFormat": "JWT" } },
        },
        "x-websocket-listener": {
            "/ws": { "summary": "JSON-RPC over WebSocket" },
            "/ws/mcp": { "summary": "The same, as cc_executor's clients call it" },
            "/health": { "summary": "The listener answers", "schema": ws_health },
        },
    })
}

fn path_item(route: &RouteInfo, generator: &mut SchemaGenerator) -> Value {
    let operation = operation(route, generator);
    match route.verb {
        Verb::Get => json!({ "get": operation }),
        Verb::Post => json!({ "post": operation }),
    }
}

fn operation(route: &RouteInfo, generator: &mut SchemaGenerator) -> Value {
    let mut answers: Map<String, Value> = EVERYWHERE
        .iter()
        .map(|(status, summary)| (status.to_string(), json!({ "description": summary, "content": problem() })))
        .collect();
    for answer in route.answers {
        let content = match answer.body {
            Some(body) => content(body, generator),
            // Whoever is sent elsewhere gets nothing here.
            None if (300..400).contains(&answer.status) => json!({}),
            None => problem(),
        };
        answers.insert(answer.status.to_string(), json!({ "description": answer.summary, "content": content }));
    }
    let mut operation = json!({ "summary": route.summary, "responses": answers });
    if let Some(body) = route.request {
        operation["requestBody"] = json!({ "required": body.required, "content": content(body, generator) });
    }
    if route.takes_token {
        // The empty object: a token may be left out.
        operation["security"] = json!([{}, { "accessToken": [] }]);
    }
    operation
}

fn content(body: BodyInfo, generator: &mut SchemaGenerator) -> Value {
    let description = match body.schema {
        Some(schema) => json!({ "schema": schema(generator) }),
        None => json!({}),
    };
    json!({ body.media_type: description })
}

fn problem() -> Value {
    json!({ "application/problem+json": { "schema": { "$ref": "#/components/schemas/Problem" } } })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::super::{dangling, openapi};
    use super::*;

    #[test]
    fn the_document_lists_exactly_the_routes_of_the_table() {
        let document = openapi();
        let listed: BTreeSet<_> = document["paths"].as_object().unwrap().keys().cloned().collect();
        assert_eq!(listed, ROUTES.iter().map(|route| route.path.to_owned()).collect());
        for route in ROUTES {
            let verb = if route.verb == Verb::Get { "get" } else { "post" };
            let answers = &document["paths"][route.path][verb]["responses"];
            assert!(answers["200"].is_object() || answers["302"].is_object(), "{}", route.path);
        }
    }

    #[test]
    fn a_route_that_takes_a_body_lists_what_can_be_wrong_with_one_and_every_route_what_a_name_can() {
        let document = openapi();
        for route in ROUTES {
            let verb = if route.verb == Verb::Get { "get" } else { "post" };
            let answers = &document["paths"][route.path][verb]["responses"];
            let of_bodies: &[&str] = if route.request.is_some() { &["408", "413", "415", "422"] } else { &["413"] };
            for status in ["400", "403"].iter().chain(of_bodies) {
                assert!(answers[status].is_object(), "{} {status}", route.path);
            }
        }
    }

    #[test]
    fn every_reference_leads_somewhere() {
        assert_eq!(dangling(&openapi()), [""; 0]);
    }

    #[test]
    fn a_login_takes_a_name_and_a_password_or_a_key_and_answers_an_access_token() {
        let document = openapi();
        let login = &document["paths"]["/login"]["post"];
        let body = &login["requestBody"]["content"]["application/json"]["schema"]["$ref"];
        assert_eq!(body, "#/components/schemas/LoginRequest");
        let schemas = &document["components"]["schemas"];
        let ways = schemas["LoginRequest"]["anyOf"].as_array().unwrap();
        let ways: Vec<_> = ways.iter().map(|way| way["$ref"].as_str().unwrap()).collect();
        assert_eq!(ways, ["#/components/schemas/PasswordLogin", "#/components/schemas/KeyLogin"]);
        for (way, required) in [("PasswordLogin", json!(["username", "password"])), ("KeyLogin", json!(["api_key"]))] {
            assert_eq!(schemas[way]["required"], required);
            assert_eq!(schemas[way]["additionalProperties"], false);
        }
        assert!(schemas["LoginResponse"]["properties"]["access_token"].is_object());
        assert!(login["responses"]["429"]["content"]["application/problem+json"].is_object());
    }

    #[test]
    fn readiness_answers_503_with_its_reasons_and_not_with_a_problem() {
        let document = openapi();
        let content = &document["paths"]["/readyz"]["get"]["responses"]["503"]["content"];
        assert_eq!(content["application/json"]["schema"]["$ref"], "#/components/schemas/Readiness");
    }
}
