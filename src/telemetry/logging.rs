//! Log lines: one JSON object each (or text for people), to standard error.
//!
//! A line is written where an event is handled, once. Tokens, prompts and file contents are never logged.

use std::io::{self, IsTerminal};

use tracing::Metadata;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::fmt;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use crate::config::settings::{LogFormat, LogSettings};

/// Libraries that write whole messages down when everything is asked for: prompts and tokens among them.
const TALKATIVE: [&str; 2] = ["tungstenite", "tokio_tungstenite"];

/// Starts logging for the whole process. A second call has no effect.
///
/// # Errors
/// When the filter can't be understood.
pub fn start(settings: &LogSettings) -> Result<(), tracing_subscriber::filter::ParseError> {
    let filter = EnvFilter::try_new(&settings.log_filter)?;
    let registry = tracing_subscriber::registry().with(filter).with(filter_fn(is_discreet));
    let started = match settings.log_format {
        LogFormat::Json => registry.with(fmt::layer().json().flatten_event(true).with_writer(io::stderr)).try_init(),
        LogFormat::Text => {
            // Colours only for eyes: in a file they would be noise.
            let colours = io::stderr().is_terminal();
            registry.with(fmt::layer().with_ansi(colours).with_writer(io::stderr)).try_init()
        }
    };
    // Already started: a test that runs two gateways in one process keeps the first one's log.
    drop(started);
    Ok(())
}

/// Does this place of the code keep what callers send to itself, whatever the filter asks for?
fn is_discreet(place: &Metadata<'_>) -> bool {
    let library = place.target().split(':').next().unwrap_or_default();
    *place.level() < tracing::Level::TRACE || !TALKATIVE.contains(&library)
}
