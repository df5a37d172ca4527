//! What the tests of sweeps hunt: a session that nobody else has, and a process of it.

use std::process::{Child, Command};

use uuid::Uuid;

use super::Target;
use crate::process::launch::SESSION_VARIABLE;

/// A target that is nobody's yet.
pub(super) fn target() -> Target {
    Target::of_session(Uuid::new_v4(), Vec::new())
}

/// A process that sleeps; killed with this.
pub(super) struct Sleeper(Child);

impl Sleeper {
    /// One that belongs to nobody.
    pub(super) fn start() -> Self {
        Self(command().spawn().unwrap())
    }

    /// One of a session of its own, and that session. It carries the mark by now.
    pub(super) fn marked() -> (Self, Target) {
        let session = Uuid::new_v4();
        let target = Target::of_session(session, Vec::new());
        let sleeper = Self(command().env(SESSION_VARIABLE, session.to_string()).spawn().unwrap());
        // Between two programs it has no environment.
        while !target.is_on(sleeper.pid()) {
            std::thread::yield_now();
        }
        (sleeper, target)
    }

    pub(super) fn pid(&self) -> u32 {
        self.0.id()
    }
}

impl Drop for Sleeper {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

fn command() -> Command {
    let mut command = Command::new("sleep");
    command.arg("60");
    command
}
