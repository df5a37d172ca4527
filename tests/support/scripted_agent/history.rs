//! Conversations on disk, so that `--resume` has something to go on with.
//!
//! One file a conversation in `projects/scripted` of the configuration directory, one line a turn.

use std::fs;
use std::io::Write as _;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};

use serde_json::json;

use crate::arguments::Arguments;

/// The conversation of this process.
pub(crate) struct History {
    file: Option<PathBuf>,
    /// Turns so far, those of earlier processes included. Shared by turns and results.
    turns: AtomicU64,
}

impl History {
    /// Opens the conversation that the command line names; an error is what the CLI prints.
    pub(crate) fn open(arguments: &Arguments, session_id: &str) -> Result<Self, String> {
        let home = || std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".claude"));
        let base = std::env::var_os("CLAUDE_CONFIG_DIR").map(PathBuf::from).or_else(home);
        let directory = base.filter(|_| !arguments.no_persistence).map(|base| base.join("projects/scripted"));
        let Some(directory) = directory.filter(|directory| fs::create_dir_all(directory).is_ok()) else {
            return Ok(Self { file: None, turns: AtomicU64::new(0) });
        };
        let file = directory.join(format!("{session_id}.jsonl"));
        let mut turns = 0;
        if let Some(resumed) = &arguments.resume {
            let Ok(earlier) = fs::read_to_string(directory.join(format!("{resumed}.jsonl"))) else {
                return Err(format!("No conversation found with session ID: {resumed}"));
            };
            turns = earlier.lines().count() as u64;
            if arguments.fork_session {
                fs::write(&file, earlier).map_err(|problem| problem.to_string())?;
            }
        } else if file.exists() {
            return Err(format!("Error: Session ID {session_id} is already in use."));
        }
        Ok(Self { file: Some(file), turns: AtomicU64::new(turns) })
    }

    /// Keeps a turn's prompt and says how many were before it.
    pub(crate) fn remember(&self, prompt: &str) -> u64 {
        if let Some(path) = &self.file {
            let file = fs::File::options().create(true).append(true).open(path);
            // A read-only directory: the CLI goes on without a transcript too.
            let _unsaved = file.and_then(|mut file| writeln!(file, "{}", json!({ "prompt": prompt })));
        }
        self.turns.fetch_add(1, Ordering::Relaxed)
    }

    /// Turns so far.
    pub(crate) fn turns(&self) -> u64 {
        self.turns.load(Ordering::Relaxed)
    }
}
