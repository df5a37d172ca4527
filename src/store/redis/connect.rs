//! Where Redis is, and whether what it is told will be there tomorrow.

use fred::error::ErrorKind;
use fred::interfaces::{ClientLike, KeysInterface};
use fred::types::config::Config;
use fred::types::{InfoKind, SetOptions};

use super::{RedisStore, fault};
use crate::store::StoreError;

/// The version of the form in which things are kept. Another one is another program's, or a newer version's.
const FORM: &str = "1";

/// How to reach the Redis of that URL.
pub(super) fn config(url: &str) -> Result<Config, StoreError> {
    // Tests have two providers in their tree, so one must be named. An error says that there is one already.
    drop(rustls::crypto::aws_lc_rs::default_provider().install_default());
    // Not the error: it may hold the URL.
    let mut config = Config::from_url(url).map_err(|error| {
        let what = match error.kind() {
            ErrorKind::Tls => "this machine has no certificates to trust it by",
            _ => "its URL can't be read",
        };
        StoreError::Away(what.to_owned())
    })?;
    // Redis may come later than we do.
    config.fail_fast = false;
    Ok(config)
}

impl RedisStore {
    /// Looks at the server before the first use: what is kept there must be ours, and whether it is kept well is
    /// logged and told by [`crate::store::Store::concerns`].
    ///
    /// # Errors
    /// [`StoreError::Away`] while Redis does not answer or takes no write; [`StoreError::Damaged`] if another
    /// version's data is there.
    pub async fn prepare(&self) -> Result<(), StoreError> {
        let told = |error| fault::told("prepare", &error);
        self.link.connected().await?;
        let client = self.link.commands()?;
        let key = self.keys.index("form");
        let _: Option<String> = client.set(&key, FORM, None, Some(SetOptions::NX), false).await.map_err(told)?;
        let found: Option<String> = client.get(&key).await.map_err(told)?;
        if found.as_deref() != Some(FORM) {
            return Err(fault::damaged("a newer version keeps its data there, or another program"));
        }
        let mut concerns = Vec::new();
        match self.facts().await {
            Ok(facts) => concerns.extend(judge(&facts)),
            // A user without the right to ask is no reason not to start.
            Err(error) if error.details().starts_with("NOPERM") => {
                concerns.push("the user may not ask whether Redis keeps its data: permit INFO");
            }
            Err(error) => return Err(told(error)),
        }
        for concern in &concerns {
            tracing::warn!(store = "redis", concern, "data is at risk");
        }
        *self.concerns.lock() = concerns;
        Ok(())
    }

    async fn facts(&self) -> Result<String, fred::error::Error> {
        let client = &self.link.commands().map_err(|_| fred::error::Error::new_canceled())?;
        let persistence: String = client.info(Some(InfoKind::Persistence)).await?;
        let memory: String = client.info(Some(InfoKind::Memory)).await?;
        Ok(format!("{persistence}\n{memory}"))
    }
}

/// What in Redis's own words puts data at risk.
fn judge(facts: &str) -> Vec<&'static str> {
    let is = |name: &str, found: &dyn Fn(&str) -> bool| {
        facts.lines().filter_map(|line| line.trim().split_once(':')).any(|(key, value)| key == name && found(value))
    };
    let mut concerns = Vec::new();
    if is("aof_enabled", &|value| value == "0") {
        concerns.push("Redis keeps no append-only file: what it was told is lost when it stops (set appendonly yes)");
    }
    // The `volatile` policies drop only what goes by itself anyway.
    if is("maxmemory_policy", &|policy| policy.starts_with("allkeys")) {
        concerns.push("Redis may drop what it was told when memory gets short (set maxmemory-policy noeviction)");
    }
    concerns
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_of_the_url_is_understood_and_none_is_repeated() {
        for url in [
            "redis://127.0.0.1:6379",
            "redis://user:pass@host/2",
            "rediss://host:6380",
            "valkey://host",
            "redis+unix:///run/redis.sock",
            "redis-cluster://a:1?node=b:2&node=c:3",
            "redis-sentinel://a:26379?sentinelServiceName=main&node=b:26379",
        ] {
            assert!(config(url).is_ok_and(|config| !config.fail_fast), "{url}");
        }
        for url in ["redis://canary:port", "canary"] {
            assert!(!config(url).unwrap_err().to_string().contains("canary"), "{url}");
        }
    }

    #[test]
    fn what_puts_data_at_risk_is_told() {
        assert_eq!(judge("aof_enabled:1\r\nmaxmemory_policy:noeviction\r\n").len(), 0);
        assert_eq!(judge("aof_enabled:1\r\nmaxmemory_policy:volatile-lru\r\n").len(), 0);
        assert_eq!(judge("aof_enabled:0\r\nmaxmemory_policy:allkeys-lru\r\n").len(), 2);
    }
}
