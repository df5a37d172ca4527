//! Several gateways on one Redis, as they stand behind one address: with one secret, one set of workspaces and one
//! Claude configuration.

use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

use futures_util::future::join_all;
use tempfile::TempDir;

use super::redis_server::Server;
use super::settings::list;
use super::{Builder, Gateway, agents, eventually, http, within};

/// The lease where a gateway is killed or stopped, in seconds: the test waits until it has run out. It is renewed after
/// a third of it, so that nobody is buried whom the machine has kept waiting for less than four seconds.
pub(crate) const SHORT_LEASE: usize = 6;

/// Gives a gateway the short lease. The default is so long that it runs out in no test.
pub(crate) fn short_lease(builder: Builder) -> Builder {
    builder.setting("slot_lease_seconds", SHORT_LEASE)
}

/// Gateways that share everything but their own data.
pub(crate) struct Fleet {
    /// One entry a gateway; a test may kill and restart it.
    pub(crate) gateways: Vec<Gateway>,
    shared: TempDir,
}

impl Fleet {
    /// So many gateways, each as `with` makes it, once they all know of each other.
    pub(crate) async fn start(server: &Server, count: usize, with: impl Fn(Builder) -> Builder) -> Self {
        let shared = tempfile::Builder::new().prefix("cc-gateway-fleet-").tempdir().expect("a temporary directory");
        for name in ["workspaces", "claude", "agents"] {
            std::fs::create_dir(shared.path().join(name)).expect("a directory");
        }
        let secret = shared.path().join("secret");
        std::fs::write(&secret, "a-secret-that-all-gateways-of-this-test-share").expect("a secret");
        std::fs::set_permissions(&secret, std::fs::Permissions::from_mode(0o600)).expect("permissions");
        let mut fleet = Self { gateways: Vec::new(), shared };
        // The first one makes the admin.
        fleet.gateways.push(fleet.another(server, &with).await);
        let others = join_all((1..count).map(|_| fleet.another(server, &with))).await;
        fleet.gateways.extend(others);
        for gateway in &fleet.gateways {
            fleet.until_nodes(gateway, count).await;
        }
        fleet
    }

    /// One more gateway, which is the caller's.
    pub(crate) async fn another(&self, server: &Server, with: impl Fn(Builder) -> Builder) -> Gateway {
        let path = |name: &str| self.path(name).display().to_string();
        let builder = Gateway::builder()
            .redis(server)
            .setting("jwt_secret_file", path("secret"))
            .setting("workspace_roots", list([path("workspaces")]))
            .setting("claude_config_dir", path("claude"))
            .setting("workspaces_shared", true)
            .agent_env("SCRIPTED_AGENT_COUNT_DIR", path("agents"));
        with(builder).start().await
    }

    /// Waits until a gateway knows of exactly so many that live.
    pub(crate) async fn until_nodes(&self, gateway: &Gateway, count: usize) {
        let told = format!("cc_gateway_nodes {count}");
        within("the gateways to know of each other", async {
            while !http::get(gateway.http, "/metrics").await.text().lines().any(|line| line == told) {
                tokio::time::sleep(std::time::Duration::from_millis(20)).await;
            }
        })
        .await;
    }

    /// A file or directory that all share: `workspaces`, `claude`, `agents`.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.shared.path().join(name)
    }

    fn agents(&self) -> PathBuf {
        self.path("agents")
    }

    /// Scripted agents that live now, of all gateways.
    pub(crate) fn running_agents(&self) -> usize {
        agents::running(&self.agents())
    }

    /// How many were ever started.
    pub(crate) fn started_agents(&self) -> usize {
        agents::started(&self.agents())
    }

    /// The most that ever lived at once.
    pub(crate) fn peak_agents(&self) -> usize {
        agents::peak(&self.agents())
    }

    /// Waits until so many agents live.
    pub(crate) async fn until_agents(&self, count: usize) {
        eventually("the agents of the fleet", || (self.running_agents() == count).then_some(())).await;
    }

    /// Waits until no agent lives.
    pub(crate) async fn until_no_agents(&self) {
        eventually("every agent of the fleet to be gone", || (self.running_agents() == 0).then_some(())).await;
    }

    /// Stops all that run, which must go well.
    pub(crate) async fn stop(mut self) {
        for gateway in &mut self.gateways {
            gateway.stop().await;
        }
    }
}
