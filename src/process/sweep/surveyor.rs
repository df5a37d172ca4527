//! The thread that asks for all sessions that end whether anything is left of them: mostly nothing is, and a look at all
//! processes costs the same for fifty sessions as for one.
//!
//! Invariants: an answer comes from a survey that began after the question; `false` says only that it has to be hunted.
//! It must not know what becomes of what is left.

use std::sync::OnceLock;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use super::Target;
use super::hunt::Survey;

/// Questions that may wait; further ones are answered with `false`.
const WAITING: usize = 1024;
/// A survey begins so long after the one before: sessions that end together share few of them, and whoever shares the
/// processors with them meets them now and then.
const PACE: Duration = Duration::from_millis(20);

/// The process's one thread of this kind; `None` inside: the machine gave no thread.
static THE_SURVEYOR: OnceLock<Option<SyncSender<Question>>> = OnceLock::new();

struct Question {
    target: Target,
    reply: oneshot::Sender<bool>,
}

/// Is nothing left of the target, for certain?
pub(super) async fn shows_nothing_of(target: &Target) -> bool {
    let Some(questions) = THE_SURVEYOR.get_or_init(start) else { return false };
    let (reply, answer) = oneshot::channel();
    questions.try_send(Question { target: target.clone(), reply }).is_ok() && answer.await.unwrap_or(false)
}

fn start() -> Option<SyncSender<Question>> {
    let (questions, waiting) = sync_channel(WAITING);
    let started = std::thread::Builder::new().name("surveyor".to_owned()).spawn(move || run(&waiting));
    started.is_ok().then_some(questions)
}

fn run(waiting: &Receiver<Question>) {
    let mut begun: Option<Instant> = None;
    while let Ok(first) = waiting.recv() {
        let ago = begun.map_or(PACE, |begun| begun.elapsed());
        std::thread::sleep(PACE.saturating_sub(ago));
        begun = Some(Instant::now());
        answer(std::iter::once(first).chain(waiting.try_iter()).collect());
    }
}

/// Answers all by one survey.
fn answer(asked: Vec<Question>) {
    let mut survey = Survey::new();
    for Question { target, reply } in asked {
        let _nobody_waits = reply.send(survey.shows_nothing_of(&target));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::sweep::testing::{Sleeper, target};

    #[test]
    fn all_who_ask_are_answered_each_for_its_own() {
        let (_sleeper, target_of_ours) = Sleeper::marked();
        // What begins anywhere on the machine meanwhile makes a survey unsure, which is an answer too: but never of a
        // target that is there.
        let sure_of_the_others = (0..1_000).any(|_| {
            let targets = [target(), target_of_ours.clone(), target()];
            let (asked, answers): (Vec<_>, Vec<_>) = targets
                .into_iter()
                .map(|target| {
                    let (reply, answer) = oneshot::channel();
                    (Question { target, reply }, answer)
                })
                .unzip();
            answer(asked);
            let answers: Vec<bool> = answers.into_iter().map(|mut answer| answer.try_recv().unwrap()).collect();
            assert!(!answers[1], "it is still there");
            answers[0] && answers[2]
        });
        assert!(sure_of_the_others);
    }

    #[tokio::test]
    async fn the_thread_answers_whoever_asks_it() {
        let targets: Vec<Target> = (0..50).map(|_| target()).collect();
        let answered = futures_util::future::join_all(targets.iter().map(shows_nothing_of)).await;
        assert_eq!(answered.len(), 50);
        assert!(THE_SURVEYOR.get().is_some_and(Option::is_some));
    }
}
