//! Thousands of random histories of a session, each carried out by a supervisor that does what it is told.

use proptest::prelude::*;

use super::*;

/// What the world does with the effects: processes come only when they were started, trees go only when they were
/// swept.
#[derive(Default)]
struct World {
    coming: bool,
    alive: bool,
    sweeping: bool,
}

impl World {
    fn carry_out(&mut self, effects: &[Effect]) {
        for effect in effects {
            match effect {
                Effect::Spawn => {
                    assert!(!self.coming && !self.alive && !self.sweeping, "one process at a time");
                    self.coming = true;
                }
                Effect::Sweep => self.sweeping = true,
                _ => {}
            }
        }
    }

    /// Could this happen now? If so it does.
    fn allows(&mut self, input: &Input) -> bool {
        match input {
            Input::Spawned => {
                let came = std::mem::take(&mut self.coming);
                self.alive |= came;
                came
            }
            Input::SpawnFailed(_) => std::mem::take(&mut self.coming),
            Input::Exited(_) => std::mem::take(&mut self.alive),
            Input::TreeGone => !self.alive && std::mem::take(&mut self.sweeping),
            _ => true,
        }
    }
}

fn any_input() -> impl Strategy<Value = Input> {
    let reason = proptest::sample::select(EndReason::ALL.to_vec());
    prop_oneof![
        4 => Just(Input::Spawned),
        1 => Just(Input::SpawnFailed("no".to_owned())),
        4 => Just(Input::Initialized),
        1 => Just(Input::SlotTaken),
        2 => Just(Input::TurnBegan),
        3 => Just(Input::Message),
        4 => (reason.clone(), any::<bool>(), prop::bool::weighted(0.2)).prop_map(|(reason, is_error, more)| {
            Input::Result { verdict: verdict(reason, is_error), more }
        }),
        1 => (0..3_u32).prop_map(Input::Background),
        2 => Just(Input::PermissionAsked),
        2 => Just(Input::PermissionResolved),
        2 => (any::<Option<i32>>(), any::<Option<i32>>(), any::<bool>())
            .prop_map(|(code, signal, cut)| Input::Exited(ExitFacts { code, signal, cut })),
        3 => Just(Input::TreeGone),
        1 => reason.clone().prop_map(Input::Stop),
        1 => reason.prop_map(Input::Kill),
        1 => Just(Input::Drain),
        2 => Just(Input::PutAway),
        1 => Just(Input::Interrupt),
        1 => Just(Input::Pause),
        2 => Just(Input::Unpause),
        3 => proptest::sample::select(Timer::ALL.to_vec()).prop_map(Input::Elapsed),
    ]
}

fn any_nature() -> impl Strategy<Value = Nature> {
    let kind = prop_oneof![4 => Just(SessionKind::Claude), 1 => Just(SessionKind::Command)];
    let origin = prop_oneof![Just(Origin::New), Just(Origin::Woken), Just(Origin::Recovered)];
    (kind, any::<bool>(), any::<bool>(), 0..2_u32, any::<[bool; 2]>(), origin).prop_map(
        |(kind, interactive, put_away, messages, [wall_per_turn, second_start], origin)| match kind {
            SessionKind::Claude => {
                Nature { kind, interactive, put_away, messages, wall_per_turn, second_start, origin }
            }
            SessionKind::Command => Nature { kind, messages: 0, interactive: false, put_away: false, ..CLAUDE },
        },
    )
}

fn is_last(effect: &Effect) -> bool {
    matches!(effect, Effect::End(_) | Effect::LetGo)
}

fn count(effects: &[Effect], wanted: impl Fn(&Effect) -> bool) -> usize {
    effects.iter().filter(|effect| wanted(effect)).count()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(10_000))]

    #[test]
    fn o1_any_history_ends_once_gives_its_slot_back_once_and_then_is_silent(
        nature in any_nature(),
        queued in any::<bool>(),
        inputs in proptest::collection::vec(any_input(), 0..80),
    ) {
        let (mut machine, mut effects) = if queued { Machine::queue(nature) } else { Machine::start(nature) };
        let mut world = World::default();
        world.carry_out(&effects);
        let (mut taken, mut in_turn) = (nature.messages as usize, 0_i32);
        // After whatever came, a stop, and then what a world must do sooner or later.
        let end = [Input::Stop(EndReason::Cancelled)].into_iter();
        let must = [Input::Spawned, exited(0), Input::TreeGone].into_iter().cycle().take(12);
        for input in inputs.into_iter().chain(end).chain(must) {
            let over = effects.last().is_some_and(is_last);
            if !world.allows(&input) || (over && matches!(input, Input::Message)) {
                continue;
            }
            taken += usize::from(input == Input::Message);
            let result = matches!(input, Input::Result { more: false, .. });
            let new = machine.apply(input);
            prop_assert!(!over || new.is_empty(), "nothing happens after the end");
            world.carry_out(&new);
            if result || new.contains(&Effect::Sweep) {
                in_turn = 0;
            }
            in_turn += new.iter().filter(|effect| **effect == Effect::Deliver).map(|_| 1).sum::<i32>();
            prop_assert!(in_turn <= 1, "one message at a time");
            effects.extend(new);
        }
        prop_assert_eq!(count(&effects, is_last), 1, "one end");
        prop_assert!(effects.last().is_some_and(is_last), "nothing follows the end");
        prop_assert!(!world.coming && !world.alive && !world.sweeping, "nothing is left running");
        prop_assert_eq!(count(&effects, |effect| *effect == Effect::ReleaseSlot), 1, "one slot");
        prop_assert!(count(&effects, |effect| *effect == Effect::Deliver) <= taken, "no message twice");
        let last = effects.iter().rposition(|effect| matches!(effect, Effect::Say(_) | Effect::Signal(_) | Effect::Spawn));
        let released = effects.iter().position(|effect| *effect == Effect::ReleaseSlot);
        prop_assert!(last < released, "the slot is given back when all is over");
        let ended = matches!(effects.last(), Some(Effect::End(_)));
        prop_assert_eq!(machine.state(), if ended { SessionState::Ended } else { SessionState::Idle });
        let state = |effect: &Effect| if let Effect::State { state, .. } = effect { Some(*state) } else { None };
        let states: Vec<_> = effects.iter().filter_map(state).collect();
        prop_assert_eq!(states.iter().filter(|state| **state == SessionState::Ended).count(), usize::from(ended));
        if let Some(at) = states.iter().position(|state| *state == SessionState::Stopping) {
            prop_assert_eq!(&states[at + 1..], &[SessionState::Ended], "from stopping there is only one way");
        }
    }
}
