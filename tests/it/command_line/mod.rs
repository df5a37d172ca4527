//! The command line, as callers and operators run it, against a real gateway.

mod callers;
mod operators;
