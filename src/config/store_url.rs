//! The setting `store_url`: which store it names, what is wrong with it, and how it may be shown.
//!
//! Invariant: nothing that is said of a URL holds the user or the password in it.

/// What the URL of the embedded store begins with; a file follows.
pub const SQLITE_SCHEME: &str = "sqlite:";

/// The schemes that lead to Redis or Valkey: plain or with TLS, to one server, a cluster or sentinels.
const REDIS_SCHEMES: [&str; 14] = [
    "redis",
    "rediss",
    "redis-cluster",
    "rediss-cluster",
    "redis-sentinel",
    "rediss-sentinel",
    "redis+unix",
    "valkey",
    "valkeys",
    "valkey-cluster",
    "valkeys-cluster",
    "valkey-sentinel",
    "valkeys-sentinel",
    "valkey+unix",
];

const FORMS: &str = "expected sqlite:<file>, or redis://<user>:<password>@<host>:<port> (rediss: TLS; redis+unix, redis-cluster, \
     redis-sentinel)";

/// What is wrong with the URL; `None` if it names a store.
#[must_use]
pub fn complaint(url: &str) -> Option<&'static str> {
    if let Some(file) = url.strip_prefix(SQLITE_SCHEME) {
        return match file {
            "" => Some("expected a file after `sqlite:`"),
            file if file.ends_with(":memory:") => Some("a store in memory would forget: name a file"),
            _ => None,
        };
    }
    let Some((scheme, rest)) = url.split_once("://").filter(|(scheme, _)| REDIS_SCHEMES.contains(scheme)) else {
        return Some(FORMS);
    };
    if rest.trim_start_matches('/').is_empty() {
        return Some("expected a host, or a socket's path, after `://`");
    }
    if !scheme.ends_with("+unix") && hosts(rest).any(has_wrong_port) {
        return Some("expected a port from 1 to 65535 after the host");
    }
    let unnamed = scheme.ends_with("-sentinel") && !rest.contains("sentinelServiceName=");
    unnamed.then_some("sentinels watch services by name: add ?sentinelServiceName=<name>")
}

/// The hosts of a URL, each with its port if it names one.
fn hosts(rest: &str) -> impl Iterator<Item = &str> {
    let (before, query) = rest.split_once('?').unwrap_or((rest, ""));
    let host = before.rsplit_once('@').map_or(before, |(_, host)| host);
    let host = host.split_once('/').map_or(host, |(host, _)| host);
    std::iter::once(host).chain(query.split('&').filter_map(|part| part.strip_prefix("node=")))
}

fn has_wrong_port(host: &str) -> bool {
    // What stands in brackets is an address of IPv6.
    let after = host.rsplit_once(']').map_or(host, |(_, after)| after);
    let port = after.rsplit_once(':').map_or("", |(_, port)| port);
    !port.is_empty() && port.parse::<u16>().map_or(true, |port| port == 0)
}

/// The URL without what is secret in it.
#[must_use]
pub fn shown(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else { return url.to_owned() };
    // Up to the last `@`: a password may hold one that is not encoded as it should be.
    let rest = rest.rsplit_once('@').map_or_else(|| rest.to_owned(), |(_, host)| format!("<hidden>@{host}"));
    let parts: Vec<_> = rest
        .split('&')
        .map(|part| match part.split_once("sentinelPassword=") {
            Some((before, _)) => format!("{before}sentinelPassword=<hidden>"),
            None => part.to_owned(),
        })
        .collect();
    format!("{scheme}://{}", parts.join("&"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_of_the_url_is_taken_and_others_are_refused_without_being_told() {
        for url in [
            "sqlite:/var/lib/g.db",
            "redis://127.0.0.1:6379",
            "redis://user:pass@host/2",
            "rediss://host:6380",
            "valkey://host",
            "redis+unix:///run/redis.sock",
            "redis-cluster://a:1?node=b:2&node=c:3",
            "redis-sentinel://a:26379?sentinelServiceName=main&node=b:26379",
            "redis-sentinel://a:1?sentinelServiceName=main&sentinelPassword=pass@b:c",
            "redis://[::1]:6379/1",
            "redis://[::1]",
        ] {
            assert_eq!(complaint(url), None, "{url}");
            assert!(!shown(url).contains("pass"), "{url}");
        }
        for url in ["", "redis", "redis:canary", "redis://", "http://canary", "redis-sentinel://canary:1", "sqlite:"] {
            let told = complaint(url).unwrap();
            assert!(!told.contains("canary"), "{told}");
        }
    }

    #[test]
    fn a_port_that_can_not_be_one_is_refused() {
        for url in [
            "redis://127.0.0.1:99999",
            "rediss://user:pass@host:0/1",
            "redis://[::1]:x",
            "redis-cluster://a:1?node=b:70000",
        ] {
            assert!(complaint(url).unwrap().contains("port"), "{url}");
        }
    }

    #[test]
    fn m3_no_password_is_shown() {
        for url in [
            "redis://:canary@host:1/0",
            "redis://user:canary@canary@host",
            "redis-sentinel://user:canary@host?sentinelPassword=canary&sentinelServiceName=main",
            "redis-sentinel://host?sentinelServiceName=main&sentinelPassword=canary",
        ] {
            let shown = shown(url);
            assert!(!shown.contains("canary") && shown.contains("host"), "{shown}");
        }
        assert_eq!(shown("sqlite:/a@b"), "sqlite:/a@b");
    }
}
