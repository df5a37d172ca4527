//! The scripts: each changes or reads what must be one step. Their texts are beside this file.
//!
//! Invariant: a script names every key it touches, and they all have one hash tag. What several have in common is a
//! file of its own that their texts begin with.

use std::sync::OnceLock;

/// A script in Lua and the name by which Redis knows it.
#[derive(Debug)]
pub(super) struct Script {
    pub(super) text: &'static str,
    hash: OnceLock<String>,
}

impl Script {
    const fn new(text: &'static str) -> Self {
        Self { text, hash: OnceLock::new() }
    }

    /// The SHA-1 of the text, as hexadecimal digits.
    pub(super) fn hash(&self) -> &str {
        self.hash.get_or_init(|| fred::util::sha1_hash(self.text))
    }
}

macro_rules! scripts {
    ($($name:ident = $($file:literal)&+;)+) => {
        $(pub(super) static $name: Script =
            Script::new(concat!($(include_str!(concat!("scripts/", $file, ".lua"))),+));)+
    };
}

scripts! {
    BEGIN = "begin";
    PUBLISH = "publish";
    WITHDRAW = "withdraw";
    CLAIM = "claim";
    UNCLAIM = "unclaim";
    UPDATE = "update";
    APPEND = "append";
    READ = "read";
    CUT = "cut";
    REMOVE = "remove";
    PURGE = "purge";
    INDEX = "index";
    SETTLE = "settle";
    RECOUNT = "recount";
    FORGET = "forget";
    TAKE_SLOT = "line" & "slot_asked" & "take_slot";
    PASS_SLOT_ON = "line" & "slot_asked" & "pass_slot_on";
    JOIN_LINE = "line" & "join_line";
    LINE_OF = "line" & "line_of";
    RELEASE_SLOT = "line" & "release_slot";
    RESTATE_SLOTS = "line" & "restate_slots";
    FORGET_NODE_SLOTS = "line" & "forget_node_slots";
    SLOT_COUNTS = "line" & "slot_counts";
    KEEP_NODE = "keep_node";
    FORGET_NODE = "forget_node";
    NODES = "nodes";
    CALL = "call";
    TIME = "time";
    ADD_SPEND = "add_spend";
    SPENT_SINCE = "spent_since";
    FORGET_SPEND = "forget_spend";
    CREATE_ACCOUNT = "create_account";
    UPDATE_ACCOUNT = "update_account";
    APPEND_AUDIT = "append_audit";
    FORGET_AUDIT = "forget_audit";
    PUT_NOTE = "put_note";
    CHANGE_NOTE = "change_note";
    SWEEP_NOTES = "sweep_notes";
}
