//! The notifications that the server sends, and the `data` of each type of event.

use schemars::{JsonSchema, Schema, SchemaGenerator};

use crate::api::dialect::{Ping, ProcessCompleted, ProcessOutput, ProcessStatus};
use crate::api::event::{
    Cursor, Detached, Ended, Event, EventType, Output, PermissionRequested, PermissionResolved, Queued, Stalled,
    Started, StateChanged, TurnLost,
};
use crate::api::server::{Connected, Draining};

/// A notification's row.
pub(super) struct NotificationInfo {
    /// Its name on the wire.
    pub(super) name: &'static str,
    /// When it comes.
    pub(super) summary: &'static str,
    /// The schema of its `params`.
    pub(super) params: fn(&mut SchemaGenerator) -> Schema,
}

/// Every notification.
pub(super) const NOTIFICATIONS: &[NotificationInfo] = &[
    row::<Connected>("connected", "The first frame of every connection"),
    row::<Event>("session.event", "One event of a session that this connection is attached to"),
    row::<Cursor>("session.cursor", "How far an attached reader has come whose filter left events out"),
    row::<Detached>("session.detached", "The gateway has ended an attachment: what comes next is no longer kept"),
    row::<Draining>("server.draining", "The gateway is shutting down: finish, or come back later"),
    row::<Ping>("ping", "cc_executor: answer with `pong` if you like; nothing depends on it"),
    row::<ProcessStatus>("process.started", "cc_executor: the command runs"),
    row::<ProcessOutput>("process.output", "cc_executor: a line of the command's output, or a piece of one"),
    row::<ProcessStatus>("process.paused", "cc_executor: the command is paused"),
    row::<ProcessStatus>("process.resumed", "cc_executor: the command goes on"),
    row::<ProcessStatus>("process.canceled", "cc_executor: the command is being ended; `process.completed` follows"),
    row::<ProcessCompleted>("process.completed", "cc_executor: the command has ended"),
];

const fn row<T: JsonSchema>(name: &'static str, summary: &'static str) -> NotificationInfo {
    NotificationInfo { name, summary, params: reference::<T> }
}

fn reference<T: JsonSchema>(generator: &mut SchemaGenerator) -> Schema {
    generator.subschema_for::<T>()
}

/// The schema of an event's `data`; any JSON for types whose data is the agent's own.
pub(super) fn event_data(event_type: EventType, generator: &mut SchemaGenerator) -> Schema {
    match event_type {
        EventType::Started => generator.subschema_for::<Started>(),
        EventType::State => generator.subschema_for::<StateChanged>(),
        EventType::Output => generator.subschema_for::<Output>(),
        EventType::Stalled => generator.subschema_for::<Stalled>(),
        EventType::Queued => generator.subschema_for::<Queued>(),
        EventType::PermissionRequested => generator.subschema_for::<PermissionRequested>(),
        EventType::PermissionResolved => generator.subschema_for::<PermissionResolved>(),
        EventType::TurnLost => generator.subschema_for::<TurnLost>(),
        EventType::Ended => generator.subschema_for::<Ended>(),
        EventType::Claude => true.into(),
    }
}
