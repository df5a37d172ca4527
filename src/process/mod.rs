//! The operating system: starting a program, reading its lines, signalling it, and making sure that nothing is left of it; giving free
//! memory back to it.
//!
//! Invariants:
//! - Every process is forked by one thread that never ends ([`Spawner`]), so that the parent-death signal fires only when the gateway dies.
//! - Every process leads a session and a process group of its own, and everything it starts carries its [`Marker`], in its environment and in a limit that nothing uses.
//! - A signal is never sent to a number that may have been given to another process.
//! - Nothing is read ahead of the caller: who stops calling [`Output::next`] makes the program wait at its pipe.
//!
//! It must not know JSON, Claude, sessions' states or the store.

mod child;
mod control;
mod error;
mod handover;
mod launch;
mod leaders;
mod lines;
mod output;
mod pipe;
mod proc_fs;
mod reaper;
mod spawner;
pub mod sweep;
mod tag;
#[cfg(test)]
mod tests;
mod unsafe_calls;
mod user;
mod user_thread;

pub use control::{Process, ProcessControl, Signal};
pub use error::SpawnError;
pub use launch::{INSTANCE_VARIABLE, Launch, Marker, SESSION_VARIABLE, StdinMode, find_program};
pub use lines::{Line, LineSplitter, Stream};
pub use output::{Exit, Output, OutputItem};
pub use spawner::Spawner;
pub use sweep::{SweepReport, freeze, sweep, sweep_instance, thaw};
pub use unsafe_calls::give_memory_back;
pub use user::{RunAs, UserError};
pub use user_thread::UserThread;
