//! Readers come and go: attach, detach, pages of events, the list of sessions.

use std::time::Duration;

use serde_json::{Value, json};
use uuid::Uuid;

use super::{ended, run, until_file};
use crate::support::client::session_id;
use crate::support::event::Event;
use crate::support::{Gateway, http};

/// Seq, type and data of each: what every reader must see alike.
fn content(events: &[Event]) -> Vec<(u64, String, String)> {
    events.iter().map(|event| (event.seq, event.kind.clone(), event.data.get().to_owned())).collect()
}

#[tokio::test]
async fn a_second_connection_reads_on_from_any_number_without_a_gap() {
    let gateway = Gateway::builder().start().await;
    let (mut first, mut second) = (gateway.client().await, gateway.client().await);
    let session = first.start(json!({"prompt": "lines 500; touch half; await go; lines 500; say end"})).await;
    until_file(&gateway, session, "half").await;
    first.until_event(session, |event| event.seq >= 400).await;
    let attached = second.ok("session.attach", json!({"session_id": session, "after_seq": 400})).await;
    assert_eq!((&attached["next_seq"], &attached["session"]["state"]), (&json!(401), &json!("running")));
    std::fs::write(super::workspace(&gateway, session).join("go"), "").unwrap();
    let (all, tail) = (first.until_ended(session).await, second.until_ended(session).await);
    assert_eq!(content(&all)[400..], content(&tail));
    assert_eq!(tail[0].seq, 401);

    // After the end the whole log is there for a third, and nothing is there after its end.
    let mut third = gateway.client().await;
    third.ok("session.attach", json!({"session_id": session})).await;
    assert_eq!(content(&third.until_ended(session).await), content(&all));
    let last = all.last().unwrap().seq;
    let mut fourth = gateway.client().await;
    fourth.ok("session.attach", json!({"session_id": session, "after_seq": last})).await;
    fourth.expect_silence(Duration::from_millis(100)).await;
    let beyond = fourth.error("session.attach", json!({"session_id": session, "after_seq": last + 1})).await;
    assert_eq!((&beyond["code"], &beyond["data"]["details"]["last_seq"]), (&json!(-32602), &json!(last)));
    let missing = fourth.error("session.attach", json!({"session_id": Uuid::new_v4()})).await;
    assert_eq!(missing["code"], -32002);
}

#[tokio::test]
async fn a_detached_connection_gets_nothing_more_until_it_attaches_again() {
    let gateway = Gateway::builder().start().await;
    let (mut client, mut other) = (gateway.client().await, gateway.client().await);
    let session = client.start(json!({"prompt": "say one; touch there; await go; say two"})).await;
    until_file(&gateway, session, "there").await;
    client.until_event(session, |event| event.data.get().contains("one")).await;
    let detached = client.ok("session.detach", json!({"session_id": session})).await;
    let position = client.position(session);
    assert_eq!(detached, json!({"detached": true, "last_seq": position}));
    let again = client.ok("session.detach", json!({"session_id": session})).await;
    assert_eq!(again["detached"], false);
    other.ok("session.attach", json!({"session_id": session})).await;
    std::fs::write(super::workspace(&gateway, session).join("go"), "").unwrap();
    other.until_ended(session).await;
    client.expect_silence(Duration::from_millis(50)).await;
    client.ok("session.attach", json!({"session_id": session, "after_seq": position})).await;
    assert_eq!(ended(&client.until_ended(session).await)["result"], "two");
}

#[tokio::test]
async fn a_session_started_without_attach_sends_no_event_until_somebody_attaches() {
    let gateway = Gateway::builder().start().await;
    let mut client = gateway.client().await;
    let session = client.start(json!({"prompt": "touch there; await go; say done", "attach": false})).await;
    until_file(&gateway, session, "there").await;
    client.expect_silence(Duration::from_millis(50)).await;
    std::fs::write(super::workspace(&gateway, session).join("go"), "").unwrap();
    client.ok("session.attach", json!({"session_id": session})).await;
    assert_eq!(client.until_ended(session).await[0].seq, 1);
}

#[tokio::test]
async fn a_filter_leaves_types_out_and_prev_seq_tells_where_the_reader_stands() {
    let gateway = Gateway::builder().start().await;
    let (mut all, mut some) = (gateway.client().await, gateway.client().await);
    let script = "touch there; await go; stderr a; lines 50; stderr b; lines 50; stderr c; sleep 50ms; say end";
    let session = all.start(json!({"prompt": script})).await;
    until_file(&gateway, session, "there").await;
    let types = json!(["output", "session.started"]);
    some.ok("session.attach", json!({"session_id": session, "types": types})).await;
    std::fs::write(super::workspace(&gateway, session).join("go"), "").unwrap();
    let (everything, filtered) = (all.until_ended(session).await, some.until_ended(session).await);
    let wanted: Vec<Event> = everything
        .into_iter()
        .filter(|event| ["output", "session.started", "session.ended"].contains(&event.kind.as_str()))
        .collect();
    assert_eq!(content(&filtered), content(&wanted));
    assert_eq!(filtered.iter().filter(|event| event.kind == "output").count(), 3);
    // The client has checked each `prev_seq` against the position that the events and cursors before it gave.
    assert!(filtered.iter().any(|event| event.prev_seq + 1 < event.seq), "nothing was left out");
    let unknown = some.error("session.attach", json!({"session_id": session, "types": ["no.such"]})).await;
    assert_eq!(unknown["code"], -32602);
}

#[tokio::test]
async fn pages_of_events_follow_each_other_without_a_gap_to_the_end() {
    let gateway = Gateway::builder().start().await;
    let mut client = gateway.client().await;
    let session = client.start(json!({"prompt": "lines 250; say end"})).await;
    let streamed = client.until_ended(session).await;
    let (mut paged, mut after) = (Vec::new(), 0);
    loop {
        let params = json!({"session_id": session, "after_seq": after, "limit": 100});
        let page = client.ok("session.events", params).await;
        let events = page["events"].as_array().unwrap();
        assert!((1..=100).contains(&events.len()), "{} events", events.len());
        paged.extend(events.clone());
        assert_eq!(page["next_seq"], paged.last().unwrap()["seq"].as_u64().unwrap() + 1);
        after = page["next_seq"].as_u64().unwrap() - 1;
        if page["end"] == true {
            break;
        }
    }
    assert_eq!(paged.len(), streamed.len());
    for (paged, streamed) in paged.iter().zip(&streamed) {
        assert_eq!((&paged["seq"], &paged["type"]), (&json!(streamed.seq), &json!(streamed.kind)));
        assert_eq!((&paged["at"], &paged["data"]), (&json!(streamed.at), &streamed.data()));
    }
    let last = streamed.last().unwrap().seq;
    let nothing = client.ok("session.events", json!({"session_id": session, "after_seq": last})).await;
    assert_eq!(nothing, json!({"events": [], "next_seq": last + 1, "end": true}));
    for bad in [json!({"limit": 0}), json!({"limit": 10_001}), json!({"after_seq": last + 1}), json!({"after_seq": -1})]
    {
        let mut params = bad.clone();
        params["session_id"] = json!(session);
        assert_eq!(client.error("session.events", params).await["code"], -32602, "{bad}");
    }
}

#[tokio::test]
async fn a_page_stops_at_its_size_but_always_holds_an_event_and_does_not_end_a_running_session() {
    let gateway = Gateway::builder().start().await;
    let mut client = gateway.client().await;
    let params = json!({"prompt": "bigline 5000000; lines 2; touch there; silent", "attach": false});
    let session = client.start(params).await;
    until_file(&gateway, session, "there").await;
    let (mut after, mut long) = (0, 0);
    // The last of the lines may still be on its way into the log.
    while long == 0 {
        let page = client.ok("session.events", json!({"session_id": session, "after_seq": after})).await;
        assert_eq!(page["end"], false);
        let events = page["events"].as_array().unwrap();
        long += events.iter().filter(|event| event["data"].to_string().len() == 5_000_000).count();
        if long > 0 {
            assert_eq!(events.last().unwrap()["data"].to_string().len(), 5_000_000, "a page ends where it is full");
        }
        after = page["next_seq"].as_u64().unwrap() - 1;
    }
    let after_it = client.ok("session.events", json!({"session_id": session, "after_seq": after, "limit": 1})).await;
    assert_eq!((&after_it["events"][0]["seq"], &after_it["end"]), (&json!(after + 1), &json!(false)));
    client.ok("session.stop", json!({"session_id": session})).await;
    client.ok("session.attach", json!({"session_id": session, "after_seq": after})).await;
    client.until_ended(session).await;
}

#[tokio::test]
async fn the_list_pages_through_all_sessions_newest_first_and_filters_by_state_and_label() {
    let gateway = Gateway::builder().start().await;
    let mut client = gateway.client().await;
    let mut made = Vec::new();
    for number in 0..7 {
        let team = if number % 2 == 0 { "red" } else { "blue" };
        let labels = json!({"number": number.to_string(), "team": team});
        let session = client.start(json!({"prompt": "say x", "labels": labels})).await;
        client.until_ended(session).await;
        made.push(session);
    }
    let live = client.start(json!({"prompt": "touch there; silent"})).await;
    until_file(&gateway, live, "there").await;
    made.push(live);
    made.reverse();

    let ids = |page: &Value| -> Vec<Uuid> {
        page["sessions"].as_array().unwrap().iter().map(|session| session_id(session).unwrap()).collect()
    };
    let (mut listed, mut cursor, mut pages) = (Vec::new(), Value::Null, 0);
    loop {
        let mut params = json!({"limit": 3});
        if !cursor.is_null() {
            params["cursor"] = cursor;
        }
        let page = client.ok("session.list", params).await;
        assert!(ids(&page).len() <= 3);
        listed.extend(ids(&page));
        pages += 1;
        cursor = page["next_cursor"].clone();
        if cursor.is_null() {
            break;
        }
    }
    assert_eq!((listed, pages), (made.clone(), 3));

    let running = client.ok("session.list", json!({"state": "running"})).await;
    assert_eq!(ids(&running), [live]);
    let red = client.ok("session.list", json!({"label": "team=red"})).await;
    assert_eq!(ids(&red), [made[1], made[3], made[5], made[7]]);
    assert_eq!(ids(&client.ok("session.list", json!({"label": "team", "state": "ended"})).await), made[1..]);
    assert_eq!(ids(&client.ok("session.list", json!({"label": "team=green"})).await), Vec::<Uuid>::new());
    for bad in [
        json!({"limit": 0}),
        json!({"limit": 501}),
        json!({"cursor": "x"}),
        json!({"state": "asleep"}),
        json!({"colour": 1}),
    ] {
        assert_eq!(client.error("session.list", bad.clone()).await["code"], -32602, "{bad}");
    }
    client.ok("session.stop", json!({"session_id": live})).await;
    client.until_ended(live).await;
}

#[tokio::test]
async fn another_principals_sessions_can_not_be_seen_at_all_except_by_an_admin() {
    let mut gateway = Gateway::builder().setting("shared_uid_accepted", true).start().await;
    crate::support::program::add_user(&mut gateway, "bob", "bobs-long-password").await;
    let mut admin = gateway.client().await;
    let token = http::login(gateway.http, "bob", "bobs-long-password").await.unwrap();
    let mut bob = crate::support::Client::connect(gateway.ws, "/ws", &token).await;
    let mine = admin.start(json!({"prompt": "touch there; silent"})).await;
    until_file(&gateway, mine, "there").await;
    for method in ["get", "attach", "detach", "events", "interrupt", "stop"] {
        let error = bob.error(&format!("session.{method}"), json!({"session_id": mine})).await;
        assert_eq!((&error["code"], &error["data"]["kind"]), (&json!(-32002), &json!("no_such_session")), "{method}");
        let none = bob.error(&format!("session.{method}"), json!({"session_id": Uuid::nil()})).await;
        let same = error["message"].as_str().unwrap().replace(&mine.to_string(), &Uuid::nil().to_string());
        assert_eq!(none["message"], same, "the two must look alike");
    }
    let resumed = bob.error("session.start", json!({"prompt": "x", "resume": mine})).await;
    assert_eq!(resumed["code"], -32002);
    assert_eq!(bob.ok("session.list", json!({})).await["sessions"], json!([]));
    let his = run(&mut bob, "say mine").await[0].session_id;
    assert_eq!(bob.ok("session.list", json!({})).await["sessions"].as_array().unwrap().len(), 1);
    assert_eq!(admin.ok("session.list", json!({})).await["sessions"].as_array().unwrap().len(), 2);
    assert_eq!(admin.ok("session.get", json!({"session_id": his})).await["owner"], "bob");
    admin.ok("session.stop", json!({"session_id": mine})).await;
    admin.until_ended(mine).await;
}
