//! What is said to an agent: lines for its stdin, in order.
//!
//! Invariants: nobody waits for an agent that does not read, or its supervisor would not read it either; what may wait for
//! it is bounded. It must not know what the lines mean.

use rustix::io::{Errno, retry_on_intr};
use tokio::io::AsyncWriteExt;
use tokio::process::ChildStdin;
use tokio::sync::mpsc;

use crate::telemetry::tasks;

/// Lines that may wait for the agent to read them.
const WAITING: usize = 64;

/// An agent's stdin. It is closed when this is dropped, after everything has been written.
#[derive(Debug)]
pub(super) enum Mouth {
    /// Everything that was said is in the pipe: what is said next goes there at once, if there is room.
    Level(ChildStdin),
    /// The pipe was full: from then on a task of its own writes.
    Behind(mpsc::Sender<Vec<u8>>),
    /// The agent has closed its stdin, or has gone, which its exit will tell.
    Deaf,
}

impl Mouth {
    /// Takes the pipe over.
    #[must_use]
    pub(super) fn new(stdin: ChildStdin) -> Self {
        Self::Level(stdin)
    }

    /// Says a line. `false` if the agent does not read and too much waits for it, or does not listen any more.
    #[must_use]
    pub(super) fn say(&mut self, mut line: Vec<u8>) -> bool {
        match std::mem::replace(self, Self::Deaf) {
            Self::Level(stdin) => {
                let mut written = 0;
                while let Some(rest) = line.get(written..).filter(|rest| !rest.is_empty()) {
                    // The pipe itself is asked: of a new one the runtime does not know yet that there is room.
                    match retry_on_intr(|| rustix::io::write(&stdin, rest)) {
                        Ok(count) if count > 0 => written += count,
                        Err(Errno::AGAIN) => {
                            *self = Self::Behind(write_on(stdin, line.split_off(written)));
                            return true;
                        }
                        Ok(_) | Err(_) => return false,
                    }
                }
                *self = Self::Level(stdin);
                true
            }
            Self::Behind(lines) => {
                let taken = lines.try_send(line).is_ok();
                *self = Self::Behind(lines);
                taken
            }
            Self::Deaf => false,
        }
    }
}

/// Writes `rest` and then what comes, as the agent reads.
fn write_on(mut stdin: ChildStdin, rest: Vec<u8>) -> mpsc::Sender<Vec<u8>> {
    let (lines, mut queue) = mpsc::channel::<Vec<u8>>(WAITING);
    tasks::spawn("agent-stdin", async move {
        let mut next = Some(rest);
        while let Some(line) = next {
            if stdin.write_all(&line).await.is_err() || stdin.flush().await.is_err() {
                return;
            }
            next = queue.recv().await;
        }
    });
    lines
}

#[cfg(test)]
mod tests {
    use std::process::Stdio;

    use tokio::io::AsyncReadExt;
    use tokio::process::{Child, Command};

    use super::*;

    fn child(script: &str) -> Child {
        Command::new("/bin/sh")
            .args(["-c", script])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap()
    }

    fn line(of: u8, length: usize) -> Vec<u8> {
        let mut line = vec![of; length];
        line.push(b'\n');
        line
    }

    #[tokio::test]
    async fn what_the_pipe_has_no_room_for_follows_in_order_when_the_agent_reads() {
        let mut agent = child("read first; echo; cat");
        let mut mouth = Mouth::new(agent.stdin.take().unwrap());
        let mut output = agent.stdout.take().unwrap();
        let said: Vec<Vec<u8>> = (b'a'..=b'f').map(|of| line(of, 40_000)).collect();
        for line in &said {
            assert!(mouth.say(line.clone()));
        }
        assert!(matches!(mouth, Mouth::Behind(_)));
        drop(mouth);
        let mut heard = Vec::new();
        output.read_to_end(&mut heard).await.unwrap();
        assert!(heard == [b"\n".to_vec(), said[1..].concat()].concat());
    }

    #[tokio::test]
    async fn an_agent_that_reads_costs_no_task() {
        let mut agent = child("cat");
        let mut mouth = Mouth::new(agent.stdin.take().unwrap());
        let mut output = agent.stdout.take().unwrap();
        for of in b'a'..=b'f' {
            assert!(mouth.say(line(of, 40_000)));
            let mut heard = vec![0; 40_001];
            output.read_exact(&mut heard).await.unwrap();
            assert!(heard == line(of, 40_000));
        }
        assert!(matches!(mouth, Mouth::Level(_)));
    }

    #[tokio::test]
    async fn an_agent_that_does_not_read_is_told_no_more_than_may_wait() {
        let mut agent = child("exec sleep 60");
        let mut mouth = Mouth::new(agent.stdin.take().unwrap());
        let taken = (0..WAITING + 10).filter(|_| mouth.say(line(b'x', 100_000))).count();
        // The first is partly in the pipe; the task may have taken one more out of the queue.
        assert!((WAITING + 1..=WAITING + 2).contains(&taken), "{taken}");
    }

    #[tokio::test]
    async fn an_agent_that_has_closed_its_stdin_is_told_nothing() {
        let mut agent = child("exec <&-; echo closed; exec sleep 60");
        let mut mouth = Mouth::new(agent.stdin.take().unwrap());
        agent.stdout.take().unwrap().read_exact(&mut [0; 7]).await.unwrap();
        assert!(!mouth.say(line(b'x', 10)) && !mouth.say(line(b'x', 10)));
    }
}
