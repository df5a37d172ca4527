//! Everything that is counted, driven a known number of times and compared: no counter misses anything, counts
//! anything twice, or counts what did not happen.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use serde_json::{Value, json};
use uuid::Uuid;

use crate::session::{ended, until_file};
use crate::support::client::session_id;
use crate::support::event::Event;
use crate::support::gateway::ADMIN_PASSWORD;
use crate::support::raw_socket::{Frame, RawSocket, handshake};
use crate::support::{Client, DEADLINE, Gateway, http};

/// Sessions that the store did not take.
const CREATING: &str = "cc_gateway_store_errors_total{store=\"sqlite\",operation=\"create_session\"}";

/// Entries of the audit log.
const AUDITED: &str = "cc_gateway_audit_entries_total{outcome=\"written\"}";

/// What has been done, by the series that should tell it.
struct Tally {
    gateway: Gateway,
    known: BTreeMap<String, u64>,
    /// Times that `/metrics` was answered: it counts itself, one behind.
    looked: u64,
    /// Who has been told to watch what: a connection and a session.
    watched: BTreeSet<(String, String)>,
}

impl Tally {
    fn add(&mut self, series: impl Into<String>, count: u64) {
        *self.known.entry(series.into()).or_default() += count;
    }

    fn http(&mut self, route: &str, status: u16) {
        self.add(format!("cc_gateway_http_requests_total{{route=\"{route}\",status=\"{status}\"}}"), 1);
    }

    /// A login, with its outcome's word and its status.
    async fn login(&mut self, name: &str, password: &str, outcome: &str, status: u16) -> String {
        let answer = http::login(self.gateway.http, name, password).await;
        assert_eq!(answer.as_ref().map_or_else(|refused| refused.status.as_u16(), |_| 200), status);
        self.http("/login", status);
        self.add(format!("cc_gateway_logins_total{{outcome=\"{outcome}\"}}"), 1);
        if outcome != "throttled" {
            self.add(AUDITED, 1);
        }
        answer.unwrap_or_default()
    }

    async fn connect(&mut self, path: &str, token: &str) -> Client {
        self.http(path, 101);
        Client::connect(self.gateway.ws, path, token).await
    }

    async fn close(&mut self, client: Client) {
        client.close().await;
        self.add("cc_gateway_connections_closed_total{reason=\"done\"}", 1);
    }

    async fn call(&mut self, client: &mut Client, method: &'static str, params: Value) -> Value {
        let outcome = client.call(method, params.clone()).await;
        let word = match &outcome {
            Ok(_) => "ok".to_owned(),
            Err(error) => error["data"]["kind"].as_str().expect("a kind").to_owned(),
        };
        let name = if method == "no.such.method" { "unknown" } else { method };
        self.add(format!("cc_gateway_rpc_calls_total{{method=\"{name}\",outcome=\"{word}\"}}"), 1);
        self.add(format!("cc_gateway_rpc_call_seconds_count{{method=\"{name}\"}}"), 1);
        if word != "ok" && ["session.start", "execute"].contains(&method) {
            self.add(format!("cc_gateway_starts_refused_total{{kind=\"{word}\"}}"), 1);
        }
        self.audit(client, method, &params, &word);
        outcome.unwrap_or_else(|error| error)
    }

    /// What has been done goes into the audit log but for what only looks, and what was refused for want of a right
    /// whatever it was. Who watches a session is told once.
    fn audit(&mut self, client: &Client, method: &str, params: &Value, word: &str) {
        let told = match word {
            "ok" if method == "session.attach" => {
                self.watched.insert((client.connected["session_id"].to_string(), params["session_id"].to_string()))
            }
            "ok" => !["session.get", "session.list", "server.info"].contains(&method),
            word => ["unauthorised", "not_allowed", "no_such_session"].contains(&word),
        };
        if told {
            self.add(AUDITED, 1);
        }
    }

    async fn start(&mut self, client: &mut Client, params: Value) -> Uuid {
        let started = self.call(client, "session.start", params).await;
        session_id(&started).unwrap_or_else(|| panic!("not started: {started}"))
    }

    /// Counts a whole session by its log, and that log as sent `times`.
    fn session(&mut self, kind: &str, reason: &str, events: &[Event], times: u64) {
        assert_eq!(ended(events)["reason"], reason);
        self.add(format!("cc_gateway_sessions_started_total{{kind=\"{kind}\"}}"), 1);
        self.add(format!("cc_gateway_sessions_ended_total{{reason=\"{reason}\"}}"), 1);
        for event in events {
            self.add(format!("cc_gateway_events_total{{type=\"{}\"}}", event.kind), 1);
            self.add("cc_gateway_event_bytes_total", event.data.get().len() as u64);
        }
        self.add("cc_gateway_events_sent_total", events.len() as u64 * times);
        let ready = events.iter().filter(|event| event.kind == "session.started").count();
        self.add("cc_gateway_agent_start_seconds_count", ready as u64);
    }

    /// Counters, and how much was measured by agents and calls, as `/metrics` tells them.
    async fn told(&mut self) -> BTreeMap<String, u64> {
        let text = http::get(self.gateway.http, "/metrics").await.text();
        self.looked += 1;
        let counters: BTreeSet<&str> = text
            .lines()
            .filter_map(|line| line.strip_prefix("# TYPE ")?.strip_suffix(" counter"))
            .chain(["cc_gateway_agent_start_seconds_count", "cc_gateway_rpc_call_seconds_count"])
            .collect();
        let series = text.lines().filter(|line| !line.starts_with('#')).filter_map(|line| line.rsplit_once(' '));
        series
            .filter(|(name, _)| counters.contains(name.split('{').next().unwrap_or_default()))
            .map(|(name, value)| (name.to_owned(), value.parse().expect("a count")))
            .filter(|(_, value)| *value > 0)
            .collect()
    }

    /// Waits until what is told is what is known: some things are counted a moment after they were seen.
    async fn compare(&mut self) {
        let deadline = Instant::now() + DEADLINE / 4;
        loop {
            let mut told = self.told().await;
            let own = told.remove("cc_gateway_http_requests_total{route=\"/metrics\",status=\"200\"}").unwrap_or(0);
            assert_eq!(own, self.looked - 1, "each look at the metrics is counted once");
            // A start that was refused so is undone as soon as the store answers, which is tried again and again.
            let tried = told.remove(CREATING).unwrap_or(0);
            let refused = self.known.remove(CREATING).unwrap_or(0);
            assert!(tried >= refused, "{tried} of {refused}");
            if told == self.known {
                return;
            }
            if Instant::now() > deadline {
                let names: BTreeSet<&String> = told.keys().chain(self.known.keys()).collect();
                let differing = names.into_iter().filter(|name| told.get(*name) != self.known.get(*name));
                let lines: Vec<String> = differing
                    .map(|name| format!("{name}: told {:?}, known {:?}", told.get(name), self.known.get(name)))
                    .collect();
                panic!("{} counters are wrong:\n{}", lines.len(), lines.join("\n"));
            }
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    }
}

/// Sessions that end for each reason that an agent can give, with the processes that they leave to the sweep.
async fn sessions(tally: &mut Tally, client: &mut Client) {
    let cases = [
        ("say fine", "completed", 0),
        ("lines 500; child setsid; child daemon; child sleep; say fine", "completed", 3),
        ("exit 3", "no_result", 0),
        ("child ignoreterm; kill-self 9", "killed", 1),
        ("result error it went wrong", "failed", 0),
        ("result auth", "auth_failed", 0),
        ("result rate_limit", "rate_limited", 0),
        ("result error_max_turns", "max_turns", 0),
        ("result error_max_budget_usd", "budget_exhausted", 0),
        ("stderr trouble; raw bm90IGpzb24K; cut 4096", "output_truncated", 0),
    ];
    for (script, reason, swept) in cases {
        let session = tally.start(client, json!({"prompt": script})).await;
        let events = client.until_ended(session).await;
        tally.session("claude", reason, &events, 1);
        if swept > 0 {
            tally.add("cc_gateway_processes_swept_total", swept);
        }
    }
    let clocks =
        [("silent", "timeout_seconds", "timed_out"), ("say x; silent", "idle_timeout_seconds", "idle_timed_out")];
    for (script, clock, reason) in clocks {
        let session = tally.start(client, json!({"prompt": script, clock: 0.5})).await;
        let events = client.until_ended(session).await;
        tally.session("claude", reason, &events, 1);
    }
    for _ in 0..3 {
        let session = tally.start(client, json!({"prompt": "child setsid; touch there; silent"})).await;
        until_file(&tally.gateway, session, "there").await;
        tally.call(client, "session.stop", json!({"session_id": session})).await;
        let events = client.until_ended(session).await;
        tally.session("claude", "cancelled", &events, 1);
        tally.add("cc_gateway_processes_swept_total", 1);
    }
    // Nobody watches this one; it is read from the store afterwards, twice.
    let session = tally.start(client, json!({"prompt": "lines 50; say unseen", "attach": false})).await;
    tally.call(client, "session.attach", json!({"session_id": session})).await;
    client.until_ended(session).await;
    let first = client.take_events(session);
    tally.call(client, "session.attach", json!({"session_id": session})).await;
    assert_eq!(client.until_ended(session).await.len(), first.len());
    tally.session("claude", "completed", &first, 2);
    let program = tally.gateway.path("agent-script");
    std::fs::remove_file(&program).expect("the agent's program");
    let session = tally.start(client, json!({"prompt": "say never"})).await;
    let events = client.until_ended(session).await;
    tally.session("claude", "spawn_failed", &events, 1);
    link_agent(&program);
}

fn link_agent(program: &std::path::Path) {
    std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_scripted-agent"), program).expect("the agent's program");
}

/// The dialect's commands, and a reader of their logs.
async fn commands(tally: &mut Tally, token: &str, reader: &mut Client) {
    let mut client = tally.connect("/ws/mcp", token).await;
    for (script, reason) in [("say hello", "completed"), ("exit 3", "failed")] {
        let command = format!("claude -p \"{script}\" --output-format stream-json --verbose");
        let started = tally.call(&mut client, "execute", json!({"command": command})).await;
        while client.next_frame().await["method"] != "process.completed" {}
        let session = session_id(&started).expect("a session");
        tally.call(reader, "session.attach", json!({"session_id": session})).await;
        let events = reader.until_ended(session).await;
        tally.session("command", reason, &events, 2);
    }
    tally.call(&mut client, "execute", json!({"command": "rm -rf x"})).await;
    tally.close(client).await;
}

/// Starts that are refused, each for its own reason, and calls that fail.
async fn refusals(tally: &mut Tally, client: &mut Client) {
    let mut full = Vec::new();
    for _ in 0..2 {
        let session = tally.start(client, json!({"prompt": "touch there; silent"})).await;
        until_file(&tally.gateway, session, "there").await;
        full.push(session);
    }
    for (params, kind) in [
        (json!({"prompt": "say x"}), "session_limit"),
        (json!({"prompt": "say x"}), "session_limit"),
        (json!({"prompt": "say x", "workspace": "/etc"}), "not_allowed"),
        (json!({"prompt": "say x", "workspace": "vanished"}), "invalid_params"),
        (json!({"prompt": "say x", "resume": Uuid::new_v4()}), "no_such_session"),
        (json!({"prompt": "say x", "resume": full[0]}), "wrong_state"),
    ] {
        let error = tally.call(client, "session.start", params).await;
        assert_eq!(error["data"]["kind"], kind, "{error}");
    }
    for session in full {
        tally.call(client, "session.stop", json!({"session_id": session})).await;
        let events = client.until_ended(session).await;
        tally.session("claude", "cancelled", &events, 1);
    }
    tally.call(client, "session.get", json!({"session_id": Uuid::new_v4()})).await;
    tally.call(client, "no.such.method", json!({})).await;
    for _ in 0..5 {
        tally.call(client, "server.info", json!({})).await;
    }
}

/// Upgrades that are refused, by status, and connections that end for a fault of theirs.
async fn sockets(tally: &mut Tally, token: &str) {
    let authorised = format!("Bearer {token}");
    let good = handshake("/ws", &[("Authorization", &authorised)]);
    let cases = [
        (good.replace("Sec-WebSocket-Version: 13", "Sec-WebSocket-Version: 8"), 426, 2),
        (good.replace("dGhlIHNhbXBsZSBub25jZQ==", "c2hvcnQ="), 400, 1),
        (handshake("/ws", &[("Authorization", &authorised), ("Origin", "http://evil.example")]), 403, 3),
        (handshake("/ws", &[("Authorization", "Bearer nonsense")]), 401, 2),
    ];
    for (request, status, times) in cases {
        for _ in 0..times {
            let mut socket = RawSocket::connect(tally.gateway.ws).await;
            socket.send(request.as_bytes()).await;
            assert_eq!(socket.answer().await.0, status);
            tally.http("/ws", status);
            tally.add(format!("cc_gateway_upgrades_refused_total{{status=\"{status}\"}}"), 1);
        }
    }
    let faults = [("binary", Frame::of(2, "{}")), ("not_utf8", Frame::text([0xff])), ("protocol", Frame::of(4, ""))];
    for (reason, frame) in faults {
        let mut socket = RawSocket::upgraded(tally.gateway.ws, "/ws", token).await;
        tally.http("/ws", 101);
        socket.frame(&frame).await;
        socket.closed().await;
        tally.add(format!("cc_gateway_connections_closed_total{{reason=\"{reason}\"}}"), 1);
    }
    let gone = tally.connect("/ws", token).await;
    gone.reset();
    tally.add("cc_gateway_connections_closed_total{reason=\"gone\"}", 1);
}

#[tokio::test]
async fn m1_after_a_known_number_of_everything_each_counter_equals_its_total() {
    let builder = Gateway::builder().setting("max_sessions", 2).setting("max_failed_logins_per_minute", 3);
    // Nothing happens of itself meanwhile that could meet the locked store.
    let builder = builder.setting("slot_lease_seconds", 3_600).setting("retention_interval_seconds", 3_600);
    let program = builder.directory().join("agent-script");
    link_agent(&program);
    let gateway = builder.setting("agent_program", program.display()).start().await;
    let mut tally = Tally { gateway, known: BTreeMap::new(), looked: 0, watched: BTreeSet::new() };
    let token = tally.login("admin", ADMIN_PASSWORD, "ok", 200).await;
    let mut client = tally.connect("/ws", &token).await;

    sessions(&mut tally, &mut client).await;
    commands(&mut tally, &token, &mut client).await;
    refusals(&mut tally, &mut client).await;
    sockets(&mut tally, &token).await;
    tally.compare().await;

    for (outcome, status, times) in [("refused", 401, 3), ("throttled", 429, 2)] {
        for _ in 0..times {
            tally.login("nobody", "wrong-password", outcome, status).await;
        }
    }
    tally.login("admin", ADMIN_PASSWORD, "ok", 200).await;
    for (path, route, status) in
        [("/health", "/health", 200), ("/no/such/place", "unknown", 404), ("/readyz", "/readyz", 200)]
    {
        assert_eq!(http::get(tally.gateway.http, path).await.status, status);
        tally.http(route, status);
    }
    let database = rusqlite::Connection::open(tally.gateway.path("data").join("gateway.db")).expect("the store");
    database.busy_timeout(DEADLINE).and_then(|()| database.execute_batch("BEGIN IMMEDIATE")).expect("a locked store");
    // Until the gateway knows of it, it may still take a new session.
    let mut status = 200;
    while status != 503 {
        status = http::get(tally.gateway.http, "/readyz").await.status.as_u16();
        tally.http("/readyz", status);
    }
    for _ in 0..2 {
        let error = tally.call(&mut client, "session.start", json!({"prompt": "say never"})).await;
        assert_eq!(error["data"]["kind"], "store_away", "{error}");
        tally.add(CREATING, 1);
    }
    database.execute_batch("ROLLBACK").expect("an unlocked store");
    tally.close(client).await;
    tally.compare().await;
    tally.gateway.stop().await;
}

#[tokio::test]
async fn m1_what_a_dead_gateway_left_is_counted_by_the_next_one() {
    let mut gateway = Gateway::builder().start().await;
    let mut client = gateway.client().await;
    let session =
        client.start(json!({"prompt": "ignore all; child setsid; child ignoreterm; touch there; silent"})).await;
    until_file(&gateway, session, "there").await;
    gateway.kill9().await;
    // The agent and what it has started: nothing of it heeds the signal that tells of the gateway's death.
    let left = gateway.processes().len() as u64;
    assert_eq!(left, 3);
    gateway.restart().await;
    let mut tally = Tally { gateway, known: BTreeMap::new(), looked: 0, watched: BTreeSet::new() };
    tally.add("cc_gateway_processes_swept_total", left);
    tally.add("cc_gateway_sessions_ended_total{reason=\"lost\"}", 1);
    let token = tally.login("admin", ADMIN_PASSWORD, "ok", 200).await;
    let mut client = tally.connect("/ws", &token).await;
    tally.call(&mut client, "session.attach", json!({"session_id": session})).await;
    let events = client.until_ended(session).await;
    let end = events.last().expect("an end");
    tally.add("cc_gateway_events_total{type=\"session.ended\"}", 1);
    tally.add("cc_gateway_event_bytes_total", end.data.get().len() as u64);
    tally.add("cc_gateway_events_sent_total", events.len() as u64);
    tally.compare().await;
    tally.gateway.stop().await;
}
