//! Tests of `outcome`: the end reason of each recorded failure, and the rules where the recordings are silent.

use super::*;
use crate::claude::{ClaudeLine, parse_line};

/// The end reason and message of each result in a recorded dialog, as a session would judge them.
fn judge(dialog: &str) -> Vec<(EndReason, Option<String>)> {
    let (mut error, mut limit, mut ends) = (None, None, Vec::new());
    for line in dialog.lines() {
        match parse_line(line.as_bytes()).unwrap() {
            ClaudeLine::Assistant { error: found, from_subagent: false } => error = found,
            ClaudeLine::RateLimit(found) => limit = Some(found),
            ClaudeLine::Result(result) => {
                ends.push(end_reason(&result, error.as_deref(), limit.as_ref()));
                error = None;
            }
            _ => {}
        }
    }
    ends
}

macro_rules! reasons {
    ($name:literal) => {
        judge(include_str!(concat!("../../tests/fixtures/claude/", $name, ".jsonl")))
            .into_iter()
            .map(|(reason, message)| {
                assert_eq!(message.is_none(), reason == EndReason::Completed, "a failure is explained");
                reason
            })
            .collect::<Vec<_>>()
    };
}

#[test]
fn turns_that_went_well_are_completed() {
    assert_eq!(reasons!("partial"), [EndReason::Completed]);
    assert_eq!(reasons!("tools"), [EndReason::Completed]);
    assert_eq!(reasons!("permission"), [EndReason::Completed]);
    assert_eq!(reasons!("structured_output"), [EndReason::Completed]);
    assert_eq!(reasons!("background_task"), [EndReason::Completed, EndReason::Completed]);
    assert_eq!(reasons!("subagent"), [EndReason::Completed, EndReason::Completed]);
}

#[test]
fn interrupted_turns_are_cancelled_and_the_next_one_is_judged_by_itself() {
    assert_eq!(reasons!("interrupt_stream"), [EndReason::Cancelled, EndReason::Completed]);
    assert_eq!(reasons!("deny_and_interrupt"), [EndReason::Cancelled, EndReason::Completed]);
    assert_eq!(reasons!("coalesced"), [EndReason::Cancelled, EndReason::Completed]);
    assert_eq!(reasons!("cancelled_question"), [EndReason::Cancelled]);
    assert_eq!(reasons!("priority_now"), [EndReason::Cancelled, EndReason::Completed]);
}

#[test]
fn limits_of_the_caller_have_their_own_reasons() {
    assert_eq!(reasons!("max_turns"), [EndReason::MaxTurns]);
    assert_eq!(reasons!("budget"), [EndReason::BudgetExhausted]);
}

#[test]
fn a_missing_or_refused_login_is_auth_failed() {
    assert_eq!(reasons!("no_credentials"), [EndReason::AuthFailed]);
    assert_eq!(reasons!("api_401"), [EndReason::AuthFailed]);
    assert_eq!(reasons!("api_403"), [EndReason::AuthFailed]);
    assert_eq!(reasons!("expired_login"), [EndReason::AuthFailed]);
}

#[test]
fn the_accounts_usage_limit_is_rate_limited_and_an_overloaded_api_is_not() {
    assert_eq!(reasons!("rate_limited"), [EndReason::RateLimited]);
    assert_eq!(reasons!("overloaded"), [EndReason::Failed]);
}

#[test]
fn other_failures_are_failed_with_claudes_words() {
    assert_eq!(reasons!("api_400"), [EndReason::Failed]);
    assert_eq!(reasons!("too_large"), [EndReason::Failed]);
    assert_eq!(reasons!("connection_refused"), [EndReason::Failed]);
    assert_eq!(reasons!("resume_missing"), [EndReason::Failed]);
    let told = judge(include_str!("../../tests/fixtures/claude/resume_missing.jsonl"));
    let message = told[0].1.as_deref().unwrap();
    assert!(message.contains("d5c9922e-d13d-469c-a0c9-6cc8325a07b9"), "{message}");
}

fn api_failure() -> ResultLine {
    ResultLine {
        subtype: "success".to_owned(),
        is_error: true,
        terminal_reason: Some("api_error".to_owned()),
        ..ResultLine::default()
    }
}

#[test]
fn no_text_decides() {
    let lying = ResultLine {
        subtype: "success".to_owned(),
        terminal_reason: Some("completed".to_owned()),
        result: Some("API Error: 401 authentication_failed. Please run /login. rate_limit".to_owned()),
        ..ResultLine::default()
    };
    assert_eq!(end_reason(&lying, None, None), (EndReason::Completed, None));
    let failed = ResultLine { result: lying.result, ..api_failure() };
    assert_eq!(end_reason(&failed, None, None).0, EndReason::Failed);
}

#[test]
fn a_login_error_that_was_overcome_does_not_spoil_a_success() {
    let result = ResultLine { subtype: "success".to_owned(), ..ResultLine::default() };
    assert_eq!(end_reason(&result, Some("authentication_failed"), None), (EndReason::Completed, None));
    let turns = ResultLine { subtype: "error_max_turns".to_owned(), is_error: true, ..ResultLine::default() };
    assert_eq!(end_reason(&turns, Some("authentication_failed"), None).0, EndReason::MaxTurns);
}

#[test]
fn every_word_for_a_refused_login_is_auth_failed() {
    for error in LOGIN_ERRORS {
        assert_eq!(end_reason(&api_failure(), Some(error), None).0, EndReason::AuthFailed, "{error}");
    }
    for error in ["billing_error", "overloaded", "invalid_request", "model_not_found", "server_error", "unknown"] {
        assert_eq!(end_reason(&api_failure(), Some(error), None).0, EndReason::Failed, "{error}");
    }
}

#[test]
fn a_usage_limit_says_until_when() {
    let limit = |status| RateLimit { status, resets_at: Some(1_800_000_000), limit: None };
    let rejected = limit(RateLimitStatus::Rejected);
    let (reason, message) = end_reason(&api_failure(), Some("rate_limit"), Some(&rejected));
    assert_eq!(reason, EndReason::RateLimited);
    assert_eq!(message.unwrap(), "Claude's account is at its usage limit until 2027-01-15T08:00:00.000Z");
    assert_eq!(end_reason(&api_failure(), None, Some(&rejected)).0, EndReason::RateLimited);
    assert_eq!(end_reason(&api_failure(), None, Some(&limit(RateLimitStatus::Allowed))).0, EndReason::Failed);
    let completed = ResultLine { subtype: "success".to_owned(), ..ResultLine::default() };
    assert_eq!(end_reason(&completed, None, Some(&rejected)).0, EndReason::Completed);
}
