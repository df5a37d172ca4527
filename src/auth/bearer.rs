//! Finds the access token in a request: `Authorization: Bearer …`, or `?access_token=` where that is allowed.
//!
//! Invariants: exactly one token in exactly one place; nothing here says whether it is valid. A token in
//! `Sec-WebSocket-Protocol` or in a cookie is never looked at: browsers send those without being asked, or
//! proxies log them.

use http::HeaderMap;
use http::header::AUTHORIZATION;

/// Why no token was found. The texts are for the caller and say what to send.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BearerError {
    /// No token at all.
    #[error("an access token is needed: log in at /login and send the header `Authorization: Bearer <token>`")]
    Missing,
    /// More than one token.
    #[error("the request carries more than one access token; send one")]
    Several,
    /// There is something, but not in the form of a bearer token.
    #[error("the Authorization header must read `Bearer <token>`")]
    Malformed,
    /// The only token is in the query, which is not accepted.
    #[error("access tokens in the query are not accepted here; send the header `Authorization: Bearer <token>`")]
    QueryOff,
}

/// The token's text, as it came. `query` is the URI's query without `?`; `query_allowed` the setting.
///
/// # Errors
/// [`BearerError`].
pub fn from_request<'a>(
    headers: &'a HeaderMap,
    query: Option<&'a str>,
    query_allowed: bool,
) -> Result<&'a str, BearerError> {
    let mut in_header = headers.get_all(AUTHORIZATION).iter();
    let mut in_query = query.unwrap_or_default().split('&').filter_map(query_token);
    match (in_header.next(), in_query.next()) {
        (None, None) => Err(BearerError::Missing),
        (Some(_), Some(_)) => Err(BearerError::Several),
        (Some(value), None) if in_header.next().is_none() => {
            bearer(value.to_str().map_err(|_| BearerError::Malformed)?)
        }
        (None, Some(_)) if !query_allowed => Err(BearerError::QueryOff),
        (None, Some(token)) if in_query.next().is_none() => well_formed(token),
        _ => Err(BearerError::Several),
    }
}

/// The value of one pair of the query if it is the token's. No decoding: a token has no character that a
/// URI would escape.
fn query_token(pair: &str) -> Option<&str> {
    let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
    (name == "access_token").then_some(value)
}

fn bearer(value: &str) -> Result<&str, BearerError> {
    let (scheme, token) = value.split_once(' ').ok_or(BearerError::Malformed)?;
    if !scheme.eq_ignore_ascii_case("bearer") {
        return Err(BearerError::Malformed);
    }
    well_formed(token.trim_start_matches(' '))
}

/// The characters of RFC 6750 §2.1, at least one.
fn well_formed(token: &str) -> Result<&str, BearerError> {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~+/=".contains(&byte);
    if !token.is_empty() && token.bytes().all(fits) { Ok(token) } else { Err(BearerError::Malformed) }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn headers(values: &[&str]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(AUTHORIZATION, HeaderValue::from_str(value).unwrap());
        }
        headers
    }

    fn in_header(value: &str) -> Result<String, BearerError> {
        from_request(&headers(&[value]), None, false).map(str::to_owned)
    }

    #[test]
    fn c10_a_token_in_the_header_is_found_whatever_the_schemes_case() {
        for value in ["Bearer aa.bb.cc", "bearer aa.bb.cc", "BEARER aa.bb.cc", "bEaReR   aa.bb.cc"] {
            assert_eq!(in_header(value).as_deref(), Ok("aa.bb.cc"), "{value}");
        }
    }

    #[test]
    fn what_is_no_bearer_token_is_malformed() {
        for value in [
            "",
            "Bearer",
            "Bearer ",
            "Bearer\taa.bb.cc",
            "aa.bb.cc",
            "Basic YTpi",
            "Token aa.bb.cc",
            "Bearer: aa.bb.cc",
            "Bearer aa.bb.cc dd.ee.ff",
            "Bearer aa.bb.cc, Bearer dd.ee.ff",
            "Bearer \"aa.bb.cc\"",
            "Bearer aa\tbb",
        ] {
            assert_eq!(in_header(value), Err(BearerError::Malformed), "{value:?}");
        }
        let mut binary = HeaderMap::new();
        binary.insert(AUTHORIZATION, HeaderValue::from_bytes(b"Bearer \xff\xfe").unwrap());
        assert_eq!(from_request(&binary, None, false), Err(BearerError::Malformed));
    }

    #[test]
    fn two_tokens_are_refused_wherever_they_are() {
        let two = headers(&["Bearer aa.bb.cc", "Bearer aa.bb.cc"]);
        assert_eq!(from_request(&two, None, true), Err(BearerError::Several));
        let one = headers(&["Bearer aa.bb.cc"]);
        for query_allowed in [true, false] {
            let both = from_request(&one, Some("access_token=aa.bb.cc"), query_allowed);
            assert_eq!(both, Err(BearerError::Several));
        }
        let twice = from_request(&HeaderMap::new(), Some("access_token=a&access_token=b"), true).map(str::to_owned);
        assert_eq!(twice, Err(BearerError::Several));
    }

    #[test]
    fn c10_a_token_in_the_query_serves_only_where_it_is_allowed() {
        let none = HeaderMap::new();
        assert_eq!(from_request(&none, Some("x=1&access_token=aa.bb.cc"), true), Ok("aa.bb.cc"));
        assert_eq!(from_request(&none, Some("x=1&access_token=aa.bb.cc"), false), Err(BearerError::QueryOff));
        assert_eq!(from_request(&none, Some("access_token="), true), Err(BearerError::Malformed));
        assert_eq!(from_request(&none, Some("access_token"), true), Err(BearerError::Malformed));
        assert_eq!(from_request(&none, Some("access_token=a%2eb"), true), Err(BearerError::Malformed));
    }

    #[test]
    fn c10_a_token_anywhere_else_is_not_looked_at() {
        let mut elsewhere = HeaderMap::new();
        elsewhere.insert("sec-websocket-protocol", HeaderValue::from_static("cc-gateway.v1, aa.bb.cc"));
        elsewhere.insert("cookie", HeaderValue::from_static("access_token=aa.bb.cc"));
        elsewhere.insert("proxy-authorization", HeaderValue::from_static("Bearer aa.bb.cc"));
        assert_eq!(from_request(&elsewhere, None, true), Err(BearerError::Missing));
        assert_eq!(
            from_request(&elsewhere, Some("token=aa&Access_Token=b&xaccess_token=c"), true),
            Err(BearerError::Missing)
        );
    }

    #[test]
    fn no_reason_repeats_what_was_sent() {
        let refused = in_header("Basic c2VjcmV0").unwrap_err();
        assert!(!refused.to_string().contains("c2VjcmV0"));
    }
}
