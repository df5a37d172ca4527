//! The forms that single texts must have: origins, hosts, networks, names of variables, workspace roots.

use std::net::IpAddr;
use std::path::{Component, Path};

use ipnet::IpNet;

/// Is this an origin as browsers send it: `scheme://host[:port]`?
pub(super) fn origin(text: &str) -> Result<(), &'static str> {
    const FORM: &str = "expected scheme://host[:port], such as https://app.example.com";
    if text.contains('*') {
        return Err("an origin is exact, there are no wildcards");
    }
    if text == "null" {
        return Err("`null` is the origin of any sandboxed page");
    }
    if text.chars().any(|letter| letter.is_ascii_uppercase()) {
        return Err("browsers send origins in lower case");
    }
    let (scheme, rest) = text.split_once("://").ok_or(FORM)?;
    let scheme_is_good = scheme.starts_with(|first: char| first.is_ascii_lowercase())
        && scheme.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"+-.".contains(&byte));
    if !scheme_is_good || rest.is_empty() {
        return Err(FORM);
    }
    if rest.contains(['/', '?', '#', '@']) {
        return Err("an origin ends with its host or port: no path, no user, not even a last slash");
    }
    let (host, port) = match rest.strip_prefix('[') {
        Some(v6) => {
            let (host, after) = v6.split_once(']').ok_or(FORM)?;
            host.parse::<std::net::Ipv6Addr>().map_err(|_| FORM)?;
            if after.is_empty() { (host, None) } else { (host, Some(after.strip_prefix(':').ok_or(FORM)?)) }
        }
        None => match rest.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (rest, None),
        },
    };
    let host_is_good = rest.starts_with('[')
        || (!host.is_empty() && host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte)));
    match port {
        _ if !host_is_good => Err(FORM),
        Some(port) if !port.bytes().all(|byte| byte.is_ascii_digit()) || port.parse::<u16>().is_err() => Err(FORM),
        Some(port) if (scheme, port) == ("http", "80") || (scheme, port) == ("https", "443") => {
            Err("browsers leave out the scheme's own port")
        }
        _ => Ok(()),
    }
}

/// Is this a name that `Host` can hold, without a port, or `*`?
pub(super) fn host(text: &str) -> Result<(), &'static str> {
    if text == "*" {
        Ok(())
    } else if text.contains('*') {
        Err("a host is exact; only `*` alone stands for any")
    } else if text.contains([':', '/', '@']) {
        Err("expected a name without scheme, port and path, such as gateway.example.com")
    } else if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte)) {
        Err("expected a name such as gateway.example.com")
    } else {
        Ok(())
    }
}

/// The network that a text names: `address` (that one alone) or `address/bits`. An IPv4 address in IPv6 is itself.
pub(crate) fn network(text: &str) -> Option<IpNet> {
    match text.split_once('/') {
        Some(_) => text.parse().ok(),
        None => text.parse().ok().map(|address: IpAddr| IpNet::from(address.to_canonical())),
    }
}

/// Can this be the name of an environment variable?
pub(super) fn is_variable_name(name: &str) -> bool {
    !name.is_empty() && !name.contains(['=', '\0']) && !name.chars().any(char::is_whitespace)
}

/// Can sessions be kept inside this directory?
pub(super) fn root(path: &Path) -> Result<(), &'static str> {
    if !path.is_absolute() {
        Err("expected an absolute path")
    } else if path.components().any(|part| part == Component::ParentDir) {
        Err("expected a path without `..`")
    } else if path == Path::new("/") {
        Err("everything lies in `/`: name a directory of the sessions' own")
    } else {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn d1_exact_origins_are_taken() {
        for good in [
            "https://app.example.com",
            "http://localhost:3000",
            "http://127.0.0.1:8080",
            "https://[::1]:8443",
            "chrome-extension://abcdefghijklmnop",
        ] {
            assert_eq!(origin(good), Ok(()), "{good}");
        }
    }

    #[test]
    fn d1_anything_but_an_exact_origin_is_refused() {
        for bad in [
            "*",
            "https://*.example.com",
            "null",
            "",
            "app.example.com",
            "https://",
            "https://App.example.com",
            "https://app.example.com/",
            "https://app.example.com/path",
            "https://user@app.example.com",
            "https://app.example.com:443",
            "https://app.example.com:0x50",
            "https://app.example.com:99999",
            "https://app.example.com:",
            "https://app example.com",
            "https://[::1",
            "1s://host",
        ] {
            assert!(origin(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_network_is_an_address_alone_or_with_its_bits() {
        for (text, network_of_it) in [
            ("10.1.2.3", "10.1.2.3/32"),
            ("10.0.0.0/8", "10.0.0.0/8"),
            ("::1", "::1/128"),
            ("fd00::/8", "fd00::/8"),
            ("::ffff:10.1.2.3", "10.1.2.3/32"),
        ] {
            assert_eq!(network(text).unwrap().to_string(), network_of_it, "{text}");
        }
        for bad in ["", "proxy", "10.0.0.0/33", "10.0.0/8", "10.0.0.0/", "10.0.0.1:80", "*"] {
            assert_eq!(network(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_root_is_absolute_and_not_everything() {
        assert_eq!(root(Path::new("/srv/work")), Ok(()));
        for bad in ["work", "/srv/../etc", "/"] {
            assert!(root(Path::new(bad)).is_err(), "{bad}");
        }
    }
}
