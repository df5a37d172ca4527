//! Measures what a user of the gateway notices, from the agent's pipe to the client's socket, in turns with
//! websocketd and the raw pipe on the same machine, and prints a table with a target a line.
//!
//! `cargo bench --features test-support --bench end_to_end`, `-- --quick` for a look at correctness only,
//! `-- --only burst,replay` for some rows, `-- --growth` for how costs grow. No line may be lost in any of them: that ends the program.

#![expect(clippy::expect_used, clippy::panic, reason = "a measurement that can't be made ends with a panic")]
#![expect(clippy::print_stdout, reason = "the table is what this program is for")]

mod fill;
mod growth;
mod lines;
mod options;
mod redis;
mod relay;
mod rows;
mod server;
mod socket;
mod statistics;
mod table;
mod usage;

use clap::Parser;
use serde_json::Value;

use crate::options::{Options, Size};

fn main() {
    let options = Options::parse();
    if let (Some(script), Some(port)) = (&options.relay, options.port) {
        return relay::serve(script, port);
    }
    if let Some(program) = &options.gateway {
        server::Gateway::is(program);
    }
    let size = Size::from(&options);
    if !server::Websocketd::is_there() {
        println!("websocketd is not installed: nothing is compared with it (Debian's package has that name).\n");
    }
    if options.growth {
        write(&options, growth::measure(size));
        return;
    }
    table::head();
    let mut all = Vec::new();
    for (name, measure) in rows::ALL {
        if options.only.is_empty() || options.only.iter().any(|only| only == name) {
            let mut rows = measure(size);
            if size.quick {
                // So little says nothing about speed.
                rows.iter_mut().for_each(|row| row.target = table::Target::None);
            }
            rows.iter().for_each(table::Row::print);
            all.extend(rows);
        }
    }
    write(&options, all.iter().map(table::Row::json).collect());
}

/// Puts the figures where they were asked for.
fn write(options: &Options, figures: Vec<Value>) {
    if let Some(file) = &options.json {
        std::fs::write(file, Value::from(figures).to_string()).expect("the figures can be written");
    }
}
