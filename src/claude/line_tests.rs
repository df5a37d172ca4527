//! Tests of `line`: recorded dialogs of Claude Code 2.1.329, and any bytes at all.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::claude::control::Initialized;

/// The lines of a recorded dialog.
macro_rules! recorded {
    ($name:literal) => {
        include_str!(concat!("../../tests/fixtures/claude/", $name, ".jsonl"))
            .lines()
            .map(|line| parse_line(line.as_bytes()).expect("a recorded line is understood"))
            .collect::<Vec<_>>()
    };
}

fn kinds(lines: &[ClaudeLine]) -> Vec<&str> {
    lines.iter().map(ClaudeLine::kind_word).collect()
}

fn parse(line: &Value) -> ClaudeLine {
    parse_line(line.to_string().as_bytes()).unwrap()
}

#[test]
fn a_turn_with_partial_messages_has_these_lines() {
    let lines = recorded!("partial");
    assert_eq!(
        kinds(&lines),
        [
            "system/init",
            "system/status",
            "stream_event",
            "stream_event",
            "stream_event",
            "stream_event",
            "assistant",
            "stream_event",
            "result"
        ]
    );
    let ClaudeLine::Init { model, version, session_id, permission_mode } = &lines[0] else { panic!() };
    assert_eq!(model.as_deref(), Some("claude-opus-5-5"));
    assert_eq!(version.as_deref(), Some("2.1.329"));
    assert_eq!(permission_mode.as_deref(), Some("default"));
    assert!(session_id.is_some());
    let ClaudeLine::Result(result) = &lines[8] else { panic!() };
    assert_eq!(result.session_id, *session_id);
}

#[test]
fn a_result_gives_what_the_end_of_a_session_tells() {
    let lines = recorded!("tools");
    let Some(ClaudeLine::Result(result)) = lines.last() else { panic!() };
    assert_eq!((result.subtype.as_str(), result.is_error), ("success", false));
    assert_eq!(result.terminal_reason.as_deref(), Some("completed"));
    assert!(result.result.as_ref().is_some_and(|text| !text.is_empty()));
    assert!(result.total_cost_usd.is_some_and(|cost| cost > 0.0));
    assert!(result.usage.as_ref().is_some_and(|usage| usage["output_tokens"].is_u64()));
    assert!(result.num_turns.is_some_and(|turns| turns >= 3));
    assert!(result.duration_ms.is_some());
    assert_eq!((result.result_index, result.queued_turn_count), (Some(0), Some(0)));
    assert_eq!((result.api_error_status, result.origin_kind.as_deref()), (None, None));
    assert_eq!(result.structured_output, None);
    assert!(result.errors.is_empty());
}

#[test]
fn a_structured_output_is_found() {
    let lines = recorded!("structured_output");
    let Some(ClaudeLine::Result(result)) = lines.last() else { panic!() };
    assert!(result.structured_output.as_ref().is_some_and(Value::is_object));
}

#[test]
fn messages_are_followed_by_their_ids() {
    let lines = recorded!("coalesced");
    let first: Uuid = "258a8512-c48f-4a28-8870-d9a9adc14c81".parse().unwrap();
    let second: Uuid = "6bdce233-da87-4164-90b6-5fbfb6c69a76".parse().unwrap();
    let states: Vec<_> = lines
        .iter()
        .filter_map(|line| match line {
            ClaudeLine::Lifecycle { uuid, state } => Some((*uuid, *state)),
            _ => None,
        })
        .collect();
    assert_eq!(
        states,
        [
            (first, LifecycleState::Queued),
            (first, LifecycleState::Started),
            (second, LifecycleState::Queued),
            (first, LifecycleState::Cancelled),
            (second, LifecycleState::Started),
            (second, LifecycleState::Completed),
        ]
    );
    let answered: Vec<_> = lines
        .iter()
        .filter_map(|line| match line {
            ClaudeLine::Result(result) => Some(result.user_message_uuids.clone()),
            _ => None,
        })
        .collect();
    assert_eq!(answered.last(), Some(&vec![second]));
}

#[test]
fn a_background_task_gives_a_second_result_with_its_origin() {
    let origins: Vec<_> = recorded!("background_task")
        .into_iter()
        .filter_map(|line| match line {
            ClaudeLine::Result(result) => Some((result.result_index, result.origin_kind)),
            _ => None,
        })
        .collect();
    assert_eq!(origins, [(Some(0), None), (Some(1), Some("task-notification".to_owned()))]);
}

#[test]
fn an_answer_to_initialize_tells_version_and_pid() {
    let lines = recorded!("initialize");
    let ClaudeLine::ControlResponse { request_id, outcome: Ok(answer) } = &lines[0] else { panic!() };
    assert_eq!(request_id, "req_e131074f");
    assert_eq!(
        Initialized::from_answer(answer.as_deref()),
        Initialized { agent_version: Some("2.1.329".to_owned()), pid: Some(28962) }
    );
    assert_eq!(Initialized::from_answer(None), Initialized::default());
}

#[test]
fn a_refused_control_request_gives_claudes_words() {
    let refusals: Vec<_> = recorded!("control_errors")
        .into_iter()
        .filter_map(|line| match line {
            ClaudeLine::ControlResponse { outcome: Err(error), request_id } => Some((request_id, error)),
            _ => None,
        })
        .collect();
    assert_eq!(refusals.len(), 2);
    assert_eq!(refusals[0].0, "req_fcda4f9a");
    assert!(refusals[0].1.starts_with("Cannot set permission mode"));
}

#[test]
fn a_question_that_is_taken_back_is_seen() {
    let lines = recorded!("cancelled_question");
    let asked = lines.iter().find_map(|line| match line {
        ClaudeLine::ControlRequest { request_id, subtype, .. } => Some((request_id.clone(), subtype.clone())),
        _ => None,
    });
    let taken_back = lines.iter().find_map(|line| match line {
        ClaudeLine::ControlCancel { request_id } => Some(request_id.clone()),
        _ => None,
    });
    assert_eq!(asked, taken_back.map(|id| (id, "can_use_tool".to_owned())));
}

#[test]
fn retries_and_the_error_of_the_answer_are_told() {
    let lines = recorded!("rate_limited");
    let ClaudeLine::ApiRetry { attempt, max_retries, retry_delay_ms, error_status, error } = &lines[1] else {
        panic!()
    };
    assert_eq!((*attempt, *max_retries, *error_status), (1, 10, Some(429)));
    assert!(retry_delay_ms.is_some());
    assert_eq!(error.as_deref(), Some("rate_limit"));
    let ClaudeLine::Assistant { error, from_subagent } = &lines[3] else { panic!() };
    assert_eq!((error.as_deref(), *from_subagent), (Some("rate_limit"), false));

    let lines = recorded!("connection_refused");
    let ClaudeLine::ApiRetry { error_status, error, .. } = &lines[1] else { panic!() };
    assert_eq!((*error_status, error.as_deref()), (None, Some("unknown")));
}

#[test]
fn a_sub_agents_lines_are_told_apart() {
    let subagent = recorded!("subagent")
        .into_iter()
        .filter(|line| matches!(line, ClaudeLine::Assistant { from_subagent: true, .. }))
        .count();
    assert!(subagent > 0);
}

#[test]
fn only_a_status_with_a_permission_mode_tells_of_a_change() {
    let line =
        |fields: &str| parse_line(format!(r#"{{"type":"system","subtype":"status",{fields}}}"#).as_bytes()).unwrap();
    let changed = line(r#""status":null,"permissionMode":"default""#);
    assert!(matches!(&changed, ClaudeLine::ModeChanged { mode } if mode == "default"), "{changed:?}");
    let requesting = line(r#""status":"requesting""#);
    assert!(matches!(requesting, ClaudeLine::Other { .. }), "{requesting:?}");
    assert_eq!((changed.kind_word(), changed.event_kind()), (requesting.kind_word(), requesting.event_kind()));
}

#[test]
fn session_states_and_a_cleared_conversation_are_seen() {
    let states: Vec<_> = recorded!("session_state")
        .into_iter()
        .filter_map(|line| match line {
            ClaudeLine::SessionState { state } => Some(state),
            _ => None,
        })
        .collect();
    assert_eq!(states, ["running", "idle"]);
    let lines = recorded!("slash_clear");
    let ClaudeLine::ConversationReset { session_id } = &lines[0] else { panic!() };
    assert_eq!(session_id.to_string(), "98144e30-036f-42d0-b8a2-b75327fb0760");
}

#[test]
fn the_usage_limit_is_understood() {
    let Some(ClaudeLine::RateLimit(limit)) =
        recorded!("oauth_rate_limit_event").into_iter().find(|line| line.kind_word() == "rate_limit_event")
    else {
        panic!()
    };
    assert_eq!(limit, RateLimit { status: RateLimitStatus::Allowed, resets_at: None, limit: None });

    let info = json!({"status": "rejected", "resetsAt": 1_800_000_000, "rateLimitType": "five_hour"});
    let ClaudeLine::RateLimit(limit) = parse(&json!({"type": "rate_limit_event", "rate_limit_info": info})) else {
        panic!()
    };
    let expected = RateLimit {
        status: RateLimitStatus::Rejected,
        resets_at: Some(1_800_000_000),
        limit: Some("five_hour".to_owned()),
    };
    assert_eq!(limit, expected);
}

#[test]
fn the_type_is_found_wherever_it_stands() {
    let line = parse_line(br#"{"subtype":"success","is_error":false,"result":"{\"type\":\"user\"}","type":"result"}"#);
    assert!(matches!(line, Some(ClaudeLine::Result(_))));
    let line = parse_line(br#"{"message":{"type":"result","is_error":true},"type":"user"}"#);
    assert_eq!(line.unwrap().kind_word(), "user");
}

#[test]
fn a_line_of_a_newer_claude_is_passed_on_under_its_own_name() {
    assert_eq!(parse(&json!({"type": "brand_new"})).kind_word(), "brand_new");
    assert_eq!(parse(&json!({"type": "system", "subtype": "brand_new"})).kind_word(), "system/brand_new");
    assert_eq!(parse(&json!({"type": "system"})).kind_word(), "system");
    assert_eq!(parse(&json!({})).kind_word(), "untyped");
    assert_eq!(parse(&json!({"type": 1})).kind_word(), "untyped");
}

#[test]
fn every_line_is_of_the_kind_that_its_type_names() {
    let recorded = ["partial", "tools", "subagent", "interrupt_stream", "structured_output", "oauth_rate_limit_event"];
    let mut lines: Vec<Value> = Vec::new();
    for name in recorded {
        let path = format!("{}/tests/fixtures/claude/{name}.jsonl", env!("CARGO_MANIFEST_DIR"));
        lines.extend(std::fs::read_to_string(path).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()));
    }
    lines.extend([
        json!({"type": "system", "subtype": "api_retry", "attempt": 1, "max_retries": 10}),
        json!({"type": "system", "subtype": "session_state_changed", "state": "idle"}),
        json!({"type": "control_request", "request_id": "r", "request": {"subtype": "can_use_tool"}}),
        json!({"type": "control_response", "response": {"subtype": "success", "request_id": "r"}}),
        json!({"type": "control_cancel_request", "request_id": "r"}),
        json!({"type": "command_lifecycle", "command_uuid": Uuid::nil(), "state": "queued"}),
        json!({"type": "conversation_reset", "new_conversation_id": Uuid::nil()}),
        json!({"type": "keep_alive"}),
        json!({"type": "brand_new"}),
    ]);
    for line in lines {
        assert_eq!(parse(&line).event_kind(), EventKind::line(line["type"].as_str().unwrap()), "{line}");
    }
    assert_eq!(parse(&json!({})).event_kind(), EventKind::OTHER_LINE);
}

#[test]
fn a_known_line_without_what_makes_it_useful_is_passed_on() {
    for line in [
        json!({"type": "control_request", "request": {"subtype": "can_use_tool"}}),
        json!({"type": "control_request", "request_id": "r"}),
        json!({"type": "control_response", "response": {"subtype": "success"}}),
        json!({"type": "control_cancel_request"}),
        json!({"type": "command_lifecycle", "command_uuid": "x", "state": "queued"}),
        json!({"type": "command_lifecycle", "command_uuid": Uuid::nil(), "state": "new"}),
        json!({"type": "rate_limit_event"}),
        json!({"type": "conversation_reset"}),
    ] {
        let parsed = parse(&line);
        assert!(matches!(parsed, ClaudeLine::Other { .. }), "{line}: {parsed:?}");
        assert_eq!(parsed.kind_word(), line["type"]);
    }
}

#[test]
fn a_result_is_never_lost_for_the_shape_of_its_members() {
    let ClaudeLine::Result(result) = parse(&json!({
        "type": "result", "subtype": 1, "is_error": "no", "usage": null, "num_turns": -1, "errors": "x",
        "user_message_uuids": ["x"], "api_error_status": 99_999_999, "total_cost_usd": "free", "origin": 3,
    })) else {
        panic!()
    };
    assert_eq!(*result, ResultLine { is_error: true, ..ResultLine::default() });
    let ClaudeLine::Result(result) = parse(&json!({"type": "result", "subtype": "success"})) else { panic!() };
    assert!(!result.is_error);
}

#[test]
fn f9_what_is_not_one_json_object_is_not_a_line_of_claudes() {
    for noise in [
        &b""[..],
        b" ",
        b"Warning: no stdin data received",
        b"\x1b[31mred\x1b[0m",
        b"[]",
        b"1",
        b"null",
        b"\"type\"",
        b"{",
        b"{}{}",
        b"{} x",
        b"{\"type\":\"result\"",
        b"{\"type\":\"result\",}",
        b"{\"a\":\"\xff\"}",
        b"{\"a\":\"\n\"}",
        b"{\"a\":\"\0\"}",
        b"{\"a\":01}",
        b"{\"a\":nul}",
        b"\xef\xbb\xbf{}",
        b"{'a':1}",
    ] {
        assert!(parse_line(noise).is_none(), "{}", noise.escape_ascii());
    }
    assert!(parse_line(b" {\"type\":\"user\"}\r").is_some(), "white space around it is JSON's own");
}

#[test]
fn a_cut_character_does_not_lose_the_line() {
    let line = br#"{"type":"result","subtype":"success","is_error":false,"result":"ab\ud83d"}"#;
    let Some(ClaudeLine::Result(result)) = parse_line(line) else { panic!() };
    assert!(result.result.as_ref().is_some_and(|text| text.starts_with("ab\u{fffd}")));
}

#[test]
fn the_last_of_two_members_of_one_name_counts() {
    let line = parse_line(br#"{"type":"user","type":"assistant","error":"a","error":"b"}"#);
    assert!(matches!(line, Some(ClaudeLine::Assistant { error: Some(error), .. }) if error == "b"));
}

fn nested(depth: usize) -> Vec<u8> {
    format!("{{\"a\":{}1{}}}", "[".repeat(depth - 1), "]".repeat(depth - 1)).into_bytes()
}

#[test]
fn nesting_is_bounded_so_that_every_reader_can_parse_the_frame() {
    assert!(parse_line(&nested(MAX_DEPTH)).is_some());
    assert!(parse_line(&nested(MAX_DEPTH + 1)).is_none());
    assert!(parse_line(&nested(1_000_000)).is_none(), "and does not use up the stack");
    assert!(parse_line(&b"[".repeat(1_000_000)).is_none());
    let brackets_in_text = json!({"type": "user", "a": "[\"\\{".repeat(1_000), "b": vec![json!([{}]); 200]});
    assert_eq!(parse(&brackets_in_text).kind_word(), "user");
}

/// Any JSON value, with the names that matter here among its keys.
fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        any::<String>().prop_map(Value::from),
        proptest::sample::select(vec![
            "result",
            "system",
            "init",
            "assistant",
            "control_request",
            "success",
            "api_retry"
        ])
        .prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 32, 6, |inner| {
        let name = prop_oneof![
            proptest::sample::select(vec!["type", "subtype", "error", "request", "response", "usage", "origin"])
                .prop_map(str::to_owned),
            any::<String>(),
        ];
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            proptest::collection::btree_map(name, inner, 0..6)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn any_bytes_are_taken_without_a_panic(bytes: Vec<u8>) {
        if parse_line(&bytes).is_some() {
            prop_assert!(serde_json::from_slice::<Value>(&bytes).is_ok_and(|value| value.is_object()));
        }
    }

    #[test]
    fn any_object_is_accepted_and_nothing_else(value in any_json()) {
        prop_assert_eq!(parse_line(value.to_string().as_bytes()).is_some(), value.is_object());
    }

    #[test]
    fn a_damaged_object_is_accepted_exactly_if_it_is_still_json(
        value in any_json(), at: proptest::sample::Index, byte in proptest::sample::select(b"{}[]\",:\\x0 \n\x80".to_vec())
    ) {
        let mut bytes = json!({"type": "user", "a": value}).to_string().into_bytes();
        let at = at.index(bytes.len());
        bytes[at] = byte;
        // By the grammar alone: a Rust value can hold neither half of a surrogate pair nor a number beyond its range.
        let is_json = serde_json::from_slice::<Box<RawValue>>(&bytes).is_ok();
        let is_object = bytes.trim_ascii_start().starts_with(b"{");
        prop_assert_eq!(parse_line(&bytes).is_some(), is_json && is_object);
    }
}
