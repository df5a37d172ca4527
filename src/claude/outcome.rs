//! From Claude's result to the session's end reason.
//!
//! Judged by `is_error`, `subtype`, `terminal_reason`, the HTTP status and Claude's closed list of error words,
//! never by the text of an answer.

use super::line::{RateLimit, RateLimitStatus};
use super::result::ResultLine;
use crate::api::event::EndReason;
use crate::telemetry::time::rfc3339_ms;

/// Claude's words for a login that is missing or refused.
const LOGIN_ERRORS: [&str; 5] = [
    "authentication_failed",
    "oauth_org_not_allowed",
    "cloud_credential_error",
    "account_on_hold",
    "verification_required",
];

/// Is this one of Claude's error words for a login that is missing or refused?
#[must_use]
pub fn is_login_error(error: &str) -> bool {
    LOGIN_ERRORS.contains(&error)
}

/// The end reason that a result stands for, and where it is not `completed` a sentence for a person.
///
/// `last_assistant_error` is the error of the turn's last own [`Assistant`](super::ClaudeLine::Assistant) line (not
/// a sub-agent's); `rate_limit` is the last one seen.
#[must_use]
pub fn end_reason(
    result: &ResultLine,
    last_assistant_error: Option<&str>,
    rate_limit: Option<&RateLimit>,
) -> (EndReason, Option<String>) {
    let terminal = result.terminal_reason.as_deref().unwrap_or_default();
    match (result.subtype.as_str(), terminal) {
        ("error_max_budget_usd", _) | (_, "budget_exhausted") => {
            return (EndReason::BudgetExhausted, Some("The session has cost more than its max_budget_usd".to_owned()));
        }
        ("error_max_turns", _) | (_, "max_turns") => {
            return (EndReason::MaxTurns, Some("The turn took more model turns than its max_turns".to_owned()));
        }
        (_, "aborted_streaming" | "aborted_tools") => {
            return (EndReason::Cancelled, Some("The turn was interrupted".to_owned()));
        }
        _ => {}
    }
    if !result.is_error {
        return (EndReason::Completed, None);
    }
    if result.subtype == "success" {
        // A `success` that is an error is a failed API request: its status and error word say which.
        if last_assistant_error.is_some_and(is_login_error) || result.api_error_status == Some(401) {
            return (
                EndReason::AuthFailed,
                Some("Claude's login is missing or was refused: see GET /auth/status".to_owned()),
            );
        }
        let rejected = rate_limit.is_some_and(|limit| limit.status == RateLimitStatus::Rejected);
        if last_assistant_error == Some("rate_limit")
            || result.api_error_status == Some(429)
            || (rejected
                && result.api_error_status.is_none()
                && terminal == "api_error"
                && last_assistant_error.is_none())
        {
            return (EndReason::RateLimited, Some(limit_message(rate_limit)));
        }
    }
    (EndReason::Failed, Some(failure_message(result, last_assistant_error)))
}

fn limit_message(rate_limit: Option<&RateLimit>) -> String {
    match rate_limit.and_then(|limit| limit.resets_at) {
        Some(seconds) => {
            format!("Claude's account is at its usage limit until {}", rfc3339_ms(seconds.saturating_mul(1_000)))
        }
        None => "Claude's account is at its usage limit".to_owned(),
    }
}

/// Claude's own words where it has some, else what is known of the API request.
fn failure_message(result: &ResultLine, last_assistant_error: Option<&str>) -> String {
    if !result.errors.is_empty() {
        return result.errors.join("; ");
    }
    if let Some(text) = result.result.as_ref().filter(|text| !text.is_empty()) {
        return text.clone();
    }
    match (result.api_error_status, last_assistant_error) {
        (Some(status), _) => format!("The API request failed with status {status}"),
        (None, Some(error)) => format!("The API request failed: {error}"),
        (None, None) => format!("The turn failed: {}", result.subtype),
    }
}

#[cfg(test)]
#[path = "outcome_tests.rs"]
mod tests;
