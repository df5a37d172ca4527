//! What the gateway says about itself: metrics (all declared in one file), log lines, named tasks.

pub mod alarm;
pub mod logging;
pub mod metrics;
pub mod tasks;
pub mod time;
