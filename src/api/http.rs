//! Bodies of the HTTP side.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::account::Secret;

/// Body of `POST /login`.
#[derive(Debug, Clone, Deserialize, Serialize, JsonSchema)]
#[serde(untagged)]
pub enum LoginRequest {
    /// A person's way.
    Password(PasswordLogin),
    /// A service's way.
    Key(KeyLogin),
}

/// Body of `POST /login` with a name and a password.
#[derive(Debug, Clone, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PasswordLogin {
    /// The account's name.
    pub username: String,
    /// Its password.
    pub password: Secret,
}

/// Body of `POST /login` with an API key.
#[derive(Debug, Clone, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct KeyLogin {
    /// The key.
    pub api_key: Secret,
}

/// Body of `POST /auth/accept`.
#[derive(Debug, Clone, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AcceptRequest {
    /// The invitation's code.
    pub code: Secret,
    /// The name that the account is to have.
    pub username: String,
    /// Its password, 8 characters or more.
    pub password: Secret,
}

/// Body of `POST /auth/password`.
#[derive(Debug, Clone, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PasswordRequest {
    /// The account's name.
    pub username: String,
    /// Its password until now.
    pub password: Secret,
    /// Its password from now on, 8 characters or more.
    pub new_password: Secret,
}

/// Answer of `POST /login` and `POST /auth/refresh`.
#[derive(Clone, Serialize, Deserialize, JsonSchema)]
pub struct LoginResponse {
    /// The access token: `Authorization: Bearer …`.
    pub access_token: String,
    /// `bearer`.
    pub token_type: String,
    /// Seconds until it ends.
    pub expires_in: u64,
    /// Gives the next pair of tokens at `POST /auth/refresh`, once. There is none for an API key, which serves for that
    /// itself, nor while the store can be read but not written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refresh_token: Option<String>,
    /// Seconds until that one ends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refresh_expires_in: Option<u64>,
    /// Who they are for.
    pub user: User,
}

/// Body of `POST /auth/refresh`.
#[derive(Clone, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RefreshRequest {
    /// The refresh token of the last answer. It serves once; a second use ends the whole login.
    pub refresh_token: String,
}

impl std::fmt::Debug for RefreshRequest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RefreshRequest").finish_non_exhaustive()
    }
}

/// Body of `POST /auth/oidc/token`.
#[derive(Debug, Clone, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct OidcTokenRequest {
    /// The one-time code that came to the port that was named. It serves once, for 60 seconds.
    pub code: Secret,
    /// What the `challenge` of the login is the SHA-256 of.
    pub verifier: Secret,
}

/// Body of `POST /auth/logout`; may be left out.
#[derive(Clone, Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LogoutRequest {
    /// A refresh token whose login is ended too. The access token's own login is ended in any case, with its refresh
    /// token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refresh_token: Option<String>,
}

impl std::fmt::Debug for LogoutRequest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LogoutRequest").finish_non_exhaustive()
    }
}

/// Answer of `POST /auth/logout`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LogoutResponse {
    /// `logged_out`.
    pub status: String,
}

/// Body of `POST /auth/ticket`; may be left out.
#[derive(Debug, Clone, Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TicketRequest {
    /// The origin of the web page that the ticket is for, one of the allowed ones; for a server that asks for its
    /// page. Without it the ticket is for the page that asks, or for what is no web page.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub origin: Option<String>,
}

/// Answer of `POST /auth/ticket`.
#[derive(Clone, Serialize, Deserialize, JsonSchema)]
pub struct TicketResponse {
    /// The ticket. Open the socket with the subprotocols `cc-gateway.v1` and `ticket.<this>`; it serves once.
    pub ticket: String,
    /// Seconds until it ends.
    pub expires_in: u64,
}

impl std::fmt::Debug for TicketResponse {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TicketResponse").field("expires_in", &self.expires_in).finish_non_exhaustive()
    }
}

/// An account as others may see it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct User {
    /// Its id.
    pub id: String,
    /// Its name.
    pub username: String,
    /// Its role.
    pub role: crate::api::Role,
}

/// The state of Claude's own login.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum LoginState {
    /// There is a login and it serves.
    Authenticated,
    /// There is a login that ends soon and can't renew itself.
    Expiring,
    /// There is a login that has ended and can't renew itself.
    Expired,
    /// There is no login.
    NotAuthenticated,
    /// There is a credentials file that can't be read or understood.
    Unreadable,
}

impl LoginState {
    /// Every state, for documents and metrics.
    pub const ALL: [Self; 5] =
        [Self::Authenticated, Self::Expiring, Self::Expired, Self::NotAuthenticated, Self::Unreadable];

    /// The word on the wire; also a metric label.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Authenticated => "authenticated",
            Self::Expiring => "expiring",
            Self::Expired => "expired",
            Self::NotAuthenticated => "not_authenticated",
            Self::Unreadable => "unreadable",
        }
    }
}

/// How Claude logs in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum LoginMethod {
    /// The credentials file of a subscription login.
    OauthFile,
    /// `CLAUDE_CODE_OAUTH_TOKEN`.
    OauthToken,
    /// `ANTHROPIC_API_KEY`.
    ApiKey,
    /// `ANTHROPIC_AUTH_TOKEN`.
    AuthToken,
    /// A program named by `apiKeyHelper` in Claude's settings.
    ApiKeyHelper,
    /// A key that a login to Claude's console has made.
    ConsoleKey,
    /// The login of Amazon Bedrock, Google Vertex AI or Microsoft Foundry.
    Provider,
    /// None.
    None,
}

impl LoginMethod {
    /// The word on the wire.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::OauthFile => "oauth_file",
            Self::OauthToken => "oauth_token",
            Self::ApiKey => "api_key",
            Self::AuthToken => "auth_token",
            Self::ApiKeyHelper => "api_key_helper",
            Self::ConsoleKey => "console_key",
            Self::Provider => "provider",
            Self::None => "none",
        }
    }
}

/// The credentials file as it lies there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CredentialsFile {
    /// The user id of its owner.
    pub owner_uid: u32,
    /// Its bits of permission, such as `0600`.
    pub mode: String,
    /// Is it a symbolic link? Owner and mode are those of the file it leads to.
    pub symlink: bool,
}

/// What became of a credentials file that an operator has brought.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum DeliveryOutcome {
    /// It is Claude's login now.
    Installed,
    /// It is not used; the login that there was is untouched.
    Refused,
}

/// How a credentials file was brought.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum DeliverySource {
    /// `CLAUDE_CREDENTIALS_B64`.
    Environment,
    /// A file in the directory of the setting `credentials_uploads_dir`.
    Upload,
}

impl DeliverySource {
    /// The word on the wire.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Environment => "environment",
            Self::Upload => "upload",
        }
    }
}

/// The newest credentials file that an operator has brought to this gateway.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Delivery {
    /// How it came.
    pub source: DeliverySource,
    /// What became of it.
    pub outcome: DeliveryOutcome,
    /// Why, in a sentence.
    pub message: String,
    /// When, RFC 3339.
    pub at: String,
}

/// Answer of `GET /auth/status`. Never holds a token.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AuthStatus {
    /// The state in a word.
    pub status: LoginState,
    /// Does it serve? Without a login that does, no session is started (`require_claude_login`).
    pub usable: bool,
    /// Which login wins.
    pub method: LoginMethod,
    /// Is there anything to log in with?
    pub credentials_found: bool,
    /// Where the credentials file is or should be.
    pub path: Option<String>,
    /// What the credentials file is like; for callers with an access token, as `path` is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<CredentialsFile>,
    /// Can the user that agents run as read the credentials file?
    pub readable: bool,
    /// Can a renewed login be written back?
    pub writable: bool,
    /// Can the login renew itself?
    pub refreshable: bool,
    /// When the login ends, RFC 3339.
    pub expires_at: Option<String>,
    /// Seconds until then; negative once it is past.
    pub expires_in_seconds: Option<i64>,
    /// `max`, `pro` …, where the file says it.
    pub subscription_type: Option<String>,
    /// The state in a sentence.
    pub message: String,
    /// What to do about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instructions: Option<Vec<String>>,
    /// What is wrong although it works: a key that wins over the subscription, a file that others may read.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
    /// The newest credentials file that was brought from outside, if one was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delivery: Option<Delivery>,
}

/// Answer of `GET /health` on the HTTP listener.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Health {
    /// `healthy`.
    pub status: String,
    /// `cc-gateway-api`.
    pub service: String,
    /// The program's version.
    pub version: String,
    /// Now, RFC 3339.
    pub timestamp: String,
}

/// Answer of `GET /health` on the WebSocket listener.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct WsHealth {
    /// `healthy`, or `draining`.
    pub status: String,
    /// `cc-gateway-ws`.
    pub service: String,
    /// The program's version.
    pub version: String,
    /// Slots taken now.
    pub active_sessions: u64,
    /// Slots there are.
    pub max_sessions: u32,
    /// Seconds since the start.
    pub uptime_seconds: u64,
}

/// Answer of `GET /readyz`; 200 when ready, 503 when not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Readiness {
    /// Can it take work?
    pub ready: bool,
    /// Why not: `store`, `draining`, `agent_missing`.
    pub reasons: Vec<String>,
    /// What an operator should mend although it works: a store that may lose what it was told.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
}

/// Body of every HTTP error: `application/problem+json` (RFC 9457).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Problem {
    /// `about:blank`, or a word of ours as `urn:cc-gateway:<kind>`.
    #[serde(rename = "type")]
    pub problem_type: String,
    /// What happened, in a few words.
    pub title: String,
    /// The HTTP status again.
    pub status: u16,
    /// What to do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_words_of_the_log_are_those_of_the_wire() {
        use LoginMethod::{ApiKey, ApiKeyHelper, AuthToken, ConsoleKey, None, OauthFile, OauthToken, Provider};
        for method in [OauthFile, OauthToken, ApiKey, AuthToken, ApiKeyHelper, ConsoleKey, Provider, None] {
            assert_eq!(serde_json::to_value(method).unwrap(), method.as_str());
        }
        for source in [DeliverySource::Environment, DeliverySource::Upload] {
            assert_eq!(serde_json::to_value(source).unwrap(), source.as_str());
        }
    }
}
