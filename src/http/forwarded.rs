//! Where a request comes from, behind proxies that the settings trust.
//!
//! `X-Forwarded-For` is a list that every proxy on the way adds the address of its own peer to, at the end. What a stranger
//! sends stands further to the front, so the list is read from its end, and only as far as the proxies are trusted ones:
//! the first address that is none of theirs is the caller's. A request that did not come from a trusted proxy keeps its
//! peer whatever it says. `X-Forwarded-Host`, `X-Real-IP` and `Forwarded` are never looked at.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::middleware::map_request_with_state;
use http::HeaderMap;
use ipnet::IpNet;

use super::connection::PeerAddr;
use crate::config::network;

const HEADER: &str = "x-forwarded-for";

/// The proxies that are believed. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct TrustedProxies(Arc<[IpNet]>);

impl TrustedProxies {
    /// Those of the setting `trusted_proxies`, whose forms have been checked.
    #[must_use]
    pub fn new(setting: &[String]) -> Self {
        Self(setting.iter().filter_map(|text| network(text)).collect())
    }

    /// `router`, with requests that know their caller's address in place of a trusted proxy's.
    pub fn before(&self, router: Router) -> Router {
        if self.0.is_empty() { router } else { router.layer(map_request_with_state(self.clone(), see_through)) }
    }

    fn trusts(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.0.iter().any(|network| network.contains(&address))
    }

    /// The caller of a request that came from `peer`.
    fn caller(&self, peer: SocketAddr, headers: &HeaderMap) -> SocketAddr {
        let mut caller = peer;
        let mut values: Vec<_> = headers.get_all(HEADER).into_iter().collect();
        values.reverse();
        // A value that is no text may hide a hop, so nothing before it counts either.
        let hops = values.into_iter().flat_map(|value| value.to_str().unwrap_or("?").rsplit(','));
        for hop in hops {
            if !self.trusts(caller.ip()) {
                break;
            }
            let Some(address) = address(hop.trim()) else { break };
            // The port is the caller's at the first proxy, and nobody needs it.
            caller = SocketAddr::new(address, 0);
        }
        caller
    }
}

/// An address as proxies write it: alone, or with a port.
fn address(text: &str) -> Option<IpAddr> {
    let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
    let address = bare.parse().ok().or_else(|| text.parse().ok().map(|with_port: SocketAddr| with_port.ip()))?;
    Some(IpAddr::to_canonical(&address))
}

async fn see_through(State(proxies): State<TrustedProxies>, mut request: Request) -> Request {
    if let Some(PeerAddr(peer)) = request.extensions().get().copied() {
        let caller = proxies.caller(peer, request.headers());
        request.extensions_mut().insert(PeerAddr(caller));
    }
    request
}

#[cfg(test)]
mod tests {
    use axum::Extension;
    use axum::routing::get;

    use super::*;
    use crate::http::testing::{Server, limits, request};

    fn proxies(networks: &[&str]) -> TrustedProxies {
        TrustedProxies::new(&networks.iter().map(|&text| text.to_owned()).collect::<Vec<_>>())
    }

    /// The caller's address, of a request from `peer` with these values of the header.
    fn caller(trusted: &[&str], peer: &str, values: &[&[u8]]) -> String {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(HEADER, http::HeaderValue::from_bytes(value).unwrap());
        }
        let peer = SocketAddr::new(peer.parse().unwrap(), 4_000);
        proxies(trusted).caller(peer, &headers).ip().to_string()
    }

    #[test]
    fn nobody_is_believed_but_a_trusted_proxy() {
        assert_eq!(caller(&[], "10.0.0.1", &[b"192.0.2.7"]), "10.0.0.1");
        assert_eq!(caller(&["10.0.0.2"], "10.0.0.1", &[b"192.0.2.7"]), "10.0.0.1");
        assert_eq!(caller(&["10.0.0.1"], "10.0.0.1", &[b"192.0.2.7"]), "192.0.2.7");
        assert_eq!(caller(&["10.0.0.0/8"], "::ffff:10.0.0.1", &[b"192.0.2.7"]), "192.0.2.7");
        assert_eq!(caller(&["fd00::/8"], "fd00::1", &[b"2001:db8::7"]), "2001:db8::7");
        assert_eq!(caller(&["10.0.0.1"], "10.0.0.1", &[]), "10.0.0.1");
    }

    #[test]
    fn what_a_caller_claims_stands_before_what_the_proxy_saw_and_does_not_count() {
        assert_eq!(caller(&["10.0.0.1"], "10.0.0.1", &[b"127.0.0.1, 192.0.2.7"]), "192.0.2.7");
        assert_eq!(caller(&["10.0.0.1"], "10.0.0.1", &[b"127.0.0.1", b"192.0.2.7"]), "192.0.2.7");
        assert_eq!(caller(&["10.0.0.1"], "10.0.0.1", &[b"10.0.0.1, 192.0.2.7"]), "192.0.2.7");
    }

    #[test]
    fn several_trusted_proxies_in_a_row_are_seen_through_and_no_further() {
        let row: &[&[u8]] = &[b"203.0.113.9, 192.0.2.7, 10.0.0.3", b"10.0.0.2"];
        assert_eq!(caller(&["10.0.0.0/8"], "10.0.0.1", row), "192.0.2.7");
        assert_eq!(caller(&["10.0.0.1"], "10.0.0.1", row), "10.0.0.2");
        assert_eq!(caller(&["10.0.0.0/8"], "10.0.0.1", &[b"10.0.0.3,10.0.0.2"]), "10.0.0.3");
    }

    #[test]
    fn ports_are_left_out_and_what_is_no_address_ends_the_way() {
        for (value, expected) in [
            (&b"192.0.2.7:5555"[..], "192.0.2.7"),
            (b"[2001:db8::7]:5555", "2001:db8::7"),
            (b"[2001:db8::7]", "2001:db8::7"),
            (b"::ffff:192.0.2.7", "192.0.2.7"),
            (b" 192.0.2.7 ", "192.0.2.7"),
            (b"unknown", "10.0.0.1"),
            (b"", "10.0.0.1"),
            (b"192.0.2.7,", "10.0.0.1"),
            (b"192.0.2.7, \xff", "10.0.0.1"),
        ] {
            assert_eq!(caller(&["10.0.0.1"], "10.0.0.1", &[value]), expected, "{value:?}");
        }
    }

    #[tokio::test]
    async fn requests_behind_a_trusted_proxy_know_their_caller() {
        let told = Router::new().route("/", get(async |Extension(peer): Extension<PeerAddr>| peer.0.ip().to_string()));
        for (trusted, expected) in [(&["127.0.0.0/8"][..], "192.0.2.7"), (&[], "127.0.0.1")] {
            let server = Server::start(proxies(trusted).before(told.clone()), limits(), 8).await;
            let answer = server.ask(request("GET", "/", &["X-Forwarded-For: 192.0.2.7"], "")).await;
            assert_eq!(answer.body, expected);
            server.stop().await;
        }
    }
}
