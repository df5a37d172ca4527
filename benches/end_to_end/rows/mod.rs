//! The rows of the table: one file for each kind of work. Every row runs its servers in turns, so that whatever
//! else the machine does in a minute falls on all of them.

pub(crate) mod burst;
pub(crate) mod calls;
pub(crate) mod filled_store;
pub(crate) mod idle;
pub(crate) mod latency;
pub(crate) mod long_line;
pub(crate) mod replay;
pub(crate) mod start;
pub(crate) mod unread;
pub(crate) mod warm;
pub(crate) mod watchers;

use crate::options::Size;
use crate::table::Row;

/// A row's name for `--only`, and what measures it.
pub(crate) type Work = (&'static str, fn(Size) -> Vec<Row>);

/// All of them, in the order of the table.
pub(crate) const ALL: [Work; 14] = [
    ("burst", burst::embedded),
    ("redis", burst::redis),
    ("latency", latency::one_session),
    ("sessions", latency::many_sessions),
    ("watchers", watchers::measure),
    ("replay", replay::measure),
    ("start", start::measure),
    ("start-among-many", start::among_many),
    ("calls", calls::measure),
    ("idle", idle::measure),
    ("unread", unread::measure),
    ("long-line", long_line::measure),
    ("filled-store", filled_store::measure),
    ("warm", warm::measure),
];
