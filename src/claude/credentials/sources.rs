//! Where Claude's logins come from, in the order in which they win.
//!
//! Claude's own settings count as its environment does: their `env` overlays it, name by name, and their
//! `apiKeyHelper` is a login. Settings of a project are not looked at: which there are depends on the session.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use super::place::{beside, read_small};
use crate::api::http::LoginMethod;
use crate::claude::members::{members, read, string};

/// An agent's environment.
pub(super) type Variables = BTreeMap<OsString, OsString>;

/// What an operator's settings for all users of a machine are named.
const MANAGED_SETTINGS: &str = "/etc/claude-code/managed-settings.json";

/// Providers that have logins of their own, which only they can judge. With one of them no other login counts.
const PROVIDERS: [(&str, &str); 3] = [
    ("CLAUDE_CODE_USE_BEDROCK", "Amazon Bedrock"),
    ("CLAUDE_CODE_USE_VERTEX", "Google Vertex AI"),
    ("CLAUDE_CODE_USE_FOUNDRY", "Microsoft Foundry"),
];

/// A login that wins over the credentials file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Winner {
    /// What it is to people.
    pub name: &'static str,
    pub method: LoginMethod,
}

/// The value of a variable; an empty one counts as not given.
pub(super) fn variable<'a>(env: &'a Variables, name: &str) -> Option<&'a OsString> {
    env.get(OsStr::new(name)).filter(|value| !value.is_empty())
}

/// The login that wins over the credentials file, if there is one.
pub(super) fn winner(env: &Variables) -> Option<Winner> {
    let (env, has_helper) = with_claudes_settings(env);
    let is_on = |name| {
        variable(&env, name)
            .and_then(|value| value.to_str())
            .is_some_and(|value| ["1", "true", "yes", "on"].iter().any(|word| value.trim().eq_ignore_ascii_case(word)))
    };
    if let Some((_, name)) = PROVIDERS.iter().find(|(variable, _)| is_on(variable)) {
        return Some(Winner { name, method: LoginMethod::Provider });
    }
    let given = |name: &'static str, method| variable(&env, name).map(|_| Winner { name, method });
    let helper = has_helper.then_some(Winner { name: "apiKeyHelper", method: LoginMethod::ApiKeyHelper });
    given("ANTHROPIC_API_KEY", LoginMethod::ApiKey)
        .or_else(|| given("ANTHROPIC_AUTH_TOKEN", LoginMethod::AuthToken))
        .or(helper)
        .or_else(|| given("CLAUDE_CODE_OAUTH_TOKEN", LoginMethod::OauthToken))
}

/// Is there a key that a login to the console has made? It counts where nothing else does.
pub(super) fn has_console_key(env: &Variables) -> bool {
    let file = match variable(env, "CLAUDE_CONFIG_DIR") {
        Some(_) => beside(env, ".claude.json"),
        None => variable(env, "HOME").map(|home| Path::new(home).join(".claude.json")),
    };
    let Some(text) = text(file) else { return false };
    members(&text, &["primaryApiKey"]).is_some_and(|[key]| string(key).is_some_and(|key| !key.is_empty()))
}

/// The environment as Claude sees it once it has read its settings, and whether they name a helper for keys.
fn with_claudes_settings(env: &Variables) -> (Variables, bool) {
    let mut env = env.clone();
    let mut has_helper = false;
    for file in [beside(&env, "settings.json"), Some(PathBuf::from(MANAGED_SETTINGS))] {
        // What is not JSON, Claude passes over as well.
        let Some(text) = text(file) else { continue };
        let Some([helper, variables]) = members(&text, &["apiKeyHelper", "env"]) else { continue };
        has_helper |= string(helper).is_some_and(|helper| !helper.is_empty());
        let variables = read::<BTreeMap<String, String>>(variables).unwrap_or_default();
        env.extend(variables.into_iter().map(|(name, value)| (name.into(), value.into())));
    }
    (env, has_helper)
}

fn text(file: Option<PathBuf>) -> Option<String> {
    read_small(&file?).ok().flatten()
}
