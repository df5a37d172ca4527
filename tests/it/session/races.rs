//! Ends that come from several sides at once, and every way to fail: one terminal event each, no slot lost.

use std::time::Duration;

use serde_json::{Value, json};
use uuid::Uuid;

use super::{ended, slots_taken, until_file, workspace};
use crate::support::client::session_id;
use crate::support::dice::Dice;
use crate::support::event::Event;
use crate::support::{Client, Gateway, metrics, soak};

const CAP: usize = 8;

/// The states that a session's log tells, in their order.
fn states(events: &[Event]) -> Vec<String> {
    let told = events.iter().filter(|event| event.kind == "session.state");
    told.map(|event| event.data()["state"].as_str().expect("a state").to_owned()).collect()
}

/// Exactly `CAP` sessions can be started: no slot is missing, and none is too many.
async fn assert_all_slots_free(gateway: &Gateway) {
    let mut client = gateway.client().await;
    assert_eq!((slots_taken(gateway).await, gateway.running_agents()), (0, 0));
    let mut sessions = Vec::new();
    for _ in 0..CAP {
        sessions.push(client.start(json!({"prompt": "silent"})).await);
    }
    assert_eq!(client.error("session.start", json!({"prompt": "say one too many"})).await["code"], -32003);
    for session in sessions {
        client.ok("session.stop", json!({"session_id": session})).await;
        client.until_ended(session).await;
    }
    assert_eq!(slots_taken(gateway).await, 0);
    for state in ["starting", "running", "stopping"] {
        metrics::until(gateway.http, &format!("cc_gateway_sessions{{state=\"{state}\"}}"), 0.0).await;
    }
}

#[tokio::test]
async fn j7_a_stop_against_the_natural_end_gives_one_end_and_no_state_out_of_order() {
    let mut gateway = Gateway::builder().setting("max_sessions", CAP).start().await;
    let (mut client, mut other) = (gateway.client().await, gateway.client().await);
    let mut dice = Dice::roll();
    let (races, mut cancelled) = (soak::count(40, 1_000), 0);
    for race in 0..races {
        let session = client.start(json!({"prompt": "touch there; await go; say done"})).await;
        until_file(&gateway, session, "there").await;
        std::fs::write(workspace(&gateway, session).join("go"), "").expect("a file for the agent");
        // From the signal to go, the end takes some ten milliseconds: notice, result, exit, sweep.
        tokio::time::sleep(dice.moment(Duration::from_millis(40))).await;
        let stopper = if race % 2 == 0 { &mut client } else { &mut other };
        stopper.ok("session.stop", json!({"session_id": session})).await;
        let events = client.until_ended(session).await;
        let end = ended(&events);
        assert_eq!(events.iter().filter(|event| event.kind == "session.ended").count(), 1);
        // Either the stop came first, or it came after the result and at most shows that the session is on its way.
        match end["reason"].as_str() {
            Some("cancelled") => {
                assert_eq!(states(&events), ["stopping"], "race {race}: {end}");
                cancelled += 1;
            }
            Some("completed") => {
                assert!([&[][..], &["stopping".to_owned()]].contains(&&states(&events)[..]), "race {race}: {end}");
                assert_eq!((&end["result"], &end["is_error"]), (&json!("done"), &json!(false)), "race {race}");
            }
            _ => panic!("race {race}: {end}"),
        }
        let stopped = client.ok("session.stop", json!({"session_id": session})).await;
        assert_eq!(stopped["state"], "ended");
        // The log as it is stored says the same, and ends there.
        let stored = client.ok("session.events", json!({"session_id": session})).await;
        let last = stored["events"].as_array().and_then(|events| events.last()).expect("events");
        assert_eq!(
            (&stored["end"], &last["seq"], &last["type"]),
            (&json!(true), &json!(events.len()), &json!("session.ended"))
        );
        client.take_events(session);
    }
    eprintln!("{cancelled} of {races} races were won by the stop");
    assert_eq!(gateway.processes(), Vec::<u32>::new());
    for (reason, count) in [("cancelled", cancelled), ("completed", races - cancelled)] {
        let series = format!("cc_gateway_sessions_ended_total{{reason=\"{reason}\"}}");
        metrics::until(gateway.http, &series, count as f64).await;
    }
    assert_all_slots_free(&gateway).await;
    gateway.stop().await;
}

/// A way to fail, or not to.
struct Fate {
    prompt: &'static str,
    /// Further parameters.
    params: Value,
    /// Reasons to end for.
    reasons: &'static [&'static str],
    /// What the test does to it besides.
    blow: Option<Blow>,
}

enum Blow {
    Stop,
    RemoveWorkspace,
    Disconnect,
}

fn fate(number: u64) -> Fate {
    let fate = |prompt, reasons| Fate { prompt, params: json!({}), reasons, blow: None };
    match number {
        0 => fate("say fine", &["completed"]),
        1 => fate("exit 3", &["no_result"]),
        2 => fate("child setsid; kill-self 9", &["killed"]),
        3 => fate("child daemon; result error it went wrong", &["failed"]),
        4 => fate("cut 4096", &["output_truncated"]),
        5 => fate("result rate_limit", &["rate_limited"]),
        6 => Fate { params: json!({"timeout_seconds": 0.2}), ..fate("silent", &["timed_out"]) },
        7 => Fate { params: json!({"idle_timeout_seconds": 0.2}), ..fate("child sleep; silent", &["idle_timed_out"]) },
        8 => Fate { blow: Some(Blow::Stop), ..fate("child ignoreterm; silent", &["cancelled"]) },
        9 => Fate { blow: Some(Blow::Stop), ..fate("say quick", &["cancelled", "completed"]) },
        10 => Fate { blow: Some(Blow::RemoveWorkspace), ..fate("say x", &["completed", "spawn_failed"]) },
        _ => Fate {
            blow: Some(Blow::Disconnect),
            params: json!({"on_disconnect": "stop"}),
            ..fate("silent", &["cancelled"])
        },
    }
}

/// Starts a session with that fate, from a connection of its own; its id, or nothing if there was no slot.
async fn meet(gateway: &Gateway, token: &str, fate: &Fate) -> (Client, Option<Uuid>) {
    let mut client = Client::connect(gateway.ws, "/ws", token).await;
    let mut params = fate.params.clone();
    params["prompt"] = json!(fate.prompt);
    let place = format!("brief-{}", Uuid::new_v4());
    if matches!(fate.blow, Some(Blow::RemoveWorkspace)) {
        std::fs::create_dir(gateway.path("workspaces").join(&place)).expect("a workspace");
        params["workspace"] = json!(place);
    }
    let outcome = client.call("session.start", params).await;
    if matches!(fate.blow, Some(Blow::RemoveWorkspace)) {
        let _busy = std::fs::remove_dir_all(gateway.path("workspaces").join(&place));
    }
    match outcome {
        Ok(started) => (client, session_id(&started)),
        Err(error) => {
            assert_eq!(error["data"]["kind"], "session_limit", "{error}");
            (client, None)
        }
    }
}

/// Sees a session of that fate to its end, which must be one of those that it may have; `false`: it got no slot.
async fn live_through(gateway: &Gateway, token: &str, fate: Fate) -> bool {
    let (mut client, session) = meet(gateway, token, &fate).await;
    let Some(session) = session else { return false };
    match fate.blow {
        Some(Blow::Stop) => {
            client.ok("session.stop", json!({"session_id": session})).await;
        }
        Some(Blow::Disconnect) => {
            client.reset();
            client = Client::connect(gateway.ws, "/ws", token).await;
            // To attach before its end would be to come back for it.
            while client.ok("session.get", json!({"session_id": session})).await["state"] != "ended" {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            client.ok("session.attach", json!({"session_id": session})).await;
        }
        Some(Blow::RemoveWorkspace) | None => {}
    }
    let events = client.until_ended(session).await;
    assert_eq!(events.iter().filter(|event| event.kind == "session.ended").count(), 1);
    let end = ended(&events);
    let reason = end["reason"].as_str().expect("a reason");
    assert!(fate.reasons.contains(&reason), "{}: {end}", fate.prompt);
    true
}

#[tokio::test]
async fn j8_whatever_fails_every_slot_comes_back() {
    let builder = Gateway::builder().setting("max_sessions", CAP).setting("disconnect_grace_seconds", 0.05);
    let mut gateway = builder.start().await;
    let token = gateway.login().await;
    let mut dice = Dice::roll();
    let (wanted, mut count, mut refused) = (soak::count(96, 10_000), 0, 0);
    while count < wanted {
        // Some more than there are slots.
        let fates = (0..CAP + 4).map(|_| live_through(&gateway, &token, fate(dice.number(0..12))));
        for had_a_slot in futures_util::future::join_all(fates).await {
            *(if had_a_slot { &mut count } else { &mut refused }) += 1;
        }
        assert_eq!(slots_taken(&gateway).await, 0, "after {count} sessions");
    }
    eprintln!("{count} sessions, {refused} starts refused");
    assert_eq!(gateway.processes(), Vec::<u32>::new());
    assert_all_slots_free(&gateway).await;
    gateway.stop().await;
}
