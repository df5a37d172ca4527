//! Tokens of an outside issuer, good and bad.

use jsonwebtoken::{EncodingKey, crypto};
use serde_json::json;

use super::*;
use crate::api::Role;

const ED_1: &[u8] = include_bytes!("../../../../tests/fixtures/keys/ed25519-1.pem");
const RSA: &[u8] = include_bytes!("../../../../tests/fixtures/keys/rsa-1.pem");
const RSA_PUBLIC: &[u8] = include_bytes!("../../../../tests/fixtures/keys/rsa-1.pub.pem");
const P256: &[u8] = include_bytes!("../../../../tests/fixtures/keys/p256-1.pem");
const NOW: u64 = 1_800_000_000;

fn issuer() -> TrustedIssuer {
    serde_json::from_value(json!({
        "issuer": "https://id.example.com", "jwks_url": "https://id.example.com/jwks", "audience": "cc-gateway",
        "role_claim": "realm.roles", "admin_values": ["boss"], "user_values": ["dev"],
    }))
    .unwrap()
}

fn jwk(key: &EncodingKey, algorithm: Algorithm, id: &str) -> Value {
    let mut jwk = Jwk::from_encoding_key(key, algorithm).unwrap();
    jwk.common.key_id = Some(id.to_owned());
    serde_json::to_value(jwk).unwrap()
}

fn rsa() -> EncodingKey {
    EncodingKey::from_rsa_pem(RSA).unwrap()
}

fn ed() -> EncodingKey {
    EncodingKey::from_ed_pem(ED_1).unwrap()
}

fn p256() -> EncodingKey {
    EncodingKey::from_ec_pem(P256).unwrap()
}

fn keys() -> KeySet {
    let set = json!({ "keys": [
        { "kty": "something new", "kid": "x" },
        jwk(&rsa(), Algorithm::RS256, "rsa"),
        jwk(&ed(), Algorithm::EdDSA, "ed"),
        jwk(&p256(), Algorithm::ES256, "ec"),
        { "kty": "oct", "kid": "shared", "k": "c2VjcmV0" },
    ] });
    KeySet::parse(set.to_string().as_bytes()).unwrap()
}

fn claims() -> Value {
    json!({
        "iss": "https://id.example.com", "aud": "cc-gateway", "sub": "42", "exp": NOW + 600, "iat": NOW - 5,
        "preferred_username": "ada", "realm": { "roles": ["dev", "other"] }, "jti": "j",
    })
}

fn with(mut value: Value, name: &str, to: impl Into<Value>) -> Value {
    value[name] = to.into();
    value
}

fn signed(key: &EncodingKey, algorithm: Algorithm, header: &Value, claims: &Value) -> String {
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let message = format!("{}.{}", part(header), part(claims));
    let signature = crypto::sign(message.as_bytes(), key, algorithm).unwrap();
    format!("{message}.{signature}")
}

fn header(algorithm: &str, id: &str) -> Value {
    json!({ "alg": algorithm, "typ": "JWT", "kid": id, "x5t": "a fingerprint that some send" })
}

fn good(claims: &Value) -> String {
    signed(&rsa(), Algorithm::RS256, &header("RS256", "rsa"), claims)
}

fn judge(token: &str) -> Result<Principal, TokenError> {
    verify(&read(token)?, &issuer(), &keys(), NOW, 5)
}

#[test]
fn a_token_of_each_kind_of_key_says_who_is_calling() {
    for token in [
        good(&claims()),
        signed(&ed(), Algorithm::EdDSA, &header("EdDSA", "ed"), &claims()),
        signed(&p256(), Algorithm::ES256, &header("ES256", "ec"), &claims()),
        good(&with(claims(), "aud", json!(["another", "cc-gateway"]))),
        signed(&rsa(), Algorithm::RS256, &json!({ "alg": "RS256", "kid": "rsa" }), &claims()),
        signed(&rsa(), Algorithm::RS256, &with(header("RS256", "rsa"), "typ", "AT+jwt"), &claims()),
    ] {
        let principal = judge(&token).unwrap();
        assert_eq!((principal.subject.as_str(), principal.username.as_str()), ("https://id.example.com#42", "ada"));
        assert_eq!((principal.role, principal.scopes), (Role::User, Role::User.scopes()));
        assert_eq!(principal.issuer.as_deref(), Some("https://id.example.com"));
        assert_eq!((principal.expires_at, principal.login.began_ms), (NOW + 600, (NOW - 5) * 1_000));
        assert_eq!(principal.login.to_string().parse(), Ok(principal.login));
    }
}

#[test]
fn the_role_comes_from_the_claim_that_the_settings_name() {
    let role_of = |claim: &str, claims: Value| {
        let issuer = TrustedIssuer { role_claim: claim.to_owned(), ..issuer() };
        verify(&read(&good(&claims)).unwrap(), &issuer, &keys(), NOW, 5).map(|principal| principal.role)
    };
    let none = Err(TokenError(Refusal::Role));
    assert_eq!(role_of("realm.roles", claims()), Ok(Role::User));
    assert_eq!(role_of("realm.roles", with(claims(), "realm", json!({"roles": ["boss"]}))), Ok(Role::Admin));
    assert_eq!(role_of("realm.roles", with(claims(), "realm", json!({"roles": "boss"}))), Ok(Role::Admin));
    assert_eq!(role_of("realm.roles", with(claims(), "realm", json!({"roles": ["Boss", "bosses", 7]}))), none);
    assert_eq!(role_of("realm.roles", with(claims(), "realm", 7)), none);
    assert_eq!(role_of("groups", claims()), none);
    let address = "https://example.com/roles";
    assert_eq!(role_of(address, with(claims(), address, json!(["boss"]))), Ok(Role::Admin));
    assert_eq!(role_of("", claims()), Ok(Role::User));
}

#[test]
fn a_name_that_will_not_do_gives_way_to_the_subject() {
    for name in [Value::Null, json!(""), json!("a\nb"), json!("x".repeat(65)), json!(7)] {
        assert_eq!(judge(&good(&with(claims(), "preferred_username", name))).unwrap().username, "42");
    }
}

#[test]
fn c1_every_bad_token_of_an_outside_issuer_is_refused() {
    use Refusal::{Audience, Claims, Expired, Header, Issuer, Key, Length, Lifetime, NotYet, Shape, Signature};
    let parts = good(&claims());
    let [head, body, signature] = parts.split('.').collect::<Vec<_>>()[..] else { unreachable!() };
    let hmac = |key: &[u8], id: &str| {
        signed(&EncodingKey::from_secret(key), Algorithm::HS256, &header("HS256", id), &claims())
    };
    let claim = |name: &str, to: Value| good(&with(claims(), name, to));
    let without = |name: &str| {
        let mut changed = claims();
        changed.as_object_mut().unwrap().remove(name);
        good(&changed)
    };
    let member =
        |name: &str, to: Value| signed(&rsa(), Algorithm::RS256, &with(header("RS256", "rsa"), name, to), &claims());
    let bad = [
        ("a shared secret that the set names", hmac(b"secret", "shared"), Key),
        ("HS256 with the RSA key's public half", hmac(RSA_PUBLIC, "rsa"), Header),
        ("HS256 under the EdDSA key's name", hmac(b"x", "ed"), Header),
        (
            "an algorithm that is not allowed",
            signed(&rsa(), Algorithm::RS512, &header("RS512", "rsa"), &claims()),
            Header,
        ),
        (
            "an algorithm of another kind of key",
            signed(&ed(), Algorithm::EdDSA, &header("EdDSA", "rsa"), &claims()),
            Header,
        ),
        ("another key of the same set", signed(&ed(), Algorithm::EdDSA, &header("RS256", "rsa"), &claims()), Signature),
        ("none", format!("{}.{body}.", URL_SAFE_NO_PAD.encode(header("none", "rsa").to_string())), Header),
        ("no signature", format!("{head}.{body}."), Signature),
        ("an unknown key", member("kid", json!("other")), Key),
        ("no key", signed(&rsa(), Algorithm::RS256, &json!({"alg": "RS256"}), &claims()), Header),
        ("a key of its own", member("jwk", jwk(&rsa(), Algorithm::RS256, "rsa")), Header),
        ("a key set of its own", member("jku", json!("https://evil.example/jwks")), Header),
        ("a certificate of its own", member("x5c", json!(["MIIB"])), Header),
        ("crit", member("crit", json!(["exp"])), Header),
        ("a token for another purpose", member("typ", json!("logout+jwt")), Header),
        ("typ a number", member("typ", json!(1)), Header),
        ("another issuer", claim("iss", json!("https://id.example.com/")), Issuer),
        ("our own name as issuer", claim("iss", json!("cc-gateway")), Issuer),
        ("no issuer", without("iss"), Issuer),
        ("another audience", claim("aud", json!("another")), Audience),
        ("other audiences", claim("aud", json!(["another", "cc-gateway-x"])), Audience),
        ("no audience", without("aud"), Audience),
        ("expired", claim("exp", json!(NOW - 5)), Expired),
        ("no end", without("exp"), Claims),
        ("end a text", claim("exp", json!("1900000000")), Claims),
        ("end a fraction", claim("exp", json!(1_900_000_000.5)), Claims),
        ("end in a thousand years", claim("exp", json!(NOW + 1_000 * 31_536_000)), Lifetime),
        ("end beyond all numbers", claim("exp", json!(u64::MAX)), Lifetime),
        ("not yet", claim("nbf", json!(NOW + 6)), NotYet),
        ("issued in the future", claim("iat", json!(NOW + 6)), NotYet),
        ("nbf a text", claim("nbf", json!("0")), Claims),
        ("no subject", without("sub"), Claims),
        ("an empty subject", claim("sub", json!("")), Claims),
        ("a subject with a line end", claim("sub", json!("4\n2")), Claims),
        ("a subject too long", claim("sub", json!("4".repeat(256))), Claims),
        ("two dots less", head.to_owned(), Shape),
        ("four parts", format!("{head}.{body}.{signature}.{body}"), Shape),
        ("padding", format!("{head}.{body}.{signature}="), Shape),
        ("64 KiB", "a".repeat(64 * 1024), Length),
        ("a payload of another", format!("{head}.{}.{signature}", URL_SAFE_NO_PAD.encode("{}")), Signature),
    ];
    for (what, token, reason) in bad {
        assert_eq!(judge(&token).map(|principal| principal.subject), Err(TokenError(reason)), "{what}");
    }
}

#[test]
fn a_key_set_that_serves_nobody_is_refused() {
    for text in
        ["", "[]", "{}", r#"{"keys":[]}"#, r#"{"keys":[{"kty":"oct","kid":"a","k":"c2VjcmV0"}]}"#, "{\"keys\":{}}"]
    {
        let parsed = KeySet::parse(text.as_bytes());
        assert!(parsed.is_err(), "{text}");
    }
    let encryption = with(jwk(&rsa(), Algorithm::RS256, "rsa"), "use", "enc");
    assert!(KeySet::parse(json!({ "keys": [encryption] }).to_string().as_bytes()).is_err());
    let mut unnamed = Jwk::from_encoding_key(&rsa(), Algorithm::RS256).unwrap();
    unnamed.common.key_id = None;
    assert!(KeySet::parse(json!({ "keys": [unnamed] }).to_string().as_bytes()).is_err());
}
