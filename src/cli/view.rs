//! What a person sees of a session's events. Knows nothing of where they come from and of what follows.

use std::io;

use serde_json::Value;
use serde_json::value::RawValue;

use crate::api::event::{Event, Output, Queued, Stalled, StateChanged, TurnLost, TurnLostCause};
use crate::api::{EventType, SessionState};

use super::question::Question;
use super::screen::Screen;
use super::transcript::{Piece, Transcript};

/// How events are shown.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Style {
    /// Each event as a line of JSON on stdout, and nothing else there.
    pub(super) json: bool,
    /// Show only whole texts: what is on stdout is never taken back.
    pub(super) whole_texts: bool,
    /// Is the session shown from its first event on?
    pub(super) from_start: bool,
    /// Are there several turns, each with a result of its own to be shown?
    pub(super) turns: bool,
}

/// The screen and what has been shown on it.
#[derive(Debug)]
pub(super) struct View {
    pub(super) screen: Screen,
    transcript: Transcript,
    style: Style,
    text_shown: bool,
    /// Shows only where the session is, not what Claude says: another's turn runs.
    pub(super) muted: bool,
}

impl View {
    pub(super) fn new(style: Style) -> Self {
        let screen = Screen::new("starting");
        Self { screen, transcript: Transcript::default(), style, text_shown: false, muted: false }
    }

    /// Shows an event; an error means that nobody reads stdout any more.
    pub(super) async fn show(&mut self, event: &Event) -> io::Result<()> {
        let of_the_session = [EventType::Queued, EventType::State, EventType::TurnLost, EventType::Ended];
        if self.muted && !of_the_session.contains(&event.event_type) {
            return Ok(());
        }
        if self.style.json {
            let line = serde_json::to_string(event).map_err(io::Error::other)?;
            self.screen.text(&format!("{line}\n")).await?;
            return if event.event_type == EventType::Ended { self.screen.flush().await } else { Ok(()) };
        }
        match event.event_type {
            EventType::Claude => self.claude(&event.data).await,
            EventType::Queued => match serde_json::from_str::<Queued>(event.data.get()) {
                Ok(queued) => self.place(queued.position).await,
                Err(_) => Ok(()),
            },
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
            EventType::PermissionRequested => match serde_json::from_str(event.data.get()) {
                Ok(asked) => self.screen.warn(&Question::new(event.session_id, asked).headline()).await,
                Err(_) => Ok(()),
            },
            EventType::Stalled => match serde_json::from_str::<Stalled>(event.data.get()) {
                Ok(stalled) => self.screen.warn(&silence(stalled.silent_seconds)).await,
                Err(_) => Ok(()),
            },
            EventType::TurnLost => match serde_json::from_str::<TurnLost>(event.data.get()) {
                Ok(lost) => self.screen.warn(lost_word(lost.cause)).await,
                Err(_) => Ok(()),
            },
            EventType::Ended => self.ended(&event.data).await,
            EventType::Started | EventType::PermissionResolved => Ok(()),
        }
    }

    /// Where there is no spinner, each place is a line.
    async fn place(&mut self, position: u64) -> io::Result<()> {
        let text = format!("waiting for a slot, place {position}");
        if self.screen.has_spinner() {
            self.screen.waits_for(&text);
            return Ok(());
        }
        self.screen.note(&text).await
    }

    async fn claude(&mut self, data: &RawValue) -> io::Result<()> {
        let line = value(data);
        if self.style.whole_texts && line["type"] == "stream_event" {
            return Ok(());
        }
        if self.style.turns && line["type"] == "result" {
            return self.result(&line).await;
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

    /// A turn is over. Its text is shown here if it never came as a message.
    async fn result(&mut self, line: &Value) -> io::Result<()> {
        let shown = std::mem::take(&mut self.text_shown);
        if let (Some(result), false) = (line["result"].as_str(), shown) {
            self.screen.text(result).await?;
        }
        self.screen.end_line().await?;
        if line["is_error"] == true {
            let kind = line["subtype"].as_str().filter(|kind| *kind != "success").unwrap_or("error");
            self.screen.warn(&format!("this turn has ended with {kind}")).await?;
        }
        self.screen.flush().await
    }

    /// A result whose text never came as a message is shown here.
    async fn ended(&mut self, data: &RawValue) -> io::Result<()> {
        let ended = value(data);
        if let (Some(result), false, true) =
            (ended["result"].as_str(), self.text_shown, self.style.from_start && !self.style.turns)
        {
            self.screen.text(result).await?;
        }
        self.screen.end_line().await?;
        self.screen.flush().await
    }
}

pub(super) fn value(data: &RawValue) -> Value {
    serde_json::from_str(data.get()).unwrap_or_default()
}

/// Whole seconds are told, and a silence of less than one is worth telling too.
fn silence(seconds: u64) -> String {
    format!("Claude has been silent for {} s", seconds.max(1))
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

fn lost_word(cause: TurnLostCause) -> &'static str {
    match cause {
        TurnLostCause::NodeLost => "a message's turn was lost with its node; send it again",
        TurnLostCause::NoSlot => "there was no slot for a message in time; send it again",
        TurnLostCause::Drained => "the gateway was shut down before a message's turn; send it again",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_silence_is_told_as_none() {
        assert_eq!(silence(0), "Claude has been silent for 1 s");
        assert_eq!(silence(90), "Claude has been silent for 90 s");
    }
}
