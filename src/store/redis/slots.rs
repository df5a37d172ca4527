//! Slots and the line, one for all gateways that share the server, as [`crate::store::slots`] says.
//!
//! Invariants: each call is one script (all begin with `scripts/line.lua`), so that whoever is counted is counted
//! once; held lines are judged by Redis's own clock. A slot has no life of its own: it counts until it is given back
//! or its node is forgotten.

use fred::types::Value;
use uuid::Uuid;

use super::scripts::Script;
use super::{RedisStore, fault, keys, scripts};
use crate::store::{LineLimits, LineOutcome, NodeSlots, SlotAsked, SlotCounts, SlotLimits, SlotOutcome, StoreError};

/// The longest time that a line is held for by one call: numbers in scripts are exact up to 2^53.
const LONGEST_HOLD_MS: u64 = 1 << 50;

impl RedisStore {
    /// See [`crate::store::Store::take_slot`].
    pub(super) async fn take(&self, asked: &SlotAsked, limits: SlotLimits) -> Result<SlotOutcome, StoreError> {
        outcome(self.run_slots("take_slot", &scripts::TAKE_SLOT, ask(asked, limits)).await?)
    }

    /// See [`crate::store::Store::pass_slot_on`].
    pub(super) async fn pass_on(&self, asked: &SlotAsked, limits: SlotLimits) -> Result<SlotOutcome, StoreError> {
        outcome(self.run_slots("pass_slot_on", &scripts::PASS_SLOT_ON, ask(asked, limits)).await?)
    }

    /// See [`crate::store::Store::join_line`].
    pub(super) async fn join(
        &self,
        asked: &SlotAsked,
        limits: SlotLimits,
        line: LineLimits,
    ) -> Result<LineOutcome, StoreError> {
        let mut arguments = ask(asked, limits);
        arguments.extend([line.max_queue, line.max_queued_per_principal].map(|max| max.to_string().into()));
        let (word, position): (String, u64) = self.run_slots("join_line", &scripts::JOIN_LINE, arguments).await?;
        match word.as_str() {
            "taken" => Ok(LineOutcome::Taken),
            "waiting" => Ok(LineOutcome::Waiting { position }),
            "full" => Ok(LineOutcome::QueueFull),
            "own" => Ok(LineOutcome::OwnQueue),
            _ => Err(unknown()),
        }
    }

    /// See [`crate::store::Store::line_of`].
    pub(super) async fn look(
        &self,
        node: &str,
        limits: SlotLimits,
        held_for_ms: u64,
        positions: bool,
    ) -> Result<NodeSlots, StoreError> {
        let mut arguments = vec![node.into(), held(held_for_ms)];
        arguments.extend(numbers(limits));
        arguments.push(if positions { "1" } else { "0" }.into());
        let (slots, standing, wanted): (Vec<String>, Vec<String>, u64) =
            self.run_slots("line_of", &scripts::LINE_OF, arguments).await?;
        let place = |pair: &[String]| match pair {
            [id, position] => Ok((parse(id)?, position.parse().map_err(|_| unknown())?)),
            _ => Err(unknown()),
        };
        Ok(NodeSlots {
            slots: slots.iter().map(|id| parse(id)).collect::<Result<_, _>>()?,
            places: positions.then(|| standing.chunks(2).map(place).collect()).transpose()?,
            wanted: wanted > 0,
        })
    }

    /// See [`crate::store::Store::release_slot`].
    pub(super) async fn release(&self, id: Uuid, limits: SlotLimits) -> Result<(), StoreError> {
        let mut arguments = vec![id.to_string().into()];
        arguments.extend(numbers(limits));
        self.run_slots("release_slot", &scripts::RELEASE_SLOT, arguments).await
    }

    /// See [`crate::store::Store::restate_slots`].
    pub(super) async fn restate(&self, node: &str, slots: &[(Uuid, String)]) -> Result<Vec<Uuid>, StoreError> {
        let mut arguments = vec![node.into()];
        arguments.extend(slots.iter().flat_map(|(id, owner)| [id.to_string().into(), keys::owner(owner).into()]));
        let added: Vec<String> = self.run_slots("restate_slots", &scripts::RESTATE_SLOTS, arguments).await?;
        added.iter().map(|id| parse(id)).collect()
    }

    /// See [`crate::store::Store::forget_node_slots`].
    pub(super) async fn forget_slots_of(&self, node: &str) -> Result<u64, StoreError> {
        self.run_slots("forget_node_slots", &scripts::FORGET_NODE_SLOTS, vec![node.into()]).await
    }

    /// See [`crate::store::Store::slots`].
    pub(super) async fn counts(&self) -> Result<SlotCounts, StoreError> {
        let (taken, waiting) = self.run_slots("slots", &scripts::SLOT_COUNTS, Vec::new()).await?;
        Ok(SlotCounts { taken, waiting })
    }

    async fn run_slots<T: fred::types::FromValue>(
        &self,
        doing: &'static str,
        script: &Script,
        arguments: Vec<Value>,
    ) -> Result<T, StoreError> {
        self.link.run(doing, script, self.keys.slots(), arguments).await
    }
}

fn outcome((word, count): (String, u64)) -> Result<SlotOutcome, StoreError> {
    match word.as_str() {
        "taken" => Ok(SlotOutcome::Taken { taken: count }),
        "full" => Ok(SlotOutcome::Full { taken: count }),
        "line" => Ok(SlotOutcome::Line { waiting: count }),
        "own" => Ok(SlotOutcome::OwnSessions),
        _ => Err(unknown()),
    }
}

/// What the scripts by which a slot is asked for begin with.
fn ask(asked: &SlotAsked, limits: SlotLimits) -> Vec<Value> {
    let id = asked.id.to_string();
    let mut arguments =
        vec![id.into(), keys::owner(&asked.owner).into(), asked.node.as_str().into(), held(asked.held_for_ms)];
    arguments.extend(numbers(limits));
    arguments
}

fn numbers(limits: SlotLimits) -> [Value; 2] {
    [limits.max_sessions, limits.max_sessions_per_principal].map(|max| max.to_string().into())
}

fn held(for_ms: u64) -> Value {
    for_ms.min(LONGEST_HOLD_MS).to_string().into()
}

fn parse(id: &str) -> Result<Uuid, StoreError> {
    id.parse().map_err(|_| unknown())
}

fn unknown() -> StoreError {
    fault::damaged("the line for slots has not the expected form")
}
