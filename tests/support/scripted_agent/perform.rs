//! Carries out the commands of a script.

use std::path::Path;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rustix::process::{Signal, getpid, kill_process};
use serde_json::{Map, Value, json};
use uuid::Uuid;

use crate::Agent;
use crate::children;
use crate::inbox::{Answer, Stop};
use crate::messages::Template;
use crate::output::stderr;
use crate::script::{Command, Ignored, Shape};
use crate::turn::Turn;

/// How a turn goes on after a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Flow {
    /// With the next command.
    On,
    /// It was stopped.
    Stopped(Stop),
    /// A question was answered `deny` with `interrupt`.
    Denied,
    /// The process ends with that code.
    Exit(i32),
}

impl From<Option<Stop>> for Flow {
    fn from(stop: Option<Stop>) -> Self {
        stop.map_or(Self::On, Self::Stopped)
    }
}

/// Made lines are written in pieces of so many bytes; between them a stop is noticed.
const PIECE: usize = 256 * 1024;

/// Carries out one command.
pub(crate) fn perform(agent: &Agent, turn: &mut Turn, command: &Command) -> Flow {
    match command {
        Command::Say(text) => {
            turn.said.clone_from(text);
            agent.say(&agent.session().assistant(&json!({"type": "text", "text": text}), &turn.uuids));
        }
        Command::Lines { count, bytes, shape } => return lines(agent, *count, *bytes, *shape),
        Command::Rate { per_second, duration, bytes } => return rate(agent, *per_second, *duration, *bytes),
        Command::BigLine(bytes) => {
            let mut template = Template::new(&agent.session(), Shape::Assistant, *bytes);
            agent.say_bytes(template.fill(1));
        }
        Command::Raw(bytes) => agent.say_bytes(bytes),
        Command::Stderr(text) => stderr(text),
        Command::StderrLines { count, bytes } => {
            for number in 1..=*count {
                let mut line = format!("{number:012} ");
                line.extend(std::iter::repeat_n('e', bytes.saturating_sub(line.len())));
                stderr(&line);
            }
        }
        Command::Sleep(duration) => return agent.inbox.pause(Some(*duration)).into(),
        Command::Silent => return agent.inbox.pause(None).into(),
        Command::Exit(code) => return Flow::Exit(*code),
        Command::Result(kind, text) => {
            if let Some(text) = text {
                turn.said.clone_from(text);
            }
            turn.result(agent, *kind, None);
        }
        Command::NoResult => turn.resulted = true,
        Command::Stay => agent.inbox.change(|state| state.ignored.extend([Ignored::Eof, Ignored::EndSession])),
        Command::Ignore(ignored) => agent.inbox.change(|state| state.ignored.extend(ignored)),
        Command::TrapCleanup { duration, code } => agent.inbox.change(|state| state.cleanup = Some((*duration, *code))),
        Command::Cut(size) => return cut(agent, *size),
        Command::Child(kind) => match children::leave_behind(*kind) {
            Ok(pid) => agent.say(&json!({
                "type": "system", "subtype": "scripted_child", "kind": kind.word(), "pid": pid,
                "session_id": agent.session().id,
            })),
            Err(problem) => stderr(&format!("child {}: {problem}", kind.word())),
        },
        Command::CloseStdin => agent.close_stdin(),
        Command::CloseStdout => agent.close_stdout(),
        Command::Dump(path) => report(write_whole(path, &agent.facts.to_string())),
        Command::Ask { tool, input } => return ask(agent, turn, tool, input),
        Command::Request { subtype, members } => return request(agent, turn, subtype, members),
        Command::KillSelf(number) => {
            agent.flush();
            match Signal::from_named_raw(*number) {
                Some(signal) => {
                    let _refused = kill_process(getpid(), signal);
                    // SIGTERM and SIGINT come back through the signal thread.
                    return agent.inbox.pause(None).into();
                }
                None => stderr(&format!("no signal {number}")),
            }
        }
        // The turn has looked ahead and counts already.
        Command::Crc => {}
        Command::Touch(path) => report(std::fs::File::create(path).map(drop)),
        Command::Await(path) => {
            while !path.exists() {
                if let Some(stop) = agent.inbox.pause(Some(Duration::from_millis(5))) {
                    return Flow::Stopped(stop);
                }
            }
        }
        Command::Eat(mebibytes) => {
            let mut memory = vec![0_u8; mebibytes * 1024 * 1024];
            // Touched, or the kernel would not count it.
            memory.iter_mut().step_by(4096).for_each(|byte| *byte = 1);
            std::mem::forget(memory);
        }
    }
    Flow::On
}

fn lines(agent: &Agent, count: u64, bytes: usize, shape: Shape) -> Flow {
    let mut template = Template::new(&agent.session(), shape, bytes);
    let mut piece = Vec::with_capacity(PIECE + bytes);
    let mut in_piece = 0;
    for number in 1..=count {
        piece.extend_from_slice(template.fill(number));
        in_piece += 1;
        if piece.len() >= PIECE || number == count {
            agent.say_lines(&piece, in_piece);
            piece.clear();
            in_piece = 0;
            if let Some(stop) = agent.inbox.stop() {
                return Flow::Stopped(stop);
            }
        }
    }
    agent.flush();
    Flow::On
}

fn rate(agent: &Agent, per_second: u32, duration: Duration, bytes: usize) -> Flow {
    let begun = Instant::now();
    let gap = Duration::from_secs(1) / per_second;
    // Many agents of this kind run at once in a build without optimisation.
    let mut template = Template::stamped(&agent.session(), bytes);
    for number in 0_u32.. {
        let due = gap * number;
        if due >= duration {
            break;
        }
        if let Some(stop) = agent.inbox.pause(Some(due.saturating_sub(begun.elapsed()))) {
            return Flow::Stopped(stop);
        }
        let printed_at = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_micros();
        template.stamp(u64::try_from(printed_at).unwrap_or(0));
        agent.say_lines(template.fill(u64::from(number) + 1), 1);
        agent.flush();
    }
    Flow::On
}

/// Prints up to the next multiple of `size` bytes, in mid-line, and ends.
fn cut(agent: &Agent, size: usize) -> Flow {
    let mut template = Template::new(&agent.session(), Shape::Assistant, size);
    let line = template.fill(1);
    let printed = usize::try_from(agent.total() % size as u64).unwrap_or(0);
    agent.say_bytes(&line[..size - printed]);
    agent.flush();
    Flow::Exit(0)
}

fn ask(agent: &Agent, turn: &mut Turn, tool: &str, input: &Value) -> Flow {
    let session = agent.session();
    let tool_use = format!("toolu_{}", &Uuid::new_v4().simple().to_string()[..24]);
    let request = Uuid::new_v4().to_string();
    let block = json!({"type": "tool_use", "id": tool_use, "name": tool, "input": input});
    agent.say(&session.assistant(&block, &turn.uuids));
    agent.print_control(&json!({"type": "control_request", "request_id": request, "request": {
        "subtype": "can_use_tool", "tool_name": tool, "display_name": tool, "input": input,
        "permission_suggestions": [{"type": "setMode", "mode": "acceptEdits", "destination": "session"}],
        "tool_use_id": tool_use,
    }}));
    let (content, allowed, interrupt) = match agent.inbox.answer(&request) {
        Answer::Given(answer) => {
            let inner = &answer["response"];
            let allowed = answer["subtype"] == "success" && inner["behavior"] == "allow";
            (answer.to_string(), allowed, inner["interrupt"] == true)
        }
        Answer::Closed => ("Tool permission stream closed before response received".to_owned(), false, false),
        Answer::Stopped(stop) => {
            agent.print_control(&json!({"type": "control_cancel_request", "request_id": request}));
            return Flow::Stopped(stop);
        }
    };
    agent.say(&session.user(&json!({
        "type": "tool_result", "tool_use_id": tool_use, "content": content, "is_error": !allowed,
    })));
    turn.said = if allowed { "allowed".to_owned() } else { "denied".to_owned() };
    if interrupt { Flow::Denied } else { Flow::On }
}

fn request(agent: &Agent, turn: &Turn, subtype: &str, members: &Map<String, Value>) -> Flow {
    let id = Uuid::new_v4().to_string();
    let mut body = members.clone();
    body.insert("subtype".to_owned(), json!(subtype));
    agent.print_control(&json!({"type": "control_request", "request_id": id, "request": body}));
    let answer = match agent.inbox.answer(&id) {
        Answer::Given(answer) => answer.to_string(),
        Answer::Closed => "stream closed".to_owned(),
        Answer::Stopped(stop) => {
            agent.print_control(&json!({"type": "control_cancel_request", "request_id": id}));
            return Flow::Stopped(stop);
        }
    };
    agent.say(&agent.session().assistant(&json!({"type": "text", "text": answer}), &turn.uuids));
    Flow::On
}

/// A reader must never see half of the file.
fn write_whole(path: &Path, text: &str) -> std::io::Result<()> {
    let mut unfinished = path.as_os_str().to_owned();
    unfinished.push(".part");
    std::fs::write(&unfinished, text)?;
    std::fs::rename(&unfinished, path)
}

fn report(outcome: std::io::Result<()>) {
    if let Err(problem) = outcome {
        stderr(&format!("scripted agent: {problem}"));
    }
}
