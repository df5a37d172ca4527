//! What a principal may spend: a rolling limit over what Claude says its sessions have cost.

use super::Sessions;
use crate::session::error::SessionError;
use crate::store::types::MICRO_USD;
use crate::telemetry::time::now_ms;

impl Sessions {
    /// May that principal spend more?
    ///
    /// # Errors
    /// [`SessionError::Spent`], or the store's.
    pub(super) async fn check_spending(&self, owner: &str) -> Result<(), SessionError> {
        let limit_usd = self.settings.max_spend_usd_per_principal;
        if limit_usd <= 0.0 {
            return Ok(());
        }
        let window = self.settings.spend_window_seconds.duration();
        let since = now_ms().saturating_sub(u64::try_from(window.as_millis()).unwrap_or(u64::MAX));
        let spent = self.store.spent_since(owner, since).await?;
        #[expect(clippy::cast_precision_loss, reason = "below 2^53")]
        let spent_usd = spent as f64 / MICRO_USD;
        if spent_usd < limit_usd {
            return Ok(());
        }
        Err(SessionError::Spent { spent_usd, limit_usd, window_hours: window.as_secs_f64() / 3_600.0 })
    }
}
