//! A gateway's address, taken apart once.

use super::error::ClientError;

/// Host, port and path of `ws://…` or `http://…`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Address {
    pub(super) host: String,
    pub(super) port: u16,
    /// Host and port as a `Host` header and messages carry them.
    pub(super) authority: String,
    pub(super) path: String,
}

impl Address {
    /// Reads a URL of that scheme. `path` stands in where the URL has none.
    pub(super) fn parse(url: &str, scheme: &'static str, path: &str) -> Result<Self, ClientError> {
        let wrong = |reason| ClientError::Address { url: without_user(url), reason };
        let uri: http::Uri = url.parse().map_err(|_| wrong("it is not a URL"))?;
        match uri.scheme_str() {
            Some(found) if found.eq_ignore_ascii_case(scheme) => {}
            Some("https" | "wss") => return Err(wrong("this client speaks no TLS; use a tunnel or a local proxy")),
            _ if scheme == "ws" => return Err(wrong("it must begin with `ws://`")),
            _ => return Err(wrong("it must begin with `http://`")),
        }
        let authority = uri.authority().ok_or_else(|| wrong("it names no host"))?;
        if authority.as_str().contains('@') {
            return Err(wrong("it must not hold a user or a password"));
        }
        if uri.query().is_some() {
            return Err(wrong("it must not have a query"));
        }
        let host = authority.host().trim_start_matches('[').trim_end_matches(']').to_owned();
        let port = authority.port_u16().unwrap_or(80);
        let path = match uri.path() {
            "" | "/" => path.to_owned(),
            given => given.to_owned(),
        };
        Ok(Self { host, port, authority: format!("{}:{port}", authority.host()), path })
    }

    /// The same gateway at another path below this one.
    pub(super) fn join(&self, path: &str) -> String {
        format!("{}{path}", self.path.trim_end_matches('/'))
    }
}

/// A password that was put into a URL is not repeated in a message.
fn without_user(url: &str) -> String {
    match (url.find("://"), url.rfind('@')) {
        (Some(scheme), Some(at)) if at > scheme => format!("{}…{}", &url[..scheme + 3], &url[at..]),
        _ => url.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bare_address_gets_the_default_path() {
        let address = Address::parse("ws://127.0.0.1:8003", "ws", "/ws").unwrap();
        assert_eq!((address.host.as_str(), address.port, address.path.as_str()), ("127.0.0.1", 8003, "/ws"));
        assert_eq!(Address::parse("ws://h:1/ws/mcp", "ws", "/ws").unwrap().path, "/ws/mcp");
    }

    #[test]
    fn an_ipv6_host_is_connected_to_without_its_brackets() {
        let address = Address::parse("http://[::1]:8001", "http", "/").unwrap();
        assert_eq!((address.host.as_str(), address.authority.as_str()), ("::1", "[::1]:8001"));
    }

    #[test]
    fn a_path_prefix_is_kept() {
        assert_eq!(Address::parse("http://h:1/gateway/", "http", "/").unwrap().join("/login"), "/gateway/login");
        assert_eq!(Address::parse("http://h:1", "http", "/").unwrap().join("/login"), "/login");
    }

    #[test]
    fn what_can_not_work_is_refused_with_a_reason() {
        for (url, word) in [
            ("wss://h/ws", "TLS"),
            ("http://h", "ws://"),
            ("h:1", "ws://"),
            ("ws://u:p@h", "password"),
            ("not a url", "URL"),
        ] {
            let text = Address::parse(url, "ws", "/ws").unwrap_err().to_string();
            assert!(text.contains(word), "{url}: {text}");
        }
    }

    #[test]
    fn a_password_in_a_url_is_not_repeated() {
        assert!(!Address::parse("ws://u:hunter2@h", "ws", "/ws").unwrap_err().to_string().contains("hunter2"));
    }
}
