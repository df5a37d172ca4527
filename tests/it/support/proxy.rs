//! A way to the gateway that a test can cut.

use std::net::SocketAddr;
use std::sync::Arc;

use cc_gateway::telemetry::tasks;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;

/// A way to the gateway's WebSocket side that can be cut: one connection by `notify_one`, all by
/// `notify_waiters`. Later connections pass.
pub(crate) async fn cuttable(server: SocketAddr, cut: Arc<Notify>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tasks::spawn("test-proxy", async move {
        loop {
            let (mut near, _) = listener.accept().await.unwrap();
            let mut far = TcpStream::connect(server).await.unwrap();
            let cut = Arc::clone(&cut);
            tasks::spawn("test-proxy-connection", async move {
                tokio::select! {
                    _ended = tokio::io::copy_bidirectional(&mut near, &mut far) => {}
                    () = cut.notified() => near.set_zero_linger().unwrap(),
                }
            });
        }
    });
    address
}

/// One address for several gateways, as a plain TCP balancer has it: each connection goes to the next one that takes it.
pub(crate) async fn round_robin(servers: Vec<SocketAddr>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tasks::spawn("test-balancer", async move {
        for turn in 0.. {
            let (mut near, _) = listener.accept().await.unwrap();
            let mut order = servers.clone();
            order.rotate_left(turn % servers.len());
            tasks::spawn("test-balancer-connection", async move {
                for server in order {
                    if let Ok(mut far) = TcpStream::connect(server).await {
                        drop(tokio::io::copy_bidirectional(&mut near, &mut far).await);
                        return;
                    }
                }
            });
        }
    });
    address
}
