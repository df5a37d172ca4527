//! Raw sessions: Claude's control protocol in the client's hands, within the policy of the typed methods.

use serde_json::{Value, json};
use uuid::Uuid;

use super::{ended, until_file, workspace};
use crate::support::client::Client;
use crate::support::event::Event;
use crate::support::{Gateway, metrics};

const ASK: &str = r#"ask Bash {"command":"ls"}; say asked"#;

/// Starts a raw, interactive session with a first message.
async fn start(client: &mut Client, prompt: &str) -> Uuid {
    client.start(json!({"prompt": prompt, "interactive": true, "raw": true})).await
}

fn params(session: Uuid, message: &Value) -> Value {
    json!({"session_id": session, "message": message})
}

async fn input(client: &mut Client, session: Uuid, message: Value) -> Value {
    client.ok("session.input", params(session, &message)).await
}

async fn refused(client: &mut Client, session: Uuid, message: Value) -> Value {
    client.error("session.input", params(session, &message)).await
}

fn user(text: &str) -> Value {
    json!({"type": "user", "message": {"role": "user", "content": text}})
}

fn request(id: &str, request: &Value) -> Value {
    json!({"type": "control_request", "request_id": id, "request": request})
}

fn answer(id: &Value, response: &Value) -> Value {
    json!({"type": "control_response",
        "response": {"subtype": "success", "request_id": id, "response": response}})
}

/// Claude's control request of that kind, as the client gets it.
async fn asked(client: &mut Client, session: Uuid, subtype: &str) -> Value {
    let subtype = subtype.to_owned();
    let wanted = move |event: &Event| {
        event.claude_type().as_deref() == Some("control_request/") && event.data()["request"]["subtype"] == subtype
    };
    client.until_event(session, wanted).await.data()
}

/// Claude's answer to the client's own request.
async fn answered(client: &mut Client, session: Uuid, id: &str) -> Value {
    let id = id.to_owned();
    let wanted = move |event: &Event| {
        event.claude_type().as_deref() == Some("control_response/") && event.data()["response"]["request_id"] == id
    };
    client.until_event(session, wanted).await.data()["response"].take()
}

/// Everything of Claude's as one text.
fn printed(events: &[Event]) -> String {
    events.iter().filter(|event| event.kind == "claude").map(|event| event.data.get().to_owned()).collect()
}

#[tokio::test]
async fn a_raw_sessions_requests_reach_the_client_and_only_the_client_answers() {
    let gateway = Gateway::builder().setting("permission_timeout_seconds", 0.1).start().await;
    let mut client = gateway.client().await;
    let script = format!(r#"{ASK}; request hook_callback {{"callback_id":"hook_0"}}; say hooked"#);
    let session = start(&mut client, &script).await;
    let question = asked(&mut client, session, "can_use_tool").await;
    assert_eq!(question["request"]["input"], json!({"command": "ls"}));
    let allow = json!({"behavior": "allow", "updatedInput": {"command": "ls -l"}});
    input(&mut client, session, answer(&question["request_id"], &allow)).await;
    let hook = asked(&mut client, session, "hook_callback").await;
    input(&mut client, session, answer(&hook["request_id"], &json!({"continue": true}))).await;
    client.until_state(session, "idle").await;
    let events = client.events(session);
    assert!(!events.iter().any(|event| event.kind.starts_with("permission.")), "the gateway has no part in it");
    assert!(!events.iter().any(|event| event.data.get().contains("awaiting_permission")));
    let printed = printed(&events);
    assert!(printed.contains("ls -l") && printed.contains(r#"\"continue\":true"#), "{printed}");
}

#[tokio::test]
async fn the_first_answer_to_a_request_wins_and_one_that_was_taken_back_takes_none() {
    let gateway = Gateway::builder().start().await;
    let (mut first, mut second) = (gateway.client().await, gateway.client().await);
    let session = start(&mut first, ASK).await;
    second.ok("session.attach", json!({"session_id": session})).await;
    let question = asked(&mut first, session, "can_use_tool").await;
    assert_eq!(asked(&mut second, session, "can_use_tool").await, question);
    let deny = answer(&question["request_id"], &json!({"behavior": "deny", "message": "better not"}));
    input(&mut second, session, deny.clone()).await;
    let late = refused(&mut first, session, deny).await;
    assert_eq!((&late["code"], &late["data"]["kind"]), (&json!(-32006), &json!("wrong_state")));
    first.until_state(session, "idle").await;
    assert!(printed(&first.events(session)).contains("better not"));

    input(&mut first, session, user(r#"ask Bash {"command":"pwd"}"#)).await;
    let pwd = |event: &Event| event.data.get().contains("can_use_tool") && event.data.get().contains("pwd");
    let again = first.until_event(session, pwd).await.data();
    input(&mut first, session, request("mine", &json!({"subtype": "interrupt"}))).await;
    first.until_event(session, |event| event.claude_type().as_deref() == Some("control_cancel_request/")).await;
    let answer = answer(&again["request_id"], &json!({"behavior": "allow"}));
    assert_eq!(refused(&mut first, session, answer).await["code"], -32006);
    assert_eq!(answered(&mut first, session, "mine").await["subtype"], "success");
}

#[tokio::test]
async fn what_the_client_changes_carries_its_own_id_and_is_noted_like_any_change() {
    let gateway = Gateway::builder().start().await;
    let mut client = gateway.client().await;
    let session = start(&mut client, "say hello").await;
    client.until_state(session, "idle").await;
    // An id that would be the gateway's own but for its prefix.
    input(&mut client, session, request("change-1", &json!({"subtype": "set_model", "model": "haiku"}))).await;
    client.ok("session.configure", json!({"session_id": session, "permission_mode": "plan"})).await;
    assert_eq!(answered(&mut client, session, "change-1").await["response"], json!({"model": "haiku"}));
    assert_eq!(answered(&mut client, session, "ccgw-change-1").await["response"], json!({"mode": "plan"}));
    let mode = request("r 2", &json!({"subtype": "set_permission_mode", "mode": "acceptEdits"}));
    input(&mut client, session, mode).await;
    assert_eq!(answered(&mut client, session, "r 2").await["response"], json!({"mode": "acceptEdits"}));
    let record = client.ok("session.get", json!({"session_id": session})).await;
    assert_eq!(record["model"], "haiku", "{record}");
    client.ok("session.configure", json!({"session_id": session, "model": "opus"})).await;
    let record = client.ok("session.get", json!({"session_id": session})).await;
    assert_eq!(record["model"], "opus", "{record}");
    let init = request("again", &json!({"subtype": "initialize", "hooks": {}}));
    input(&mut client, session, init).await;
    assert_eq!(answered(&mut client, session, "again").await["subtype"], "success");
    assert_eq!(client.ok("session.get", json!({"session_id": session})).await["state"], "idle");
}

#[tokio::test]
async fn a_raw_message_waits_behind_the_running_turn_and_one_sent_twice_is_one() {
    let gateway = Gateway::builder().start().await;
    let mut client = gateway.client().await;
    let session = start(&mut client, "touch there; await go; say first").await;
    until_file(&gateway, session, "there").await;
    let mut message = user("say second");
    message["uuid"] = json!(Uuid::new_v4());
    let told = input(&mut client, session, message.clone()).await;
    assert_eq!((&told["state"], &told["message_id"]), (&json!("running"), &message["uuid"]));
    input(&mut client, session, message).await;
    let other = input(&mut client, session, user("say third")).await;
    assert!(other["message_id"].is_string());
    std::fs::write(workspace(&gateway, session).join("go"), "").unwrap();
    client.until_state(session, "idle").await;
    let events = client.events(session);
    let results: Vec<Value> = events
        .iter()
        .filter(|event| event.claude_type().is_some_and(|kind| kind.starts_with("result/")))
        .map(|event| event.data()["result"].clone())
        .collect();
    assert_eq!(results, ["first", "second", "third"]);
}

#[tokio::test]
async fn an_interrupt_of_the_clients_ends_the_turn_and_an_end_of_its_ends_the_session() {
    let gateway = Gateway::builder().start().await;
    let mut client = gateway.client().await;
    let session = start(&mut client, "touch there; silent").await;
    until_file(&gateway, session, "there").await;
    input(&mut client, session, request("stop it", &json!({"subtype": "interrupt"}))).await;
    assert_eq!(answered(&mut client, session, "stop it").await["subtype"], "success");
    client.until_state(session, "idle").await;
    input(&mut client, session, request("bye", &json!({"subtype": "end_session"}))).await;
    let events = client.until_ended(session).await;
    assert_eq!(ended(&events)["reason"], "cancelled");
    let gone = refused(&mut client, session, user("say more")).await;
    assert_eq!(gone["code"], -32006, "{gone}");
}

#[tokio::test]
async fn a_raw_session_at_rest_keeps_its_process() {
    let gateway = Gateway::builder().setting("idle_process_seconds", 0.1).setting("max_sessions", 2).start().await;
    let mut client = gateway.client().await;
    let raw = start(&mut client, "say hello").await;
    client.until_state(raw, "idle").await;
    // Another one, at rest later, is put away; the raw one stays for all that.
    let plain = client.start(json!({"prompt": "say hello", "interactive": true})).await;
    client.until_event(plain, |event| event.data.get().contains("put_away")).await;
    metrics::until(gateway.http, r#"cc_gateway_sessions{state="idle"}"#, 1.0).await;
    assert_eq!(gateway.running_agents(), 1);
    input(&mut client, raw, user("say more")).await;
    client.until_event(raw, |event| event.data.get().contains(r#""result":"more""#)).await;
    assert!(!printed(&client.events(raw)).contains("put_away"));
}

#[tokio::test]
async fn what_is_no_line_for_an_agent_or_not_the_callers_to_ask_is_refused_and_never_written() {
    let gateway = Gateway::builder().start().await;
    let mut client = gateway.client().await;
    let session = start(&mut client, ASK).await;
    let question = asked(&mut client, session, "can_use_tool").await;
    let id = &question["request_id"];
    let ask = |body: Value| request("r", &body);
    let update = |update: Value| answer(id, &json!({"behavior": "allow", "updatedPermissions": [update]}));
    let rule = json!({"type": "addRules", "rules": [{"toolName": "Bash"}], "behavior": "allow",
        "destination": "userSettings"});
    let bypass = json!({"type": "setMode", "mode": "bypassPermissions", "destination": "session"});
    let hook = json!({"hookSpecificOutput": {"decision": {"behavior": "allow", "updatedPermissions": [rule]}}});
    for (message, code) in [
        (json!({}), -32602),
        (json!({"type": "update_environment_variables", "variables": {"A": "b"}}), -32602),
        (json!({"type": "keep_alive"}), -32602),
        (json!({"type": "user"}), -32602),
        (json!({"type": "user", "message": {"role": "assistant", "content": "x"}}), -32602),
        (json!({"type": "user", "message": {"role": "user", "content": 1}}), -32602),
        (user(""), -32602),
        (json!({"type": "control_request", "request": {"subtype": "interrupt"}}), -32602),
        (ask(json!({})), -32602),
        (ask(json!({"subtype": "set_model", "model": 1})), -32602),
        (ask(json!({"subtype": "set_model", "model": "a\0b"})), -32602),
        (ask(json!({"subtype": "set_permission_mode", "mode": "auto"})), -32602),
        (ask(json!({"subtype": "set_permission_mode", "mode": "bypassPermissions"})), -32001),
        (ask(json!({"subtype": "initialize", "agents": {"a": {"permissionMode": "bypassPermissions"}}})), -32001),
        (ask(json!({"subtype": "claude_authenticate"})), -32001),
        (ask(json!({"subtype": "apply_flag_settings", "settings": {}})), -32001),
        (request("ccgw-change-1", &json!({"subtype": "interrupt"})), -32602),
        (json!({"type": "control_response"}), -32602),
        (answer(&json!("ccgw-initialize"), &json!({})), -32006),
        (answer(&json!("another"), &json!({})), -32006),
        (update(rule.clone()), -32001),
        (update(bypass), -32001),
        (update(json!({"type": "addDirectories", "directories": ["/etc"], "destination": "session"})), -32001),
        (update(json!({"type": "grant"})), -32602),
        (answer(id, &hook), -32001),
    ] {
        assert_eq!(refused(&mut client, session, message.clone()).await["code"], code, "{message}");
    }
    let text = client.error("session.input", json!({"session_id": session, "message": "interrupt"})).await;
    assert_eq!(text["code"], -32602);
    // Nothing of it has reached the agent: it still asks, and is answered for the first time.
    input(&mut client, session, answer(id, &json!({"behavior": "allow"}))).await;
    client.until_state(session, "idle").await;
    let printed = printed(&client.events(session));
    assert!(!printed.contains("updatedPermissions") && !printed.contains(r#""request_id":"r""#), "{printed}");
}

#[tokio::test]
async fn only_a_raw_session_with_a_process_takes_raw_lines() {
    let gateway = Gateway::builder().setting("max_sessions", 1).start().await;
    let mut client = gateway.client().await;
    let interrupt = || request("r", &json!({"subtype": "interrupt"}));
    let plain = client.start(json!({"prompt": ASK, "interactive": true})).await;
    let question = client.until_event(plain, |event| event.kind == "permission.requested").await.data();
    for message in [interrupt(), user("say x"), answer(&question["request_id"], &json!({"behavior": "allow"}))] {
        let error = refused(&mut client, plain, message).await;
        assert_eq!(error["code"], -32006);
        assert!(error["message"].as_str().unwrap().contains("raw: true"), "{error}");
    }
    let params = json!({"prompt": "say hello", "interactive": true, "raw": true, "queue": true});
    let waiting = client.start(params).await;
    assert_eq!(refused(&mut client, waiting, interrupt()).await["code"], -32006);
    assert_eq!(refused(&mut client, Uuid::new_v4(), interrupt()).await["code"], -32002);
    client.ok("session.stop", json!({"session_id": plain})).await;
    client.until_state(waiting, "idle").await;
    input(&mut client, waiting, interrupt()).await;
}

#[tokio::test]
async fn a_raw_session_needs_the_scope_raw_from_start_to_end() {
    let gateway = Gateway::builder().start().await;
    let token = gateway.login().await;
    let narrow = crate::rpc_scopes::narrowed(&gateway, &token, "run watch control");
    let mut narrow = Client::connect(gateway.ws, "/ws", &narrow).await;
    let start = json!({"prompt": "say x", "interactive": true, "raw": true});
    let error = narrow.error("session.start", start).await;
    assert_eq!(error["code"], -32001, "{error}");
    assert!(error["message"].as_str().unwrap().contains("scope `raw`"));
    assert_eq!(gateway.started_agents(), 0);
    let server = json!({"prompt": "say x", "mcp_config": {"x": {"type": "sdk", "name": "x"}}});
    assert_eq!(narrow.error("session.start", server).await["code"], -32001);

    let mut client = gateway.client().await;
    let session = self::start(&mut client, "say x").await;
    client.until_state(session, "idle").await;
    let error = refused(&mut narrow, session, user("say y")).await;
    assert_eq!(error["code"], -32005, "{error}");
}

#[tokio::test]
async fn the_silence_of_an_agent_that_waits_for_its_client_is_not_its_own() {
    let gateway = Gateway::builder().start().await;
    let mut client = gateway.client().await;
    let params = json!({"prompt": ASK, "interactive": true, "raw": true, "idle_timeout_seconds": 3});
    let session = client.start(params).await;
    let question = asked(&mut client, session, "can_use_tool").await;
    client.expect_silence(std::time::Duration::from_secs(5)).await;
    let allowed = json!({"behavior": "allow", "updatedInput": {"command": "ls"}});
    input(&mut client, session, answer(&question["request_id"], &allowed)).await;
    client.until_event(session, |event| event.data.get().contains(r#""result":"asked""#)).await;
}
