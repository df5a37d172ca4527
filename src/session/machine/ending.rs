//! How a session's end is judged: from the result, the exit and who asked for the stop. No text is matched.

use serde_json::Value;

use super::{Machine, Origin, Process};
use crate::api::event::{EndReason, Ended};
use crate::api::session::SessionKind;
use crate::telemetry::time::rfc3339_ms;

/// Claude's result, as far as the end of the session needs it.
#[derive(Debug, Clone, PartialEq)]
pub struct Verdict {
    /// What the session ends as, if it ends with this result.
    pub reason: EndReason,
    /// Claude's `is_error`.
    pub is_error: bool,
    /// More about a failure, for a person.
    pub message: Option<String>,
    /// The text.
    pub result: Option<String>,
    /// The structured output.
    pub structured_output: Option<Value>,
    /// What the session has cost so far.
    pub total_cost_usd: Option<f64>,
    /// Token counts.
    pub usage: Option<Value>,
    /// Turns.
    pub num_turns: Option<u64>,
    /// With [`EndReason::RateLimited`]: when the limit is lifted, in seconds since the Unix epoch.
    pub resets_at: Option<u64>,
}

/// How the process went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ExitFacts {
    /// Its exit code.
    pub code: Option<i32>,
    /// The signal that ended it.
    pub signal: Option<i32>,
    /// Its standard output ended inside a line that is not whole JSON.
    pub cut: bool,
}

/// How a session ended.
#[derive(Debug, Clone, PartialEq)]
pub struct Outcome {
    /// Why, from the closed list.
    pub reason: EndReason,
    /// Is it a failure?
    pub is_error: bool,
    /// More about it.
    pub message: Option<String>,
    /// How the process went; nothing if there was none.
    pub exit: ExitFacts,
    /// The result, where there was one.
    pub verdict: Option<Box<Verdict>>,
    /// The agent had to be pushed out after its result.
    pub forced_exit: bool,
}

impl Machine {
    /// Judges what is known at the end.
    pub(super) fn outcome(&self) -> Outcome {
        let (reason, message) = self.reason();
        let is_error = match (&self.verdict, self.stop) {
            (Some(verdict), None) => verdict.is_error,
            (_, Some(EndReason::Cancelled | EndReason::Drained)) if self.stopped_at_rest => false,
            _ => reason != EndReason::Completed,
        };
        Outcome {
            reason,
            is_error,
            message,
            exit: self.exit.unwrap_or_default(),
            verdict: self.verdict.clone(),
            forced_exit: self.forced,
        }
    }

    fn reason(&self) -> (EndReason, Option<String>) {
        if let Some(message) = &self.spawn_error {
            // A stop that came while the process could not be made is still a stop.
            return match self.stop {
                Some(reason) => (reason, None),
                None => (EndReason::SpawnFailed, Some(message.clone())),
            };
        }
        if let Some(reason) = self.stop {
            return (reason, self.why_stopped(reason));
        }
        if self.nature.origin == Origin::Recovered && !self.was_ready {
            return (
                EndReason::Lost,
                Some("the gateway that ran the session died, and it could not be resumed".to_owned()),
            );
        }
        if let Some(verdict) = self.verdict.as_ref().filter(|_| self.ends_with_result()) {
            return (verdict.reason, verdict.message.clone());
        }
        let exit = self.exit.unwrap_or_default();
        match (self.nature.kind, exit) {
            (_, ExitFacts { signal: Some(signal), .. }) => {
                (EndReason::Killed, Some(format!("the agent was ended by signal {signal}")))
            }
            (SessionKind::Command, ExitFacts { code: Some(0), .. }) => (EndReason::Completed, None),
            (SessionKind::Command, ExitFacts { code, .. }) => {
                let code = code.unwrap_or(-1);
                (EndReason::Failed, Some(format!("the command ended with exit code {code}")))
            }
            (SessionKind::Claude, ExitFacts { cut: true, .. }) => {
                (EndReason::OutputTruncated, Some("the agent's output was cut off inside a line".to_owned()))
            }
            (SessionKind::Claude, ExitFacts { code, .. }) if !self.was_ready => (
                EndReason::SpawnFailed,
                Some(format!("the agent ended before it was ready, with exit code {}", code.unwrap_or(-1))),
            ),
            (SessionKind::Claude, ExitFacts { code, .. }) => (
                EndReason::NoResult,
                Some(format!("the agent ended without a result, with exit code {}", code.unwrap_or(-1))),
            ),
        }
    }
}

impl Machine {
    /// Is the newest result what the session has come to? Not if a later turn was under way, and not if the agent of
    /// a session at rest was killed.
    fn ends_with_result(&self) -> bool {
        let killed = self.exit.is_some_and(|exit| exit.signal.is_some());
        !self.in_turn && (self.leaving.is_some() || !self.nature.interactive || !killed)
    }

    /// What a person should know of a stop that nobody asked for.
    fn why_stopped(&self, reason: EndReason) -> Option<String> {
        (reason == EndReason::TimedOut && !self.was_ready && self.process == Process::None && self.exit.is_none())
            .then(|| "it waited for a slot longer than it was to".to_owned())
    }
}

impl Outcome {
    /// The terminal event's data.
    #[must_use]
    pub fn told(self, duration_ms: u64, resumable: bool) -> Ended {
        let verdict = self.verdict;
        let of = |take: fn(&Verdict) -> Option<Value>| verdict.as_deref().and_then(take);
        Ended {
            reason: self.reason,
            exit_code: self.exit.code,
            signal: self.exit.signal,
            is_error: self.is_error,
            message: self.message,
            result: verdict.as_deref().and_then(|verdict| verdict.result.clone()),
            structured_output: of(|verdict| verdict.structured_output.clone()),
            total_cost_usd: verdict.as_deref().and_then(|verdict| verdict.total_cost_usd),
            usage: of(|verdict| verdict.usage.clone()),
            num_turns: verdict.as_deref().and_then(|verdict| verdict.num_turns),
            duration_ms,
            resumable,
            resets_at: verdict
                .as_deref()
                .and_then(|verdict| verdict.resets_at)
                .map(|seconds| rfc3339_ms(seconds.saturating_mul(1_000))),
            forced_exit: self.forced_exit,
        }
    }
}
