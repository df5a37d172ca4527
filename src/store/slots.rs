//! What passes through a store about slots and about the line of those who wait for one. Plain data.
//!
//! The rules are one for all stores, and all gateways of a store are one in them:
//! - A free slot goes round-robin over the principals that wait, first come first served within one. Who comes into
//!   the line goes behind all others, who has been served too.
//! - A principal with as many slots as one may have is passed over, and keeps its turn. So is a place whose node's
//!   line is held: what its principal has on other nodes goes first.
//! - A place's position is where it stands in the order that follows if everybody stays and nobody comes: first who
//!   may go, then who is held, then who waits for a slot of its own principal to come free.
//! - Nobody passes the line. Whatever is asked for, those who may go are let in before it.
//! - A slot that is passed on to another principal stays taken all the while: nobody can come in between. For that
//!   principal it is as one taken at once.
//! - A place and the slot that it becomes have one id, so that whoever gives the id up gives up either.
//!
//! Each call brings the limits of the gateway that calls: the gateways of one store should have the same.

use uuid::Uuid;

/// Who asks for a slot, or for a place in the line for one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SlotAsked {
    /// The slot's own id, new for each that is asked for.
    pub id: Uuid,
    /// The principal whose slot it is to be: a subject.
    pub owner: String,
    /// The node that asks.
    pub node: String,
    /// How much longer the line of that node is held, in milliseconds; 0: it is not.
    pub held_for_ms: u64,
}

/// How many slots there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SlotLimits {
    /// For all principals and nodes together.
    pub max_sessions: u32,
    /// For one principal; 0: no limit of its own.
    pub max_sessions_per_principal: u32,
}

/// How many may wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LineLimits {
    /// All together.
    pub max_queue: u32,
    /// Of one principal.
    pub max_queued_per_principal: u32,
}

impl LineLimits {
    /// For those who have been taken in before.
    pub const NONE: Self = Self { max_queue: u32::MAX, max_queued_per_principal: u32::MAX };
}

/// What came of asking for a slot at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SlotOutcome {
    /// The slot is taken; so many are taken now.
    Taken {
        /// How many, this one included.
        taken: u64,
    },
    /// All are taken.
    Full {
        /// How many.
        taken: u64,
    },
    /// Others wait who could go next.
    Line {
        /// How many wait in all.
        waiting: u64,
    },
    /// The principal has as many as one may have.
    OwnSessions,
}

/// What came of asking for a slot with the will to wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LineOutcome {
    /// There was a slot for it, and it is taken.
    Taken,
    /// It has a place in the line.
    Waiting {
        /// Where it stands, from 1.
        position: u64,
    },
    /// No more may wait.
    QueueFull,
    /// No more of this principal may wait.
    OwnQueue,
}

/// Slots and places over all nodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SlotCounts {
    /// How many slots are taken.
    pub taken: u64,
    /// How many wait in the line.
    pub waiting: u64,
}

/// What one node has.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct NodeSlots {
    /// Its slots, in no order.
    pub slots: Vec<Uuid>,
    /// Its places in the line with their positions, the next one first; `None` if they were not asked for.
    pub places: Option<Vec<(Uuid, u64)>>,
    /// Is a slot wanted? Somebody could go, on whatever node, and all are taken.
    pub wanted: bool,
}
