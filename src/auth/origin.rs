//! Which web pages may connect: the `Origin` header against the list of the settings.
//!
//! Invariant: an origin is allowed if it is byte for byte one of the list, and never otherwise. There are no
//! patterns; scheme, port, case and a trailing dot all count. Browsers send one canonical form, so what
//! differs from it is not a browser on an allowed page.

use http::HeaderValue;

/// Why a request from a web page is refused. The texts are for the caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum OriginError {
    /// More than one `Origin` header.
    #[error("the request has more than one Origin header")]
    Several,
    /// Not in the list.
    #[error("this origin is not allowed; an operator can add it to allowed_origins")]
    NotAllowed,
}

/// Judges the values of all `Origin` headers of a request. A request without one does not come from a web
/// page and passes.
///
/// `null` (a sandboxed page, a file) is refused even if it is listed: every page can make itself `null`.
///
/// # Errors
/// [`OriginError`]; answer 403 before any upgrade.
pub fn check<'a>(origins: impl IntoIterator<Item = &'a HeaderValue>, allowed: &[String]) -> Result<(), OriginError> {
    let mut origins = origins.into_iter();
    let Some(origin) = origins.next() else { return Ok(()) };
    if origins.next().is_some() {
        return Err(OriginError::Several);
    }
    let origin = origin.as_bytes();
    if origin != b"null" && allowed.iter().any(|one| one.as_bytes() == origin) {
        Ok(())
    } else {
        Err(OriginError::NotAllowed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judge(origins: &[&[u8]]) -> Result<(), OriginError> {
        let allowed = ["https://app.example.com", "http://localhost:5173", "null", "*", "https://[2001:db8::1]:8443"]
            .map(str::to_owned);
        let values: Vec<HeaderValue> = origins.iter().map(|one| HeaderValue::from_bytes(one).unwrap()).collect();
        check(&values, &allowed)
    }

    #[test]
    fn d1_listed_origins_and_no_origin_pass() {
        assert_eq!(judge(&[]), Ok(()));
        assert_eq!(judge(&[b"https://app.example.com"]), Ok(()));
        assert_eq!(judge(&[b"http://localhost:5173"]), Ok(()));
        assert_eq!(judge(&[b"https://[2001:db8::1]:8443"]), Ok(()));
    }

    #[test]
    fn d1_everything_else_is_refused() {
        let refused: [&[u8]; 22] = [
            b"http://app.example.com",
            b"wss://app.example.com",
            b"https://app.example.com:443",
            b"https://app.example.com:8443",
            b"https://APP.example.com",
            b"HTTPS://app.example.com",
            b"https://app.example.com.",
            b"https://app.example.com/",
            b"https://app.example.com.evil.com",
            b"https://evilapp.example.com",
            b"https://app.example.com@evil.com",
            b"https://evil.com/https://app.example.com",
            b"https://example.com",
            b"app.example.com",
            b"null",
            b"",
            b"https://evil.com",
            b"http://localhost",
            b"http://127.0.0.1:5173",
            b"https://app.example.com https://evil.com",
            b"https://app.example.com, https://evil.com",
            b"https://app.example.com\xff",
        ];
        for origin in refused {
            assert_eq!(judge(&[origin]), Err(OriginError::NotAllowed), "{}", String::from_utf8_lossy(origin));
        }
    }

    #[test]
    fn d1_two_origin_headers_are_refused_even_if_both_are_allowed() {
        assert_eq!(judge(&[b"https://app.example.com", b"https://app.example.com"]), Err(OriginError::Several));
        assert_eq!(judge(&[b"https://app.example.com", b"https://evil.com"]), Err(OriginError::Several));
    }

    #[test]
    fn d1_without_a_list_no_web_page_passes() {
        assert_eq!(check(&[HeaderValue::from_static("https://app.example.com")], &[]), Err(OriginError::NotAllowed));
        assert_eq!(check([], &[]), Ok(()));
    }
}
