//! Terminals, and programs that run in the foreground of one while a test sits at it.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};

use rustix::fs::{Mode, OFlags};
use rustix::pty::OpenptFlags;
use tokio::process::{Child, Command};

use super::program::caller_environment;
use super::{Gateway, eventually, within};

/// A new terminal: the end for a program, and the keyboard.
pub(crate) fn pair() -> (OwnedFd, File) {
    let keyboard = rustix::pty::openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC);
    let keyboard = keyboard.expect("a terminal");
    rustix::pty::grantpt(&keyboard)
        .and_then(|()| rustix::pty::unlockpt(&keyboard))
        .expect("a terminal that can be used");
    let name = rustix::pty::ptsname(&keyboard, Vec::new()).expect("a terminal's name");
    let screen =
        rustix::fs::open(name, OFlags::RDWR | OFlags::NOCTTY, Mode::empty()).expect("the terminal's other end");
    (screen, File::from(keyboard))
}

/// `cc-gateway` in the foreground of a terminal. Its standard output is not the terminal.
pub(crate) struct AtTerminal {
    child: Child,
    keyboard: File,
    /// All that was ever shown, and how much of it the test has looked for.
    shown: Arc<Mutex<String>>,
    looked_at: usize,
}

impl AtTerminal {
    /// Runs it as the admin.
    pub(crate) async fn start(gateway: &Gateway, arguments: &[&str]) -> Self {
        let (screen, keyboard) = pair();
        let mut command = Command::new("setsid");
        command.args(["--ctty", env!("CARGO_BIN_EXE_cc-gateway")]).args(arguments).kill_on_drop(true);
        command.env_clear().env("PATH", "/usr/local/bin:/usr/bin:/bin").envs(caller_environment(gateway));
        command.env("CC_GATEWAY_TOKEN", gateway.login().await).env("NO_COLOR", "1").stdout(Stdio::piped());
        command.stderr(screen.try_clone().expect("a terminal's end")).stdin(screen);
        let child = command.spawn().expect("a program that starts");
        let shown = Arc::new(Mutex::new(String::new()));
        let (mut from, to) = (keyboard.try_clone().expect("a keyboard"), Arc::clone(&shown));
        std::thread::spawn(move || {
            let mut chunk = [0; 4096];
            // Ends when the program has closed the terminal.
            while let Ok(read @ 1..) = from.read(&mut chunk) {
                to.lock().unwrap_or_else(PoisonError::into_inner).push_str(&String::from_utf8_lossy(&chunk[..read]));
            }
        });
        Self { child, keyboard, shown, looked_at: 0 }
    }

    /// All that was ever shown.
    pub(crate) fn shown(&self) -> String {
        self.shown.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Waits until that is shown, after what was waited for before.
    pub(crate) async fn sees(&mut self, text: &str) {
        let from = self.looked_at;
        let what = format!("`{text}` on the terminal");
        let at = eventually(&what, || self.shown().get(from..)?.find(text)).await;
        self.looked_at = from + at + text.len();
    }

    /// Presses keys.
    pub(crate) fn types(&mut self, keys: &str) {
        self.keyboard.write_all(keys.as_bytes()).expect("a terminal that takes keys");
    }

    /// Waits until it has ended: its exit code, what it printed, and all that was shown.
    pub(crate) async fn finished(self) -> (Option<i32>, String, String) {
        let Self { child, shown, keyboard, .. } = self;
        let output = within("the program to end", child.wait_with_output()).await.expect("its output");
        eventually("the end of what is shown", || (Arc::strong_count(&shown) == 1).then_some(())).await;
        drop(keyboard);
        let shown = shown.lock().unwrap_or_else(PoisonError::into_inner).clone();
        (output.status.code(), String::from_utf8(output.stdout).expect("text"), shown)
    }
}
