//! What the gateway says about itself: metrics (all declared in one file), log lines, named tasks; and what
//! every waiting task needs.

pub mod alarm;
pub mod logging;
pub mod metrics;
pub mod rarely;
pub mod tasks;
pub mod time;
