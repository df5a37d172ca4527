//! One GET to a listener of a gateway on this machine, with a deadline and a bound on the answer.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Empty, Limited};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;

/// Largest answer that is read, in bytes: a health answer is far smaller.
const MAX_ANSWER_BYTES: usize = 64 * 1024;

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum ProbeError {
    /// Nobody listens there, or what listens speaks no HTTP.
    #[error("nothing that speaks HTTP answers at {0}")]
    NoAnswer(SocketAddr),
    /// It took too long.
    #[error("no answer from {0} in {1:?}")]
    TimedOut(SocketAddr, Duration),
}

/// An answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Answer {
    /// Its HTTP status.
    pub(super) status: u16,
    /// Its body.
    pub(super) body: Bytes,
}

/// Asks the listener at `listen` for `path`.
///
/// # Errors
/// [`ProbeError`].
pub(super) async fn get(listen: SocketAddr, path: &str, within: Duration) -> Result<Answer, ProbeError> {
    let address = reachable(listen);
    let ask = async {
        let uri = format!("http://{address}{path}").parse().ok()?;
        let response = Client::builder(TokioExecutor::new()).build_http::<Empty<Bytes>>().get(uri).await.ok()?;
        let status = response.status().as_u16();
        let body = Limited::new(response.into_body(), MAX_ANSWER_BYTES).collect().await.ok()?.to_bytes();
        Some(Answer { status, body })
    };
    match tokio::time::timeout(within, ask).await {
        Ok(Some(answer)) => Ok(answer),
        Ok(None) => Err(ProbeError::NoAnswer(address)),
        Err(_) => Err(ProbeError::TimedOut(address, within)),
    }
}

/// Where a listener can be reached from this machine: "all addresses" means loopback too.
fn reachable(listen: SocketAddr) -> SocketAddr {
    let ip = match listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, listen.port())
}

/// A listener that gives every connection this status and body, for tests.
#[cfg(test)]
pub(super) async fn answering(status: &str, body: &str) -> SocketAddr {
    saying(format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\n\r\n{body}", body.len())).await
}

#[cfg(test)]
async fn saying(answer: String) -> SocketAddr {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(crate::telemetry::tasks::spawn("test-answering", async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            let mut request = [0; 4_096];
            assert!(socket.read(&mut request).await.unwrap() > 0);
            socket.write_all(answer.as_bytes()).await.unwrap();
        }
    }));
    address
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOON: Duration = Duration::from_secs(10);

    #[tokio::test]
    async fn the_status_and_the_body_come_back() {
        let address = answering("503 Service Unavailable", "no").await;
        let answer = get(address, "/readyz", SOON).await.unwrap();
        assert_eq!(answer, Answer { status: 503, body: Bytes::from_static(b"no") });
    }

    #[tokio::test]
    async fn a_closed_port_and_a_stranger_give_no_answer() {
        let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let closed = listener.local_addr().unwrap();
        drop(listener);
        assert_eq!(get(closed, "/livez", SOON).await, Err(ProbeError::NoAnswer(closed)));
        let stranger = saying("SSH-2.0-OpenSSH\r\n".to_owned()).await;
        assert_eq!(get(stranger, "/livez", SOON).await, Err(ProbeError::NoAnswer(stranger)));
    }

    #[tokio::test]
    async fn a_silent_listener_times_out() {
        let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let silent = listener.local_addr().unwrap();
        let within = Duration::from_millis(50);
        assert_eq!(get(silent, "/livez", within).await, Err(ProbeError::TimedOut(silent, within)));
    }

    #[test]
    fn all_addresses_are_reached_by_loopback() {
        let of = |text: &str| reachable(text.parse().unwrap()).to_string();
        assert_eq!(of("0.0.0.0:8001"), "127.0.0.1:8001");
        assert_eq!(of("[::]:8001"), "[::1]:8001");
        assert_eq!(of("10.0.0.1:8001"), "10.0.0.1:8001");
    }
}
