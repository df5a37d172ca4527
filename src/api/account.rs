//! Accounts, API keys and the audit log, as they go over the wire.

use std::collections::BTreeSet;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::principal::{Role, Scope};

/// A secret on its way to or from its owner. `Debug` does not show it.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct Secret(pub String);

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret")
    }
}

/// An account, as admins see it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AccountInfo {
    /// Its id: the owner of its sessions.
    pub id: String,
    /// Its name at login.
    pub username: String,
    /// Its role.
    pub role: Role,
    /// What it may do.
    pub scopes: BTreeSet<Scope>,
    /// Is it shut out?
    pub disabled: bool,
    /// When it was made, RFC 3339.
    pub created_at: String,
    /// When its password was last changed, RFC 3339; absent: not since it was made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password_changed_at: Option<String>,
}

/// Result of `account.list`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AccountList {
    /// Every account, by name.
    pub accounts: Vec<AccountInfo>,
}

/// Parameters of `account.create`.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateAccountParams {
    /// Its name at login: 1 to 64 characters.
    pub username: String,
    /// Its password, 8 characters or more. Without one it is made, and told in the result once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password: Option<Secret>,
    /// Its role; `user` by default.
    #[serde(default = "user")]
    pub role: Role,
    /// What it may do; all that its role allows by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scopes: Option<BTreeSet<Scope>>,
}

/// Result of `account.create`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CreatedAccount {
    /// The account.
    pub account: AccountInfo,
    /// The password that was made for it. It is told here and never again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password: Option<Secret>,
}

/// Parameters of `account.update`: what is absent stays.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct UpdateAccountParams {
    /// Whose.
    pub username: String,
    /// Its new role.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<Role>,
    /// What it may do from now on; no more than its role allows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scopes: Option<BTreeSet<Scope>>,
    /// Shuts it out, or lets it in again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disabled: Option<bool>,
    /// Its new password.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password: Option<Secret>,
}

/// Parameters of `account.invite`.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct InviteParams {
    /// The role of the account to come; `user` by default.
    #[serde(default = "user")]
    pub role: Role,
    /// What it may do; all that its role allows by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scopes: Option<BTreeSet<Scope>>,
    /// How long the code holds: three days by default, thirty at most.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_in_seconds: Option<u64>,
}

/// Result of `account.invite`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Invited {
    /// The code for `POST /auth/accept`, which serves once. It is told here and never again.
    pub code: Secret,
    /// When it ends, RFC 3339.
    pub expires_at: String,
}

/// An API key, without itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct KeyInfo {
    /// Its public id.
    pub id: String,
    /// Its owner's word for it.
    pub name: String,
    /// The id of the account that it logs in.
    pub account_id: String,
    /// What it may do, as far as its account may.
    pub scopes: BTreeSet<Scope>,
    /// When it was made, RFC 3339.
    pub created_at: String,
    /// When it ends, RFC 3339.
    pub expires_at: String,
}

/// Parameters of `key.create`.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateKeyParams {
    /// A word for it, 1 to 64 characters.
    pub name: String,
    /// What it may do: no more than its maker and its account; all that by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scopes: Option<BTreeSet<Scope>>,
    /// How long it serves: 90 days by default, ten years at most.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_in_seconds: Option<u64>,
    /// Whose it is; the caller's own by default, another's for admins only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub username: Option<String>,
}

/// Result of `key.create`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CreatedKey {
    /// About it.
    pub key: KeyInfo,
    /// The key itself, for `POST /login` or as a bearer token. It is told here and never again.
    pub api_key: Secret,
}

/// Parameters of `key.list`.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ListKeysParams {
    /// Whose; the caller's own by default, another's for admins only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub username: Option<String>,
}

/// Result of `key.list`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct KeyList {
    /// The keys that have not ended, the newest first.
    pub keys: Vec<KeyInfo>,
}

/// Parameters of `key.revoke`.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RevokeKeyParams {
    /// Its public id.
    pub key_id: String,
}

/// Result of `key.revoke`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RevokedKey {
    /// The key that serves no more; tokens that came of it are refused, and sockets closed.
    pub key: KeyInfo,
}

/// Parameters of `audit.list`.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AuditParams {
    /// Only entries older than this one: `next_before` of the page before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<Uuid>,
    /// Only entries newer than this one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<Uuid>,
    /// Only what the account of this id did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub account_id: Option<String>,
    /// Only this action.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub action: Option<String>,
    /// Only what was done to this session.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session_id: Option<Uuid>,
    /// At most so many, 1 to 1000; 100 by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1000))]
    pub limit: Option<u32>,
}

/// Result of `audit.list`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AuditPage {
    /// The newest first.
    pub entries: Vec<AuditRecord>,
    /// Where the next page begins; absent: this is the last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_before: Option<Uuid>,
}

/// One entry of the audit log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AuditRecord {
    /// Its id; in the order of time.
    pub id: Uuid,
    /// When, RFC 3339.
    pub at: String,
    /// The id of the account that did it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub account_id: Option<String>,
    /// That account's name at the time.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub username: String,
    /// What: a method's name, `login`, `login.key`, `login.oidc`, `account.accept`, `account.password`, a word that
    /// begins with `operator.` (the command line on the gateway's machine), or `audit.gap` (the target says how many
    /// are missing).
    pub action: String,
    /// `ok`, or why not.
    pub outcome: String,
    /// The session that it was done to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session_id: Option<Uuid>,
    /// Who or what else it was done to: a name, a key's id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
    /// The address that the caller came from, where it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
}

fn user() -> Role {
    Role::User
}
