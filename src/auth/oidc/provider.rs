//! The provider itself: what it says of itself, where people are sent, what it says of a person.
//!
//! The only file that names `openidconnect`.
//!
//! Invariants:
//! - A person's claims come from an ID token whose signature, issuer, audience (`azp` with it), nonce and times were
//!   checked, and from the provider's user info for the same `sub`; where the ID token binds the access token
//!   (`at_hash`), it must fit.
//! - Only public-key algorithms: whoever knows the client's secret could make tokens with the others.
//! - Every address that the provider names is https, or on this machine.
//! - Nothing of the provider's tokens or codes is logged or kept; of its errors only the words of the specification.
//! - One look at the provider's documents at once, and none within [`PAUSE`] of one that failed.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use openidconnect::core::{
    CoreAuthDisplay, CoreAuthPrompt, CoreAuthenticationFlow, CoreClientAuthMethod, CoreErrorResponseType,
    CoreGenderClaim, CoreJsonWebKey, CoreJweContentEncryptionAlgorithm, CoreJwsSigningAlgorithm, CoreProviderMetadata,
    CoreRevocableToken, CoreRevocationErrorResponse, CoreTokenIntrospectionResponse, CoreTokenType,
};
use openidconnect::{
    AccessTokenHash, AdditionalClaims, AuthType, AuthorizationCode, ClaimsVerificationError, Client, ClientId,
    ClientSecret, CsrfToken, DiscoveryError, EmptyExtraTokenFields, EndpointMaybeSet, EndpointNotSet, EndpointSet,
    HttpRequest, HttpResponse, IdTokenFields, IssuerUrl, Nonce, OAuth2TokenResponse, PkceCodeChallenge,
    PkceCodeVerifier, RedirectUrl, RequestTokenError, Scope, SignatureVerificationError, StandardErrorResponse,
    StandardTokenResponse, TokenResponse, UserInfoClaims, UserInfoError,
};
use parking_lot::RwLock;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use tokio::sync::Semaphore;
use tokio::time::Instant;

use super::OidcError;
use super::pending::Begun;
use crate::auth::claims;
use crate::auth::fetch::{FetchError, Fetcher};
use crate::config::issuer::check_url;
use crate::config::settings::OidcSettings;

/// The provider's documents are looked at again when a login comes and they are older than this.
const FRESH: Duration = Duration::from_secs(600);
/// At least so long after they could not be had.
const PAUSE: Duration = Duration::from_secs(1);

/// Whatever a provider says of a person beside what the specification names.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Others {
    #[serde(flatten)]
    others: Map<String, Value>,
}

impl AdditionalClaims for Others {}

type TokenAnswer = StandardTokenResponse<
    IdTokenFields<
        Others,
        EmptyExtraTokenFields,
        CoreGenderClaim,
        CoreJweContentEncryptionAlgorithm,
        CoreJwsSigningAlgorithm,
    >,
    CoreTokenType,
>;

type ProviderClient = Client<
    Others,
    CoreAuthDisplay,
    CoreGenderClaim,
    CoreJweContentEncryptionAlgorithm,
    CoreJsonWebKey,
    CoreAuthPrompt,
    StandardErrorResponse<CoreErrorResponseType>,
    TokenAnswer,
    CoreTokenIntrospectionResponse,
    CoreRevocableToken,
    CoreRevocationErrorResponse,
    EndpointSet,
    EndpointNotSet,
    EndpointNotSet,
    EndpointNotSet,
    EndpointMaybeSet,
    EndpointMaybeSet,
>;

/// What the provider has said of itself.
#[derive(Debug, Clone, Default)]
struct Known {
    /// With the moment at which it said so.
    client: Option<(Arc<ProviderClient>, Instant)>,
    failed: Option<Instant>,
}

/// The provider of the settings. Nothing is asked of it until somebody logs in.
#[derive(Debug)]
pub(super) struct Provider {
    issuer: String,
    client_id: String,
    secret_file: PathBuf,
    callback: String,
    scopes: Vec<String>,
    /// Claims without which the user info is asked for.
    wanted: Vec<String>,
    fetcher: Fetcher,
    /// Held only to copy or to set it.
    known: RwLock<Known>,
    /// The right to ask for the documents.
    turn: Semaphore,
}

/// Why an ID token is not good.
enum Unverified {
    /// No key of the provider's is known by that name.
    UnknownKey,
    /// Anything else; for the log.
    Wrong(String),
}

impl Provider {
    pub(super) fn new(settings: &OidcSettings) -> Self {
        let mut wanted = vec![settings.oidc_username_claim.clone(), settings.oidc_role_claim.clone()];
        wanted.extend(settings.oidc_required.keys().cloned());
        wanted.retain(|claim| !claim.is_empty());
        Self {
            issuer: settings.oidc_issuer.clone(),
            client_id: settings.oidc_client_id.clone(),
            secret_file: settings.oidc_client_secret_file.clone(),
            callback: settings.callback(),
            scopes: settings.oidc_scopes.iter().filter(|scope| *scope != "openid").cloned().collect(),
            wanted,
            fetcher: Fetcher::new(),
            known: RwLock::default(),
            turn: Semaphore::new(1),
        }
    }

    /// Where a person is sent who begins to log in.
    pub(super) async fn address(&self, begun: &Begun) -> Result<String, OidcError> {
        let client = self.client(FRESH).await?;
        let (state, nonce) = (begun.state.clone(), begun.nonce.clone());
        let verifier = PkceCodeVerifier::new(begun.verifier.clone());
        let (address, _, _) = client
            .authorize_url(
                CoreAuthenticationFlow::AuthorizationCode,
                move || CsrfToken::new(state),
                move || Nonce::new(nonce),
            )
            .add_scopes(self.scopes.iter().cloned().map(Scope::new))
            .set_pkce_challenge(PkceCodeChallenge::from_code_verifier_sha256(&verifier))
            .url();
        Ok(address.into())
    }

    /// What the provider says of the person who brought that code.
    pub(super) async fn person(&self, code: String, begun: &Begun) -> Result<Value, OidcError> {
        let mut client = self.client(FRESH).await?;
        let request =
            client.exchange_code(AuthorizationCode::new(code)).map_err(|_| broken("it has no token endpoint"))?;
        let verifier = PkceCodeVerifier::new(begun.verifier.clone());
        let http = |request| exchange(self.fetcher.clone(), request);
        let answer = request.set_pkce_verifier(verifier).request_async(&http).await.map_err(token_error)?;
        let nonce = Nonce::new(begun.nonce.clone());
        let mut verified = verify(&client, &answer, &nonce);
        if matches!(verified, Err(Unverified::UnknownKey)) {
            // It may sign with a new key since its documents were read.
            client = self.client(Duration::ZERO).await?;
            verified = verify(&client, &answer, &nonce);
        }
        let mut said = verified.map_err(|unverified| {
            let reason = match unverified {
                Unverified::UnknownKey => "it is signed with a key that the provider does not publish".to_owned(),
                Unverified::Wrong(reason) => reason,
            };
            tracing::warn!(reason, "the provider's ID token is not valid");
            OidcError::BadToken
        })?;
        if self.wanted.iter().any(|claim| claims::find(&said, claim).is_none())
            && let Some(more) = self.user_info(&client, &answer, &said).await?
        {
            // What is signed comes first.
            for (name, value) in more {
                if let Some(said) = said.as_object_mut() {
                    said.entry(name).or_insert(value);
                }
            }
        }
        Ok(said)
    }

    async fn user_info(
        &self,
        client: &ProviderClient,
        answer: &TokenAnswer,
        said: &Value,
    ) -> Result<Option<Map<String, Value>>, OidcError> {
        let subject = said["sub"].as_str().map(|subject| openidconnect::SubjectIdentifier::new(subject.to_owned()));
        let Ok(request) = client.user_info(answer.access_token().clone(), subject) else { return Ok(None) };
        let http = |request| exchange(self.fetcher.clone(), request);
        let told: Result<UserInfoClaims<Others, CoreGenderClaim>, _> = request.request_async(&http).await;
        match told {
            Ok(told) => Ok(serde_json::to_value(told).ok().and_then(|told| match told {
                Value::Object(told) => Some(told),
                _ => None,
            })),
            Err(UserInfoError::Request(error)) => Err(away(&error)),
            Err(error) => {
                tracing::warn!(%error, "the provider's user info can't be used");
                Err(OidcError::Broken)
            }
        }
    }

    /// The provider as it was known no longer ago than `age`, else as it is now.
    async fn client(&self, age: Duration) -> Result<Arc<ProviderClient>, OidcError> {
        let asked = Instant::now();
        // What was learned while this one waited for its turn is new enough for it.
        let enough = |known: &Known| {
            let (client, learned) = known.client.as_ref()?;
            (*learned >= asked || learned.elapsed() < age).then(|| Arc::clone(client))
        };
        if let Some(client) = enough(&self.known.read()) {
            return Ok(client);
        }
        let _turn = self.turn.acquire().await.map_err(|_| OidcError::Away)?;
        let known = self.known.read().clone();
        if let Some(client) = enough(&known) {
            return Ok(client);
        }
        if known.failed.is_some_and(|failed| failed.elapsed() < PAUSE) {
            return Err(OidcError::Away);
        }
        let discovered = self.discover().await;
        let mut known = self.known.write();
        match discovered {
            Ok(client) => {
                let client = Arc::new(client);
                *known = Known { client: Some((Arc::clone(&client), Instant::now())), failed: None };
                Ok(client)
            }
            Err(error) => {
                known.failed = Some(Instant::now());
                Err(error)
            }
        }
    }

    async fn discover(&self) -> Result<ProviderClient, OidcError> {
        let http = |request| exchange(self.fetcher.clone(), request);
        let issuer = IssuerUrl::new(self.issuer.clone()).map_err(|_| broken("its address is none"))?;
        let metadata = CoreProviderMetadata::discover_async(issuer, &http).await.map_err(|error| match error {
            DiscoveryError::Request(error) => away(&error),
            other => broken(&other.to_string()),
        })?;
        let named = [
            Some(metadata.authorization_endpoint().url().as_str()),
            Some(metadata.jwks_uri().url().as_str()),
            metadata.token_endpoint().map(|address| address.url().as_str()),
            metadata.userinfo_endpoint().map(|address| address.url().as_str()),
        ];
        if let Some(expected) = named.into_iter().flatten().find_map(|address| check_url(address).err()) {
            return Err(broken(&format!("one of its addresses can't be trusted: {expected}")));
        }
        // By default the specification means the header.
        let takes_secret_in_body = metadata.token_endpoint_auth_methods_supported().is_some_and(|methods| {
            methods.contains(&CoreClientAuthMethod::ClientSecretPost)
                && !methods.contains(&CoreClientAuthMethod::ClientSecretBasic)
        });
        let callback = RedirectUrl::new(self.callback.clone()).map_err(|_| broken("the redirect address is none"))?;
        let client_id = ClientId::new(self.client_id.clone());
        let client = Client::from_provider_metadata(metadata, client_id, self.secret().await?);
        let client: ProviderClient = client.set_redirect_uri(callback);
        tracing::info!(issuer = self.issuer, "the provider's documents were read");
        Ok(if takes_secret_in_body { client.set_auth_type(AuthType::RequestBody) } else { client })
    }

    /// Read with the documents, so that a new secret needs no restart.
    async fn secret(&self) -> Result<Option<ClientSecret>, OidcError> {
        if self.secret_file.as_os_str().is_empty() {
            return Ok(None);
        }
        match tokio::fs::read_to_string(&self.secret_file).await {
            Ok(text) => Ok(Some(ClientSecret::new(text.trim().to_owned()))),
            Err(error) => {
                tracing::error!(%error, "the secret for the provider (oidc_client_secret_file) can't be read");
                Err(OidcError::Away)
            }
        }
    }
}

/// The claims of an answer's ID token, once all that can be checked is.
fn verify(client: &ProviderClient, answer: &TokenAnswer, nonce: &Nonce) -> Result<Value, Unverified> {
    use CoreJwsSigningAlgorithm as A;
    let wrong = |reason: &str| Unverified::Wrong(reason.to_owned());
    // Some providers name all parts of a project there: see below.
    let verifier = client.id_token_verifier().set_other_audience_verifier_fn(|_| true).set_allowed_algs([
        A::RsaSsaPkcs1V15Sha256,
        A::RsaSsaPkcs1V15Sha384,
        A::RsaSsaPkcs1V15Sha512,
        A::RsaSsaPssSha256,
        A::RsaSsaPssSha384,
        A::RsaSsaPssSha512,
        A::EcdsaP256Sha256,
        A::EcdsaP384Sha384,
        A::EdDsa,
    ]);
    let token = answer.id_token().ok_or_else(|| wrong("there is none"))?;
    let claims = token.claims(&verifier, nonce).map_err(|error| match error {
        ClaimsVerificationError::SignatureVerification(SignatureVerificationError::NoMatchingKey) => {
            Unverified::UnknownKey
        }
        ClaimsVerificationError::SignatureVerification(inner) => Unverified::Wrong(format!("its signature: {inner}")),
        other => Unverified::Wrong(other.to_string()),
    })?;
    // The library leaves this to us: for which of several audiences was it made?
    let is_ours = |party: &ClientId| party.as_str() == client.client_id().as_str();
    if !claims.authorized_party().map_or(claims.audiences().len() == 1, is_ours) {
        return Err(wrong("it was made for another client of the provider (azp)"));
    }
    if let Some(expected) = claims.access_token_hash() {
        let (algorithm, key) = (token.signing_alg(), token.signing_key(&verifier));
        let (Ok(algorithm), Ok(key)) = (algorithm, key) else { return Err(Unverified::UnknownKey) };
        let found = AccessTokenHash::from_token(answer.access_token(), algorithm, key);
        if found.is_ok_and(|found| found == *expected) {
            return as_value(claims);
        }
        return Err(wrong("its at_hash is that of another access token"));
    }
    as_value(claims)
}

fn as_value(claims: &impl Serialize) -> Result<Value, Unverified> {
    serde_json::to_value(claims).map_err(|error| Unverified::Wrong(error.to_string()))
}

/// One request to the provider. That it is in trouble itself counts as no answer.
async fn exchange(fetcher: Fetcher, request: HttpRequest) -> Result<HttpResponse, FetchError> {
    let answer = fetcher.send(request.map(Bytes::from)).await?;
    if answer.status().is_server_error() || answer.status() == http::StatusCode::TOO_MANY_REQUESTS {
        return Err(FetchError::Status(answer.status()));
    }
    Ok(answer.map(Vec::from))
}

fn token_error(error: RequestTokenError<FetchError, StandardErrorResponse<CoreErrorResponseType>>) -> OidcError {
    match error {
        RequestTokenError::Request(error) => away(&error),
        RequestTokenError::ServerResponse(refused) if *refused.error() == CoreErrorResponseType::InvalidGrant => {
            tracing::info!("the provider has refused a login's code");
            OidcError::Code
        }
        RequestTokenError::ServerResponse(refused) => broken(&format!("it refuses us: {}", refused.error().as_ref())),
        // Their texts could hold a part of a token.
        RequestTokenError::Parse(..) | RequestTokenError::Other(_) => broken("its answer has no tokens"),
    }
}

fn away(error: &FetchError) -> OidcError {
    tracing::warn!(%error, "the provider of logins can't be asked");
    OidcError::Away
}

fn broken(reason: &str) -> OidcError {
    tracing::error!(reason, "the provider of logins can't be used");
    OidcError::Broken
}
