//! Shows a session's events until its end: what `exec` and `attach` have in common.

use std::io;
use std::process::ExitCode;
use std::time::Duration;

use serde_json::Value;
use serde_json::value::RawValue;

use crate::api::event::{Ended, Event, Output, Stalled, StateChanged};
use crate::api::{EndReason, EventType, SessionState};
use crate::client::{ClientError, SessionStream};

use super::gateway::{FAILED, Failure, OK};
use super::screen::{self, Screen};
use super::transcript::{Piece, Transcript, tool_line};

const TICK: Duration = Duration::from_millis(100);

/// How events are shown.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Style {
    /// Each event as a line of JSON on stdout, and nothing else there.
    pub(super) json: bool,
    /// Show only whole texts: what is on stdout is never taken back.
    pub(super) whole_texts: bool,
    /// Is the session shown from its first event on?
    pub(super) from_start: bool,
}

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
pub(super) async fn watch(stream: &mut SessionStream, style: Style) -> Outcome {
    let mut view =
        View { screen: Screen::new("starting"), transcript: Transcript::default(), style, text_shown: false };
    let mut ticks = tokio::time::interval(TICK);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        // In this order: what has come is taken, then shown, and only then does one wait.
        let next = tokio::select! {
            biased;
            next = stream.next() => next,
            () = std::future::ready(()), if view.screen.is_unflushed() => {
                if view.screen.flush().await.is_err() {
                    return Outcome::OutputGone;
                }
                continue;
            }
            _ = ticks.tick(), if view.screen.has_spinner() => {
                view.screen.tick();
                continue;
            }
        };
        let event = match next {
            None => return Outcome::NothingNew,
            Some(Err(error)) => {
                let _ = view.screen.end_line().await;
                let _ = view.screen.flush().await;
                return Outcome::Failed(error);
            }
            Some(Ok(event)) => event,
        };
        if view.show(&event).await.is_err() {
            return Outcome::OutputGone;
        }
        if event.event_type == EventType::Ended {
            return match serde_json::from_str(event.data.get()) {
                Ok(ended) => Outcome::Ended(Box::new(ended)),
                Err(error) => Outcome::Failed(ClientError::Protocol(format!("the end can't be read: {error}"))),
            };
        }
    }
}

struct View {
    screen: Screen,
    transcript: Transcript,
    style: Style,
    text_shown: bool,
}

impl View {
    async fn show(&mut self, event: &Event) -> io::Result<()> {
        if self.style.json {
            let line = serde_json::to_string(event).map_err(io::Error::other)?;
            self.screen.text(&format!("{line}\n")).await?;
            return if event.event_type == EventType::Ended { self.screen.flush().await } else { Ok(()) };
        }
        match event.event_type {
            EventType::Claude => self.claude(&event.data).await,
            EventType::Queued => {
                let position = value(&event.data)["position"].as_u64().unwrap_or_default();
                self.screen.waits_for(&format!("waiting for a slot, place {position}"));
                Ok(())
            }
            EventType::State => {
                if let Ok(changed) = serde_json::from_str::<StateChanged>(event.data.get()) {
                    self.screen.waits_for(waiting_word(changed.state));
                    if changed.cause.as_deref() == Some("node_lost") {
                        return self.screen.warn("the gateway's node was lost; the session is started again").await;
                    }
                }
                Ok(())
            }
            EventType::Output => match serde_json::from_str::<Output>(event.data.get()) {
                Ok(output) => self.screen.note(&output.text).await,
                Err(_) => Ok(()),
            },
            EventType::PermissionRequested => {
                let asked = value(&event.data);
                let tool = asked["tool_name"].as_str().unwrap_or("a tool");
                let line = tool_line(&serde_json::json!({"name": tool, "input": asked["input"]}));
                self.screen.warn(&format!("Claude asks whether it may use {line}")).await
            }
            EventType::Stalled => match serde_json::from_str::<Stalled>(event.data.get()) {
                Ok(stalled) => {
                    self.screen.warn(&format!("Claude has been silent for {} s", stalled.silent_seconds)).await
                }
                Err(_) => Ok(()),
            },
            EventType::TurnLost => self.screen.warn("a message's turn was lost with its node; send it again").await,
            EventType::Ended => self.ended(&event.data).await,
            EventType::Started | EventType::PermissionResolved => Ok(()),
        }
    }

    async fn claude(&mut self, data: &RawValue) -> io::Result<()> {
        let line = value(data);
        if self.style.whole_texts && line["type"] == "stream_event" {
            return Ok(());
        }
        for piece in self.transcript.line(&line) {
            match piece {
                Piece::Text(text) => {
                    self.text_shown = true;
                    self.screen.text(&text).await?;
                }
                Piece::BlockEnd => self.screen.end_line().await?,
                Piece::TakenBack => {
                    self.screen.end_line().await?;
                    self.screen.warn("Claude took its last text back; it comes again").await?;
                }
                Piece::Tool(line) => self.screen.note(&format!("● {line}")).await?,
                Piece::Note(line) => self.screen.note(&line).await?,
            }
        }
        Ok(())
    }

    /// A result whose text never came as a message is shown here.
    async fn ended(&mut self, data: &RawValue) -> io::Result<()> {
        let ended = value(data);
        if let (Some(result), false, true) = (ended["result"].as_str(), self.text_shown, self.style.from_start) {
            self.screen.text(result).await?;
        }
        self.screen.end_line().await?;
        self.screen.flush().await
    }
}

fn value(data: &RawValue) -> Value {
    serde_json::from_str(data.get()).unwrap_or_default()
}

fn waiting_word(state: SessionState) -> &'static str {
    match state {
        SessionState::Queued => "waiting for a slot",
        SessionState::Starting => "starting",
        SessionState::Running => "working",
        SessionState::AwaitingPermission => "waiting for a permission",
        SessionState::Idle => "waiting for the next message",
        SessionState::Paused => "paused",
        SessionState::Stopping | SessionState::Ended => "stopping",
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
