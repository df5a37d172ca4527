//! Agents of another user than the gateway's: they are started, watched, ended and swept as its own would be.

use std::fs;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, PermissionsExt as _, chown};

use cc_gateway::process::RunAs;
use serde_json::{Value, json};

use super::{ended, until_file};
use crate::support::event::Event;
use crate::support::gateway::Builder;
use crate::support::{Gateway, proc};

/// A user that every machine has, and that owns nothing.
const USER: &str = "daemon";

fn builder() -> Builder {
    let builder = Gateway::builder().container().setting("agent_user", USER);
    // Where the other user can get at it, wherever this project lies.
    let program = builder.directory().join("scripted-agent");
    fs::copy(env!("CARGO_BIN_EXE_scripted-agent"), &program).expect("a copy of the agent");
    for name in ["claude", "agents"] {
        let path = builder.directory().join(name);
        fs::create_dir_all(&path).expect("a directory");
        fs::set_permissions(path, fs::Permissions::from_mode(0o777)).expect("permissions");
    }
    builder.setting("agent_program", program.display())
}

/// May this test's user become another one at all? If not, a start must be refused.
async fn refused_without_the_right(gateway: &Gateway) -> bool {
    if rustix::process::geteuid().is_root() {
        // Else it would look for itself, and not through a helper.
        assert_eq!(proc::capabilities(gateway.pid()) & (1 << 19), 0, "it may look into other users' processes");
        return false;
    }
    let mut client = gateway.client().await;
    let error = client.error("session.start", json!({"prompt": "say x"})).await;
    assert_eq!(error["data"]["kind"], "not_allowed", "{error}");
    assert_eq!(gateway.started_agents(), 0);
    true
}

/// The processes that the script has left behind.
fn children(events: &[Event]) -> Vec<u32> {
    let told = events.iter().map(Event::data).filter(|line| line["subtype"] == "scripted_child");
    told.map(|line| line["pid"].as_u64().and_then(|pid| pid.try_into().ok()).expect("a process id")).collect()
}

#[tokio::test]
async fn h2_a_tree_of_another_user_is_ended_however_it_hides() {
    let mut gateway = builder().start().await;
    if refused_without_the_right(&gateway).await {
        return;
    }
    let mut client = gateway.client().await;
    let kinds = ["sleep", "setsid", "daemon", "ignoreterm", "forker", "stopped", "cleanenv"];
    let tree: Vec<String> = kinds.iter().map(|kind| format!("child {kind}")).collect();
    let script = format!("dump facts.json; {}; touch there; silent", tree.join("; "));
    let session = client.start(json!({"prompt": script})).await;
    until_file(&gateway, session, "there").await;
    let facts = super::agent_start::facts(&gateway, session);
    let user = RunAs::lookup(USER).expect("the user");
    assert_eq!((&facts["uid"], &facts["no_new_privs"]), (&json!(user.uid), &json!("1")));
    client.ok("session.stop", json!({"session_id": session})).await;
    let events = client.until_ended(session).await;
    let end = ended(&events);
    assert_eq!((&end["reason"], &end["signal"]), (&json!("cancelled"), &Value::Null));
    assert_eq!(gateway.processes(), Vec::<u32>::new());
    let children = children(&events);
    assert_eq!(children.len(), kinds.len());
    assert!(!children.iter().any(|pid| proc::alive(*pid)), "{children:?}");
    assert_eq!(proc::zombies(gateway.pid()), Vec::<u32>::new());
    gateway.stop().await;
}

#[tokio::test]
async fn h2_a_tree_of_another_user_is_ended_also_when_no_helper_can_be_started() {
    let gateway = builder().start().await;
    if refused_without_the_right(&gateway).await {
        return;
    }
    drop(gateway);
    super::resources::stop_at_the_limit(builder()).await;
}

#[tokio::test]
async fn h7_what_is_left_of_another_user_is_swept_at_the_next_start() {
    let mut gateway = builder().start().await;
    if refused_without_the_right(&gateway).await {
        return;
    }
    let mut client = gateway.client().await;
    let script = "ignore all; child setsid; child daemon; child ignoreterm; child cleanenv; touch there; silent";
    let session = client.start(json!({"prompt": script})).await;
    until_file(&gateway, session, "there").await;
    client.until_event(session, |event| event.data()["kind"] == "cleanenv").await;
    let children = children(&client.events(session));
    gateway.kill9().await;
    assert_eq!(children.iter().filter(|pid| proc::alive(**pid)).count(), 4, "there is something to sweep");
    gateway.restart().await;
    assert_eq!(gateway.processes(), Vec::<u32>::new());
    assert!(!children.iter().any(|pid| proc::alive(*pid)), "{children:?}");
    let mut client = gateway.client().await;
    client.ok("session.attach", json!({"session_id": session})).await;
    assert_eq!(ended(&client.until_ended(session).await)["reason"], "lost");
    gateway.stop().await;
}

#[tokio::test]
async fn workspaces_are_the_agents_also_when_the_gateway_may_only_become_them() {
    let builder = builder().unprivileged();
    let user = RunAs::lookup(USER).expect("the user");
    let root = builder.directory().join("workspaces");
    if rustix::process::geteuid().is_root() {
        // Where the gateway itself may not look.
        let private = root.join("private");
        fs::DirBuilder::new().recursive(true).mode(0o700).create(private.join("project")).expect("a workspace");
        for path in [&root, &private, &private.join("project")] {
            chown(path, Some(user.uid), Some(user.gid)).expect("another owner");
        }
    }
    let mut gateway = builder.start().await;
    if refused_without_the_right(&gateway).await {
        return;
    }
    let mut client = gateway.client().await;
    let fresh = client.start(json!({"prompt": "touch there; say x"})).await;
    assert_eq!(ended(&client.until_ended(fresh).await)["reason"], "completed");
    let made = fs::metadata(root.join(fresh.to_string())).expect("the workspace");
    assert_eq!((made.uid(), made.gid(), made.mode() & 0o7777), (user.uid, user.gid, 0o700));
    let named = client.start(json!({"prompt": "touch there; say x", "workspace": "private/project"})).await;
    assert_eq!(ended(&client.until_ended(named).await)["reason"], "completed");
    assert!(root.join("private/project/there").exists());
    let error = client.error("session.start", json!({"prompt": "say x", "workspace": "private/none"})).await;
    assert_eq!(error["data"]["kind"], "invalid_params", "{error}");
    gateway.stop().await;
}
