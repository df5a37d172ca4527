//! Every way in which an agent can end has its own, documented terminal event.

use serde_json::{Value, json};

use super::{ended, milliseconds, run};
use crate::support::{Gateway, proc};

/// Runs the script; the data of the terminal event.
async fn end_of(client: &mut crate::support::Client, script: &str) -> Value {
    let events = run(client, script).await;
    assert_eq!(events.iter().filter(|event| event.kind == "session.ended").count(), 1);
    ended(&events)
}

#[tokio::test]
async fn f12_every_kind_of_exit_has_a_terminal_event_of_its_own() {
    let mut gateway = Gateway::builder().start().await;
    let mut client = gateway.client().await;
    let none = json!(null);
    // script, reason, exit code and signal
    let without_a_result = [
        ("exit 0", "no_result", json!(0), none.clone()),
        ("exit 3", "no_result", json!(3), none.clone()),
        ("kill-self 9", "killed", none.clone(), json!(9)),
        ("kill-self 6", "killed", none.clone(), json!(6)),
    ];
    for (script, reason, exit_code, signal) in without_a_result {
        let end = end_of(&mut client, script).await;
        assert_eq!((&end["reason"], &end["is_error"]), (&json!(reason), &json!(true)), "{script}: {end}");
        assert_eq!((&end["exit_code"], &end["signal"]), (&exit_code, &signal), "{script}: {end}");
        assert!(end["message"].is_string() && end["result"].is_null(), "{script}: {end}");
        assert_eq!((&end["forced_exit"], &end["resumable"]), (&none, &json!(true)), "{script}: {end}");
    }
    let with_a_result = [
        ("say fine", "completed"),
        ("say fine; result ok; exit 1", "completed"),
        ("result error went wrong", "failed"),
        ("result auth", "auth_failed"),
        ("result rate_limit", "rate_limited"),
        ("result error_max_turns", "max_turns"),
        ("result error_max_budget_usd", "budget_exhausted"),
    ];
    for (script, reason) in with_a_result {
        let (end, good) = (end_of(&mut client, script).await, reason == "completed");
        assert_eq!((&end["reason"], &end["is_error"]), (&json!(reason), &json!(!good)), "{script}: {end}");
        assert_eq!(end["message"].is_string(), !good, "only a failure says why: {script}: {end}");
        assert_eq!((&end["signal"], &end["forced_exit"]), (&none, &none), "{script}: {end}");
        assert!(end["num_turns"].is_u64() && end["usage"].is_object(), "{script}: {end}");
    }
    assert_eq!(super::slots_taken(&gateway).await, 0);
    gateway.stop().await;
}

#[tokio::test]
async fn f10_output_that_is_cut_in_the_middle_of_a_line_is_told_apart_from_a_missing_result() {
    let gateway = Gateway::builder().start().await;
    let mut client = gateway.client().await;
    let events = run(&mut client, "say something; cut 65536").await;
    let end = ended(&events);
    assert_eq!(
        (&end["reason"], &end["exit_code"], &end["is_error"]),
        (&json!("output_truncated"), &json!(0), &json!(true))
    );
    let outputs: Vec<Value> = events.iter().filter(|event| event.kind == "output").map(|event| event.data()).collect();
    assert_eq!((outputs.len(), &outputs[0]["unterminated"]), (1, &json!(true)), "what came of the line is kept");
}

#[tokio::test]
async fn f11_an_agent_that_does_not_exit_after_its_result_is_ended_and_the_result_counts() {
    // One that heeds a signal is given all the time there is for it, one that heeds nothing next to none.
    let cases = [("stay; say done", 600.0, json!(null)), ("stay; ignore all; child setsid; say done", 0.3, json!(9))];
    for (script, grace, signal) in cases {
        let builder = Gateway::builder().setting("result_grace_seconds", 0.3);
        let ladder = builder.setting("sigint_grace_seconds", grace).setting("sigterm_grace_seconds", grace);
        let gateway = ladder.start().await;
        let mut client = gateway.client().await;
        let end = end_of(&mut client, script).await;
        assert_eq!((&end["reason"], &end["result"]), (&json!("completed"), &json!("done")), "{script}: {end}");
        assert_eq!((&end["forced_exit"], &end["is_error"]), (&json!(true), &json!(false)), "{script}: {end}");
        assert_eq!(end["signal"], signal, "{script}: {end}");
        assert_eq!(gateway.processes(), Vec::<u32>::new());
    }
}

#[tokio::test]
async fn f11_with_the_settings_as_they_come_the_end_follows_the_result_within_seconds() {
    let gateway = Gateway::builder().start().await;
    let mut client = gateway.client().await;
    let events = run(&mut client, "stay; child setsid; say done").await;
    let end = ended(&events);
    assert_eq!((&end["reason"], &end["forced_exit"]), (&json!("completed"), &json!(true)), "{end}");
    let result = events.iter().find(|event| event.claude_type().as_deref() == Some("result/success")).unwrap();
    let took = milliseconds(events.last().unwrap()) - milliseconds(result);
    // Five seconds of its own, then a SIGINT; the row allows ten in all, a busy machine some more.
    assert!((5_000..30_000).contains(&took), "the end came {took} ms after the result");
    assert_eq!(gateway.processes(), Vec::<u32>::new());
}

#[tokio::test]
async fn h3_a_grandchild_that_holds_the_output_open_does_not_hold_up_the_end() {
    let gateway = Gateway::builder().start().await;
    let mut client = gateway.client().await;
    let events = run(&mut client, "hold-stdout; say done").await;
    let end = ended(&events);
    assert_eq!(
        (&end["reason"], &end["result"], &end["forced_exit"]),
        (&json!("completed"), &json!("done"), &json!(null))
    );
    let result = events.iter().find(|event| event.claude_type().as_deref() == Some("result/success")).unwrap();
    let took = milliseconds(events.last().unwrap()) - milliseconds(result);
    // Two seconds by the row. The grandchild would hold it for minutes.
    assert!(took < 30_000, "the end came {took} ms after the result");
    assert_eq!(gateway.processes(), Vec::<u32>::new());
}

#[tokio::test]
async fn h13_an_agent_that_closes_its_input_still_gives_its_result() {
    let mut gateway = Gateway::builder().start().await;
    let mut client = gateway.client().await;
    let end = end_of(&mut client, "close-stdin; say still here").await;
    assert_eq!((&end["reason"], &end["result"]), (&json!("completed"), &json!("still here")));
    // Nobody reads what the gateway says on the way down.
    let session = client.start(json!({"prompt": "close-stdin; touch closed; silent"})).await;
    super::until_file(&gateway, session, "closed").await;
    client.ok("session.interrupt", json!({"session_id": session})).await;
    client.ok("session.stop", json!({"session_id": session})).await;
    assert_eq!(ended(&client.until_ended(session).await)["reason"], "cancelled");
    assert!(proc::alive(gateway.pid()));
    gateway.stop().await;
}

#[tokio::test]
async fn h13_an_agent_that_closes_its_output_ends_without_a_result() {
    let gateway = Gateway::builder().start().await;
    let mut client = gateway.client().await;
    let end = end_of(&mut client, "say before; close-stdout; exit 0").await;
    assert_eq!((&end["reason"], &end["exit_code"]), (&json!("no_result"), &json!(0)));
    // It lives on without a voice: its idle clock ends it.
    let params = json!({"prompt": "close-stdout; say unheard", "idle_timeout_seconds": 0.6});
    let session = client.start(params).await;
    let end = ended(&client.until_ended(session).await);
    assert_eq!((&end["reason"], &end["result"]), (&json!("idle_timed_out"), &json!(null)));
    assert_eq!(gateway.processes(), Vec::<u32>::new());
}

#[tokio::test]
async fn h13_a_finished_session_takes_no_commands_and_says_so() {
    let gateway = Gateway::builder().start().await;
    let mut client = gateway.client().await;
    let session = client.start(json!({"prompt": "say done"})).await;
    client.until_ended(session).await;
    let error = client.error("session.interrupt", json!({"session_id": session})).await;
    assert_eq!((&error["code"], &error["data"]["kind"]), (&json!(-32006), &json!("wrong_state")));
    assert_eq!(error["data"]["details"]["state"], "ended");
    assert_eq!(client.ok("session.stop", json!({"session_id": session})).await["state"], "ended");
    let missing = client.error("session.stop", json!({"session_id": uuid::Uuid::new_v4()})).await;
    assert_eq!(missing["code"], -32002);
}
