//! Settings for a gateway under test, as its environment.

use std::collections::BTreeMap;
use std::fmt::Display;

/// `CC_GATEWAY_*` variables and what agents get.
#[derive(Debug, Clone, Default)]
pub(crate) struct TestSettings {
    leaves: BTreeMap<String, String>,
    agent_env: BTreeMap<String, String>,
}

impl TestSettings {
    /// Sets a leaf; the last one counts.
    pub(crate) fn set(&mut self, leaf: &str, value: &dyn Display) {
        self.leaves.insert(leaf.to_owned(), value.to_string());
    }

    /// Sets a variable that agents get.
    pub(crate) fn agent_env(&mut self, name: &str, value: &dyn Display) {
        self.agent_env.insert(name.to_owned(), value.to_string());
    }

    /// The gateway's environment.
    pub(crate) fn environment(&self) -> Vec<(String, String)> {
        let mut leaves = self.leaves.clone();
        let variables: toml::Table =
            self.agent_env.iter().map(|(name, value)| (name.clone(), toml::Value::from(value.as_str()))).collect();
        leaves.insert("agent_env".to_owned(), toml::Value::from(variables).to_string());
        leaves.into_iter().map(|(leaf, value)| (format!("CC_GATEWAY_{}", leaf.to_uppercase()), value)).collect()
    }
}

/// A list as a setting takes it.
pub(crate) fn list<S: AsRef<str>>(items: impl IntoIterator<Item = S>) -> String {
    toml::Value::from(items.into_iter().map(|item| item.as_ref().to_owned()).collect::<Vec<_>>()).to_string()
}
