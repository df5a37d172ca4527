//! What a person is asked for: names and passwords on the terminal, secrets from files.

use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;

use rustix::termios::{self, LocalModes, OptionalActions, Termios};
use secrecy::{ExposeSecret, SecretString};

use super::gateway::{FAILED, Failure, USAGE};

/// A file that holds one secret; its last line ending does not count.
pub(super) fn secret_from_file(path: &Path) -> Result<SecretString, Failure> {
    let text = std::fs::read_to_string(path)
        .map_err(|error| Failure::new(USAGE, format!("{} can't be read: {error}", path.display())))?;
    let secret = text.strip_suffix('\n').map_or(text.as_str(), |line| line.strip_suffix('\r').unwrap_or(line));
    if secret.is_empty() {
        return Err(Failure::new(USAGE, format!("{} is empty", path.display())));
    }
    Ok(SecretString::from(secret))
}

/// A file that holds a token: what is blank around it does not belong to it.
pub(super) fn token_from_file(path: &Path) -> Result<SecretString, Failure> {
    let text = secret_from_file(path)?;
    match text.expose_secret().trim() {
        "" => Err(Failure::new(USAGE, format!("{} is empty", path.display()))),
        token => Ok(SecretString::from(token)),
    }
}

/// The password: from the file, or asked for on the terminal without showing it.
pub(super) async fn password(file: Option<&Path>) -> Result<SecretString, Failure> {
    match file {
        Some(path) => secret_from_file(path),
        None => on_terminal("Password: ", false, "--password-file").await.map(SecretString::from),
    }
}

/// The account's name, asked for on the terminal.
pub(super) async fn username() -> Result<String, Failure> {
    on_terminal("Username: ", true, "--username").await
}

/// Asks on the controlling terminal, also when stdin and stdout are not it. `instead` is the option to use
/// where there is no terminal.
async fn on_terminal(question: &'static str, echo: bool, instead: &str) -> Result<String, Failure> {
    let open = || File::options().read(true).write(true).open("/dev/tty");
    let (Ok(reader), Ok(mut terminal)) = (open(), open()) else {
        return Err(Failure::new(USAGE, format!("there is no terminal to ask on; use {instead}")));
    };
    let broken = |error: std::io::Error| Failure::new(FAILED, format!("the terminal can't be used: {error}"));
    terminal.write_all(question.as_bytes()).map_err(broken)?;
    let quiet = if echo { None } else { Some(Quiet::new(&terminal).map_err(broken)?) };
    let reading = tokio::task::spawn_blocking(move || {
        let mut line = String::new();
        BufReader::new(reader).read_line(&mut line).map(|_| line)
    });
    let answer = tokio::select! {
        line = reading => line.map_err(std::io::Error::other).and_then(|line| line).map_err(broken),
        _ = tokio::signal::ctrl_c() => {
            drop(quiet);
            let _ = terminal.write_all(b"\n");
            // The reading thread can't be stopped and would keep the runtime from ending.
            std::process::exit(i32::from(FAILED));
        }
    };
    if quiet.is_some() {
        drop(quiet);
        terminal.write_all(b"\n").map_err(broken)?;
    }
    let line = answer?;
    match line.trim_end_matches(['\r', '\n']) {
        "" => Err(Failure::new(USAGE, "nothing was entered")),
        line => Ok(line.to_owned()),
    }
}

/// A terminal that shows nothing of what is typed, until this is dropped.
struct Quiet {
    terminal: File,
    before: Termios,
}

impl Quiet {
    fn new(terminal: &File) -> std::io::Result<Self> {
        let terminal = terminal.try_clone()?;
        let before = termios::tcgetattr(&terminal)?;
        let mut quiet = before.clone();
        quiet.local_modes.remove(LocalModes::ECHO);
        termios::tcsetattr(&terminal, OptionalActions::Now, &quiet)?;
        Ok(Self { terminal, before })
    }
}

impl Drop for Quiet {
    fn drop(&mut self) {
        let _ = termios::tcsetattr(&self.terminal, OptionalActions::Now, &self.before);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_last_line_ending_of_a_secret_file_is_left_out() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("secret");
        for (text, secret) in [("a b \n", "a b "), ("ab", "ab"), ("a\r\n", "a")] {
            std::fs::write(&path, text).unwrap();
            assert_eq!(secret_from_file(&path).unwrap().expose_secret(), secret);
        }
        std::fs::write(&path, "\n").unwrap();
        assert!(secret_from_file(&path).unwrap_err().message.ends_with("is empty"));
    }

    #[test]
    fn blanks_around_a_token_are_left_out() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("token");
        std::fs::write(&path, " a.b.c\n\n").unwrap();
        assert_eq!(token_from_file(&path).unwrap().expose_secret(), "a.b.c");
        std::fs::write(&path, " \n\n").unwrap();
        assert!(token_from_file(&path).unwrap_err().message.ends_with("is empty"));
    }
}
