//! Which names a request may call this gateway by: the `Host` header against what can't be somebody else's name.
//!
//! A page of another site can reach a gateway on its visitor's machine or network by letting its own name point there
//! after it was loaded (DNS rebinding). The browser then takes the gateway for a part of that page's site: no origin
//! check and no CORS stands in between for a `GET`. What the page can't change is the name that the browser sends. So
//! a name serves only if no stranger can make it point here:
//!
//! - an IP address: nothing was looked up;
//! - a name without a dot, as containers and machines of one network call each other;
//! - a name below an ending that the public name service does not have, and never will: `localhost`, `internal`,
//!   `local`, `home.arpa`, `test`, and `svc` of Kubernetes;
//! - a name that the settings list: the public name of a gateway behind a proxy, for one.
//!
//! A request without `Host` (HTTP/1.0) is no browser's and passes. `X-Forwarded-Host` is never looked at: anybody can
//! send it.

use std::net::{Ipv4Addr, Ipv6Addr};

use http::HeaderValue;
use http::uri::Authority;

/// Endings that nobody can register a name below.
const PRIVATE_ENDINGS: [&str; 6] = ["localhost", "internal", "local", "home.arpa", "test", "svc"];

/// Why a request is refused. The texts are for the caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum HostError {
    /// More than one `Host`, or none that can be read.
    #[error("the request needs one Host header with a name and perhaps a port")]
    Malformed,
    /// A name that a stranger could have given to this gateway.
    #[error("this gateway does not answer to that name; an operator can add it to allowed_hosts")]
    NotAllowed,
}

/// Judges the values of all `Host` headers of a request. `allowed`: further names, or `*` for any.
///
/// # Errors
/// [`HostError`]; answer 400 or 403 before anything else.
pub fn check<'a>(hosts: impl IntoIterator<Item = &'a HeaderValue>, allowed: &[String]) -> Result<(), HostError> {
    let mut hosts = hosts.into_iter();
    let Some(host) = hosts.next() else { return Ok(()) };
    if hosts.next().is_some() {
        return Err(HostError::Malformed);
    }
    let authority: Authority = host.to_str().ok().and_then(|text| text.parse().ok()).ok_or(HostError::Malformed)?;
    if authority.as_str().contains('@') {
        return Err(HostError::Malformed);
    }
    // A name may end with the dot of the root and means the same.
    let name = authority.host().strip_suffix('.').unwrap_or(authority.host());
    if is_nobody_elses(name) || allowed.iter().any(|one| one == "*" || one.eq_ignore_ascii_case(name)) {
        Ok(())
    } else {
        Err(HostError::NotAllowed)
    }
}

fn is_nobody_elses(name: &str) -> bool {
    let bare = name.trim_start_matches('[').trim_end_matches(']');
    if bare.parse::<Ipv4Addr>().is_ok() || bare.parse::<Ipv6Addr>().is_ok() {
        return true;
    }
    let name = name.to_ascii_lowercase();
    let has_ending =
        |ending: &&str| name.strip_suffix(*ending).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'));
    !name.is_empty() && (!name.contains('.') || PRIVATE_ENDINGS.iter().any(has_ending))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judge(hosts: &[&str]) -> Result<(), HostError> {
        let values: Vec<HeaderValue> = hosts.iter().map(|one| HeaderValue::from_str(one).unwrap()).collect();
        check(&values, &["gateway.example.com".to_owned()])
    }

    #[test]
    fn names_that_no_stranger_can_have_and_listed_ones_pass() {
        for host in [
            "127.0.0.1:8001",
            "10.1.2.3",
            "[::1]:8003",
            "[2001:db8::7]",
            "localhost",
            "LOCALHOST:8001",
            "app.localhost:3000",
            "gateway:8000",
            "cc-gateway",
            "host.docker.internal:8001",
            "printer.local",
            "cc-gateway.team.svc",
            "cc-gateway.team.svc.cluster.local:8000",
            "nas.home.arpa",
            "gateway.example.com",
            "Gateway.Example.com:443",
            "gateway.example.com.",
        ] {
            assert_eq!(judge(&[host]), Ok(()), "{host}");
        }
        assert_eq!(judge(&[]), Ok(()), "no browser leaves it out");
    }

    #[test]
    fn a_name_that_anybody_can_point_here_is_refused() {
        for host in [
            "evil.com",
            "evil.com:8001",
            "localhost.evil.com",
            "127.0.0.1.evil.com",
            "127.0.0.1.nip.io:8001",
            "gateway.example.com.evil.com",
            "evilgateway.example.com",
            "example.com",
            "notlocal.com",
            "evil.xlocal.com",
            "1.2.3",
            "app.example.com",
        ] {
            assert_eq!(judge(&[host]), Err(HostError::NotAllowed), "{host}");
        }
        for bad in [&["localhost", "localhost"][..], &["user@localhost"], &[""], &["local host"], &["http://x/"]] {
            assert!(judge(bad).is_err(), "{bad:?}");
        }
        assert_eq!(check(&[HeaderValue::from_static("evil.com")], &["*".to_owned()]), Ok(()));
    }
}
