//! A stop ends the whole tree, gently first, and leaves nothing behind.

use serde_json::{Value, json};
use uuid::Uuid;

use super::{ended, milliseconds, until_file};
use crate::support::{Client, Gateway, metrics, proc, soak};

/// Stops a session; its terminal event's data. By then nothing of it may be left.
async fn stop(gateway: &Gateway, client: &mut Client, session: Uuid) -> Value {
    client.ok("session.stop", json!({"session_id": session})).await;
    let end = ended(&client.until_ended(session).await);
    let left: Vec<String> = gateway.processes().into_iter().map(proc::command_line).collect();
    assert!(left.is_empty(), "left after the terminal event: {left:?}");
    end
}

#[tokio::test]
async fn h2_a_stop_ends_every_process_of_the_tree_however_it_hides() {
    let with_graces = |seconds: f64| {
        let steps = ["interrupt", "end_session", "sigint", "sigterm"].into_iter();
        steps.fold(Gateway::builder(), |builder, step| builder.setting(&format!("{step}_grace_seconds"), seconds))
    };
    // Beside a child that eats a core a gentle agent may need long to react: it is given all the time there is. One
    // that heeds nothing is given next to none.
    let (mut patient, mut hasty) = (with_graces(600.0).start().await, with_graces(0.1).start().await);
    let (mut gentle, mut harsh) = (patient.client().await, hasty.client().await);
    let kinds = ["sleep", "setsid", "daemon", "ignoreterm", "forker", "stopped", "cleanenv"];
    let children: Vec<String> = kinds.iter().map(|kind| format!("child {kind}")).collect();
    for round in 0..soak::count(4, 100) {
        // Every other agent heeds nothing itself: its end is the ladder's last step.
        let (gateway, client, stubborn, signal) = match round % 2 {
            1 => (&hasty, &mut harsh, "ignore all; ", json!(9)),
            _ => (&patient, &mut gentle, "", json!(null)),
        };
        let script = format!("{stubborn}{}; hold-stdout; touch ready; silent", children.join("; "));
        let session = client.start(json!({"prompt": script})).await;
        until_file(gateway, session, "ready").await;
        let end = stop(gateway, client, session).await;
        assert_eq!((&end["reason"], &end["signal"]), (&json!("cancelled"), &signal));
        let (stopping, gone) = (client.until_state(session, "stopping").await, client.until_ended(session).await);
        let took = milliseconds(gone.last().unwrap()) - milliseconds(&stopping);
        // By the row the grace and two seconds.
        assert!(took < 30_000, "round {round}: the end took {took} ms");
        let told = client.events(session).into_iter().map(|event| event.data());
        let pids: Vec<u64> =
            told.filter(|line| line["subtype"] == "scripted_child").filter_map(|line| line["pid"].as_u64()).collect();
        assert!(pids.len() >= kinds.len(), "every child has told its id: {pids:?}");
        for pid in pids {
            assert!(!proc::alive(u32::try_from(pid).unwrap()), "process {pid} is left");
        }
    }
    for gateway in [&mut patient, &mut hasty] {
        assert_eq!(proc::zombies(gateway.pid()), Vec::<u32>::new());
        gateway.stop().await;
    }
}

#[tokio::test]
async fn h4_what_an_agent_prints_while_it_cleans_up_is_delivered_and_its_exit_code_kept() {
    let builder = Gateway::builder().setting("interrupt_grace_seconds", 0.1).setting("end_session_grace_seconds", 0.1);
    let gateway = builder.setting("sigint_grace_seconds", 0.1).start().await;
    let mut client = gateway.client().await;
    // Three seconds by the row.
    let cleanup = soak::count(600, 3_000);
    let script = format!("ignore interrupt end_session eof int; trap-cleanup {cleanup}ms 7; touch ready; silent");
    let session = client.start(json!({"prompt": script})).await;
    until_file(&gateway, session, "ready").await;
    let end = stop(&gateway, &mut client, session).await;
    assert_eq!((&end["reason"], &end["exit_code"], &end["signal"]), (&json!("cancelled"), &json!(7), &json!(null)));
    let steps: Vec<Value> = client
        .events(session)
        .iter()
        .filter(|event| event.claude_type().as_deref() == Some("system/scripted_cleanup"))
        .map(|event| event.data()["step"].clone())
        .collect();
    let (last, numbers) = steps.split_last().expect("steps");
    assert_eq!(
        (last, numbers),
        (&json!("last"), (1..steps.len()).map(|step| json!(step)).collect::<Vec<_>>().as_slice())
    );
    assert!(steps.len() >= 2, "{steps:?}");
}

#[tokio::test]
async fn h5_an_agent_that_heeds_nothing_is_killed() {
    let builder = Gateway::builder().setting("interrupt_grace_seconds", 0.1).setting("end_session_grace_seconds", 0.1);
    let builder = builder.setting("sigint_grace_seconds", 0.1).setting("sigterm_grace_seconds", 0.3);
    let gateway = builder.start().await;
    let mut client = gateway.client().await;
    let session = client.start(json!({"prompt": "ignore all; touch ready; silent"})).await;
    until_file(&gateway, session, "ready").await;
    let end = stop(&gateway, &mut client, session).await;
    assert_eq!((&end["reason"], &end["signal"], &end["exit_code"]), (&json!("cancelled"), &json!(9), &json!(null)));
    let (stopping, events) = (client.until_state(session, "stopping").await, client.until_ended(session).await);
    let took = milliseconds(events.last().unwrap()) - milliseconds(&stopping);
    // Each step has its whole time and no more; by the row half a second more, on a busy machine seconds.
    assert!((600..30_600).contains(&took), "killed after {took} ms");
}

#[tokio::test]
async fn a_gentle_agent_is_only_interrupted_and_its_last_words_are_delivered() {
    let gateway = Gateway::builder().start().await;
    let mut client = gateway.client().await;
    let session = client.start(json!({"prompt": "touch ready; silent"})).await;
    until_file(&gateway, session, "ready").await;
    let end = stop(&gateway, &mut client, session).await;
    assert_eq!((&end["reason"], &end["signal"]), (&json!("cancelled"), &json!(null)));
    let kinds: Vec<_> = client.events(session).iter().filter_map(|event| event.claude_type()).collect();
    assert!(kinds.iter().any(|kind| kind == "result/error_during_execution"), "{kinds:?}");
}

#[tokio::test]
async fn stops_that_come_together_end_the_session_once() {
    let gateway = Gateway::builder().start().await;
    let (mut client, mut other) = (gateway.client().await, gateway.client().await);
    let session = client.start(json!({"prompt": "touch ready; silent"})).await;
    until_file(&gateway, session, "ready").await;
    let mut asked = Vec::new();
    for _ in 0..10 {
        asked.push(client.send_call("session.stop", json!({"session_id": session})).await);
        other.ok("session.stop", json!({"session_id": session})).await;
    }
    for id in asked {
        let state = client.answer(id).await.unwrap()["state"].clone();
        assert!(state == "stopping" || state == "ended", "{state}");
    }
    // The client itself fails at anything that follows a terminal event.
    let events = client.until_ended(session).await;
    assert_eq!(ended(&events)["reason"], "cancelled");
    client.expect_silence(std::time::Duration::from_millis(100)).await;
}

#[tokio::test]
async fn a_session_that_still_waits_to_be_started_can_be_stopped() {
    let builder = Gateway::builder().setting("max_concurrent_starts", 1);
    let program = super::agent_start::script(builder.directory(), "#!/bin/sh\nexec sleep 300\n");
    let gateway = builder.setting("agent_program", program.display()).start().await;
    let mut client = gateway.client().await;
    let first = client.start(json!({"prompt": "say x"})).await;
    let second = client.start(json!({"prompt": "say x"})).await;
    client.ok("session.stop", json!({"session_id": second})).await;
    let end = ended(&client.until_ended(second).await);
    assert_eq!((&end["reason"], &end["resumable"]), (&json!("cancelled"), &json!(false)));
    let end = stop(&gateway, &mut client, first).await;
    assert_eq!(end["reason"], "cancelled");
    assert_eq!(super::slots_taken(&gateway).await, 0);
}

#[tokio::test]
async fn a_session_is_stopped_with_its_connection_only_if_it_asked_for_that() {
    let gateway = Gateway::builder().setting("disconnect_grace_seconds", 0.2).start().await;
    let mut watcher = gateway.client().await;
    for (reset, word) in [(true, "stop"), (false, "stop"), (true, "keep"), (false, "keep")] {
        let mut client = gateway.client().await;
        let params = json!({"prompt": "touch ready; await go; say done", "on_disconnect": word});
        let session = client.start(params).await;
        until_file(&gateway, session, "ready").await;
        if reset {
            client.reset();
        } else {
            client.close().await;
        }
        if word == "keep" {
            std::fs::write(super::workspace(&gateway, session).join("go"), "").unwrap();
        }
        // To attach would be to come back.
        while watcher.ok("session.get", json!({"session_id": session})).await["state"] != "ended" {
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
        watcher.ok("session.attach", json!({"session_id": session})).await;
        let end = ended(&watcher.until_ended(session).await);
        let expected = if word == "keep" { "completed" } else { "cancelled" };
        assert_eq!(end["reason"], expected, "reset {reset}, {word}");
    }
    assert_eq!(gateway.processes(), Vec::<u32>::new());
}

#[tokio::test]
async fn an_owner_who_comes_back_in_time_keeps_the_session_that_was_to_end_with_its_connection() {
    let gateway = Gateway::builder().setting("disconnect_grace_seconds", 5).start().await;
    let mut first = gateway.client().await;
    let params = json!({"prompt": "touch ready; await go; say done", "on_disconnect": "stop"});
    let session = first.start(params).await;
    until_file(&gateway, session, "ready").await;
    // Connected before: what a login takes does not count.
    let mut second = gateway.client().await;
    first.reset();
    metrics::until(gateway.http, "cc_gateway_connections{listener=\"ws\"}", 1.0).await;
    second.ok("session.attach", json!({"session_id": session})).await;
    let mut third = gateway.client().await;
    third.ok("session.attach", json!({"session_id": session})).await;
    third.close().await;
    let last = second.ok("session.get", json!({"session_id": session})).await["last_seq"].as_u64().unwrap();
    second.until_position(session, last).await;
    // Longer than the grace: the second connection alone is enough.
    second.expect_silence(std::time::Duration::from_millis(5_500)).await;
    std::fs::write(super::workspace(&gateway, session).join("go"), "").unwrap();
    assert_eq!(ended(&second.until_ended(session).await)["reason"], "completed");
}
