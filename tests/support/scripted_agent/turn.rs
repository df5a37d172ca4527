//! One turn: `system/init`, the script or a plain answer, the result.

use std::time::Instant;

use serde_json::json;

use crate::Agent;
use crate::inbox::{Message, Stop};
use crate::messages::{ResultFacts, failure_word};
use crate::perform::{Flow, perform};
use crate::script::{Command, ResultKind, parse};

/// A turn as it runs.
pub(crate) struct Turn {
    /// When it began.
    begun: Instant,
    /// Ids of the messages that it serves.
    pub(crate) uuids: Vec<String>,
    /// What was said last: the text of the result.
    pub(crate) said: String,
    /// Has the result been printed, or is there to be none?
    pub(crate) resulted: bool,
}

/// Runs the turn of these messages. `Some`: the process is to end with that code.
pub(crate) fn run(agent: &Agent, messages: &[Message]) -> Option<i32> {
    let uuids: Vec<String> = messages.iter().filter_map(|message| message.uuid.clone()).collect();
    let text = messages.iter().map(|message| message.text.as_str()).collect::<Vec<_>>().join("\n");
    let script = parse(&text);
    let hashed = matches!(&script, Some(Ok(commands)) if commands.contains(&Command::Crc));
    let earlier = agent.history.remember(&text);
    agent.begin_turn(hashed);
    for uuid in &uuids {
        agent.print_control(&agent.session().lifecycle(uuid, "started"));
    }
    agent.say(&agent.session().init());
    let mut turn = Turn { begun: Instant::now(), uuids, said: "done".to_owned(), resulted: false };
    let flow = match script {
        None => {
            plain(agent, &mut turn, &text, earlier);
            Flow::On
        }
        Some(Err(problem)) => {
            turn.said = problem;
            turn.result(agent, ResultKind::DuringExecution, Some("script_error"));
            Flow::On
        }
        Some(Ok(commands)) => {
            let mut flow = Flow::On;
            for command in &commands {
                flow = perform(agent, &mut turn, command);
                if flow != Flow::On {
                    break;
                }
            }
            flow
        }
    };
    let end = match flow {
        Flow::Exit(code) => return Some(code),
        Flow::Denied => {
            turn.interrupted(agent, "aborted_tools");
            None
        }
        Flow::Stopped(stop) => {
            turn.interrupted(agent, "aborted_streaming");
            match stop {
                Stop::Interrupt => None,
                Stop::EndSession => Some(1),
                Stop::Int => Some(0),
            }
        }
        Flow::On => {
            if !turn.resulted {
                turn.result(agent, ResultKind::Ok, None);
            }
            None
        }
    };
    for uuid in &turn.uuids {
        agent.print_control(&agent.session().lifecycle(uuid, "completed"));
    }
    agent.inbox.change(|state| {
        state.running = false;
        if state.stop == Some(Stop::Interrupt) {
            state.stop = None;
        }
    });
    end
}

/// What the agent says to a prompt that is no script.
fn plain(agent: &Agent, turn: &mut Turn, prompt: &str, earlier: u64) {
    turn.said = format!("You said: {prompt}");
    if earlier > 0 {
        turn.said.push_str(&format!(" (after {earlier} earlier)"));
    }
    let session = agent.session();
    if agent.arguments.partial_messages {
        for event in session.stream_events(&turn.said) {
            agent.say(&event);
        }
    }
    agent.say(&session.assistant(&json!({"type": "text", "text": turn.said}), &turn.uuids));
}

impl Turn {
    /// Prints the result.
    pub(crate) fn result(&mut self, agent: &Agent, kind: ResultKind, terminal_reason: Option<&str>) {
        let session = agent.session();
        if let Some(word) = failure_word(kind) {
            let mut line = session.assistant(&json!({"type": "text", "text": self.said}), &self.uuids);
            line["message"]["model"] = json!("<synthetic>");
            line["error"] = json!(word);
            line["is_api_error_message"] = json!(true);
            agent.say(&line);
        }
        let duration_ms = u64::try_from(self.begun.elapsed().as_millis()).unwrap_or(u64::MAX);
        let result = session.result(&ResultFacts {
            kind,
            terminal_reason,
            text: &self.said,
            conversation_turns: agent.history.turns(),
            duration_ms,
            uuids: &self.uuids,
            scripted: agent.printed(),
        });
        agent.failed.store(result["is_error"] == true, std::sync::atomic::Ordering::Relaxed);
        agent.print_result(&result, &self.said);
        self.resulted = true;
    }

    fn interrupted(&mut self, agent: &Agent, terminal_reason: &str) {
        agent.say(&agent.session().user(&json!({"type": "text", "text": "[Request interrupted by user]"})));
        if !self.resulted {
            self.said = "interrupted".to_owned();
            self.result(agent, ResultKind::DuringExecution, Some(terminal_reason));
        }
    }
}
