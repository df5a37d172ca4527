//! Claude's own login: what is told of it, who is refused for want of it, and how it is brought.

mod agreement;
mod deliveries;
mod refusals;
mod renewals;
mod warm;

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::path::Path;

use cc_gateway::process::RunAs;
use serde_json::{Value, json};

use crate::support::gateway::Builder;
use crate::support::{Gateway, http};

/// A user that every machine has, and that owns nothing.
const USER: &str = "daemon";

/// Part of every token here; it must show nowhere.
const CANARY: &str = "canary-c1a0de";

/// An hour and a day, in milliseconds.
const HOUR: i64 = 3_600_000;
const DAY: i64 = 24 * HOUR;

/// A moment from now, as Claude writes it.
fn from_now(milliseconds: i64) -> u64 {
    cc_gateway::telemetry::time::now_ms().saturating_add_signed(milliseconds)
}

/// A credentials file with a login that ends then and renews itself, after a change.
fn credentials(ends_in: i64, change: impl FnOnce(&mut Value)) -> String {
    let mut login = json!({
        "accessToken": format!("sk-ant-oat01-{CANARY}"), "refreshToken": format!("sk-ant-ort01-{CANARY}"),
        "expiresAt": from_now(ends_in), "scopes": ["user:inference", "user:profile"], "subscriptionType": "max",
    });
    change(&mut login);
    json!({"claudeAiOauth": login}).to_string()
}

/// The user that agents run as here: another one, where the tests may make agents of others.
fn agents_user() -> Option<RunAs> {
    rustix::process::geteuid().is_root().then(|| RunAs::lookup(USER).expect("the user"))
}

/// A gateway whose agents are that user's and need a login; their program is where they can run it.
fn builder(agent: &Path) -> Builder {
    let builder = Gateway::builder().setting("require_claude_login", true);
    let Some(user) = agents_user() else { return builder.setting("agent_program", agent.display()) };
    let program = builder.directory().join("agent");
    if fs::hard_link(agent, &program).is_err() {
        fs::copy(agent, &program).expect("a copy of the agent");
    }
    for name in ["claude", "agents", "home", "tmp"] {
        let path = builder.directory().join(name);
        fs::create_dir_all(&path).expect("a directory");
        chown(path, Some(user.uid), Some(user.gid)).expect("an owner");
    }
    builder.container().setting("agent_user", USER).setting("agent_program", program.display())
}

/// A gateway with the scripted agent.
fn scripted() -> Builder {
    builder(Path::new(env!("CARGO_BIN_EXE_scripted-agent")))
}

/// Writes a file of Claude's as the agents' user has it: mode 0600, in one stroke.
fn put(directory: &Path, name: &str, text: &str) {
    let (path, new) = (directory.join(name), directory.join(format!("{name}.new")));
    fs::write(&new, text).expect("a file");
    mode(&new, 0o600);
    if let Some(user) = agents_user() {
        chown(&new, Some(user.uid), Some(user.gid)).expect("an owner");
    }
    fs::rename(new, path).expect("a file in its place");
}

fn mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("permissions");
}

/// What `/auth/status` says to a stranger.
async fn status(gateway: &Gateway) -> Value {
    http::get(gateway.http, "/auth/status").await.json()
}

/// Nothing of a token may have come out of that gateway.
async fn assert_no_canary(gateway: &Gateway) {
    let token = gateway.login().await;
    let told = http::get_as(gateway.http, "/auth/status", &token).await;
    let metrics = http::get(gateway.http, "/metrics").await.text();
    for (place, text) in [("log", gateway.log()), ("/auth/status", told.text()), ("metrics", metrics)] {
        assert!(!text.contains(CANARY), "a token shows in the {place}: {text}");
    }
}
