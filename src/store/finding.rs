//! What a look at a store finds that is not as it should be. Words for an operator, without anything a caller said.

use serde::Serialize;
use uuid::Uuid;

/// How bad it is, the worst first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Something is lost, hidden or contradicts itself.
    Fault,
    /// It works, but data is at risk.
    Concern,
    /// Something that belongs to nothing and costs only its room.
    Leftover,
}

/// One thing that is not as it should be.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Finding {
    /// How bad it is.
    pub severity: Severity,
    /// The session that it is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub session: Option<Uuid>,
    /// What was found.
    pub what: String,
}

impl Finding {
    /// Something is lost, hidden or contradicts itself.
    #[must_use]
    pub fn fault(session: Option<Uuid>, what: impl Into<String>) -> Self {
        Self { severity: Severity::Fault, session, what: what.into() }
    }

    /// Something that belongs to nothing.
    #[must_use]
    pub fn leftover(session: Option<Uuid>, what: impl Into<String>) -> Self {
        Self { severity: Severity::Leftover, session, what: what.into() }
    }
}
