//! Promises that are measured: memory, speed, and how long an event is under way.

mod load;
mod stuck_reader;
