//! `auth.reauthenticate`: an open connection goes on with a new access token.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Parameters of `auth.reauthenticate`.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ReauthenticateParams {
    /// A new access token of the same caller with the same rights.
    pub access_token: String,
}

impl std::fmt::Debug for ReauthenticateParams {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ReauthenticateParams").finish_non_exhaustive()
    }
}

/// Result of `auth.reauthenticate`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ReauthenticateResult {
    /// When the connection's token ends now, RFC 3339. The connection is closed with 4001 then.
    pub expires_at: String,
    /// Whole seconds until then.
    pub expires_in: u64,
}
