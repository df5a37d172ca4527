//! Interactive sessions: messages one after the other, rest, and processes that are put away and brought back.

use super::*;

const CHAT: Nature = Nature { interactive: true, wall_per_turn: true, ..CLAUDE };

fn delivered(effects: &[Effect]) -> usize {
    effects.iter().filter(|effect| **effect == Effect::Deliver).count()
}

/// One that has had a turn and rests.
fn at_rest() -> Machine {
    history(CHAT, [Input::Spawned, Input::Initialized, result(EndReason::Completed, false)]).0
}

#[test]
fn a_message_waits_for_the_result_of_the_one_before() {
    let (mut machine, effects) = history(CHAT, [Input::Spawned, Input::Initialized, Input::Message, Input::Message]);
    assert_eq!(delivered(&effects), 1);
    assert_eq!(delivered(&machine.apply(result(EndReason::Completed, false))), 1);
    assert_eq!(machine.state(), SessionState::Running);
    assert_eq!(delivered(&machine.apply(result(EndReason::Failed, true))), 1, "a turn that failed ends only itself");
    assert_eq!(delivered(&machine.apply(result(EndReason::Completed, false))), 0);
    assert_eq!(machine.state(), SessionState::Idle);
}

#[test]
fn a_message_that_joined_the_turn_too_late_keeps_it_open_for_its_own_result() {
    let (mut machine, _) = history(CHAT, [Input::Spawned, Input::Initialized, Input::Message]);
    let more = machine.apply(Input::Result { verdict: verdict(EndReason::Completed, false), more: true });
    assert_eq!((delivered(&more), machine.state()), (0, SessionState::Running));
    assert_eq!(delivered(&machine.apply(result(EndReason::Completed, false))), 1);
}

#[test]
fn a_session_at_rest_gives_its_process_and_its_slot_up_and_is_let_go() {
    let mut machine = at_rest();
    assert!(machine.can_be_put_away());
    let mut effects = machine.apply(Input::Elapsed(Timer::Rest));
    assert_eq!(says(&effects), [Word::EndSession]);
    effects.extend([exited(1), Input::TreeGone].into_iter().flat_map(|input| machine.apply(input)));
    assert_eq!(effects.last_chunk::<2>(), Some(&[Effect::ReleaseSlot, Effect::LetGo]));
    let told = Effect::State { state: SessionState::Idle, event: true, cause: Some(Cause::PutAway) };
    assert!(effects.contains(&told));
}

#[test]
fn a_message_for_a_session_on_its_way_out_brings_it_back_with_the_slot_it_has() {
    let mut machine = at_rest();
    machine.apply(Input::PutAway);
    assert_eq!(delivered(&machine.apply(Input::Message)), 0);
    machine.apply(exited(0));
    let effects = machine.apply(Input::TreeGone);
    assert!(effects.contains(&Effect::Spawn) && !effects.contains(&Effect::ReleaseSlot), "{effects:?}");
    assert_eq!(machine.state(), SessionState::Starting);
    machine.apply(Input::Spawned);
    assert_eq!(delivered(&machine.apply(Input::Initialized)), 1);
}

#[test]
fn a_session_that_is_stopped_at_rest_has_not_failed() {
    let ended = |mut machine: Machine| {
        let inputs = [Input::Stop(EndReason::Cancelled), exited(0), Input::TreeGone];
        let effects: Vec<_> = inputs.into_iter().flat_map(|input| machine.apply(input)).collect();
        let end = end(&effects);
        (end.reason, end.is_error)
    };
    assert_eq!(ended(at_rest()), (EndReason::Cancelled, false));
    assert_eq!(ended(history(CHAT, [Input::Spawned, Input::Initialized]).0), (EndReason::Cancelled, true));
}

#[test]
fn an_agent_may_go_by_itself_while_it_rests_but_not_be_killed() {
    let mut machine = at_rest();
    machine.apply(exited(0));
    assert_eq!(machine.apply(Input::TreeGone).last(), Some(&Effect::LetGo));
    let mut machine = at_rest();
    machine.apply(Input::Exited(ExitFacts { signal: Some(9), ..ExitFacts::default() }));
    assert_eq!(end(&machine.apply(Input::TreeGone)).reason, EndReason::Killed);
}

#[test]
fn what_runs_in_the_background_keeps_a_process() {
    let mut machine = at_rest();
    machine.apply(Input::Background(1));
    assert!(!machine.can_be_put_away());
    assert!(machine.apply(Input::Elapsed(Timer::Rest)).is_empty());
    assert!(machine.apply(Input::Background(0)).contains(&Effect::Arm(Timer::Rest)));
}

#[test]
fn a_session_with_a_result_waits_for_what_runs_in_the_background_and_for_the_turn_that_comes_of_it() {
    let begun = [Input::Spawned, Input::Initialized, Input::Background(1), result(EndReason::Completed, false)];
    let (mut machine, effects) = history(CLAUDE, begun);
    assert_eq!(says(&effects), [Word::Initialize]);
    assert!(effects.contains(&Effect::Arm(Timer::Background)));
    assert!(machine.apply(Input::Background(0)).contains(&Effect::Arm(Timer::Background)));
    assert!(machine.apply(Input::TurnBegan).contains(&Effect::Disarm(Timer::Background)));
    assert_eq!(says(&machine.apply(result(EndReason::Completed, false))), [Word::EndSession]);

    let begun = [Input::Spawned, Input::Initialized, Input::Background(1), result(EndReason::Completed, false)];
    let (mut machine, _) = history(CLAUDE, begun);
    assert_eq!(says(&machine.apply(Input::Elapsed(Timer::Background))), [Word::EndSession], "not for ever");
}

#[test]
fn a_budget_that_is_used_up_ends_an_interactive_session_too() {
    let (_, effects) = history(
        CHAT,
        [
            Input::Spawned,
            Input::Initialized,
            Input::Message,
            result(EndReason::BudgetExhausted, true),
            exited(1),
            Input::TreeGone,
        ],
    );
    assert_eq!(end(&effects).reason, EndReason::BudgetExhausted);
    assert_eq!(delivered(&effects), 1);
}

#[test]
fn while_a_question_is_open_silence_is_not_idleness() {
    let (mut machine, _) = history(CLAUDE, [Input::Spawned, Input::Initialized]);
    assert!(machine.apply(Input::PermissionAsked).contains(&Effect::Disarm(Timer::Idle)));
    assert_eq!(machine.state(), SessionState::AwaitingPermission);
    assert!(machine.apply(Input::Elapsed(Timer::Idle)).is_empty());
    assert!(machine.apply(Input::PermissionResolved).contains(&Effect::Arm(Timer::Idle)));
    assert_eq!(machine.state(), SessionState::Running);
}

#[test]
fn a_result_that_comes_with_a_pause_has_its_effect_after_it() {
    let begun = [Input::Spawned, Input::Initialized, Input::Pause, result(EndReason::Completed, false)];
    let (mut machine, effects) = history(CLAUDE, begun.clone());
    assert_eq!((machine.state(), says(&effects)), (SessionState::Paused, vec![Word::Initialize]));
    assert_eq!(says(&machine.apply(Input::Unpause)), [Word::EndSession]);
    let (mut machine, _) = history(CHAT, begun);
    assert!(machine.apply(Input::Unpause).contains(&Effect::Arm(Timer::Rest)));
    assert_eq!(machine.state(), SessionState::Idle);
}

#[test]
fn a_drain_puts_away_what_rests_now_or_later() {
    assert_eq!(says(&at_rest().apply(Input::Drain)), [Word::EndSession]);
    let (mut machine, _) = history(CHAT, [Input::Spawned, Input::Initialized]);
    assert!(machine.apply(Input::Drain).is_empty(), "a turn may finish");
    assert_eq!(says(&machine.apply(result(EndReason::Completed, false))), [Word::EndSession]);
    machine.apply(exited(0));
    assert_eq!(machine.apply(Input::TreeGone).last(), Some(&Effect::LetGo));
}

#[test]
fn who_waits_for_a_slot_is_never_started_once_it_is_stopped_or_its_time_is_over() {
    for (input, reason) in [
        (Input::Stop(EndReason::Cancelled), EndReason::Cancelled),
        (Input::Elapsed(Timer::Queue), EndReason::TimedOut),
        (Input::Drain, EndReason::Drained),
    ] {
        let (mut machine, effects) = Machine::queue(CLAUDE);
        assert_eq!(effects, [Effect::Arm(Timer::Queue)]);
        let effects = machine.apply(input);
        assert_eq!(end(&effects).reason, reason);
        assert!(!effects.contains(&Effect::Spawn));
        assert!(machine.apply(Input::SlotTaken).is_empty());
    }
}

#[test]
fn a_session_with_a_conversation_that_gets_no_slot_rests_on_and_tells_which_messages_are_lost() {
    let (mut machine, _) = Machine::queue(Nature { origin: Origin::Woken, ..CHAT });
    machine.apply(Input::Message);
    let effects = machine.apply(Input::Elapsed(Timer::Queue));
    assert!(effects.contains(&Effect::LoseMessages));
    assert_eq!(effects.last(), Some(&Effect::LetGo));
}

#[test]
fn a_session_brought_back_after_its_node_died_rests_until_it_is_sent_something() {
    let nature = Nature { origin: Origin::Recovered, messages: 0, ..CLAUDE };
    let (mut machine, effects) = history(nature, [Input::Spawned, Input::Initialized]);
    assert_eq!((machine.state(), delivered(&effects)), (SessionState::Idle, 0));
    assert!(machine.takes_messages());
    assert_eq!(delivered(&machine.apply(Input::Message)), 1);
    assert_eq!(says(&machine.apply(result(EndReason::Completed, false))), [Word::EndSession]);
    let (_, effects) = history(nature, [Input::Spawned, exited(1), Input::TreeGone]);
    assert_eq!(end(&effects).reason, EndReason::Lost, "what can't be resumed is lost");
}

#[test]
fn a_session_that_may_have_a_conversation_goes_on_with_it_if_none_can_be_begun() {
    let nature = Nature { origin: Origin::Recovered, messages: 0, second_start: true, ..CLAUDE };
    let (mut machine, effects) = history(nature, [Input::Spawned, exited(1), Input::TreeGone]);
    assert_eq!(effects.last_chunk::<2>(), Some(&[Effect::GoOn, Effect::Spawn]));
    machine.apply(Input::Spawned);
    machine.apply(Input::Initialized);
    assert_eq!(machine.state(), SessionState::Idle);
    let (_, effects) =
        history(nature, [Input::Spawned, exited(1), Input::TreeGone, Input::Spawned, exited(1), Input::TreeGone]);
    assert_eq!(end(&effects).reason, EndReason::Lost);
}

#[test]
fn a_kill_leaves_no_time_for_anything() {
    let (mut machine, _) = history(CLAUDE, [Input::Spawned, Input::Initialized, Input::Stop(EndReason::Drained)]);
    assert!(machine.apply(Input::Kill(EndReason::Drained)).contains(&Effect::Signal(Push::Kill)));
    let (_, effects) = history(CLAUDE, [Input::Kill(EndReason::Drained), Input::Spawned]);
    assert!(effects.contains(&Effect::Signal(Push::Kill)));
}

#[test]
fn a_session_that_shuts_down_after_its_turn_does_not_begin_with_what_waits() {
    let (mut machine, _) = history(CHAT, [Input::Spawned, Input::Initialized, Input::Message, Input::Drain]);
    let effects = machine.apply(result(EndReason::Completed, false));
    assert_eq!((delivered(&effects), says(&effects)), (0, vec![Word::EndSession]));
    machine.apply(exited(0));
    let effects = machine.apply(Input::TreeGone);
    assert!(effects.contains(&Effect::LoseMessages) && effects.last() == Some(&Effect::LetGo), "{effects:?}");
    // One that was just started still answers what it was started for.
    let (_, effects) = history(CHAT, [Input::Drain, Input::Spawned, Input::Initialized]);
    assert_eq!(delivered(&effects), 1);
    // And one that was started for nothing has nothing to wait for.
    let (_, effects) = history(Nature { messages: 0, ..CHAT }, [Input::Drain, Input::Spawned, Input::Initialized]);
    assert_eq!(says(&effects), [Word::Initialize, Word::EndSession]);
}

#[test]
fn a_stop_of_a_session_at_rest_whose_agent_is_just_going_by_itself_ends_it() {
    let mut machine = at_rest();
    machine.apply(exited(0));
    machine.apply(Input::Stop(EndReason::Cancelled));
    assert_eq!(machine.state(), SessionState::Stopping);
    assert_eq!(end(&machine.apply(Input::TreeGone)).reason, EndReason::Cancelled);
    // A shutdown lets it go as it would have gone.
    let mut machine = at_rest();
    machine.apply(exited(0));
    machine.apply(Input::Drain);
    assert_eq!(machine.apply(Input::TreeGone).last(), Some(&Effect::LetGo));
}

#[test]
fn an_agent_that_says_why_it_can_not_go_on_and_goes_ends_its_session() {
    for (origin, reason) in [(Origin::Recovered, EndReason::Lost), (Origin::Woken, EndReason::Failed)] {
        let failed = [Input::Spawned, result(EndReason::Failed, true), exited(1), Input::TreeGone];
        let (_, effects) = history(Nature { origin, ..CHAT }, failed);
        assert_eq!(end(&effects).reason, reason);
    }
}

#[test]
fn the_limit_for_the_whole_session_is_not_begun_anew_by_a_message_on_its_way_out() {
    let nature = Nature { wall_per_turn: false, ..CHAT };
    let begun = [Input::Spawned, Input::Initialized, result(EndReason::Completed, false)];
    let (mut machine, effects) = history(nature, begun);
    assert!(effects.contains(&Effect::Arm(Timer::Wall)));
    let effects: Vec<_> = [Input::PutAway, Input::Message, exited(0), Input::TreeGone]
        .into_iter()
        .flat_map(|input| machine.apply(input))
        .collect();
    assert!(effects.contains(&Effect::Spawn));
    assert!(!effects.contains(&Effect::Arm(Timer::Wall)) && !effects.contains(&Effect::Disarm(Timer::Wall)));
}

#[test]
fn a_session_that_was_paused_at_rest_is_still_at_rest() {
    let paused = || {
        let mut machine = at_rest();
        machine.apply(Input::Pause);
        machine
    };
    let mut machine = paused();
    let mut effects = machine.apply(Input::Stop(EndReason::Cancelled));
    effects.extend(machine.apply(exited(0)));
    effects.extend(machine.apply(Input::TreeGone));
    assert_eq!((end(&effects).reason, end(&effects).is_error), (EndReason::Cancelled, false));

    let mut machine = paused();
    let mut effects = machine.apply(Input::Drain);
    assert_eq!(effects.first(), Some(&Effect::Thaw), "it could not go otherwise");
    assert_eq!(says(&effects), [Word::EndSession]);
    effects.extend(machine.apply(exited(0)));
    effects.extend(machine.apply(Input::TreeGone));
    assert_eq!(effects.last(), Some(&Effect::LetGo));

    // One that was paused in its turn may finish it, once it goes on.
    let (mut machine, _) = history(CLAUDE, [Input::Spawned, Input::Initialized, Input::Pause]);
    assert_eq!(machine.apply(Input::Drain), []);
    assert_eq!(machine.state(), SessionState::Paused);
}
