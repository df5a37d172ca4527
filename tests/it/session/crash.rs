//! `kill -9` of the gateway: nothing that was acknowledged is lost, nothing is left running, each session
//! gets one end.

use std::time::Duration;

use serde_json::{Value, json};
use uuid::Uuid;

use super::{ended, run, until_file};
use crate::support::dice::Dice;
use crate::support::event::Event;
use crate::support::{Client, Gateway, proc, soak};

#[tokio::test]
async fn k4_after_a_kill_each_running_session_is_lost_once_and_nothing_is_left_running() {
    let mut gateway = Gateway::builder().start().await;
    let mut client = gateway.client().await;
    let finished = run(&mut client, "say before").await;
    let mut running = Vec::new();
    for number in 0..3 {
        let script = "child setsid; child daemon; touch there; rate 200 300s";
        let session = client.start(json!({"prompt": script, "labels": {"n": number.to_string()}})).await;
        until_file(&gateway, session, "there").await;
        client.until_event(session, |event| event.seq > 20).await;
        running.push((session, client.position(session)));
    }
    let unstarted = client.start(json!({"interactive": true})).await;
    client.until_state(unstarted, "idle").await;
    running.push((unstarted, client.position(unstarted)));
    gateway.kill9().await;
    assert_eq!(client.until_closed().await.code, None);
    gateway.restart().await;
    gateway.until_no_processes().await;

    for round in 0..2 {
        let mut client = gateway.client().await;
        for &(session, seen) in &running {
            client.ok("session.attach", json!({"session_id": session})).await;
            // The client checks that the numbers have no gap and that nothing follows the end.
            let events = client.until_ended(session).await;
            let end = ended(&events);
            assert_eq!(
                (&end["reason"], &end["is_error"], &end["resumable"]),
                (&json!("lost"), &json!(true), &json!(true))
            );
            assert!(events.len() as u64 > seen, "{seen} events were seen, {} are kept", events.len());
            assert_eq!(events.iter().filter(|event| event.kind == "session.ended").count(), 1);
            let record = client.ok("session.get", json!({"session_id": session})).await;
            assert_eq!((&record["state"], &record["ended"]), (&json!("ended"), &end));
        }
        let before = finished[0].session_id;
        client.ok("session.attach", json!({"session_id": before})).await;
        assert_eq!(client.until_ended(before).await.len(), finished.len());
        assert_eq!(super::slots_taken(&gateway).await, 0);
        if round == 0 {
            // A second start finds nothing to do.
            gateway.restart().await;
        }
    }
    let mut client = gateway.client().await;
    let next = client.start(json!({"prompt": "and now?", "resume": running[0].0})).await;
    let end = ended(&client.until_ended(next).await);
    assert_eq!(end["reason"], "completed", "a lost conversation can be continued: {end}");
    gateway.stop().await;
}

/// A tree of which nothing heeds what the kernel sends when the gateway dies.
const STUBBORN: &str = "ignore all; child setsid; child daemon; child ignoreterm; child forker; child stopped; \
    child cleanenv; touch there; silent";

/// The processes that the scripts have told of.
fn told_children(client: &Client, sessions: &[Uuid]) -> Vec<u32> {
    let events = sessions.iter().flat_map(|session| client.events(*session)).map(|event| event.data());
    events.filter(|line| line["subtype"] == "scripted_child").map(|line| pid(&line)).collect()
}

fn pid(line: &Value) -> u32 {
    line["pid"].as_u64().and_then(|pid| pid.try_into().ok()).expect("a process id")
}

async fn stubborn_sessions(gateway: &Gateway, client: &mut Client) -> Vec<Uuid> {
    let mut sessions = Vec::new();
    for _ in 0..3 {
        let session = client.start(json!({"prompt": STUBBORN})).await;
        until_file(gateway, session, "there").await;
        let children = |event: &Event| event.data()["kind"] == "cleanenv";
        client.until_event(session, children).await;
        sessions.push(session);
    }
    sessions
}

/// Each of them was lost, once.
async fn assert_lost(gateway: &Gateway, sessions: &[Uuid]) {
    let mut client = gateway.client().await;
    for session in sessions {
        client.ok("session.attach", json!({"session_id": session})).await;
        let events = client.until_ended(*session).await;
        assert_eq!(ended(&events)["reason"], "lost");
        assert_eq!(events.iter().filter(|event| event.kind == "session.ended").count(), 1);
    }
    assert_eq!(super::slots_taken(gateway).await, 0);
}

#[tokio::test]
async fn h7_what_survives_the_gateway_is_swept_before_the_next_one_is_ready() {
    let mut gateway = Gateway::builder().start().await;
    let mut client = gateway.client().await;
    let sessions = stubborn_sessions(&gateway, &mut client).await;
    let told = told_children(&client, &sessions);
    gateway.kill9().await;
    let alive = || told.iter().copied().filter(|pid| proc::alive(*pid)).collect::<Vec<_>>();
    assert!(alive().len() >= 3 * 4, "there is something to sweep: {:?}", alive());
    gateway.restart().await;
    // Not soon: now. What it says it is ready for begins with an empty machine.
    assert_eq!((gateway.processes(), alive()), (Vec::new(), Vec::new()));
    assert_lost(&gateway, &sessions).await;
    gateway.stop().await;
}

#[tokio::test]
async fn h7_in_a_pid_namespace_nothing_survives_the_gateway() {
    let mut gateway = Gateway::builder().pid_namespace().start().await;
    for _ in 0..soak::count(2, 50) {
        let mut client = gateway.client().await;
        let sessions = stubborn_sessions(&gateway, &mut client).await;
        assert!(gateway.processes().len() >= 3 * 5, "{:?}", gateway.processes());
        gateway.kill9().await;
        // The first process ends with the gateway, and the kernel lets it go only after all others.
        assert_eq!(gateway.processes(), Vec::<u32>::new());
        gateway.restart().await;
        assert_lost(&gateway, &sessions).await;
    }
    let mut client = gateway.client().await;
    assert_eq!(ended(&run(&mut client, "say here too").await)["reason"], "completed");
    gateway.stop().await;
}

/// What a caller has seen of an event.
fn content(event: &Event) -> (u64, &str, &str) {
    (event.seq, &event.kind, event.data.get())
}

#[tokio::test]
async fn k4_a_kill_at_any_moment_loses_nothing_that_was_seen_and_leaves_no_session_without_an_end() {
    let mut gateway = Gateway::builder().start().await;
    let mut dice = Dice::roll();
    for round in 0..soak::count(4, 50) {
        let mut client = gateway.client().await;
        // Most stream on and on; some come to their end by themselves, perhaps just then.
        for number in 0..20 {
            let script = if number % 4 == 0 { "lines 200; say x; sleep 20ms" } else { "rate 200 600s" };
            let params = json!({"prompt": script, "labels": {"round": round.to_string()}});
            client.send_call("session.start", params).await;
        }
        // How far it comes differs: from the first start under way to all of them streaming.
        let moment = dice.moment(Duration::from_millis(2_500));
        let _killed = tokio::time::timeout(moment, client.until_event(Uuid::nil(), |_| false)).await;
        gateway.kill9().await;
        gateway.restart().await;
        gateway.until_no_processes().await;

        let mut reader = gateway.client().await;
        let label = format!("round={round}");
        let listed = reader.ok("session.list", json!({"limit": 500, "label": label})).await;
        let sessions = listed["sessions"].as_array().unwrap();
        let (mut seen_sessions, mut seen_events) = (0, 0);
        for session in sessions {
            assert_eq!(session["state"], "ended", "{session}");
            let reason = session["ended"]["reason"].as_str().unwrap();
            assert!(reason == "lost" || reason == "completed", "{session}");
            let id = crate::support::client::session_id(session).unwrap();
            reader.ok("session.attach", json!({"session_id": id})).await;
            // The client checks that the numbers have no gap.
            let events = reader.until_ended(id).await;
            let ends: Vec<Value> =
                events.iter().filter(|event| event.kind == "session.ended").map(Event::data).collect();
            assert_eq!(ends, [session["ended"].clone()]);
            assert_eq!(session["last_seq"], events.len());
            let seen = client.events(id);
            assert!(seen.len() <= events.len(), "{id}: {} events were seen, {} kept", seen.len(), events.len());
            for (seen, kept) in seen.iter().zip(&events) {
                assert_eq!(content(seen), content(kept), "{id}");
            }
            seen_sessions += usize::from(!seen.is_empty());
            seen_events += seen.len();
        }
        assert_eq!(client.sessions(), seen_sessions, "a session that was seen has gone");
        assert_eq!(super::slots_taken(&gateway).await, 0);
        eprintln!("killed after {moment:?}: {} sessions, {seen_events} events seen", sessions.len());
    }
    gateway.stop().await;
}

#[tokio::test]
async fn a_session_that_outlives_its_gateway_still_ends_with_its_connections() {
    let mut gateway = Gateway::builder().setting("disconnect_grace_seconds", 5).start().await;
    let mut client = gateway.client().await;
    let mut sessions = Vec::new();
    for _ in 0..2 {
        let params = json!({"prompt": "say x", "interactive": true, "on_disconnect": "stop", "on_lost": "resume"});
        let session = client.start(params).await;
        client.until_state(session, "idle").await;
        sessions.push(session);
    }
    let (left, kept) = (sessions[0], sessions[1]);
    gateway.kill9().await;
    gateway.restart().await;
    // Its owner comes back to one of them, and to look at the other is not to come back.
    let mut owner = gateway.client().await;
    let mut watcher = gateway.client().await;
    owner.ok("session.attach", json!({"session_id": kept})).await;
    let gone = async |watcher: &mut Client, session: Uuid| {
        let ended = async {
            while watcher.ok("session.get", json!({"session_id": session})).await["state"] != "ended" {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(60), ended).await.expect("an end");
        watcher.ok("session.get", json!({"session_id": session})).await["ended"]["reason"].clone()
    };
    assert_eq!(gone(&mut watcher, left).await, "cancelled");
    let turn = json!({"session_id": kept, "prompt": "say on"});
    owner.ok("session.send", turn).await;
    owner.until_event(kept, |event| event.data.get().contains(r#""result":"on""#)).await;
    owner.close().await;
    assert_eq!(gone(&mut watcher, kept).await, "cancelled");
    assert_eq!(gateway.processes(), Vec::<u32>::new());
}
