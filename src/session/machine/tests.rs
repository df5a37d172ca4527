//! The state machine: its rules one by one, then thousands of random histories.

mod random;
mod rest;

use super::*;

const CLAUDE: Nature = Nature {
    kind: SessionKind::Claude,
    interactive: false,
    put_away: true,
    messages: 1,
    wall_per_turn: false,
    second_start: false,
    origin: Origin::New,
};

fn verdict(reason: EndReason, is_error: bool) -> Box<Verdict> {
    Box::new(Verdict {
        reason,
        is_error,
        message: None,
        result: Some("text".to_owned()),
        structured_output: None,
        total_cost_usd: Some(0.5),
        usage: None,
        num_turns: Some(1),
        resets_at: None,
    })
}

fn result(reason: EndReason, is_error: bool) -> Input {
    Input::Result { verdict: verdict(reason, is_error), more: false }
}

/// Applies inputs in turn; gives all effects.
fn history(nature: Nature, inputs: impl IntoIterator<Item = Input>) -> (Machine, Vec<Effect>) {
    let (mut machine, mut effects) = Machine::start(nature);
    for input in inputs {
        effects.extend(machine.apply(input));
    }
    (machine, effects)
}

fn end(effects: &[Effect]) -> &Outcome {
    let ends: Vec<_> =
        effects.iter().filter_map(|effect| if let Effect::End(end) = effect { Some(end) } else { None }).collect();
    assert_eq!(ends.len(), 1, "one end in {effects:?}");
    ends[0]
}

fn exited(code: i32) -> Input {
    Input::Exited(ExitFacts { code: Some(code), ..ExitFacts::default() })
}

fn says(effects: &[Effect]) -> Vec<Word> {
    effects.iter().filter_map(|effect| if let Effect::Say(word) = effect { Some(*word) } else { None }).collect()
}

#[test]
fn a_plain_session_initializes_sends_its_prompt_and_ends_with_its_result() {
    let (machine, effects) = history(
        CLAUDE,
        [Input::Spawned, Input::Initialized, result(EndReason::Completed, false), exited(0), Input::TreeGone],
    );
    assert_eq!(machine.state(), SessionState::Ended);
    assert_eq!(says(&effects), [Word::Initialize, Word::EndSession]);
    assert_eq!(effects.iter().filter(|effect| **effect == Effect::Deliver).count(), 1);
    let end = end(&effects);
    assert_eq!((end.reason, end.is_error, end.forced_exit), (EndReason::Completed, false, false));
    assert_eq!(effects.iter().filter(|effect| **effect == Effect::ReleaseSlot).count(), 1);
}

#[test]
fn nothing_is_said_to_claude_before_it_has_answered() {
    let (_, effects) = history(CLAUDE, [Input::Spawned]);
    assert_eq!(says(&effects), [Word::Initialize]);
}

#[test]
fn the_clock_of_the_start_runs_only_once_the_process_is_there() {
    let arms_start = |effects: &[Effect]| effects.contains(&Effect::Arm(Timer::Start));
    assert!(!arms_start(&history(CLAUDE, []).1), "it may still wait for its turn to start");
    assert!(arms_start(&history(CLAUDE, [Input::Spawned]).1));
}

#[test]
fn an_interactive_session_stays_idle_after_its_result_and_ends_when_stopped() {
    let nature = Nature { interactive: true, ..CLAUDE };
    let (mut machine, effects) =
        history(nature, [Input::Spawned, Input::Initialized, result(EndReason::Completed, false)]);
    assert_eq!(machine.state(), SessionState::Idle);
    assert!(!effects.iter().any(|effect| matches!(effect, Effect::End(_))));
    let stop = machine.apply(Input::Stop(EndReason::Cancelled));
    assert_eq!(says(&stop), [Word::EndSession], "no turn runs, so there is nothing to interrupt");
}

#[test]
fn a_stop_climbs_the_whole_ladder_when_nothing_helps() {
    let rungs = std::iter::repeat_n(Input::Elapsed(Timer::Rung), 5);
    let (_, effects) = history(
        CLAUDE,
        [Input::Spawned, Input::Initialized, Input::Stop(EndReason::Cancelled)].into_iter().chain(rungs),
    );
    let pushes: Vec<_> =
        effects.iter().filter(|effect| matches!(effect, Effect::Say(_) | Effect::Signal(_))).skip(1).collect();
    assert_eq!(
        pushes,
        [
            &Effect::Say(Word::Interrupt),
            &Effect::Say(Word::EndSession),
            &Effect::Signal(Push::Interrupt),
            &Effect::Signal(Push::Terminate),
            &Effect::Signal(Push::Kill),
            &Effect::Signal(Push::Kill),
        ]
    );
}

#[test]
fn the_result_of_an_interrupted_turn_does_not_make_a_cancelled_session_a_failed_one() {
    let (_, effects) = history(
        CLAUDE,
        [
            Input::Spawned,
            Input::Initialized,
            Input::Stop(EndReason::Cancelled),
            result(EndReason::Failed, true),
            exited(1),
            Input::TreeGone,
        ],
    );
    assert_eq!(end(&effects).reason, EndReason::Cancelled);
}

#[test]
fn a_stop_after_the_result_shows_that_it_ends_and_changes_nothing_of_what_it_came_to() {
    let (mut machine, _) = history(CLAUDE, [Input::Spawned, Input::Initialized, result(EndReason::Completed, false)]);
    machine.apply(Input::Stop(EndReason::Cancelled));
    assert_eq!(machine.state(), SessionState::Stopping);
    let (_, effects) = history(
        CLAUDE,
        [
            Input::Spawned,
            Input::Initialized,
            result(EndReason::Completed, false),
            Input::Stop(EndReason::Cancelled),
            exited(0),
            Input::TreeGone,
        ],
    );
    assert_eq!(end(&effects).reason, EndReason::Completed);
}

#[test]
fn an_agent_that_stays_after_its_result_is_pushed_out_and_that_is_marked() {
    let (_, effects) = history(
        CLAUDE,
        [
            Input::Spawned,
            Input::Initialized,
            result(EndReason::Completed, false),
            Input::Elapsed(Timer::Leave),
            Input::Elapsed(Timer::Rung),
            Input::Exited(ExitFacts { signal: Some(15), ..ExitFacts::default() }),
            Input::TreeGone,
        ],
    );
    let end = end(&effects);
    assert_eq!((end.reason, end.forced_exit), (EndReason::Completed, true));
}

#[test]
fn the_ways_to_end_without_a_result_are_told_apart() {
    let ended = |nature: Nature, ready: bool, facts: ExitFacts| {
        let ready = if ready { vec![Input::Initialized] } else { vec![] };
        let inputs = [Input::Spawned].into_iter().chain(ready).chain([Input::Exited(facts), Input::TreeGone]);
        end(&history(nature, inputs).1).reason
    };
    let code = |code| ExitFacts { code: Some(code), ..ExitFacts::default() };
    let command = Nature { kind: SessionKind::Command, messages: 0, ..CLAUDE };
    assert_eq!(ended(CLAUDE, true, code(0)), EndReason::NoResult);
    assert_eq!(ended(CLAUDE, true, ExitFacts { cut: true, ..code(0) }), EndReason::OutputTruncated);
    assert_eq!(ended(CLAUDE, true, ExitFacts { signal: Some(9), ..ExitFacts::default() }), EndReason::Killed);
    assert_eq!(ended(CLAUDE, false, code(1)), EndReason::SpawnFailed);
    assert_eq!(ended(command, false, code(0)), EndReason::Completed);
    assert_eq!(ended(command, false, code(3)), EndReason::Failed);
}

#[test]
fn a_paused_session_is_continued_before_it_is_stopped() {
    let (machine, effects) =
        history(CLAUDE, [Input::Spawned, Input::Initialized, Input::Pause, Input::Stop(EndReason::Cancelled)]);
    assert_eq!(machine.state(), SessionState::Stopping);
    let signals: Vec<_> = effects.iter().filter(|effect| matches!(effect, Effect::Freeze | Effect::Thaw)).collect();
    assert_eq!(signals, [&Effect::Freeze, &Effect::Thaw]);
}

#[test]
fn silence_while_paused_is_not_idleness() {
    let (machine, _) = history(CLAUDE, [Input::Spawned, Input::Initialized, Input::Pause, Input::Elapsed(Timer::Idle)]);
    assert_eq!(machine.state(), SessionState::Paused);
}

#[test]
fn a_session_stopped_while_it_starts_is_ended_as_soon_as_its_process_is_there() {
    let (_, effects) = history(CLAUDE, [Input::Stop(EndReason::Cancelled), Input::Spawned]);
    assert_eq!(effects.last_chunk::<2>(), Some(&[Effect::Signal(Push::Terminate), Effect::Arm(Timer::Rung)]));
    assert!(says(&effects).is_empty());
}
