//! What settings are read from: a TOML file, the environment, flags. Nothing here is read twice, so that a
//! test can hand in a world of its own.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::path::PathBuf;

/// Variables that begin like settings and are none: the settings file, what the command line's clients
/// read, and the marks of a session's processes (a gateway may be started inside a session).
pub const OTHER_VARIABLES: &[&str] = &[
    "CC_GATEWAY_CONFIG",
    "CC_GATEWAY_URL",
    "CC_GATEWAY_WS_URL",
    "CC_GATEWAY_TOKEN",
    "CC_GATEWAY_SESSION",
    "CC_GATEWAY_INSTANCE",
];

/// A process's environment, as it was when it was looked at. Its `Debug` form has names only: the values
/// hold secrets.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Environment(BTreeMap<OsString, OsString>);

impl Environment {
    /// This process's own.
    #[must_use]
    pub fn of_process() -> Self {
        Self(std::env::vars_os().collect())
    }

    /// The value of a variable, if it is set and not empty.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&OsStr> {
        self.0.get(OsStr::new(name)).map(OsString::as_os_str).filter(|value| !value.is_empty())
    }

    /// Every variable.
    pub fn iter(&self) -> impl Iterator<Item = (&OsStr, &OsStr)> {
        self.0.iter().map(|(name, value)| (name.as_os_str(), value.as_os_str()))
    }
}

impl<K: Into<OsString>, V: Into<OsString>> FromIterator<(K, V)> for Environment {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(variables: I) -> Self {
        Self(variables.into_iter().map(|(name, value)| (name.into(), value.into())).collect())
    }
}

impl fmt::Debug for Environment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

/// A setting given as a flag.
#[derive(Clone, PartialEq, Eq)]
pub struct Flag {
    /// The flag as it was written, without the value: `--http-listen`, or `--set`.
    pub name: String,
    /// The leaf it sets; after `--set` also `section.leaf`, and nothing that is known for sure.
    pub leaf: String,
    /// The value.
    pub text: String,
}

impl Flag {
    /// A flag of its own, such as `--http-listen`.
    #[must_use]
    pub fn typed(name: &str, leaf: &str, text: impl Into<String>) -> Self {
        Self { name: name.to_owned(), leaf: leaf.to_owned(), text: text.into() }
    }

    /// `--set leaf=value`.
    ///
    /// # Errors
    /// When there is no `=`. The text names nothing that was given: it may be a secret.
    pub fn set(assignment: &str) -> Result<Self, &'static str> {
        let (leaf, text) = assignment.split_once('=').ok_or("expected leaf=value, such as max_sessions=20")?;
        let leaf = leaf.trim();
        Ok(Self { name: format!("--set {leaf}"), leaf: leaf.to_owned(), text: text.to_owned() })
    }
}

impl fmt::Debug for Flag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Flag").field(&self.name).finish()
    }
}

/// Everything settings are read from.
#[derive(Debug, Clone, Default)]
pub struct Sources {
    /// The file named by `--config`. Without it `CC_GATEWAY_CONFIG` names one; without that,
    /// `cc-gateway/cc-gateway.toml` in `$XDG_CONFIG_HOME` or `~/.config` is read if it exists.
    pub file: Option<PathBuf>,
    /// The environment.
    pub env: Environment,
    /// The flags, in order: a later one wins.
    pub flags: Vec<Flag>,
}

/// Is this one of the variables that Kubernetes makes up for a service of our name, such as
/// `CC_GATEWAY_SERVICE_HOST` or `CC_GATEWAY_PORT_8001_TCP`? Nobody wrote those.
pub(super) fn made_by_kubernetes(env: &Environment, name: &str, value: &str) -> bool {
    if env.get("KUBERNETES_SERVICE_HOST").is_none() {
        return false;
    }
    name.ends_with("_SERVICE_HOST")
        || name.contains("_SERVICE_PORT")
        || (name.ends_with("_PORT") && value.contains("://"))
        || ["_TCP", "_UDP"].iter().any(|protocol| {
            name.split_once("_PORT_")
                .and_then(|(_, rest)| rest.split_once(protocol))
                .is_some_and(|(port, _)| !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit()))
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::table;

    #[test]
    fn no_variable_of_the_clients_is_also_a_setting() {
        let settings: Vec<&str> = table::table().iter().map(|info| info.env.as_str()).collect();
        for name in OTHER_VARIABLES {
            assert!(!settings.contains(name), "{name}");
        }
    }

    #[test]
    fn service_variables_are_known_only_inside_kubernetes() {
        let links = [
            ("CC_GATEWAY_SERVICE_HOST", "10.0.0.1"),
            ("CC_GATEWAY_SERVICE_PORT_HTTP", "8001"),
            ("CC_GATEWAY_PORT", "tcp://10.0.0.1:8001"),
            ("CC_GATEWAY_PORT_8001_TCP_ADDR", "10.0.0.1"),
        ];
        let inside: Environment = [("KUBERNETES_SERVICE_HOST", "10.0.0.1")].into_iter().collect();
        for (name, value) in links {
            assert!(made_by_kubernetes(&inside, name, value), "{name}");
            assert!(!made_by_kubernetes(&Environment::default(), name, value), "{name}");
        }
        assert!(!made_by_kubernetes(&inside, "CC_GATEWAY_PORT", "8001"));
        assert!(!made_by_kubernetes(&inside, "CC_GATEWAY_MAX_SESIONS", "5"));
    }

    #[test]
    fn debug_forms_hold_no_values() {
        let env: Environment = [("CC_GATEWAY_JWT_SECRET", "canary-1")].into_iter().collect();
        let flags = vec![Flag::set("jwt_secret=canary-2").unwrap()];
        let text = format!("{:?}", Sources { file: None, env, flags });
        assert!(text.contains("CC_GATEWAY_JWT_SECRET"));
        assert!(!text.contains("canary"), "{text}");
    }
}
