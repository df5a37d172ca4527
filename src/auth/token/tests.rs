//! Tokens built by hand, without the JWT crate, so that the checks are tested by something else than
//! their own tools.

use std::sync::atomic::{AtomicU64, Ordering};

use secrecy::ExposeSecret;
use serde_json::{Value, json};
use sha2::{Digest, Sha256, Sha384};

use super::*;

const SECRET: &str = "q8Zt3vN1kLx0WmC7rYbE5uHsJd2FgPaT";
const NOW: u64 = 1_800_000_000;
const SID: &str = "1a2b3c-0123456789abcdef0123456789abcdef";

/// A gateway's tokens at a moment that the test sets.
struct At {
    tokens: Tokens,
    clock: Arc<AtomicU64>,
}

fn at(leeway: u64) -> At {
    let settings = AuthSettings { token_leeway_seconds: leeway, ..AuthSettings::default() };
    let clock = Arc::new(AtomicU64::new(NOW));
    let reads = Arc::clone(&clock);
    let secret = SigningSecret::from_text(SECRET).unwrap();
    let tokens =
        Tokens::with_clock(&settings, Keys::of_secret(&secret), Arc::new(move || reads.load(Ordering::SeqCst)));
    At { tokens, clock }
}

fn account(role: Role) -> Account {
    Account {
        subject: "5f0c1f7e-1111-4222-8333-444455556666".to_owned(),
        username: "ada".to_owned(),
        role,
        password_hash: String::new(),
        disabled: false,
        created_at_ms: 0,
        scopes: None,
        password_changed_at_ms: 0,
        revision: 0,
    }
}

fn key_id() -> String {
    SigningSecret::from_text(SECRET).unwrap().key_id()
}

/// HMAC as in RFC 2104; both hashes' keys here are shorter than a block.
fn hmac<D: Digest>(key: &[u8], message: &[u8], block: usize) -> Vec<u8> {
    let mut padded = key.to_vec();
    padded.resize(block, 0);
    let mask = |byte: u8| padded.iter().map(|k| k ^ byte).collect::<Vec<u8>>();
    let inner = D::new().chain_update(mask(0x36)).chain_update(message).finalize();
    D::new().chain_update(mask(0x5c)).chain_update(inner).finalize().to_vec()
}

fn b64(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

fn signed_with(secret: &str, header: &str, payload: &str) -> String {
    let message = format!("{}.{}", b64(header), b64(payload));
    let signature = b64(hmac::<Sha256>(secret.as_bytes(), message.as_bytes(), 64));
    format!("{message}.{signature}")
}

/// Signed with the right key, so that only what the test changed can be why it is refused.
fn signed(header: &Value, claims: &Value) -> String {
    signed_with(SECRET, &header.to_string(), &claims.to_string())
}

fn header() -> Value {
    json!({"alg": "HS256", "typ": "at+jwt", "kid": key_id()})
}

fn claims() -> Value {
    json!({
        "iss": "cc-gateway", "aud": "cc-gateway", "sub": "5f0c1f7e-1111-4222-8333-444455556666",
        "jti": "token-1", "sid": SID, "iat": NOW, "nbf": NOW, "exp": NOW + 600,
        "username": "ada", "role": "user", "scope": "run watch control",
    })
}

fn with(mut value: Value, name: &str, to: impl Into<Value>) -> Value {
    value[name] = to.into();
    value
}

fn without(mut value: Value, name: &str) -> Value {
    value.as_object_mut().unwrap().remove(name);
    value
}

fn header_with(name: &str, to: impl Into<Value>) -> String {
    signed(&with(header(), name, to), &claims())
}

fn claim(name: &str, to: impl Into<Value>) -> String {
    signed(&header(), &with(claims(), name, to))
}

/// Every bad token, with what is bad about it and the reason the log should see.
#[expect(clippy::too_many_lines, reason = "a table")]
fn bad_tokens() -> Vec<(&'static str, String, Refusal)> {
    use Refusal::{Audience, Claims, Expired, Header, Issuer, Key, Length, Lifetime, NotYet, Shape, Signature};
    let good = signed(&header(), &claims());
    let parts: Vec<&str> = good.split('.').collect();
    let [head, body, signature] = [parts[0], parts[1], parts[2]];
    let none = |word: &str| format!("{}.{body}.", b64(with(header(), "alg", word).to_string()));
    let hs384 = {
        let message = format!("{}.{body}", b64(with(header(), "alg", "HS384").to_string()));
        format!("{message}.{}", b64(hmac::<Sha384>(SECRET.as_bytes(), message.as_bytes(), 128)))
    };
    // The last character of 32 bytes in base64url carries two spare bits: set, they spell the same bytes.
    let spare_bits = {
        let alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
        let last = alphabet.find(&signature[42..]).unwrap();
        format!("{head}.{body}.{}{}", &signature[..42], &alphabet[last + 1..last + 2])
    };
    let doubled = claims().to_string().replacen('{', &format!("{{\"exp\":{},", NOW + 600), 1);
    vec![
        ("alg none", none("none"), Header),
        ("alg None", none("None"), Header),
        ("alg nOnE", none("nOnE"), Header),
        ("alg none with a right signature", header_with("alg", "none"), Header),
        ("alg HS384, rightly signed", hs384, Header),
        ("alg HS512", header_with("alg", "HS512"), Header),
        ("alg RS256", header_with("alg", "RS256"), Header),
        ("alg ES256", header_with("alg", "ES256"), Header),
        ("alg hs256", header_with("alg", "hs256"), Header),
        ("alg empty", header_with("alg", ""), Header),
        ("alg missing", signed(&without(header(), "alg"), &claims()), Header),
        ("alg null", header_with("alg", Value::Null), Header),
        (
            "another key",
            signed_with(&SECRET.replace('q', "r"), &header().to_string(), &claims().to_string()),
            Signature,
        ),
        ("an empty key", signed_with("", &header().to_string(), &claims().to_string()), Signature),
        ("no signature", format!("{head}.{body}."), Signature),
        ("half a signature", format!("{head}.{body}.{}", &signature[..20]), Signature),
        (
            "a payload of another",
            format!("{head}.{}.{signature}", b64(with(claims(), "role", "admin").to_string())),
            Signature,
        ),
        ("a header of another", format!("{}.{body}.{signature}", b64(format!(" {}", header()))), Shape),
        ("spare bits in the signature", spare_bits, Shape),
        ("padding", format!("{good}="), Shape),
        ("the alphabet of plain base64", format!("{head}.{body}.{}", signature.replace(['-', '_'], "+") + "/+"), Shape),
        ("a line end after it", format!("{good}\n"), Shape),
        ("a blank before it", format!(" {good}"), Shape),
        ("exp missing", signed(&header(), &without(claims(), "exp")), Claims),
        ("exp a text", claim("exp", (NOW + 600).to_string()), Claims),
        ("exp a fraction", claim("exp", (NOW + 600) as f64 + 0.5), Claims),
        (
            "exp a whole float",
            signed_with(
                SECRET,
                &header().to_string(),
                &claims().to_string().replace(&format!("\"exp\":{}", NOW + 600), &format!("\"exp\":{}.0", NOW + 600)),
            ),
            Claims,
        ),
        ("exp null", claim("exp", Value::Null), Claims),
        ("exp negative", claim("exp", -1), Claims),
        (
            "exp past",
            signed(&header(), &with(with(with(claims(), "exp", NOW - 100), "iat", NOW - 700), "nbf", NOW - 700)),
            Expired,
        ),
        ("exp zero", claim("exp", 0), Lifetime),
        ("exp a second over the longest", claim("exp", NOW + 1_802), Lifetime),
        ("exp huge", claim("exp", u64::MAX), Lifetime),
        ("exp far", claim("exp", NOW + 10 * 365 * 86_400), Lifetime),
        (
            "exp over u64",
            signed_with(
                SECRET,
                &header().to_string(),
                &claims().to_string().replace(&format!("\"exp\":{}", NOW + 600), "\"exp\":99999999999999999999999"),
            ),
            Claims,
        ),
        ("exp twice", signed_with(SECRET, &header().to_string(), &doubled), Claims),
        ("nbf future", claim("nbf", NOW + 3_600), NotYet),
        ("nbf missing", signed(&header(), &without(claims(), "nbf")), Claims),
        ("nbf a text", claim("nbf", "0"), Claims),
        ("iat future", signed(&header(), &with(with(claims(), "iat", NOW + 300), "exp", NOW + 600)), NotYet),
        ("iat missing", signed(&header(), &without(claims(), "iat")), Claims),
        ("aud missing", signed(&header(), &without(claims(), "aud")), Claims),
        ("aud wrong", claim("aud", "another"), Audience),
        ("aud empty", claim("aud", ""), Audience),
        ("aud an array with ours", claim("aud", json!(["another", "cc-gateway"])), Claims),
        ("aud an array of ours", claim("aud", json!(["cc-gateway"])), Claims),
        ("iss wrong", claim("iss", "another"), Issuer),
        ("iss in capitals", claim("iss", "CC-GATEWAY"), Issuer),
        ("iss missing", signed(&header(), &without(claims(), "iss")), Claims),
        ("sub missing", signed(&header(), &without(claims(), "sub")), Claims),
        ("sub empty", claim("sub", ""), Claims),
        ("jti missing", signed(&header(), &without(claims(), "jti")), Claims),
        ("jti empty", claim("jti", ""), Claims),
        ("sid missing", signed(&header(), &without(claims(), "sid")), Claims),
        ("sid empty", claim("sid", ""), Claims),
        ("sid without a moment", claim("sid", "-0123456789abcdef0123456789abcdef"), Claims),
        ("sid in capitals", claim("sid", SID.to_uppercase()), Claims),
        ("sid spelt otherwise", claim("sid", format!("0{SID}")), Claims),
        ("role unknown", claim("role", "root"), Claims),
        ("typ JWT", header_with("typ", "JWT"), Header),
        ("typ missing", signed(&without(header(), "typ"), &claims()), Header),
        ("a refresh token's typ", header_with("typ", "rt+jwt"), Header),
        ("typ in capitals", header_with("typ", "AT+JWT"), Header),
        ("kid a path", header_with("kid", "../../dev/null"), Key),
        ("kid empty", header_with("kid", ""), Key),
        ("kid SQL", header_with("kid", "x' UNION SELECT 'a"), Key),
        ("kid missing", signed(&without(header(), "kid"), &claims()), Header),
        ("kid a number", header_with("kid", 1), Header),
        ("jku", header_with("jku", "https://keys.example.com/jwks.json"), Header),
        ("x5u", header_with("x5u", "https://keys.example.com/x5u.pem"), Header),
        ("x5c", header_with("x5c", json!(["MIIB"])), Header),
        ("jwk", header_with("jwk", json!({"kty": "oct", "k": b64("k")})), Header),
        ("crit", header_with("crit", json!(["exp"])), Header),
        ("crit empty", header_with("crit", json!([])), Header),
        ("b64 false", header_with("b64", false), Header),
        (
            "header an array",
            signed_with(SECRET, &json!(["HS256", "at+jwt", key_id()]).to_string(), &claims().to_string()),
            Shape,
        ),
        ("payload an array", signed_with(SECRET, &header().to_string(), "[]"), Shape),
        ("payload not JSON", signed_with(SECRET, &header().to_string(), "{ada"), Claims),
        ("header not JSON", signed_with(SECRET, "{ada", &claims().to_string()), Header),
        (
            "header twice alg",
            signed_with(SECRET, &header().to_string().replacen('{', "{\"alg\":\"HS256\",", 1), &claims().to_string()),
            Header,
        ),
        ("no dot", head.to_owned(), Shape),
        ("one dot", format!("{head}.{body}"), Shape),
        ("three dots", format!("{good}.{signature}"), Shape),
        ("five parts, as an encrypted token", format!("{head}.{body}.{signature}.{body}.{head}"), Shape),
        ("empty", String::new(), Shape),
        ("dots alone", "..".to_owned(), Shape),
        ("not ASCII", format!("{head}.{body}.ä"), Shape),
        ("a NUL in it", format!("{head}.{body}.\0"), Shape),
        ("64 KiB long, rightly signed", claim("padding", "x".repeat(48 * 1024)), Length),
        ("64 KiB of dots", ".".repeat(64 * 1024), Length),
        ("two tokens", format!("{good} {good}"), Shape),
        ("two tokens with a comma", format!("{good},{good}"), Shape),
    ]
}

#[test]
fn c1_a_good_token_made_by_hand_is_accepted() {
    let principal = at(5).tokens.verify(&signed(&header(), &claims())).unwrap();
    assert_eq!(principal.subject, "5f0c1f7e-1111-4222-8333-444455556666");
    assert_eq!(principal.username, "ada");
    assert_eq!(principal.role, Role::User);
    assert_eq!(principal.scopes, Role::User.scopes());
    assert_eq!(principal.expires_at, NOW + 600);
    assert_eq!(principal.token_id, "token-1");
    assert_eq!((principal.login.to_string().as_str(), principal.login.began_ms), (SID, 0x1a_2b3c));
    assert_eq!(principal.issuer, None);
}

#[test]
fn c1_every_bad_token_is_refused_with_the_same_words() {
    let gateway = at(5);
    let bad = bad_tokens();
    assert!(bad.len() >= 35);
    for (what, token, reason) in bad {
        let refused = gateway.tokens.verify(&token).expect_err(what);
        assert_eq!(refused, TokenError(reason), "{what}");
        assert_eq!(refused.to_string(), "the access token is not valid", "{what}");
    }
}

#[test]
fn c1_a_token_over_the_limit_is_refused_before_it_is_parsed() {
    let fill = MAX_TOKEN_BYTES - claim("padding", "").len();
    // A third more in base64url, so this is surely short of the limit and the next surely over it.
    assert!(at(5).tokens.verify(&claim("padding", "x".repeat(fill / 2))).is_ok());
    let long = claim("padding", "x".repeat(fill));
    assert!(long.len() > MAX_TOKEN_BYTES);
    assert_eq!(at(5).tokens.verify(&long), Err(TokenError(Refusal::Length)));
}

#[test]
fn c1_no_single_changed_character_leaves_a_token_valid() {
    let gateway = at(5);
    let good = signed(&header(), &claims());
    for place in 0..good.len() {
        for other in ["A", "B", ".", "="] {
            let mut changed = good.clone();
            changed.replace_range(place..=place, other);
            if changed != good {
                assert!(gateway.tokens.verify(&changed).is_err(), "{other} at {place}");
            }
        }
    }
}

#[test]
fn c2_exp_is_exact_to_the_second_at_the_leeways_edge() {
    for leeway in [0, 5, 30] {
        let gateway = at(leeway);
        let token = signed(&header(), &claims());
        let end = NOW + 600 + leeway;
        gateway.clock.store(end - 1, Ordering::SeqCst);
        assert!(gateway.tokens.verify(&token).is_ok(), "leeway {leeway}: one second before the edge");
        gateway.clock.store(end, Ordering::SeqCst);
        let refused = gateway.tokens.verify(&token).unwrap_err();
        assert!(refused.is_expired(), "leeway {leeway}: at the edge");
        assert_eq!(refused.to_string(), "the access token is not valid");
    }
}

#[test]
fn c2_nbf_is_exact_to_the_second_at_the_leeways_edge() {
    for leeway in [0, 5, 30] {
        let gateway = at(leeway);
        let token = claim("nbf", NOW + 100);
        gateway.clock.store(NOW + 100 - leeway, Ordering::SeqCst);
        assert!(gateway.tokens.verify(&token).is_ok(), "leeway {leeway}: at the edge");
        gateway.clock.store(NOW + 100 - leeway - 1, Ordering::SeqCst);
        let refused = gateway.tokens.verify(&token).unwrap_err();
        assert_eq!(refused, TokenError(Refusal::NotYet), "leeway {leeway}: one second before");
        assert!(!refused.is_expired());
    }
}

#[test]
fn c2_a_leeway_over_thirty_seconds_counts_as_thirty() {
    let gateway = at(3_600);
    let token = signed(&header(), &claims());
    gateway.clock.store(NOW + 629, Ordering::SeqCst);
    assert!(gateway.tokens.verify(&token).is_ok());
    gateway.clock.store(NOW + 630, Ordering::SeqCst);
    assert!(gateway.tokens.verify(&token).is_err());
}

#[test]
fn an_issued_token_is_accepted_with_its_roles_scopes() {
    for role in [Role::Admin, Role::User] {
        let gateway = at(5);
        let issued = gateway.tokens.issue(&account(role));
        assert_eq!(issued.expires_in, 1_800);
        let principal = gateway.tokens.verify(issued.token.expose_secret()).unwrap();
        assert_eq!((principal.role, &principal.scopes), (role, &role.scopes()));
        assert_eq!(principal.expires_at, NOW + 1_801, "the second it was made in is not counted");
        assert_eq!(principal.username, "ada");
    }
}

#[test]
fn an_issued_token_has_the_header_and_claims_that_are_promised() {
    let token = at(5).tokens.issue(&account(Role::User)).token.expose_secret().to_owned();
    let part = |index: usize| -> Value {
        let part = token.split('.').nth(index).unwrap();
        serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap()
    };
    assert_eq!(part(0), header());
    let made = without(without(part(1), "jti"), "sid");
    assert_eq!(made, without(without(with(claims(), "exp", NOW + 1_801), "jti"), "sid"));
    let message = token.rsplit_once('.').unwrap().0;
    assert!(token.ends_with(&b64(hmac::<Sha256>(SECRET.as_bytes(), message.as_bytes(), 64))), "an HMAC by hand agrees");
}

#[test]
fn two_tokens_of_one_account_have_ids_of_their_own() {
    let gateway = at(5);
    let [one, two] = [(), ()].map(|()| {
        let issued = gateway.tokens.issue(&account(Role::User));
        gateway.tokens.verify(issued.token.expose_secret()).unwrap().token_id
    });
    assert_ne!(one, two);
}

#[test]
fn a_token_can_not_give_more_scopes_than_its_role() {
    let greedy = at(5).tokens.verify(&claim("scope", "run watch control raw admin")).unwrap();
    assert_eq!(greedy.scopes, Role::User.scopes());
    let modest = at(5).tokens.verify(&claim("scope", "watch fly ADMIN  ")).unwrap();
    assert_eq!(modest.scopes, [Scope::Watch].into());
    let nothing = at(5).tokens.verify(&claim("scope", "")).unwrap();
    assert!(nothing.scopes.is_empty());
}

#[test]
fn a_token_of_another_gateway_is_refused() {
    let other = Tokens::with_clock(
        &AuthSettings::default(),
        Keys::of_secret(&SigningSecret::from_text("T4Pgf2dJsHu5EbYr7CmW0xLk1Nv3tZ8q").unwrap()),
        Arc::new(|| NOW),
    );
    let token = other.issue(&account(Role::Admin)).token;
    assert_eq!(at(5).tokens.verify(token.expose_secret()), Err(TokenError(Refusal::Key)));
}

#[test]
fn neither_tokens_nor_keys_can_be_printed() {
    let gateway = at(5);
    let issued = gateway.tokens.issue(&account(Role::User));
    let shown = format!("{:?} {issued:?}", gateway.tokens);
    assert!(!shown.contains(issued.token.expose_secret()) && !shown.contains(SECRET), "{shown}");
}
