//! Claude's open questions, and who answers them here: a person on the terminal, nobody, or a no at once, so that
//! no script waits for a person who is not there.
//!
//! Others who watch may answer too, and the first answer wins: one that comes too late is no failure.

use std::collections::VecDeque;
use std::io;

use crate::api::ErrorKind;
use crate::api::event::{Event, EventType, PermissionRequested, PermissionResolved, ResolvedBy};
use crate::api::method::SessionRespond;
use crate::api::session::{Behavior, RespondParams};
use crate::client::{Client, ClientError};

use super::question::Question;
use super::screen::Screen;
use super::terminal::Terminal;

/// What Claude is told where no person can be asked.
const NOBODY_TO_ASK: &str = "Nobody can be asked: this tool was not allowed beforehand.";

/// What becomes of Claude's questions in a command that runs a turn.
#[derive(Debug, Clone, Copy, clap::Args)]
pub struct QuestionArgs {
    /// Leave Claude's questions to others (`sessions respond`, `attach --answer`) instead of asking here, or of denying
    /// them where there is no terminal.
    #[arg(long)]
    pub leave_questions: bool,
}

/// How a tool, by its name, can be allowed beforehand.
pub(super) type Way = fn(&str) -> String;

/// Who answers.
#[derive(Debug)]
enum Who {
    /// Others.
    Others,
    /// This command says no at once, and how that tool can be allowed.
    Nobody { client: Client, way: Way },
    /// The person at the terminal.
    Person { client: Client, terminal: Terminal },
}

/// The questions that are open, the oldest first.
#[derive(Debug)]
pub(super) struct Answers {
    who: Who,
    open: VecDeque<Question>,
    /// Does the oldest one stand on the terminal?
    shown: bool,
}

impl Answers {
    /// Others answer.
    pub(super) fn others() -> Self {
        Self::by(Who::Others)
    }

    /// The person at that terminal answers.
    pub(super) fn person(client: Client, terminal: Terminal) -> Self {
        Self::by(Who::Person { client, terminal })
    }

    /// Whoever can: the person at the terminal, unless a program reads the output, else a no that says the
    /// `way` to a yes.
    pub(super) fn choose(client: &Client, args: QuestionArgs, json: bool, way: Way) -> Self {
        let client = client.clone();
        if args.leave_questions {
            return Self::others();
        }
        match Terminal::open().filter(|_| !json) {
            Some(terminal) => Self::person(client, terminal),
            None => Self::by(Who::Nobody { client, way }),
        }
    }

    fn by(who: Who) -> Self {
        Self { who, open: VecDeque::new(), shown: false }
    }

    /// Does a question wait that is not on the terminal yet?
    pub(super) fn has_unshown(&self) -> bool {
        !self.shown && !self.open.is_empty()
    }

    /// Does a question wait for what is typed?
    pub(super) fn is_asking(&self) -> bool {
        self.shown
    }

    /// What is typed next; for ever nothing where there is no terminal. May be dropped and called again.
    pub(super) async fn line(&mut self) -> Option<String> {
        match &mut self.who {
            Who::Person { terminal, .. } => terminal.line().await,
            Who::Others | Who::Nobody { .. } => std::future::pending().await,
        }
    }

    /// Takes an event in: a question to be asked or denied, or one that needs no answer any more.
    pub(super) async fn take_in(&mut self, event: &Event, screen: &mut Screen) -> io::Result<()> {
        match event.event_type {
            EventType::PermissionRequested => {
                let Ok(asked) = serde_json::from_str::<PermissionRequested>(event.data.get()) else { return Ok(()) };
                let question = Question::new(event.session_id, asked);
                match &self.who {
                    Who::Others => Ok(()),
                    Who::Person { .. } => {
                        self.open.push_back(question);
                        Ok(())
                    }
                    Who::Nobody { client, way } => deny(client, &question, *way, screen).await,
                }
            }
            EventType::PermissionResolved => match serde_json::from_str::<PermissionResolved>(event.data.get()) {
                Ok(resolved) => self.resolved(&resolved, screen).await,
                Err(_) => Ok(()),
            },
            _ => Ok(()),
        }
    }

    async fn resolved(&mut self, resolved: &PermissionResolved, screen: &mut Screen) -> io::Result<()> {
        let was_first = self.open.front().is_some_and(|open| open.request_id() == resolved.request_id);
        self.open.retain(|open| open.request_id() != resolved.request_id);
        if !(was_first && self.shown) {
            return Ok(());
        }
        self.shown = false;
        let text = match (resolved.by, resolved.behavior) {
            (ResolvedBy::Caller, Some(Behavior::Allow)) => "somebody else has allowed it",
            (ResolvedBy::Caller, _) => "somebody else has denied it",
            (ResolvedBy::Timeout, _) => "denied: there was no answer in time",
            (ResolvedBy::Agent, _) => "Claude has taken the question back",
        };
        screen.note(text).await
    }

    /// Puts the oldest question on the terminal.
    pub(super) async fn show(&mut self, screen: &mut Screen) -> io::Result<()> {
        let (Who::Person { terminal, .. }, Some(question)) = (&mut self.who, self.open.front()) else { return Ok(()) };
        for line in question.details() {
            screen.note(&line).await?;
        }
        terminal.forget_typed();
        screen.prompt(question.prompt()).await?;
        self.shown = true;
        Ok(())
    }

    /// What was typed while a question stood there; `None` (Ctrl-D) denies.
    pub(super) async fn typed(&mut self, line: Option<String>, screen: &mut Screen) -> io::Result<()> {
        let (Who::Person { client, .. }, Some(question)) = (&self.who, self.open.front_mut()) else { return Ok(()) };
        self.shown = false;
        let answer = match &line {
            Some(line) => question.typed(line),
            None => Some(question.deny(None)),
        };
        let Some(answer) = answer else { return Ok(()) };
        let told = respond(client, answer).await;
        self.open.pop_front();
        match told {
            Ok(true) => Ok(()),
            Ok(false) => screen.note("that question needs no answer any more").await,
            Err(error) => screen.warn(&format!("the answer could not be given: {error}")).await,
        }
    }
}

async fn deny(client: &Client, question: &Question, way: Way, screen: &mut Screen) -> io::Result<()> {
    let tool = question.tool();
    let told = respond(client, question.deny(Some(NOBODY_TO_ASK.to_owned()))).await;
    match told {
        Ok(true) if question.rules_can_spare_it() => {
            screen.warn(&format!("denied, as nobody can be asked here; {}", way(tool))).await
        }
        Ok(true) => screen.warn(&format!("denied: {tool} needs a person; run this on a terminal")).await,
        Ok(false) => Ok(()),
        Err(error) => screen.warn(&format!("the question could not be answered: {error}")).await,
    }
}

/// Gives an answer; `false`: the question was not open any more.
async fn respond(client: &Client, answer: RespondParams) -> Result<bool, ClientError> {
    match client.call::<SessionRespond>(answer).await {
        Ok(_) => Ok(true),
        Err(ClientError::Rpc(error)) if error.kind() == Some(ErrorKind::WrongState) => Ok(false),
        Err(error) => Err(error),
    }
}
