//! The agent: is the program there, does it run, is it logged in?

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use tokio::process::Command;

use super::super::output;
use super::report::Check;
use crate::api::http::{AuthStatus, LoginState};
use crate::claude::child_environment;
use crate::config::Environment;
use crate::config::settings::AgentSettings;
use crate::process::{RunAs, find_program};
use crate::session::login::{inspector, look_once};

/// How long the program may take to say its version: a first start on a slow disk takes seconds.
const PATIENCE: Duration = Duration::from_secs(30);

/// The program and its login, in the environment that agents get.
pub(super) async fn agent(settings: &AgentSettings, env: &Environment) -> Vec<Check> {
    // A user that can't be looked up has a check of its own.
    let user = settings.agent_user.as_deref().and_then(|name| RunAs::lookup(name).ok());
    let inherited = env.iter().map(|(name, value)| (name.to_owned(), value.to_owned()));
    let named = user.as_ref().map(|user| (user.name.as_str(), user.home.as_path()));
    let child_env = child_environment(inherited, settings, named);
    let login = look_once(&inspector(settings, child_env.clone(), user.as_ref()), user.as_ref()).await.status;
    vec![program(&settings.agent_program, child_env).await, judge_login(&login, settings.require_claude_login)]
}

async fn program(name: &Path, env: BTreeMap<OsString, OsString>) -> Check {
    const NAME: &str = "agent";
    let advice = "install Claude Code (npm install -g @anthropic-ai/claude-code), or set agent_program";
    let shown = name.display();
    let file = match find_program(name, env.get(OsStr::new("PATH")).map(OsString::as_os_str)) {
        Ok(file) => file,
        Err(error) => return Check::fail(NAME, format!("{shown}: {error}"), advice),
    };
    let file_shown = file.display();
    match version(&file, env).await {
        Ok(version) => Check::ok(NAME, format!("{file_shown} {version}")),
        Err(reason) => Check::fail(NAME, format!("{file_shown} --version {reason}"), advice),
    }
}

/// The first line that `--version` prints.
async fn version(file: &Path, env: BTreeMap<OsString, OsString>) -> Result<String, String> {
    let mut command = Command::new(file);
    command.arg("--version").env_clear().envs(env).stdin(Stdio::null()).kill_on_drop(true);
    let output = tokio::time::timeout(PATIENCE, command.output())
        .await
        .map_err(|_| format!("took longer than {PATIENCE:?}"))?
        .map_err(|error| format!("could not be run: {error}"))?;
    let text = String::from_utf8_lossy(&output.stdout);
    match text.lines().next().map(str::trim) {
        _ if !output.status.success() => Err(format!("failed: {}", output.status)),
        Some(line) if !line.is_empty() => Ok(output::plain_line(line)),
        _ => Err("printed nothing".to_owned()),
    }
}

fn judge_login(login: &AuthStatus, required: bool) -> Check {
    const NAME: &str = "Claude's login";
    let advice = match &login.instructions {
        Some(steps) if !steps.is_empty() => steps.join("\n"),
        _ => "run `claude` as the user that agents run as, and log in with /login".to_owned(),
    };
    let found = std::iter::once(&login.message).chain(&login.warnings).cloned().collect::<Vec<_>>().join("; ");
    match login.status {
        LoginState::Authenticated if login.warnings.is_empty() => Check::ok(NAME, found),
        LoginState::Authenticated | LoginState::Expiring => Check::warn(NAME, found, advice),
        // Agents may have a login that only their projects name.
        _ if !required => Check::warn(NAME, found, advice),
        LoginState::Expired | LoginState::NotAuthenticated | LoginState::Unreadable => Check::fail(NAME, found, advice),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::super::report::Level;
    use super::*;

    fn script(directory: &Path, text: &str) -> AgentSettings {
        let path = directory.join("claude");
        std::fs::write(&path, format!("#!/bin/sh\n{text}\n")).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        AgentSettings { agent_program: path, ..AgentSettings::default() }
    }

    fn env(home: &Path, more: &[(&str, &str)]) -> Environment {
        let home = home.to_str().unwrap();
        [("HOME", home), ("PATH", "/usr/bin:/bin")].iter().chain(more).copied().collect()
    }

    #[tokio::test]
    async fn the_agents_version_is_told_and_it_gets_nothing_of_the_gateways_own() {
        let home = tempfile::tempdir().unwrap();
        let settings = script(home.path(), "echo \"9.9.9 ${CC_GATEWAY_JWT_SECRET:-clean}\"");
        let checks = agent(&settings, &env(home.path(), &[("CC_GATEWAY_JWT_SECRET", "canary")])).await;
        assert_eq!(checks[0].level, Level::Ok, "{checks:?}");
        assert!(checks[0].found.ends_with("claude 9.9.9 clean"), "{checks:?}");
    }

    #[tokio::test]
    async fn h9_an_agent_that_is_missing_or_broken_fails() {
        let home = tempfile::tempdir().unwrap();
        let broken = script(home.path(), "exit 3");
        let missing = AgentSettings { agent_program: home.path().join("gone"), ..AgentSettings::default() };
        for settings in [broken, missing] {
            let checks = agent(&settings, &env(home.path(), &[])).await;
            assert_eq!(checks[0].level, Level::Fail, "{checks:?}");
        }
    }

    #[tokio::test]
    async fn no_login_fails_with_advice_and_a_token_in_the_environment_is_well() {
        let home = tempfile::tempdir().unwrap();
        let settings = script(home.path(), "echo 1");
        let checks = agent(&settings, &env(home.path(), &[])).await;
        assert_eq!(checks[1].level, Level::Fail, "{checks:?}");
        assert!(checks[1].advice.is_some());
        let with_token = env(home.path(), &[("CLAUDE_CODE_OAUTH_TOKEN", "sk-ant-oat01-canary")]);
        let checks = agent(&settings, &with_token).await;
        assert_eq!(checks[1].level, Level::Ok, "{checks:?}");
        assert!(!format!("{checks:?}").contains("canary"));
    }
}
