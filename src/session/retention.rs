//! How long ended sessions are kept: first those go whose time is over, then, while too much is kept, those that
//! ended longest ago.
//!
//! Whole sessions go, at once and for everybody; the space behind them is given back in small pieces, so that no
//! writer waits for long. Sessions that run are never touched, nor those that carry the label that keeps them.
//! Workspaces are left alone: what lies there is the caller's.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::config::settings::RetentionSettings;
use crate::store::{EndedQuery, EndedRow, SharedStore, StoreError};
use crate::telemetry::time::now_ms;
use crate::telemetry::{metrics, tasks};

/// Sessions looked at in one step.
const PAGE: u32 = 100;
/// Batches deleted in one step: a few milliseconds of the writer's time.
const PURGE_BATCHES: u32 = 64;

/// The rule, and where it is applied.
#[derive(Debug, Clone)]
pub struct Retention {
    store: SharedStore,
    settings: RetentionSettings,
}

/// What one round has removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Removed {
    /// Sessions.
    pub sessions: u64,
    /// Bytes of their events.
    pub bytes: u64,
}

impl Retention {
    /// The rule of these settings over that store.
    #[must_use]
    pub fn new(store: SharedStore, settings: RetentionSettings) -> Self {
        Self { store, settings }
    }

    /// Applies the rule again and again until `stop`.
    pub fn keep_up(self, stop: CancellationToken) {
        tasks::spawn("retention", async move {
            let interval = self.settings.retention_interval_seconds.duration().max(Duration::from_millis(10));
            let mut tick = tokio::time::interval(interval);
            tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
            loop {
                tokio::select! {
                    () = stop.cancelled() => return,
                    _ = tick.tick() => {}
                }
                let round = tokio::select! {
                    () = stop.cancelled() => return,
                    round = self.round(now_ms()) => round,
                };
                match round {
                    Ok(Removed { sessions: 0, .. }) => {}
                    Ok(Removed { sessions, bytes }) => tracing::info!(sessions, bytes, "ended sessions were removed"),
                    Err(error) => tracing::warn!(%error, "ended sessions could not be removed; trying again"),
                }
            }
        });
    }

    /// Applies the rule once, at the moment `now_ms`.
    ///
    /// # Errors
    /// The store's; what had been removed before stays removed.
    pub async fn round(&self, now_ms: u64) -> Result<Removed, StoreError> {
        let mut removed = Removed::default();
        if let Some(keep) = nonzero(self.settings.keep_ended_seconds.duration()) {
            let keep_ms = u64::try_from(keep.as_millis()).unwrap_or(u64::MAX);
            let is_over = |row: &EndedRow, _: u64| row.ended_at_ms.saturating_add(keep_ms) <= now_ms;
            self.remove_while(is_over, &mut removed).await?;
        }
        if self.settings.keep_bytes > 0 {
            let limit = self.settings.keep_bytes;
            let kept = self.store.kept_bytes().await?;
            if kept > limit {
                let mut room = Removed::default();
                self.remove_while(|_, freed| kept.saturating_sub(freed) > limit, &mut room).await?;
                removed.sessions += room.sessions;
                removed.bytes += room.bytes;
            }
        }
        // Also what an older run of the gateway had removed and not yet given back.
        while self.store.purge(PURGE_BATCHES).await? {}
        Ok(removed)
    }

    /// Removes sessions, the longest ended first, as long as `due` says so of the next one and the bytes freed so far.
    async fn remove_while(
        &self,
        due: impl Fn(&EndedRow, u64) -> bool,
        removed: &mut Removed,
    ) -> Result<(), StoreError> {
        let mut after = None;
        loop {
            let keep_label = &self.settings.keep_label;
            let without_label = (!keep_label.is_empty()).then(|| keep_label.clone());
            let page = self.store.ended_sessions(EndedQuery { after, without_label, limit: PAGE }).await?;
            let Some(last) = page.last() else { return Ok(()) };
            after = Some((last.ended_at_ms, last.id));
            for row in &page {
                if !due(row, removed.bytes) {
                    return Ok(());
                }
                match self.store.remove_session(row.id).await {
                    Ok(true) => {
                        removed.sessions += 1;
                        removed.bytes += row.bytes;
                        metrics::session_removed(row.bytes);
                        tracing::debug!(session_id = %row.id, "an ended session is no longer kept");
                    }
                    Ok(false) => {}
                    // It stays, and must not keep those that ended after it.
                    Err(error @ StoreError::Damaged(_)) => {
                        tracing::warn!(session_id = %row.id, %error, "an ended session can't be removed");
                    }
                    Err(error) => return Err(error),
                }
            }
        }
    }
}

fn nonzero(length: Duration) -> Option<Duration> {
    (!length.is_zero()).then_some(length)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::config::settings::Seconds;
    use crate::store::contract::sample;
    use crate::store::faulty::Faulty;
    use crate::store::sqlite::test_store;

    #[tokio::test]
    async fn a_damaged_session_does_not_keep_those_that_ended_after_it() {
        let faulty = Faulty::new(test_store(), 1, 1.0);
        faulty.set_failing(false);
        let store = Arc::clone(&faulty) as SharedStore;
        for n in 1..=4 {
            store.create_session(sample::session(n)).await.unwrap();
            store.end_session(sample::id(n), 1, sample::last_batch(1), sample::end_patch()).await.unwrap();
        }
        let damaged = [1, 3].map(sample::id);
        damaged.into_iter().for_each(|id| faulty.damage(id));
        let over = now_ms();
        for settings in [
            RetentionSettings { keep_ended_seconds: Seconds::new(1.0), keep_bytes: 0, ..RetentionSettings::default() },
            RetentionSettings { keep_bytes: 1, ..RetentionSettings::default() },
        ] {
            let round = Retention::new(Arc::clone(&store), settings.clone()).round(over).await.unwrap();
            let expected =
                if settings.keep_bytes == 0 { Removed { sessions: 2, bytes: 128 } } else { Removed::default() };
            assert_eq!(round, expected, "{settings:?}");
            for n in 1..=4 {
                let kept = store.session(sample::id(n)).await.unwrap().is_some();
                assert_eq!(kept, damaged.contains(&sample::id(n)), "session {n}, {settings:?}");
            }
        }
        // A store that is away is another matter: the round fails and is tried again.
        faulty.set_failing(true);
        let settings = RetentionSettings::default();
        assert!(Retention::new(store, settings).round(over).await.is_err());
    }
}
