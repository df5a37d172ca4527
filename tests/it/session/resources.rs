//! What many sessions cost, and what happens when the machine has no more to give.

use std::collections::BTreeSet;

use rustix::process::{Resource, Rlimit, Signal};
use serde_json::{Value, json};
use uuid::Uuid;

use super::{ended, run, slots_taken, until_file};
use crate::support::cgroup::Cgroup;
use crate::support::event::Event;
use crate::support::gateway::Builder;
use crate::support::{Client, Gateway, eventually, http, proc, soak};

/// The agent's process.
pub(super) fn agent(events: &[Event]) -> u32 {
    let started = events.iter().find(|event| event.kind == "session.started").expect("a session that has started");
    started.data()["pid"].as_u64().and_then(|pid| pid.try_into().ok()).expect("a process id")
}

/// A session whose agent runs until it is let go; with its agent.
async fn running(gateway: &Gateway, client: &mut Client, then: &str) -> (Uuid, u32) {
    let session = client.start(json!({"prompt": format!("touch there; await go; {then}")})).await;
    until_file(gateway, session, "there").await;
    client.until_event(session, |event| event.kind == "session.started").await;
    (session, agent(&client.events(session)))
}

fn let_go(gateway: &Gateway, session: Uuid) {
    std::fs::write(super::workspace(gateway, session).join("go"), "").expect("a file for the agent");
}

#[tokio::test]
async fn h1_many_normal_sessions_leave_no_process_no_zombie_and_no_descriptor() {
    let mut gateway = Gateway::builder().setting("max_sessions", 4).start().await;
    let mut client = gateway.client().await;
    // The first ones open what stays open: the store's readers, the pools.
    for _ in 0..8 {
        run(&mut client, "say warm").await;
    }
    let before = proc::fd_count(gateway.pid());
    let rounds = soak::count(15, 250);
    for _ in 0..rounds {
        let mut sessions = Vec::new();
        for _ in 0..4 {
            sessions.push(client.start(json!({"prompt": "child sleep; lines 20; say done"})).await);
        }
        for session in sessions {
            assert_eq!(ended(&client.until_ended(session).await)["reason"], "completed");
            client.take_events(session);
        }
    }
    assert_eq!(gateway.processes(), Vec::<u32>::new());
    assert_eq!(proc::zombies(gateway.pid()), Vec::<u32>::new());
    let after = proc::fd_count(gateway.pid());
    assert!(after.abs_diff(before) <= 5, "{before} descriptors before, {after} after");
    assert_eq!((gateway.started_agents(), slots_taken(&gateway).await), (8 + 4 * rounds, 0));
    gateway.stop().await;
}

#[tokio::test]
async fn h8_agents_outlive_the_threads_that_come_and_go() {
    let mut gateway = Gateway::builder().setting("max_failed_logins_per_minute", 100_000).start().await;
    let mut client = gateway.client().await;
    let mut sessions = Vec::new();
    for _ in 0..20 {
        // Started while the pools are at work, by whatever thread there is.
        sessions.push(running(&gateway, &mut client, "say done").await);
    }
    for round in 0..soak::count(1, 6) {
        let quiet = proc::thread_count(gateway.pid());
        let mut most = quiet;
        let mut others = Vec::new();
        for _ in 0..30 {
            others.push(client.start(json!({"prompt": "child setsid; say x"})).await);
            most = most.max(proc::thread_count(gateway.pid()));
        }
        for other in others {
            client.until_ended(other).await;
            assert!(http::login(gateway.http, "nobody", "wrong-password").await.is_err());
            most = most.max(proc::thread_count(gateway.pid()));
        }
        // An idle thread of the pools lives for ten seconds.
        eventually("the pools to shrink", || (proc::thread_count(gateway.pid()) < most).then_some(())).await;
        let dead: BTreeSet<u32> = sessions.iter().map(|(_, pid)| *pid).filter(|pid| !proc::alive(*pid)).collect();
        assert_eq!(dead, BTreeSet::new(), "round {round}: agents have died with a thread");
    }
    for (session, _) in &sessions {
        let_go(&gateway, *session);
    }
    for (session, _) in sessions {
        assert_eq!(ended(&client.until_ended(session).await)["reason"], "completed");
    }
    gateway.stop().await;
}

/// Forbids the gateway to make another process, until it is dropped.
enum NoMoreProcesses {
    /// The kernel refuses to fork.
    Group(Cgroup),
    /// The same for an ordinary user; root is not counted, so it gets no descriptor for a pipe instead.
    Limit { pid: rustix::process::Pid, resource: Resource, before: Rlimit },
}

impl NoMoreProcesses {
    fn from_now(gateway: &Gateway) -> Self {
        let pid = gateway.pid();
        if let Some(group) = Cgroup::with_limits("pids", &[("pids.max", 10_000)]) {
            group.take_in(pid);
            // It has more already: they stay, and no more come.
            assert!(group.set("pids.max", 1), "a limit that can be changed");
            return Self::Group(group);
        }
        let (resource, limit) = match rustix::process::geteuid().is_root() {
            true => (Resource::Nofile, proc::fd_count(pid) as u64),
            false => (Resource::Nproc, 1),
        };
        let pid = i32::try_from(pid).ok().and_then(rustix::process::Pid::from_raw).expect("a process id");
        let hard = rustix::process::getrlimit(resource).maximum;
        let lowered = Rlimit { current: Some(limit), maximum: hard };
        let before = rustix::process::prlimit(Some(pid), resource, lowered).expect("a limit that can be set");
        Self::Limit { pid, resource, before }
    }

    fn lift(&self) {
        match self {
            Self::Group(group) => assert!(group.set("pids.max", 10_000), "a limit that can be changed"),
            Self::Limit { pid, resource, before } => {
                rustix::process::prlimit(Some(*pid), *resource, *before).expect("a limit that can be set");
            }
        }
    }
}

#[tokio::test]
async fn h9_at_the_limit_of_processes_a_start_fails_cleanly_and_works_again_afterwards() {
    let mut gateway = Gateway::builder().setting("max_sessions", 3).start().await;
    let mut client = gateway.client().await;
    let (other, pid) = running(&gateway, &mut client, "say unharmed").await;
    run(&mut client, "say warm").await;
    let before = proc::fd_count(gateway.pid());
    let limit = NoMoreProcesses::from_now(&gateway);
    for _ in 0..soak::count(20, 1_000) {
        let session = client.start(json!({"prompt": "say never"})).await;
        let events = client.until_ended(session).await;
        let end = ended(&events);
        assert_eq!((&end["reason"], &end["resumable"]), (&json!("spawn_failed"), &json!(false)), "{end}");
        let why = end["message"].as_str().expect("why");
        assert!(why.contains("resources"), "it should say that trying again may help: {why}");
        assert_eq!(events.len(), 1, "nothing but the end is told: {events:?}");
    }
    assert_eq!(slots_taken(&gateway).await, 1, "every slot but the other session's has come back");
    assert_eq!(gateway.started_agents(), 2);
    assert!(proc::alive(pid));
    limit.lift();
    let after = proc::fd_count(gateway.pid());
    assert!(after <= before + 5, "{before} descriptors before, {after} after");
    assert_eq!(ended(&run(&mut client, "say again").await)["result"], "again");
    let_go(&gateway, other);
    assert_eq!(ended(&client.until_ended(other).await)["result"], "unharmed");
    gateway.stop().await;
}

/// Stops a tree while its gateway can make no process and no thread any more.
pub(super) async fn stop_at_the_limit(builder: Builder) {
    let mut builder = builder;
    for step in ["interrupt", "end_session", "sigint", "sigterm"] {
        builder = builder.setting(&format!("{step}_grace_seconds"), 0.1);
    }
    let mut gateway = builder.start().await;
    let mut client = gateway.client().await;
    let script =
        "ignore all; child setsid; child daemon; child ignoreterm; child stopped; child cleanenv; touch there; silent";
    let session = client.start(json!({"prompt": script})).await;
    until_file(&gateway, session, "there").await;
    client.until_event(session, |event| event.data()["kind"] == "cleanenv").await;
    // The runtime's threads for work that blocks are there for good; whatever needs another one gets none.
    let limit = NoMoreProcesses::from_now(&gateway);
    client.ok("session.stop", json!({"session_id": session})).await;
    let events = client.until_ended(session).await;
    let end = ended(&events);
    assert_eq!((&end["reason"], &end["signal"]), (&json!("cancelled"), &json!(9)));
    let told = events.iter().map(Event::data).filter(|line| line["subtype"] == "scripted_child");
    let children: Vec<u32> = told.filter_map(|line| line["pid"].as_u64()?.try_into().ok()).collect();
    assert_eq!(children.len(), 5);
    assert!(!children.iter().any(|pid| proc::alive(*pid)), "{children:?}");
    assert_eq!(gateway.processes(), Vec::<u32>::new());
    limit.lift();
    assert_eq!(ended(&run(&mut client, "say again").await)["result"], "again");
    gateway.stop().await;
}

#[tokio::test]
async fn h2_a_tree_is_ended_also_when_the_machine_gives_the_gateway_no_process_and_no_thread() {
    stop_at_the_limit(Gateway::builder()).await;
}

#[tokio::test]
async fn h11_an_agent_that_the_kernel_kills_for_its_memory_ends_killed_and_harms_nobody() {
    let mut gateway = Gateway::builder().start().await;
    let mut client = gateway.client().await;
    let (other, other_pid) = running(&gateway, &mut client, "say unharmed").await;
    let (hungry, pid) = running(&gateway, &mut client, "say hungry; eat 512; say full").await;
    let mib = 1 << 20;
    let limits = [
        ("memory.limit_in_bytes", 64 * mib),
        ("memory.memsw.limit_in_bytes", 64 * mib),
        ("memory.max", 64 * mib),
        ("memory.swap.max", 0),
    ];
    let group = Cgroup::with_limits("memory", &limits);
    match &group {
        Some(group) => {
            group.take_in(pid);
            let_go(&gateway, hungry);
        }
        None => {
            // What the gateway sees of it is the same: SIGKILL from nowhere.
            eprintln!("this machine lets no test limit memory: the agent is killed by the test");
            proc::signal(pid, Signal::KILL);
        }
    }
    let events = client.until_ended(hungry).await;
    let end = ended(&events);
    assert_eq!((&end["reason"], &end["signal"], &end["exit_code"]), (&json!("killed"), &json!(9), &json!(null)));
    assert_eq!((&end["is_error"], &end["resumable"], &end["result"]), (&json!(true), &json!(true), &Value::Null));
    assert!(end["message"].is_string(), "{end}");
    let said = events.iter().any(|event| event.data.get().contains("hungry"));
    assert_eq!(said, group.is_some(), "what it printed before is kept");
    assert!(!events.iter().any(|event| event.data.get().contains("full")), "it lived on");
    assert!(proc::alive(other_pid) && proc::alive(gateway.pid()));
    let_go(&gateway, other);
    assert_eq!(ended(&client.until_ended(other).await)["result"], "unharmed");
    assert_eq!(slots_taken(&gateway).await, 0);
    gateway.stop().await;
}
