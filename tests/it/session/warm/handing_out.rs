//! Which start gets an agent that was started ahead, and what its session is like then.

use serde_json::json;
use uuid::Uuid;

use super::{builder, pid, run, the_agent, until_ready, warm_and_cold, warmed, workspaces};
use crate::session::conversation::{at_rest_with, newest_init, send, until_answered};
use crate::session::refusals::{PASSWORD, bob};
use crate::session::slots_taken;
use crate::support::client::session_id;
use crate::support::event::Event;
use crate::support::program::add_user;
use crate::support::{Gateway, metrics};

/// What an event is, whatever is in it.
fn kinds(events: &[Event]) -> Vec<(u64, String, Option<String>)> {
    events.iter().map(|event| (event.seq, event.kind.clone(), event.claude_type())).collect()
}

#[tokio::test]
async fn the_next_start_like_the_last_one_gets_the_agent_that_was_started_ahead() {
    let mut gateway = builder(1).start().await;
    let mut client = gateway.client().await;
    let info = client.ok("server.info", json!({})).await;
    assert_eq!(info["warm"], json!({"wanted": 1, "ready": 0, "starting": 0}), "nothing was asked for yet");
    let cold = run(&mut client, json!({})).await;
    until_ready(&gateway, 1).await;
    let info = client.ok("server.info", json!({})).await;
    assert_eq!((&info["warm"]["ready"], &info["active_sessions"]), (&json!(1), &json!(1)), "it has a slot");
    let list = client.ok("session.list", json!({})).await;
    assert_eq!(list["sessions"].as_array().map(Vec::len), Some(1), "it is no session");

    let (agent, workspace) = the_agent(&gateway);
    let warm = run(&mut client, json!({})).await;
    assert_eq!(pid(&client, warm), agent);
    assert_eq!(workspace.file_name().unwrap().to_str(), Some(warm.to_string().as_str()));
    // Its log is what any other is.
    assert_eq!(kinds(&client.events(warm)), kinds(&client.events(cold)));
    let init = newest_init(&client.events(warm));
    assert_eq!((&init["session_id"], &init["cwd"]), (&json!(warm), &json!(workspace)));
    assert_eq!(warm_and_cold(&gateway).await, (1.0, 1.0));
    // And there is another one, for the next.
    until_ready(&gateway, 1).await;
    assert_eq!((gateway.started_agents(), gateway.running_agents()), (3, 1));
    gateway.stop().await;
    let mut left = [cold, warm].map(|session| session.to_string());
    left.sort();
    assert_eq!(workspaces(&gateway), left, "only sessions leave workspaces");
}

#[tokio::test]
async fn a_repeated_start_of_an_agent_that_was_started_ahead_names_the_same_first_message() {
    let gateway = builder(1).start().await;
    let mut client = gateway.client().await;
    warmed(&gateway, &mut client, json!({})).await;
    let params = json!({"prompt": "say done", "idempotency_key": "once"});
    let told = client.ok("session.start", params.clone()).await;
    client.until_ended(session_id(&told).expect("a session")).await;
    assert_eq!(warm_and_cold(&gateway).await, (1.0, 1.0));
    let again = gateway.client().await.ok("session.start", params).await;
    assert_eq!((&again["session_id"], &again["message_id"]), (&told["session_id"], &told["message_id"]));
}

#[tokio::test]
async fn a_session_with_an_agent_started_ahead_goes_on_as_any_other_does() {
    let gateway = builder(1).setting("idle_process_seconds", 0.05).start().await;
    let mut client = gateway.client().await;
    warmed(&gateway, &mut client, json!({})).await;
    let (agent, _) = the_agent(&gateway);
    let session = at_rest_with(&mut client, json!({})).await;
    assert_eq!(pid(&client, session), agent);
    // It is put away, and comes back in a process of its own.
    crate::session::conversation::until_away(&mut client, session, 1).await;
    let message = send(&mut client, session, "and now?").await;
    let answer = until_answered(&mut client, session, &message).await;
    assert_eq!(answer.data()["result"], "You said: and now? (after 1 earlier)");
}

#[tokio::test]
async fn what_can_be_set_on_a_running_agent_is_set_and_anything_else_needs_an_agent_of_its_own() {
    let gateway = builder(1).start().await;
    let mut client = gateway.client().await;
    warmed(&gateway, &mut client, json!({"model": "opus", "permission_mode": "plan"})).await;
    let (agent, _) = the_agent(&gateway);
    // Without a model the settings' own is used: nobody can say which that is.
    for other in [json!({}), json!({"model": "opus", "permission_mode": "plan", "max_turns": 3})] {
        let session = run(&mut client, other).await;
        assert_ne!(pid(&client, session), agent);
    }
    until_ready(&gateway, 1).await;
    assert_eq!(the_agent(&gateway).0, agent, "one that was asked for once pushes no other out");
    let session = run(&mut client, json!({"model": "haiku", "permission_mode": "acceptEdits"})).await;
    assert_eq!(pid(&client, session), agent);
    let init = newest_init(&client.events(session));
    assert_eq!((&init["model"], &init["permissionMode"]), (&json!("haiku"), &json!("acceptEdits")));
    assert_eq!(warm_and_cold(&gateway).await, (1.0, 3.0));
}

#[tokio::test]
async fn starts_that_are_not_new_in_a_workspace_of_their_own_are_never_prepared_for() {
    let gateway = builder(1).start().await;
    let mut client = gateway.client().await;
    std::fs::create_dir(gateway.path("workspaces/shared")).unwrap();
    let first = run(&mut client, json!({"workspace": "shared"})).await;
    run(&mut client, json!({"workspace": "shared", "resume": first})).await;
    run(&mut client, json!({"workspace": "shared"})).await;
    assert_eq!(warm_and_cold(&gateway).await, (0.0, 0.0));
    let info = client.ok("server.info", json!({})).await;
    assert_eq!((&info["warm"]["ready"], &info["warm"]["starting"]), (&json!(0), &json!(0)));
    assert_eq!(gateway.started_agents(), 3);
}

#[tokio::test]
async fn e12_what_was_started_with_one_callers_words_is_never_anothers() {
    let mut gateway = builder(2).setting("shared_uid_accepted", true).start().await;
    add_user(&mut gateway, "bob", PASSWORD).await;
    let (mut admin, mut bob) = (gateway.client().await, bob(&gateway).await);
    let words = json!({"append_system_prompt": "a secret of the admin's"});
    run(&mut admin, words.clone()).await;
    until_ready(&gateway, 2).await;
    let prepared = gateway.processes();
    let theirs = run(&mut bob, words.clone()).await;
    assert!(!prepared.contains(&pid(&bob, theirs)), "the same words of another caller");
    let own = run(&mut admin, words).await;
    assert!(prepared.contains(&pid(&admin, own)));
}

#[tokio::test]
async fn of_many_starts_at_once_no_two_get_one_agent_whoever_they_are() {
    let mut gateway = builder(2).setting("shared_uid_accepted", true).start().await;
    add_user(&mut gateway, "bob", PASSWORD).await;
    let mut clients = [gateway.client().await, bob(&gateway).await];
    for client in &mut clients {
        run(client, json!({})).await;
    }
    until_ready(&gateway, 2).await;
    let mut calls = [Vec::new(), Vec::new()];
    for _ in 0..3 {
        for (client, calls) in clients.iter_mut().zip(&mut calls) {
            calls.push(client.send_call("session.start", json!({"prompt": "say done"})).await);
        }
    }
    let (mut pids, mut sessions): (Vec<u32>, Vec<Uuid>) = (Vec::new(), Vec::new());
    for (client, calls) in clients.iter_mut().zip(calls) {
        for call in calls {
            let started = client.answer(call).await.expect("a session");
            let session = crate::support::client::session_id(&started).expect("its id");
            client.until_ended(session).await;
            pids.push(pid(client, session));
            sessions.push(session);
        }
    }
    for list in [&mut sessions.iter().map(Uuid::to_string).collect(), &mut pids.iter().map(u32::to_string).collect()] {
        let list: &mut Vec<String> = list;
        list.sort();
        list.dedup();
        assert_eq!(list.len(), 6);
    }
    assert!(warm_and_cold(&gateway).await.0 >= 2.0);
    gateway.stop().await;
}

#[tokio::test]
async fn a_caller_at_the_limit_of_its_own_sessions_gets_no_agent_and_the_agent_stays() {
    let gateway = builder(1).setting("max_sessions_per_principal", 1).start().await;
    let mut client = gateway.client().await;
    warmed(&gateway, &mut client, json!({})).await;
    let (agent, _) = the_agent(&gateway);
    let params = json!({"prompt": "touch there; await go; say worked", "max_turns": 9});
    let busy = client.start(params).await;
    for _ in 0..3 {
        let error = client.error("session.start", json!({"prompt": "say no"})).await;
        assert_eq!(error["code"], -32003, "{error}");
    }
    crate::session::until_file(&gateway, busy, "there").await;
    crate::session::conversation::go(&gateway, busy);
    client.until_ended(busy).await;
    assert_eq!(slots_taken(&gateway).await, 1);
    let session = run(&mut client, json!({})).await;
    assert_eq!(pid(&client, session), agent, "it was refused three times and is still there");
}

#[tokio::test]
async fn without_the_setting_nothing_is_started_ahead() {
    let mut gateway = Gateway::builder().start().await;
    let mut client = gateway.client().await;
    for _ in 0..3 {
        run(&mut client, json!({})).await;
    }
    let info = client.ok("server.info", json!({})).await;
    assert_eq!(info["warm"], json!({"wanted": 0, "ready": 0, "starting": 0}));
    assert_eq!((gateway.started_agents(), slots_taken(&gateway).await), (3, 0));
    assert_eq!(metrics::value(gateway.http, "cc_gateway_warm_starts_total{agent=\"cold\"}").await, 0.0);
    gateway.stop().await;
}
