//! The promises of the event log under load: readers who come and go, many at once, slow ones, and an agent
//! who is gone before its last byte is read.

mod coming_back;
mod heavy;
mod last_byte;
mod retention;
mod slow_readers;
