//! A provider of our own that lies on order: what the certified one can't be made to do. It knows one person, `ada`.
//!
//! No browser is sent to it: a code says all that it must know, and whoever reads the address that the gateway sends
//! people to can make one.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use axum::Router;
use axum::extract::State;
use axum::response::{IntoResponse, Json, Response as Answer};
use axum::routing::{get, post};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use cc_gateway::telemetry::tasks;
use http::{Method, StatusCode};
use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use parking_lot::Mutex;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha512};

use super::provider::{Browser, settings};
use crate::support::Gateway;
use crate::support::gateway::Builder;
use crate::support::http::Response;

/// The gateway's secret at this provider. With it anybody could sign with the weaker algorithms.
const SECRET: &str = "canary-liar-secret-40d7-of-32-bytes-or-more";
const ACCESS_TOKEN: &str = "canary-access-token-66e0";

/// What it does wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Lie {
    /// Nothing.
    Nothing,
    /// Names us among others, and says by `azp` that the token is ours.
    OtherAudiencesToo,
    /// Names us among others, and does not say whose the token is.
    NobodysAudience,
    /// Vouches for another login.
    Nonce,
    /// Signs with another key under the name of the published one.
    Signature,
    /// Signs with the secret that it shares with us.
    SharedSecret,
    /// Signs not at all.
    Unsigned,
    /// Speaks to somebody else.
    Audience,
    /// Speaks in somebody else's name.
    Issuer,
    /// Speaks of yesterday.
    Expired,
    /// Binds another access token.
    AccessTokenHash,
    /// Gives an access token alone.
    NoIdToken,
    /// Tells of somebody else when asked for more.
    UserInfo,
    /// Has trouble when it is shown a code.
    BadGateway,
    /// Takes a code and says nothing.
    Hangs,
    /// Signs with a key that it publishes from now on.
    NewKey,
    /// Signs with a key that it never publishes.
    UnknownKey,
    /// Says that it is another provider.
    Name,
}

struct Key {
    encoding: EncodingKey,
    jwk: Value,
}

impl Key {
    fn read(fixture: &str, id: &str) -> Self {
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/keys").join(fixture);
        let encoding = EncodingKey::from_ed_pem(&std::fs::read(path).expect("a key")).expect("a key");
        let mut jwk = Jwk::from_encoding_key(&encoding, Algorithm::EdDSA).expect("a public half");
        jwk.common.key_id = Some(id.to_owned());
        Self { encoding, jwk: serde_json::to_value(jwk).expect("JSON") }
    }
}

struct World {
    issuer: String,
    lie: Mutex<Lie>,
    keys_asked: AtomicUsize,
    /// All ID tokens that were given.
    given: Mutex<Vec<String>>,
    old: Key,
    new: Key,
}

/// The running provider.
pub(super) struct Liar {
    world: Arc<World>,
    secret: tempfile::NamedTempFile,
}

impl Liar {
    pub(super) async fn start() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address: SocketAddr = listener.local_addr().expect("its address");
        let world = Arc::new(World {
            issuer: format!("http://{address}"),
            lie: Mutex::new(Lie::Nothing),
            keys_asked: AtomicUsize::new(0),
            given: Mutex::default(),
            old: Key::read("ed25519-1.pem", "old"),
            new: Key::read("ed25519-2.pem", "new"),
        });
        let pages = Router::new()
            .route("/.well-known/openid-configuration", get(describe))
            .route("/keys", get(keys))
            .route("/token", post(token))
            .route("/userinfo", get(user_info))
            .with_state(Arc::clone(&world));
        tasks::spawn("test-liar", async move { axum::serve(listener, pages).await });
        let secret = tempfile::NamedTempFile::new().expect("a file");
        std::fs::write(secret.path(), SECRET).expect("a secret");
        Self { world, secret }
    }

    /// A gateway that sends people here.
    pub(super) fn gateway(&self, builder: Builder) -> Builder {
        settings(builder, &self.world.issuer).setting("oidc_client_secret_file", self.secret.path().display())
    }

    pub(super) fn lies(&self, lie: Lie) {
        *self.world.lie.lock() = lie;
    }

    /// How often its keys were read.
    pub(super) fn keys_asked(&self) -> usize {
        self.world.keys_asked.load(Ordering::SeqCst)
    }

    /// What a log must not have.
    pub(super) fn secrets(&self) -> Vec<String> {
        let mut secrets = vec![SECRET.to_owned(), ACCESS_TOKEN.to_owned()];
        for token in &*self.world.given.lock() {
            secrets.extend(token.split('.').filter(|part| !part.is_empty()).map(str::to_owned));
        }
        secrets
    }

    /// A whole login of `ada`: what the gateway answers in the end.
    pub(super) async fn log_in(&self, gateway: &Gateway) -> Response {
        let mut browser = Browser::default();
        let address = browser.begin(gateway, "").await;
        let back = format!("/auth/oidc/callback?code={}&state={}", query(&address, "nonce"), query(&address, "state"));
        browser.ask(gateway.http, Method::GET, &back, None).await
    }
}

/// A value of an address's query; ours need no decoding.
fn query<'a>(address: &'a str, name: &str) -> &'a str {
    let pairs = address.split('?').nth(1).expect("a query").split('&').filter_map(|pair| pair.split_once('='));
    pairs.into_iter().find(|(found, _)| *found == name).expect("the value").1
}

async fn describe(State(world): State<Arc<World>>) -> Json<Value> {
    let at = |path: &str| format!("{}{path}", world.issuer);
    let issuer =
        if *world.lie.lock() == Lie::Name { "https://id.example.com".to_owned() } else { world.issuer.clone() };
    Json(json!({
        "issuer": issuer,
        "authorization_endpoint": at("/authorize"),
        "token_endpoint": at("/token"),
        "userinfo_endpoint": at("/userinfo"),
        "jwks_uri": at("/keys"),
        "response_types_supported": ["code"],
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": ["EdDSA"],
    }))
}

async fn keys(State(world): State<Arc<World>>) -> Json<Value> {
    world.keys_asked.fetch_add(1, Ordering::SeqCst);
    let published =
        if *world.lie.lock() == Lie::NewKey { vec![&world.old.jwk, &world.new.jwk] } else { vec![&world.old.jwk] };
    Json(json!({ "keys": published }))
}

async fn user_info() -> Json<Value> {
    Json(json!({"sub": "somebody-else", "groups": ["gateway-admins"]}))
}

/// The code is the nonce of the login.
async fn token(State(world): State<Arc<World>>, form: String) -> Answer {
    let lie = *world.lie.lock();
    match lie {
        Lie::BadGateway => return (StatusCode::BAD_GATEWAY, "<html>canary-page</html>").into_response(),
        Lie::Hangs => return std::future::pending().await,
        Lie::NoIdToken => {
            return Json(json!({"access_token": ACCESS_TOKEN, "token_type": "Bearer"})).into_response();
        }
        _ => {}
    }
    let nonce = form.split('&').find_map(|pair| pair.strip_prefix("code=")).expect("a code");
    let claims = claims(&world.issuer, nonce, lie);
    let id_token = sign(&world, &claims, lie);
    world.given.lock().push(id_token.clone());
    Json(json!({"access_token": ACCESS_TOKEN, "token_type": "Bearer", "expires_in": 60, "id_token": id_token}))
        .into_response()
}

fn claims(issuer: &str, nonce: &str, lie: Lie) -> Value {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock").as_secs();
    let bound = Sha512::digest(if lie == Lie::AccessTokenHash { "another" } else { ACCESS_TOKEN });
    // What is missing is asked for.
    let groups = if lie == Lie::UserInfo { "others" } else { "groups" };
    let mut claims = json!({
        "iss": issuer, "sub": "ada", "aud": "gateway", "iat": now, "exp": now + 60, "nonce": nonce,
        "at_hash": URL_SAFE_NO_PAD.encode(&bound[..32]),
        "preferred_username": "ada", groups: ["gateway-admins"], "hd": "example.com",
    });
    match lie {
        Lie::OtherAudiencesToo => {
            claims["aud"] = json!(["project", "gateway"]);
            claims["azp"] = json!("gateway");
        }
        Lie::NobodysAudience => claims["aud"] = json!(["project", "gateway"]),
        Lie::Nonce => claims["nonce"] = json!("another"),
        Lie::Audience => claims["aud"] = json!("another"),
        Lie::Issuer => claims["iss"] = json!("https://id.example.com"),
        Lie::Expired => (claims["iat"], claims["exp"]) = (json!(now - 86_460), json!(now - 86_400)),
        _ => {}
    }
    claims
}

fn sign(world: &World, claims: &Value, lie: Lie) -> String {
    let named = |algorithm, id: &str| Header { kid: Some(id.to_owned()), ..Header::new(algorithm) };
    let signed = match lie {
        Lie::Unsigned => {
            let parts = [json!({"alg": "none"}), claims.clone()].map(|part| URL_SAFE_NO_PAD.encode(part.to_string()));
            return format!("{}.", parts.join("."));
        }
        Lie::SharedSecret => {
            encode(&Header::new(Algorithm::HS256), claims, &EncodingKey::from_secret(SECRET.as_bytes()))
        }
        Lie::Signature => encode(&named(Algorithm::EdDSA, "old"), claims, &world.new.encoding),
        Lie::NewKey | Lie::UnknownKey => encode(&named(Algorithm::EdDSA, "new"), claims, &world.new.encoding),
        _ => encode(&named(Algorithm::EdDSA, "old"), claims, &world.old.encoding),
    };
    signed.expect("a token")
}
