//! What the benchmark is asked for.

use clap::Parser;

/// Measures the gateway beside websocketd and the raw pipe.
#[derive(Debug, Parser)]
pub(crate) struct Options {
    /// Little of everything: shows that nothing is lost, and measures nothing.
    #[arg(long)]
    pub(crate) quick: bool,
    /// How often each measurement is made; the table has the medians.
    #[arg(long, default_value_t = 3)]
    pub(crate) runs: usize,
    /// Instead of the table: how costs grow with sessions, watchers, the log and the store.
    #[arg(long)]
    pub(crate) growth: bool,
    /// Only these rows.
    #[arg(long, value_delimiter = ',')]
    pub(crate) only: Vec<String>,
    /// The gateway's program, if it is not the one built with this: a release build, laid out by a profile or not.
    #[arg(long)]
    pub(crate) gateway: Option<std::path::PathBuf>,
    /// Where the figures go as JSON.
    #[arg(long)]
    pub(crate) json: Option<std::path::PathBuf>,
    /// Be the bare relay for this script, on that port.
    #[arg(long, hide = true, requires = "port")]
    pub(crate) relay: Option<String>,
    #[arg(long, hide = true)]
    pub(crate) port: Option<u16>,
    /// What cargo adds.
    #[arg(long, hide = true)]
    pub(crate) bench: bool,
}

/// How much is done.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Size {
    pub(crate) quick: bool,
    pub(crate) runs: usize,
}

impl Size {
    /// A count: the full one, or that of a quick look.
    pub(crate) fn count(self, quick: u64, full: u64) -> u64 {
        if self.quick { quick } else { full }
    }
}

impl From<&Options> for Size {
    fn from(options: &Options) -> Self {
        Self { quick: options.quick, runs: if options.quick { 1 } else { options.runs } }
    }
}
