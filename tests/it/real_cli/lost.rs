//! Sessions of a gateway that was killed: those that are to survive it go on, the others end and can be resumed.

use serde_json::{Value, json};
use uuid::Uuid;

use super::{ask, at_rest, ended, gateway, of_kind, results, send};
use crate::support::event::Event;
use crate::support::{Client, Gateway, MessagesApi};

const FIRST: &str = "The word is heron. [[text:noted]]";

/// Kills the gateway and starts it again; a client that is attached to the session.
async fn after_a_kill(gateway: &mut Gateway, session: Uuid) -> Client {
    gateway.kill9().await;
    gateway.restart().await;
    let mut client = gateway.client().await;
    client.ok("session.attach", json!({"session_id": session})).await;
    client
}

/// Waits until the session that was lost is at rest again; the events since it was lost.
async fn until_back(client: &mut Client, session: Uuid) -> Vec<Event> {
    let lost = client.until_event(session, |event| event.data.get().contains("node_lost")).await;
    assert_eq!(
        (lost.kind.as_str(), lost.data()),
        ("session.state", json!({"state": "starting", "cause": "node_lost"}))
    );
    let at_rest =
        |event: &Event| event.seq > lost.seq && event.kind == "session.state" && event.data()["state"] == "idle";
    client.until_event(session, at_rest).await;
    client.events(session).into_iter().skip_while(|event| event.seq < lost.seq).collect()
}

/// The texts of the users that the API is shown with the answer to `prompt`.
async fn shown(api: &MessagesApi, prompt: &str) -> Vec<Value> {
    api.until_asked(prompt).await["user_texts"].as_array().unwrap().clone()
}

#[tokio::test]
async fn a_session_that_is_lost_in_a_turn_comes_back_and_tells_which_message_went_down() {
    let api = MessagesApi::start();
    let mut gateway = gateway(&api).await;
    let mut client = gateway.client().await;
    let session = at_rest(&mut client, json!({"prompt": FIRST, "on_lost": "resume"})).await;
    let message = send(&mut client, session, "[[hang]]").await;
    api.until_asked("[[hang]]").await;

    let mut client = after_a_kill(&mut gateway, session).await;
    let back = until_back(&mut client, session).await;
    let told = of_kind(&back, "turn.lost");
    assert_eq!(told, [json!({"message_id": message, "cause": "node_lost"})]);
    assert_eq!(of_kind(&back, "session.started").len(), 1);
    assert_eq!(api.prompts().iter().filter(|prompt| *prompt == "[[hang]]").count(), 1, "it is not sent again");
    let result = ask(&mut client, session, "Go on. [[text:going on]]").await;
    assert_eq!((&result["result"], &result["session_id"]), (&json!("going on"), &json!(session)));
    let shown = shown(&api, "Go on. [[text:going on]]").await;
    assert!(shown.contains(&json!(FIRST)), "{shown:?}");
    gateway.stop().await;
}

#[tokio::test]
async fn a_session_that_is_lost_in_its_first_turn_comes_back_with_that_message_known_and_unanswered() {
    let api = MessagesApi::start();
    let mut gateway = gateway(&api).await;
    let mut client = gateway.client().await;
    let params = json!({"prompt": "[[hang]]", "interactive": true, "on_lost": "resume"});
    let started = client.ok("session.start", params).await;
    let session = crate::support::client::session_id(&started).unwrap();
    api.until_asked("[[hang]]").await;

    let mut client = after_a_kill(&mut gateway, session).await;
    let back = until_back(&mut client, session).await;
    let told = of_kind(&back, "turn.lost");
    assert_eq!(told, [json!({"message_id": started["message_id"], "cause": "node_lost"})]);
    assert_eq!(ask(&mut client, session, "Go on. [[text:going on]]").await["result"], "going on");
    let shown = shown(&api, "Go on. [[text:going on]]").await;
    assert!(shown.contains(&json!("[[hang]]")), "{shown:?}");
    gateway.stop().await;
}

#[tokio::test]
async fn a_session_that_is_lost_at_rest_comes_back_at_rest() {
    let api = MessagesApi::start();
    let mut gateway = gateway(&api).await;
    let mut client = gateway.client().await;
    let session = at_rest(&mut client, json!({"prompt": FIRST, "on_lost": "resume"})).await;
    let mut client = after_a_kill(&mut gateway, session).await;
    let back = until_back(&mut client, session).await;
    assert_eq!(of_kind(&back, "turn.lost"), Vec::<Value>::new());
    assert_eq!(ask(&mut client, session, "Go on. [[text:going on]]").await["result"], "going on");
    let shown = shown(&api, "Go on. [[text:going on]]").await;
    assert!(shown.contains(&json!(FIRST)), "{shown:?}");
    assert_eq!(results(&client.events(session)).len(), 2);
    gateway.stop().await;
}

#[tokio::test]
async fn a_session_that_is_lost_before_its_first_turn_begins_anew() {
    let api = MessagesApi::start();
    let mut gateway = gateway(&api).await;
    let mut client = gateway.client().await;
    let session = at_rest(&mut client, json!({"on_lost": "resume"})).await;
    let mut client = after_a_kill(&mut gateway, session).await;
    let back = until_back(&mut client, session).await;
    assert_eq!(of_kind(&back, "turn.lost"), Vec::<Value>::new());
    let result = ask(&mut client, session, FIRST).await;
    assert_eq!((&result["result"], &result["session_id"]), (&json!("noted"), &json!(session)));
    gateway.stop().await;
}

#[tokio::test]
async fn a_session_that_is_to_end_with_its_gateway_ends_lost_and_another_goes_on_with_it() {
    let api = MessagesApi::start();
    let mut gateway = gateway(&api).await;
    let mut client = gateway.client().await;
    let session = at_rest(&mut client, json!({"prompt": FIRST})).await;
    send(&mut client, session, "[[hang]]").await;
    api.until_asked("[[hang]]").await;

    let mut client = after_a_kill(&mut gateway, session).await;
    let end = ended(&client.until_ended(session).await);
    assert_eq!((&end["reason"], &end["resumable"]), (&json!("lost"), &json!(true)));
    let refused = client.error("session.send", json!({"session_id": session, "prompt": "x"})).await;
    assert_eq!(refused["code"], -32006);

    let prompt = "Go on. [[text:going on]]";
    let next = client.start(json!({"prompt": prompt, "resume": session})).await;
    let end = ended(&client.until_ended(next).await);
    assert_eq!((&end["reason"], &end["result"]), (&json!("completed"), &json!("going on")));
    let shown = shown(&api, prompt).await;
    assert!(shown.contains(&json!(FIRST)), "{shown:?}");
    gateway.stop().await;
}
