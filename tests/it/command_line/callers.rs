//! `exec`, `login`, `sessions`, `attach`: the commands of callers.

use std::os::unix::fs::PermissionsExt as _;

use serde_json::{Value, json};

use super::as_admin;
use crate::support::gateway::ADMIN_PASSWORD;
use crate::support::program::{caller_environment, cc_gateway, with_full_output};
use crate::support::{Gateway, eventually};

#[tokio::test]
async fn exec_prints_the_text_and_tells_how_it_ended_beside() {
    let mut gateway = Gateway::builder().start().await;
    let done = as_admin(&gateway, &["exec", "say hello; say and bye"], "").await;
    assert_eq!((done.code, done.stdout.as_str()), (Some(0), "hello\nand bye\n"), "{done:?}");
    let last = done.stderr.lines().last().unwrap();
    assert!(last.contains("completed · $0.0010 · ") && last.ends_with(" s"), "{done:?}");
    let mut client = gateway.client().await;
    let listed = client.ok("session.list", json!({})).await;
    let id = listed["sessions"][0]["session_id"].as_str().unwrap();
    assert!(done.stderr.contains(&format!("session {id}")), "{done:?}");
    gateway.stop().await;
}

#[tokio::test]
async fn exec_takes_its_prompt_from_standard_input_byte_for_byte() {
    let gateway = Gateway::builder().start().await;
    let prompt = "-p isn't $(a flag)\nsecond line \u{1F600}";
    for arguments in [&["exec"][..], &["exec", "-"]] {
        let done = as_admin(&gateway, arguments, prompt).await;
        assert_eq!((done.code, done.stdout), (Some(0), format!("You said: {prompt}\n")), "{}", done.stderr);
    }
    let empty = as_admin(&gateway, &["exec"], " \n").await;
    assert_eq!((empty.code, empty.stdout.as_str()), (Some(2), ""), "{empty:?}");
    assert!(empty.stderr.contains("the prompt is empty"), "{empty:?}");
    assert_eq!(gateway.started_agents(), 2);
}

#[tokio::test]
async fn exec_ends_with_1_when_the_session_fails() {
    let gateway = Gateway::builder().start().await;
    for (script, reason) in [("result error no luck", "failed"), ("exit 0", "no_result"), ("kill-self 9", "killed")] {
        let failed = as_admin(&gateway, &["exec", script], "").await;
        assert_eq!(failed.code, Some(1), "{failed:?}");
        assert!(failed.stderr.contains(reason), "{failed:?}");
    }
    let late = as_admin(&gateway, &["exec", "silent", "--timeout", "0.5"], "").await;
    assert_eq!((late.code, late.stderr.contains("timed_out")), (Some(1), true), "{late:?}");
    let refused = as_admin(&gateway, &["exec", "say x", "--workspace", "/etc"], "").await;
    assert_eq!((refused.code, refused.stdout.as_str()), (Some(1), ""), "{refused:?}");
    assert!(refused.stderr.contains("outside the allowed roots"), "{refused:?}");
}

#[tokio::test]
async fn what_a_variable_says_is_not_shown_as_an_option_that_is_needed() {
    let gateway = Gateway::builder().start().await;
    let env = caller_environment(&gateway);
    let refused = cc_gateway(&["exec", "--queue-timeout", "5", "hi"], &env, "").await;
    assert_eq!(refused.code, Some(2), "{refused:?}");
    assert!(refused.stderr.contains("--queue") && !refused.stderr.contains("--url"), "{refused:?}");
}

#[tokio::test]
async fn an_empty_address_in_the_environment_counts_as_none() {
    let home = tempfile::tempdir().unwrap();
    let env = [("HOME", home.path().to_str().unwrap()), ("CC_GATEWAY_URL", ""), ("CC_GATEWAY_WS_URL", "")];
    let env = env.map(|(name, value)| (name.to_owned(), value.to_owned()));
    let refused = cc_gateway(&["sessions"], &env, "").await;
    assert_eq!(refused.code, Some(77), "{refused:?}");
    assert!(refused.stderr.contains("not logged in at http://127.0.0.1:8001."), "{refused:?}");
}

#[tokio::test]
async fn a_list_that_can_not_be_written_is_a_failure() {
    let gateway = Gateway::builder().start().await;
    let mut env = caller_environment(&gateway);
    env.push(("CC_GATEWAY_TOKEN".to_owned(), gateway.login().await));
    let (code, said) = with_full_output(&["sessions"], &env).await;
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("the output can't be written"), "{said}");
}

#[tokio::test]
async fn exec_ends_with_69_without_a_gateway_and_with_77_without_a_right() {
    let mut gateway = Gateway::builder().start().await;
    let mut env = caller_environment(&gateway);
    let stranger = cc_gateway(&["exec", "say x"], &env, "").await;
    assert_eq!(stranger.code, Some(77), "{stranger:?}");
    assert!(stranger.stderr.contains("cc-gateway login"), "{stranger:?}");
    env.push(("CC_GATEWAY_TOKEN".to_owned(), "not-a-token".to_owned()));
    let refused = cc_gateway(&["exec", "say x"], &env, "").await;
    assert_eq!((refused.code, refused.stdout.as_str()), (Some(77), ""), "{refused:?}");
    assert!(refused.stderr.contains("cc-gateway login"), "{refused:?}");
    let guess = gateway.path("guess").display().to_string();
    std::fs::write(&guess, "not the password").unwrap();
    let wrong = cc_gateway(&["login", "--username", "admin", "--password-file", &guess], &env, "").await;
    assert_eq!(wrong.code, Some(77), "{wrong:?}");
    gateway.stop().await;
    let nobody = cc_gateway(&["exec", "say x"], &env, "").await;
    assert_eq!(nobody.code, Some(69), "{nobody:?}");
    let password = gateway.path("admin-password").display().to_string();
    let nobody = cc_gateway(&["login", "--username", "admin", "--password-file", &password], &env, "").await;
    assert_eq!(nobody.code, Some(69), "{nobody:?}");
    assert_eq!(gateway.started_agents(), 0);
}

#[tokio::test]
async fn exec_json_prints_every_event_as_a_line_and_nothing_else() {
    let gateway = Gateway::builder().start().await;
    let done = as_admin(&gateway, &["exec", "--json", "lines 50; stderr oops; say hello"], "").await;
    assert_eq!(done.code, Some(0), "{done:?}");
    let events: Vec<Value> = done.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let numbers: Vec<u64> = events.iter().filter_map(|event| event["seq"].as_u64()).collect();
    assert_eq!(numbers, (1..=events.len() as u64).collect::<Vec<_>>());
    assert_eq!(events.last().unwrap()["type"], "session.ended");
    assert_eq!(events.last().unwrap()["data"]["result"], "hello");
    assert!(events.iter().any(|event| event["type"] == "output" && event["data"]["text"] == "oops"));
}

#[tokio::test]
async fn a_login_is_kept_privately_and_used_by_the_other_commands() {
    let gateway = Gateway::builder().start().await;
    let env = caller_environment(&gateway);
    let password = gateway.path("admin-password").display().to_string();
    let login = cc_gateway(&["login", "--username", "admin", "--password-file", &password], &env, "").await;
    assert_eq!((login.code, login.stdout.as_str()), (Some(0), ""), "{login:?}");
    let file = gateway.path("caller-home").join(".config/cc-gateway/token.json");
    assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    let saved: Value = serde_json::from_str(&std::fs::read_to_string(&file).unwrap()).unwrap();
    let url = format!("http://{}", gateway.http);
    let token = saved["tokens"][&url]["access_token"].as_str().unwrap();
    for secret in [token, ADMIN_PASSWORD] {
        assert!(!login.stderr.contains(secret), "{login:?}");
    }

    let none = cc_gateway(&["sessions"], &env, "").await;
    assert_eq!((none.code, none.stdout.lines().count()), (Some(0), 1), "{none:?}");
    let done = cc_gateway(&["exec", "say hello", "--label", "team=red"], &env, "").await;
    assert_eq!(done.code, Some(0), "{done:?}");
    let listed = cc_gateway(&["sessions", "--json", "--label", "team=red", "--state", "ended"], &env, "").await;
    let sessions: Vec<Value> = listed.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!((listed.code, sessions.len()), (Some(0), 1), "{listed:?}");
    let id = sessions[0]["session_id"].as_str().unwrap();
    let table = cc_gateway(&["sessions"], &env, "").await;
    assert!(table.stdout.contains(id) && table.stdout.contains("completed"), "{table:?}");
    assert_eq!(cc_gateway(&["sessions", "--label", "team=blue", "--json"], &env, "").await.stdout, "");

    let again = cc_gateway(&["attach", id], &env, "").await;
    assert_eq!((again.code, again.stdout.as_str()), (Some(0), "hello\n"), "{again:?}");
    let missing = cc_gateway(&["attach", "00000000-0000-0000-0000-000000000000"], &env, "").await;
    assert_eq!(missing.code, Some(1), "{missing:?}");
}

#[tokio::test]
async fn attach_follows_a_running_session_to_its_end() {
    let gateway = Gateway::builder().start().await;
    let mut client = gateway.client().await;
    let script = "say one; touch there; await go; say two";
    let session = client.start(json!({"prompt": script, "attach": false})).await;
    let workspace = gateway.path("workspaces").join(session.to_string());
    eventually("the session to be half-way", || workspace.join("there").exists().then_some(())).await;
    let id = session.to_string();
    let going_on = async {
        std::fs::write(workspace.join("go"), "").unwrap();
    };
    let arguments = ["attach", id.as_str()];
    let (done, ()) = tokio::join!(as_admin(&gateway, &arguments, ""), going_on);
    assert_eq!((done.code, done.stdout.as_str()), (Some(0), "one\ntwo\n"), "{done:?}");
    let record = client.ok("session.get", json!({"session_id": session})).await;
    let last = record["last_seq"].as_u64().unwrap().to_string();
    let nothing = as_admin(&gateway, &["attach", &id, "--after-seq", &last], "").await;
    assert_eq!((nothing.code, nothing.stdout.as_str()), (Some(0), ""), "{nothing:?}");
}
