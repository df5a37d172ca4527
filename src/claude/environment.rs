//! The environment that an agent gets.
//!
//! An allow-list: nothing of the gateway's environment passes that the settings do not name. So neither the
//! gateway's own settings and secrets, nor the variables of a Claude that the gateway was itself started from
//! (`CLAUDECODE`, `CLAUDE_CODE_…`), nor what changes how programs load (`LD_PRELOAD`, `NODE_OPTIONS`) reach it.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::path::Path;

use super::credentials::CREDENTIALS_VARIABLE;
use crate::config::settings::AgentSettings;

/// Logins that count as not given when they are empty; an empty one would only hide the others.
const LOGINS: [&str; 3] = ["ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN", "CLAUDE_CODE_OAUTH_TOKEN"];

/// The gateway's own variables never pass, not even when the settings name them: they hold its secrets. No more does
/// the variable that a login is brought in.
const OWN_PREFIX: &[u8] = b"CC_GATEWAY_";

/// Where programs are looked for if the gateway itself was started without a `PATH`.
const DEFAULT_PATH: &str = "/usr/local/bin:/usr/bin:/bin";

/// The environment of an agent: of `inherited` what `agent_env_pass` names, then `user` (name and home, where
/// agents run as another user), then `agent_env`, then what the other settings say.
///
/// The operator's `agent_env` wins over everything but `claude_config_dir`.
pub fn child_environment(
    inherited: impl IntoIterator<Item = (OsString, OsString)>,
    agent: &AgentSettings,
    user: Option<(&str, &Path)>,
) -> BTreeMap<OsString, OsString> {
    let passes = |name: &OsStr| agent.agent_env_pass.iter().any(|passed| OsStr::new(passed) == name);
    let mut environment: BTreeMap<OsString, OsString> =
        inherited.into_iter().filter(|(name, _)| passes(name)).collect();
    if let Some((name, home)) = user {
        environment.insert("USER".into(), name.into());
        environment.insert("LOGNAME".into(), name.into());
        environment.insert("HOME".into(), home.into());
    }
    environment.extend(agent.agent_env.iter().map(|(name, value)| (name.into(), value.into())));
    if !agent.claude_config_dir.as_os_str().is_empty() {
        environment.insert("CLAUDE_CONFIG_DIR".into(), agent.claude_config_dir.clone().into_os_string());
    }
    let mut by_default = |name: &str, value: String| {
        environment.entry(name.into()).or_insert_with(|| value.into());
    };
    by_default("PATH", DEFAULT_PATH.to_owned());
    by_default("CLAUDE_CODE_MAX_RETRIES", agent.api_max_retries.to_string());
    if !agent.nonessential_traffic {
        by_default("CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC", "1".to_owned());
    }
    environment.retain(|name, value| {
        let own = name.as_encoded_bytes().starts_with(OWN_PREFIX) || name == CREDENTIALS_VARIABLE;
        let empty_login = value.is_empty() && LOGINS.iter().any(|login| name == login);
        !own && !empty_login
    });
    environment
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment(
        inherited: &[(&str, &str)],
        agent: &AgentSettings,
        user: Option<(&str, &Path)>,
    ) -> Vec<(String, String)> {
        let inherited = inherited.iter().map(|(name, value)| (OsString::from(name), OsString::from(value)));
        child_environment(inherited, agent, user)
            .into_iter()
            .map(|(name, value)| (name.into_string().unwrap(), value.into_string().unwrap()))
            .collect()
    }

    fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        pairs.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())).collect()
    }

    #[test]
    fn e12_only_what_the_settings_name_passes() {
        let inherited = [
            ("PATH", "/bin"),
            ("HOME", "/h"),
            ("LANG", "C.UTF-8"),
            ("CLAUDE_CODE_OAUTH_TOKEN", "t"),
            ("CLAUDECODE", "1"),
            ("CLAUDE_CODE_ENTRYPOINT", "cli"),
            ("CLAUDE_CODE_SESSION_ID", "x"),
            ("CLAUDE_CONFIG_DIR", "/outer"),
            ("ANTHROPIC_API_KEY", "k"),
            ("ANTHROPIC_BASE_URL", "http://evil"),
            ("LD_PRELOAD", "/evil.so"),
            ("NODE_OPTIONS", "--require=/evil.js"),
            ("BASH_ENV", "/evil.sh"),
            ("IS_SANDBOX", "1"),
            ("CC_GATEWAY_JWT_SECRET", "s"),
        ];
        assert_eq!(
            environment(&inherited, &AgentSettings::default(), None),
            pairs(&[
                ("CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC", "1"),
                ("CLAUDE_CODE_MAX_RETRIES", "4"),
                ("CLAUDE_CODE_OAUTH_TOKEN", "t"),
                ("HOME", "/h"),
                ("LANG", "C.UTF-8"),
                ("PATH", "/bin"),
            ])
        );
    }

    #[test]
    fn what_the_operator_lists_passes_and_what_the_operator_sets_wins() {
        let agent = AgentSettings {
            agent_env_pass: vec!["NODE_OPTIONS".to_owned(), "A".to_owned()],
            agent_env: [("A", "mine"), ("CLAUDE_CODE_MAX_RETRIES", "0")]
                .map(|(n, v)| (n.to_owned(), v.to_owned()))
                .into(),
            claude_config_dir: "/c".into(),
            nonessential_traffic: true,
            ..AgentSettings::default()
        };
        assert_eq!(
            environment(&[("NODE_OPTIONS", "-x"), ("A", "theirs")], &agent, None),
            pairs(&[
                ("A", "mine"),
                ("CLAUDE_CODE_MAX_RETRIES", "0"),
                ("CLAUDE_CONFIG_DIR", "/c"),
                ("NODE_OPTIONS", "-x"),
                ("PATH", DEFAULT_PATH),
            ])
        );
    }

    #[test]
    fn the_gateways_own_variables_do_not_pass_even_when_they_are_listed() {
        let agent = AgentSettings {
            agent_env_pass: vec!["CC_GATEWAY_JWT_SECRET".to_owned(), CREDENTIALS_VARIABLE.to_owned()],
            agent_env: [("CC_GATEWAY_STORE_URL".to_owned(), "redis://x".to_owned())].into(),
            ..AgentSettings::default()
        };
        let inherited = [("CC_GATEWAY_JWT_SECRET", "s"), (CREDENTIALS_VARIABLE, "s")];
        let names: Vec<_> = environment(&inherited, &agent, None).into_iter().map(|(name, _)| name).collect();
        assert_eq!(names, ["CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC", "CLAUDE_CODE_MAX_RETRIES", "PATH"]);
    }

    #[test]
    fn an_empty_login_counts_as_not_given() {
        let agent = AgentSettings {
            agent_env_pass: LOGINS.map(str::to_owned).to_vec(),
            agent_env: [("ANTHROPIC_AUTH_TOKEN".to_owned(), String::new())].into(),
            ..AgentSettings::default()
        };
        let inherited = [("ANTHROPIC_API_KEY", ""), ("CLAUDE_CODE_OAUTH_TOKEN", "t"), ("PATH", "/bin")];
        let names: Vec<_> = environment(&inherited, &agent, None).into_iter().map(|(name, _)| name).collect();
        assert_eq!(
            names,
            ["CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC", "CLAUDE_CODE_MAX_RETRIES", "CLAUDE_CODE_OAUTH_TOKEN", "PATH"]
        );
    }

    #[test]
    fn an_agent_of_another_user_gets_that_users_home_and_name() {
        let inherited = [("HOME", "/gateway"), ("USER", "gateway"), ("LOGNAME", "gateway"), ("PATH", "/bin")];
        let found = environment(&inherited, &AgentSettings::default(), Some(("agent", Path::new("/home/agent"))));
        for (name, value) in [("HOME", "/home/agent"), ("USER", "agent"), ("LOGNAME", "agent")] {
            assert!(found.contains(&(name.to_owned(), value.to_owned())), "{name}");
        }
    }
}
