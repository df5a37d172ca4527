//! What Claude Code understands and says.
//!
//! Everything Claude-specific lives here: its command line ([`CommandLine`], [`CallerArguments`]), the lines it
//! prints ([`parse_line`], [`end_reason`]), the lines it reads ([`control`], [`parse_input`]), the environment it
//! gets ([`child_environment`]) and its login ([`credentials`]).
//!
//! Pure functions, but for [`credentials`], which reads Claude's files and installs a login where an operator brings
//! one. This module starts no process, opens no socket and knows no session: `crate::session` puts it together with `crate::process`.
//! No decision here is made by matching the text of an answer.

pub mod arguments;
pub mod command_line;
pub mod control;
pub mod credentials;
pub mod environment;
mod flags;
pub mod input;
pub mod line;
pub mod mcp;
mod members;
pub mod outcome;
pub mod question;
pub mod result;
mod scanner;
pub mod tools;
pub mod updates;

pub use arguments::{ArgumentError, CallerArguments, parse_caller_arguments};
pub use command_line::{CommandLine, CommandLineError, Conversation};
pub use credentials::{Inspection, Inspector};
pub use environment::child_environment;
pub use input::{ClientInput, InputError, parse_input};
pub use line::{ClaudeLine, parse_line};
pub use outcome::end_reason;
pub use question::PermissionQuestion;
pub use result::ResultLine;
