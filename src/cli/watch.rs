//! Shows a session's events as they come and has its questions answered: what all commands that follow a session
//! have in common.

use std::process::ExitCode;
use std::time::Duration;

use tokio::time::{Interval, MissedTickBehavior};

use crate::api::event::{Ended, Event};
use crate::api::{EndReason, EventType};
use crate::client::{ClientError, SessionStream};

use super::answers::Answers;
use super::gateway::{FAILED, Failure, OK};
use super::screen;
use super::view::View;

pub(super) use super::view::Style;

const TICK: Duration = Duration::from_millis(100);

/// How watching came to its end.
#[derive(Debug)]
pub(super) enum Outcome {
    /// The session has ended.
    Ended(Box<Ended>),
    /// It had ended before the first event asked for.
    NothingNew,
    /// Nobody reads stdout any more.
    OutputGone,
    /// The events can't be had.
    Failed(ClientError),
}

impl Outcome {
    /// Says on stderr how it ended, and gives the exit code.
    pub(super) fn report(self) -> ExitCode {
        match self {
            Self::Ended(ended) => {
                screen::info_line(&end_line(&ended));
                let good = ended.reason == EndReason::Completed && !ended.is_error;
                ExitCode::from(if good { OK } else { FAILED })
            }
            Self::NothingNew => {
                screen::info_line("the session has ended; there is nothing after that event");
                ExitCode::from(OK)
            }
            Self::OutputGone => ExitCode::from(FAILED),
            Self::Failed(error) => Failure::from(error).report(),
        }
    }
}

/// Shows events until the session's end.
pub(super) async fn watch(stream: &mut SessionStream, style: Style, answers: Answers) -> Outcome {
    let mut watcher = Watcher::new(style, answers);
    loop {
        if let Step::Over(outcome) = watcher.step(stream, false).await {
            return outcome;
        }
    }
}

/// What has happened while watching.
#[derive(Debug)]
pub(super) enum Step {
    /// An event, which is shown already. Never the last one.
    Event(Event),
    /// A line that answers no question; `None`: Ctrl-D.
    Typed(Option<String>),
    /// There is nothing more.
    Over(Outcome),
}

/// One who watches, and perhaps answers.
#[derive(Debug)]
pub(super) struct Watcher {
    pub(super) view: View,
    pub(super) answers: Answers,
    ticks: Interval,
}

impl Watcher {
    pub(super) fn new(style: Style, answers: Answers) -> Self {
        let mut ticks = tokio::time::interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self { view: View::new(style), answers, ticks }
    }

    /// Until the next event, or the next line if one is awaited.
    pub(super) async fn step(&mut self, stream: &mut SessionStream, awaits_line: bool) -> Step {
        let gone = Step::Over(Outcome::OutputGone);
        loop {
            let Self { view, answers, ticks } = self;
            let asking = answers.is_asking();
            // In this order: what has come is taken, then shown, and only then does one ask or wait.
            tokio::select! {
                biased;
                next = stream.next() => return self.take_in(next).await,
                () = std::future::ready(()), if view.screen.is_unflushed() => {
                    if view.screen.flush().await.is_err() {
                        return gone;
                    }
                }
                () = std::future::ready(()), if answers.has_unshown() => {
                    if answers.show(&mut view.screen).await.is_err() {
                        return gone;
                    }
                }
                line = answers.line(), if asking || awaits_line => {
                    if !asking {
                        return Step::Typed(line);
                    }
                    if answers.typed(line, &mut view.screen).await.is_err() {
                        return gone;
                    }
                }
                _ = ticks.tick(), if view.screen.has_spinner() && !asking && !awaits_line => view.screen.tick(),
            }
        }
    }

    async fn take_in(&mut self, next: Option<Result<Event, ClientError>>) -> Step {
        let event = match next {
            None => return Step::Over(Outcome::NothingNew),
            Some(Err(error)) => {
                let _ = self.view.screen.end_line().await;
                let _ = self.view.screen.flush().await;
                return Step::Over(Outcome::Failed(error));
            }
            Some(Ok(event)) => event,
        };
        if self.view.show(&event).await.is_err() {
            return Step::Over(Outcome::OutputGone);
        }
        if event.event_type == EventType::Ended {
            return Step::Over(match serde_json::from_str(event.data.get()) {
                Ok(ended) => Outcome::Ended(Box::new(ended)),
                Err(error) => Outcome::Failed(ClientError::Protocol(format!("the end can't be read: {error}"))),
            });
        }
        let muted = self.view.muted;
        if !muted && self.answers.take_in(&event, &mut self.view.screen).await.is_err() {
            return Step::Over(Outcome::OutputGone);
        }
        Step::Event(event)
    }
}

/// The reason, the cost and the time in one line.
fn end_line(ended: &Ended) -> String {
    let mut line = ended.reason.as_str().to_owned();
    if ended.is_error && ended.reason == EndReason::Completed {
        line.push_str(" with an error");
    }
    if let Some(cost) = ended.total_cost_usd {
        line.push_str(&format!(" · ${cost:.4}"));
    }
    line.push_str(&format!(" · {}", duration(ended.duration_ms)));
    if let Some(message) = &ended.message {
        line.push_str(&format!(" · {message}"));
    }
    line
}

fn duration(milliseconds: u64) -> String {
    match milliseconds / 1_000 {
        seconds @ 60.. => format!("{} min {:02} s", seconds / 60, seconds % 60),
        seconds => format!("{seconds}.{} s", milliseconds % 1_000 / 100),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ended(json: &str) -> Ended {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn the_last_line_gives_reason_cost_and_time() {
        let good = ended(
            r#"{"reason":"completed","is_error":false,"total_cost_usd":0.01234,"duration_ms":4210,"resumable":true}"#,
        );
        assert_eq!(end_line(&good), "completed · $0.0123 · 4.2 s");
        let bad = ended(
            r#"{"reason":"timed_out","is_error":true,"message":"It ran too long.","duration_ms":125000,"resumable":true}"#,
        );
        assert_eq!(end_line(&bad), "timed_out · 2 min 05 s · It ran too long.");
    }

    #[test]
    fn only_a_completed_session_without_an_error_exits_0() {
        let code = |json| Outcome::Ended(Box::new(ended(json))).report();
        let text = |code: ExitCode| format!("{code:?}");
        let good = code(r#"{"reason":"completed","is_error":false,"duration_ms":1,"resumable":true}"#);
        let error = code(r#"{"reason":"completed","is_error":true,"duration_ms":1,"resumable":true}"#);
        let failed = code(r#"{"reason":"failed","is_error":true,"duration_ms":1,"resumable":true}"#);
        assert_eq!(text(good), text(ExitCode::from(0)));
        assert_eq!(text(error), text(ExitCode::from(1)));
        assert_eq!(text(failed), text(ExitCode::from(1)));
    }
}
