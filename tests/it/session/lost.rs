//! Sessions that are to survive their gateway: each goes on once, under its own id, and what its agent was working on
//! is told as lost.

use serde_json::{Value, json};
use uuid::Uuid;

use super::conversation::{answers, at_rest_with, lost_turns, message_id, send, until_answered, until_away};
use super::{ended, until_file, workspace};
use crate::support::event::Event;
use crate::support::{Client, Gateway};

/// The states that events tell, with their causes.
fn told_states(events: &[Event]) -> Vec<(String, String)> {
    let told = events.iter().filter(|event| event.kind == "session.state").map(Event::data);
    let word = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    told.map(|data| (word(&data["state"]), word(&data["cause"]))).collect()
}

/// Attaches after the newest event that `seen` is, and waits until the session rests again; what came.
async fn until_back(client: &mut Client, session: Uuid, seen: u64) -> Vec<Event> {
    client.ok("session.attach", json!({"session_id": session, "after_seq": seen})).await;
    let is_lost = |event: &Event| event.seq > seen && event.data.get().contains("node_lost");
    let lost = client.until_event(session, is_lost).await;
    let rests =
        |event: &Event| event.seq > lost.seq && event.kind == "session.state" && event.data()["state"] == "idle";
    client.until_event(session, rests).await;
    client.events(session).into_iter().filter(|event| event.seq >= lost.seq).collect()
}

/// A session in its second turn, another message waiting; the two messages.
async fn in_turn(gateway: &Gateway, client: &mut Client) -> (Uuid, [Uuid; 2]) {
    let session = at_rest_with(client, json!({"on_lost": "resume"})).await;
    let running = send(client, session, "child setsid; touch there; silent").await;
    until_file(gateway, session, "there").await;
    let waiting = send(client, session, "say never").await;
    (session, [message_id(&running), message_id(&waiting)])
}

#[tokio::test]
async fn lost_sessions_are_each_resumed_once_and_their_running_and_waiting_messages_are_told_as_lost() {
    let mut gateway = Gateway::builder().setting("idle_process_seconds", 60).start().await;
    let mut client = gateway.client().await;
    let mut sessions = Vec::new();
    for _ in 0..3 {
        sessions.push(in_turn(&gateway, &mut client).await);
    }
    let resting = at_rest_with(&mut client, json!({"on_lost": "resume"})).await;
    sessions.push((resting, [Uuid::nil(); 2]));
    let started = gateway.started_agents();
    gateway.kill9().await;
    gateway.restart().await;
    let mut next = gateway.client().await;
    for &(session, messages) in &sessions {
        let seen = client.position(session);
        let back = until_back(&mut next, session, seen).await;
        let word = |state: &str, cause: &str| (state.to_owned(), cause.to_owned());
        assert_eq!(told_states(&back), [word("starting", "node_lost"), word("idle", "")]);
        let expected: Vec<_> =
            messages.iter().filter(|id| !id.is_nil()).map(|id| (*id, "node_lost".to_owned())).collect();
        assert_eq!(lost_turns(&back), expected);
        let record = next.ok("session.get", json!({"session_id": session})).await;
        assert_eq!((&record["state"], &record["ended"]), (&json!("idle"), &Value::Null));
        assert_eq!(record["workspace"], workspace(&gateway, session).display().to_string());
    }
    assert_eq!(gateway.started_agents(), started + sessions.len(), "each was started once");
    for &(session, messages) in &sessions {
        let message = send(&mut next, session, "what now?").await;
        let answer = until_answered(&mut next, session, &message).await;
        let earlier = if session == resting { 1 } else { 2 };
        assert_eq!(answer.data()["result"], format!("You said: what now? (after {earlier} earlier)"));
        let answered: Vec<Uuid> = next.events(session).iter().flat_map(answers).collect();
        assert!(!messages.iter().any(|id| answered.contains(id)), "nothing is sent again unasked");
        next.ok("session.stop", json!({"session_id": session})).await;
        assert_eq!(ended(&next.until_ended(session).await)["reason"], "cancelled");
    }
    gateway.stop().await;
}

#[tokio::test]
async fn a_lost_session_whose_conversation_is_gone_ends_lost() {
    let mut gateway = Gateway::builder().start().await;
    let mut client = gateway.client().await;
    let (session, messages) = in_turn(&gateway, &mut client).await;
    gateway.kill9().await;
    let conversation = gateway.path("claude").join(format!("projects/scripted/{session}.jsonl"));
    std::fs::remove_file(conversation).expect("the agent's conversation");
    gateway.restart().await;
    let mut client = gateway.client().await;
    client.ok("session.attach", json!({"session_id": session})).await;
    let events = client.until_ended(session).await;
    assert_eq!(ended(&events)["reason"], "lost", "{}", ended(&events));
    assert_eq!(lost_turns(&events), messages.map(|id| (id, "node_lost".to_owned())));
    assert_eq!(super::slots_taken(&gateway).await, 0);
    gateway.stop().await;
}

#[tokio::test]
async fn a_session_that_takes_one_message_rests_after_its_loss_and_ends_with_the_next_result() {
    let mut gateway = Gateway::builder().start().await;
    let mut client = gateway.client().await;
    let told = client.ok("session.start", json!({"prompt": "touch there; silent", "on_lost": "resume"})).await;
    let session = super::line::named(&told);
    until_file(&gateway, session, "there").await;
    gateway.kill9().await;
    gateway.restart().await;
    let mut next = gateway.client().await;
    let back = until_back(&mut next, session, client.position(session)).await;
    assert_eq!(lost_turns(&back), [(message_id(&told), "node_lost".to_owned())]);
    send(&mut next, session, "say at last").await;
    let end = ended(&next.until_ended(session).await);
    assert_eq!((&end["reason"], &end["result"]), (&json!("completed"), &json!("at last")));
    gateway.stop().await;
}

#[tokio::test]
async fn sessions_survive_one_kill_after_the_other_also_before_their_first_result() {
    let mut gateway = Gateway::builder().start().await;
    let mut client = gateway.client().await;
    let (second_turn, _) = in_turn(&gateway, &mut client).await;
    let params = json!({"prompt": "touch there; silent", "interactive": true, "on_lost": "resume"});
    let first_turn = client.start(params).await;
    until_file(&gateway, first_turn, "there").await;
    let sessions = [second_turn, first_turn];
    gateway.kill9().await;
    // At once after the start, while they are being resumed, and once they rest.
    gateway.restart().await;
    gateway.kill9().await;
    gateway.restart().await;
    let mut client = gateway.client().await;
    let mut seen = Vec::new();
    for session in sessions {
        until_back(&mut client, session, 0).await;
        seen.push(client.position(session));
    }
    gateway.kill9().await;
    gateway.restart().await;
    let mut client = gateway.client().await;
    for ((session, seen), earlier) in sessions.into_iter().zip(seen).zip([2, 1]) {
        until_back(&mut client, session, seen).await;
        let message = send(&mut client, session, "what now?").await;
        let answer = until_answered(&mut client, session, &message).await;
        assert_eq!(answer.data()["result"], format!("You said: what now? (after {earlier} earlier)"));
    }
    gateway.stop().await;
}

#[tokio::test]
async fn a_session_lost_in_its_first_turn_is_put_away_and_goes_on_with_its_conversation() {
    let mut gateway = Gateway::builder().setting("idle_process_seconds", 0.1).start().await;
    let mut client = gateway.client().await;
    let params = json!({"prompt": "touch there; silent", "interactive": true, "on_lost": "resume"});
    let session = client.start(params).await;
    until_file(&gateway, session, "there").await;
    gateway.kill9().await;
    gateway.restart().await;
    let mut client = gateway.client().await;
    client.ok("session.attach", json!({"session_id": session})).await;
    until_away(&mut client, session, 1).await;
    let message = send(&mut client, session, "what now?").await;
    let answer = until_answered(&mut client, session, &message).await;
    assert_eq!(answer.data()["result"], "You said: what now? (after 1 earlier)");
    gateway.stop().await;
}
