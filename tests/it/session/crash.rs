//! `kill -9` of the gateway: nothing that was acknowledged is lost, nothing is left running, each session
//! gets one end.

use serde_json::{Value, json};

use super::{ended, run, until_file};
use crate::support::{Gateway, soak};

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

#[tokio::test]
async fn k4_a_kill_at_any_moment_leaves_no_session_without_an_end() {
    let mut gateway = Gateway::builder().start().await;
    let rounds = soak::count(4, 50);
    for round in 0..rounds {
        let mut client = gateway.client().await;
        let mut asked = Vec::new();
        for _ in 0..4 {
            asked.push(client.send_call("session.start", json!({"prompt": "lines 200; say x; sleep 20ms"})).await);
        }
        // How far it comes differs from round to round.
        let first = client.answer(asked[0]).await.unwrap();
        let session = crate::support::client::session_id(&first).unwrap();
        if round > 0 {
            client.until_event(session, |event| event.seq as usize >= round * 200 / rounds).await;
        }
        gateway.kill9().await;
        gateway.restart().await;
        gateway.until_no_processes().await;
    }
    let mut client = gateway.client().await;
    let listed = client.ok("session.list", json!({"limit": 500})).await;
    let sessions = listed["sessions"].as_array().unwrap();
    assert!(sessions.len() >= rounds && sessions.len() <= rounds * 4, "{}", sessions.len());
    for session in sessions {
        assert_eq!(session["state"], "ended", "{session}");
        let reason = session["ended"]["reason"].as_str().unwrap();
        assert!(reason == "lost" || reason == "completed", "{session}");
        let id = crate::support::client::session_id(session).unwrap();
        client.ok("session.attach", json!({"session_id": id})).await;
        let events = client.until_ended(id).await;
        let ends: Vec<Value> =
            events.iter().filter(|event| event.kind == "session.ended").map(|event| event.data()).collect();
        assert_eq!(ends, [session["ended"].clone()]);
        assert_eq!(session["last_seq"], events.len());
    }
    gateway.stop().await;
}
