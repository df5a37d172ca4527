//! `cc-gateway protocol`: the protocol that this program speaks, as a document.

use clap::Args as ClapArgs;

use super::{Exit, output};
use crate::api::document;
use crate::ws::close;

const EXAMPLES: &str = "\
Examples:
  cc-gateway protocol                    for people, as Markdown
  cc-gateway protocol --openrpc          for programs: the answer of rpc.discover
  cc-gateway protocol --openapi          the HTTP side";

/// Print the protocol: methods, notifications, events, errors, close codes.
#[derive(Debug, ClapArgs)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Print the OpenRPC document instead.
    #[arg(long, conflicts_with = "openapi")]
    pub openrpc: bool,

    /// Print the OpenAPI document of the HTTP side instead.
    #[arg(long)]
    pub openapi: bool,
}

/// Prints what was asked for.
#[must_use]
pub fn run(args: &Args) -> Exit {
    let text = match (args.openrpc, args.openapi) {
        (true, _) => format!("{:#}", document::openrpc()),
        (_, true) => format!("{:#}", document::openapi()),
        _ => markdown(),
    };
    output::say(&text)
}

/// The protocol for people. `docs/protocol.md` is this text.
#[must_use]
pub fn markdown() -> String {
    format!("{}\n## Close codes\n\n{}", document::protocol_markdown(), close::markdown())
}
