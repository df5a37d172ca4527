//! Every metric, declared once. Labels come from enums and tables of the code, never from a user, so that
//! the number of series is bounded whatever the callers do.

use std::time::Duration;

use ::metrics::{
    Counter, Histogram, Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram,
};
use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle};
use parking_lot::Mutex;

use crate::api::event::{EndReason, EventType, SessionState};
use crate::api::http::LoginState;
use crate::api::server::WarmInfo;

/// Buckets of every histogram of seconds: 50 µs to 60 s.
const SECONDS: [f64; 16] =
    [0.000_05, 0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 1.0, 5.0, 15.0, 60.0];

/// Buckets of the time that sessions wait in the queue: 10 ms to an hour.
const WAITS: [f64; 12] = [0.01, 0.1, 0.5, 1.0, 5.0, 15.0, 60.0, 120.0, 300.0, 600.0, 1_800.0, 3_600.0];

/// Stands for the end of what has no known one: a number, so that alerts can compare it.
const FAR_AHEAD_SECONDS: f64 = 315_360_000.0;

/// The one recorder's handle. A lock, so that two first callers at once don't both install one.
static HANDLE: Mutex<Option<PrometheusHandle>> = Mutex::new(None);

/// Installs the recorder for the whole process (once; later calls return the same handle) and describes
/// every metric.
///
/// # Errors
/// When another recorder is already installed.
pub fn install() -> Result<PrometheusHandle, BuildError> {
    let mut installed = HANDLE.lock();
    if let Some(handle) = &*installed {
        return Ok(handle.clone());
    }
    let handle = PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), &SECONDS)?
        .set_buckets_for_metric(Matcher::Full("cc_gateway_slot_wait_seconds".to_owned()), &WAITS)?
        .install_recorder()?;
    describe();
    Ok(installed.insert(handle).clone())
}

fn describe() {
    describe_gauge!("cc_gateway_sessions", "Live sessions of this node by state");
    describe_counter!("cc_gateway_sessions_started_total", "Sessions started, by kind");
    describe_counter!("cc_gateway_sessions_ended_total", "Sessions ended, by reason");
    describe_counter!("cc_gateway_starts_refused_total", "Session starts refused, by error kind");
    describe_counter!("cc_gateway_sessions_removed_total", "Ended sessions removed by retention");
    describe_counter!(
        "cc_gateway_event_bytes_removed_total",
        Unit::Bytes,
        "Bytes of events removed, with their sessions or from the head of a long log"
    );
    describe_gauge!("cc_gateway_slots_max", "Slots there are");
    describe_gauge!("cc_gateway_nodes", "Gateways that share the store and live, this one too");
    describe_gauge!("cc_gateway_sessions_waiting", "Sessions of this node that wait for a slot");
    describe_histogram!("cc_gateway_slot_wait_seconds", Unit::Seconds, "From joining the queue to the slot");
    describe_counter!("cc_gateway_events_total", "Events taken into session logs, by type");
    describe_counter!("cc_gateway_event_bytes_total", Unit::Bytes, "Bytes of event data taken into session logs");
    describe_counter!("cc_gateway_events_sent_total", "Events written to connections");
    describe_gauge!("cc_gateway_connections", "Open connections, by listener");
    describe_counter!("cc_gateway_connections_closed_total", "WebSocket connections closed, by reason");
    describe_counter!("cc_gateway_upgrades_refused_total", "WebSocket upgrades refused, by HTTP status");
    describe_counter!("cc_gateway_rpc_calls_total", "JSON-RPC calls, by method and outcome");
    describe_histogram!("cc_gateway_rpc_call_seconds", Unit::Seconds, "Time to answer a JSON-RPC call, by method");
    describe_counter!("cc_gateway_http_requests_total", "HTTP requests, by route and status");
    describe_counter!("cc_gateway_logins_total", "Logins, by outcome");
    describe_counter!("cc_gateway_audit_entries_total", "Entries of the audit log, by whether they were written");
    describe_counter!("cc_gateway_token_refreshes_total", "Uses of refresh tokens, by outcome");
    describe_counter!("cc_gateway_sockets_revoked_total", "Sockets closed because their token was revoked");
    describe_counter!("cc_gateway_issuer_key_fetches_total", "Fetches of outside issuers' keys, by outcome");
    describe_histogram!("cc_gateway_store_seconds", Unit::Seconds, "Store latency, by store and operation");
    describe_counter!("cc_gateway_store_errors_total", "Store errors, by store and operation");
    describe_histogram!("cc_gateway_agent_start_seconds", Unit::Seconds, "From spawn to the agent's first answer");
    describe_gauge!("cc_gateway_warm_processes", "Agents that are started ahead of sessions, by state");
    describe_counter!("cc_gateway_warm_starts_total", "Starts that an agent was looked for: whether there was one");
    describe_counter!("cc_gateway_warm_put_away_total", "Agents started ahead that no session has got, by reason");
    describe_counter!("cc_gateway_processes_swept_total", "Left-over processes killed after a session's end");
    describe_counter!("cc_gateway_task_panics_total", "Tasks that panicked, by task: each is a bug");
    describe_gauge!("cc_gateway_claude_login", "1 for the state that Claude's own login is in, 0 for the others");
    describe_gauge!(
        "cc_gateway_claude_login_usable",
        "1 while sessions can be started with Claude's own login, else 0"
    );
    describe_gauge!(
        "cc_gateway_claude_login_expires_in_seconds",
        Unit::Seconds,
        "Until Claude's access token ends, negative afterwards; ten years for a login without a known end, 0 without one. \
         A login that renews itself begins anew"
    );
    describe_gauge!("cc_gateway_build_info", "1, with the version as label");
    sessions_waiting(0);
    gauge!("cc_gateway_build_info", "version" => env!("CARGO_PKG_VERSION")).set(1.0);
    for state in SessionState::ALL {
        gauge!("cc_gateway_sessions", "state" => state.as_str()).set(0.0);
    }
    for reason in EndReason::ALL {
        counter!("cc_gateway_sessions_ended_total", "reason" => reason.as_str()).absolute(0);
    }
}

/// The state of Claude's own login, as it was looked at last.
pub fn claude_login(state: LoginState, usable: bool, expires_in_seconds: Option<i64>) {
    for each in LoginState::ALL {
        gauge!("cc_gateway_claude_login", "status" => each.as_str()).set(if each == state { 1.0 } else { 0.0 });
    }
    gauge!("cc_gateway_claude_login_usable").set(if usable { 1.0 } else { 0.0 });
    #[expect(clippy::cast_precision_loss, reason = "far less than 2^52 seconds")]
    let left = match expires_in_seconds {
        Some(seconds) => seconds as f64,
        None if usable => FAR_AHEAD_SECONDS,
        None => 0.0,
    };
    gauge!("cc_gateway_claude_login_expires_in_seconds").set(left);
}

/// A live session of this node moved from one state to another (`None`: it is new, or gone).
pub fn session_moved(from: Option<SessionState>, to: Option<SessionState>) {
    if let Some(from) = from {
        gauge!("cc_gateway_sessions", "state" => from.as_str()).decrement(1.0);
    }
    if let Some(to) = to {
        gauge!("cc_gateway_sessions", "state" => to.as_str()).increment(1.0);
    }
}

/// A session was started; `kind` is `claude` or `command`.
pub fn session_started(kind: &'static str) {
    counter!("cc_gateway_sessions_started_total", "kind" => kind).increment(1);
}

/// A session ended.
pub fn session_ended(reason: EndReason) {
    counter!("cc_gateway_sessions_ended_total", "reason" => reason.as_str()).increment(1);
}

/// A start was refused with that error kind.
pub fn start_refused(kind: &'static str) {
    counter!("cc_gateway_starts_refused_total", "kind" => kind).increment(1);
}

/// How many slots there are.
pub fn slots_max(slots: u32) {
    gauge!("cc_gateway_slots_max").set(f64::from(slots));
}

/// So many nodes share the store and live.
pub fn nodes_alive(count: usize) {
    #[expect(clippy::cast_precision_loss, reason = "there are few")]
    gauge!("cc_gateway_nodes").set(count as f64);
}

/// So many sessions of this node wait for a slot.
pub fn sessions_waiting(count: usize) {
    #[expect(clippy::cast_precision_loss, reason = "far fewer than 2^52 wait")]
    gauge!("cc_gateway_sessions_waiting").set(count as f64);
}

/// A session that waited for a slot has got one.
pub fn slot_waited(waited: Duration) {
    histogram!("cc_gateway_slot_wait_seconds").record(waited.as_secs_f64());
}

/// Counts events where there are many: handles are kept, because looking a metric up costs more than counting, and what
/// was counted is told for many events at once, because each telling is several writes that processors share.
pub struct EventCounters {
    /// By the codes of the types, with what is not told yet.
    by_type: Vec<(Counter, u64)>,
    bytes: (Counter, u64),
}

impl std::fmt::Debug for EventCounters {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("EventCounters")
    }
}

impl EventCounters {
    /// Looks the handles up.
    #[must_use]
    pub fn new() -> Self {
        Self {
            by_type: EventType::ALL
                .map(|kind| (counter!("cc_gateway_events_total", "type" => kind.as_str()), 0))
                .to_vec(),
            bytes: (counter!("cc_gateway_event_bytes_total"), 0),
        }
    }

    /// One event with so many bytes of data was taken in.
    pub fn taken_in(&mut self, event_type: EventType, bytes: usize) {
        if let Some((_, count)) = self.by_type.get_mut(usize::from(event_type.code())) {
            *count += 1;
        }
        self.bytes.1 += bytes as u64;
    }

    /// What has been counted since the last time shows in the metrics.
    pub fn tell(&mut self) {
        for (counter, count) in self.by_type.iter_mut().chain([&mut self.bytes]).filter(|(_, count)| *count > 0) {
            counter.increment(std::mem::take(count));
        }
    }
}

impl Drop for EventCounters {
    fn drop(&mut self) {
        self.tell();
    }
}

impl Default for EventCounters {
    fn default() -> Self {
        Self::new()
    }
}

/// The handle that counts events written to connections.
pub fn events_sent() -> Counter {
    counter!("cc_gateway_events_sent_total")
}

/// A connection was opened on that listener (`http`, `ws`).
pub fn connection_opened(listener: &'static str) {
    gauge!("cc_gateway_connections", "listener" => listener).increment(1.0);
}

/// A connection of that listener has gone.
pub fn connection_gone(listener: &'static str) {
    gauge!("cc_gateway_connections", "listener" => listener).decrement(1.0);
}

/// A WebSocket was closed for that reason (a word of `ws::close`).
pub fn socket_closed(reason: &'static str) {
    counter!("cc_gateway_connections_closed_total", "reason" => reason).increment(1);
}

/// An upgrade was refused with that HTTP status.
pub fn upgrade_refused(status: u16) {
    counter!("cc_gateway_upgrades_refused_total", "status" => status.to_string()).increment(1);
}

/// A JSON-RPC call was answered. `method` is a name of the method table or `unknown`; `outcome` is `ok` or
/// an error kind.
pub fn rpc_call(method: &'static str, outcome: &'static str, took: Duration) {
    counter!("cc_gateway_rpc_calls_total", "method" => method, "outcome" => outcome).increment(1);
    histogram!("cc_gateway_rpc_call_seconds", "method" => method).record(took.as_secs_f64());
}

/// An HTTP request was answered; `route` is a route of the table or `unknown`.
pub fn http_request(route: &'static str, status: u16) {
    counter!("cc_gateway_http_requests_total", "route" => route, "status" => status.to_string()).increment(1);
}

/// A login succeeded (`ok`) or failed (`refused`, `throttled`).
pub fn login(outcome: &'static str) {
    counter!("cc_gateway_logins_total", "outcome" => outcome).increment(1);
}

/// Entries of the audit log were `written`, or are `missing`.
pub fn audit_entries(outcome: &'static str, count: u64) {
    counter!("cc_gateway_audit_entries_total", "outcome" => outcome).increment(count);
}

/// A login was renewed by its refresh token (`ok`), or was not (`refused`, `reused`, `failed`).
pub fn token_refresh(outcome: &'static str) {
    counter!("cc_gateway_token_refreshes_total", "outcome" => outcome).increment(1);
}

/// A socket was closed because its token had been revoked.
pub fn sockets_revoked(count: u64) {
    counter!("cc_gateway_sockets_revoked_total").increment(count);
}

/// An outside issuer's keys were fetched (`ok`), or could not be (`failed`).
pub fn issuer_keys_fetched(outcome: &'static str) {
    counter!("cc_gateway_issuer_key_fetches_total", "outcome" => outcome).increment(1);
}

/// The handle for one store operation's latency.
pub fn store_seconds(store: &'static str, operation: &'static str) -> Histogram {
    histogram!("cc_gateway_store_seconds", "store" => store, "operation" => operation)
}

/// The handle for one store operation's errors.
pub fn store_errors(store: &'static str, operation: &'static str) -> Counter {
    counter!("cc_gateway_store_errors_total", "store" => store, "operation" => operation)
}

/// An agent answered for the first time.
pub fn agent_started(took: Duration) {
    histogram!("cc_gateway_agent_start_seconds").record(took.as_secs_f64());
}

/// So many agents are started ahead of sessions.
pub fn warm_processes(warm: &WarmInfo) {
    for (state, count) in [("ready", warm.ready), ("starting", warm.starting)] {
        gauge!("cc_gateway_warm_processes", "state" => state).set(f64::from(count));
    }
}

/// A session started that could have an agent that was started ahead, and had one or not.
pub fn warm_start(warm: bool) {
    counter!("cc_gateway_warm_starts_total", "agent" => if warm { "warm" } else { "cold" }).increment(1);
}

/// An agent that was started ahead has gone without a session, for that reason.
pub fn warm_put_away(reason: &'static str) {
    counter!("cc_gateway_warm_put_away_total", "reason" => reason).increment(1);
}

/// An ended session is no longer kept.
pub fn session_removed(bytes: u64) {
    counter!("cc_gateway_sessions_removed_total").increment(1);
    counter!("cc_gateway_event_bytes_removed_total").increment(bytes);
}

/// The oldest events of a session were cut off, because its log is limited.
pub fn log_cut(bytes: u64) {
    counter!("cc_gateway_event_bytes_removed_total").increment(bytes);
}

/// So many left-over processes were killed.
pub fn processes_swept(count: u64) {
    counter!("cc_gateway_processes_swept_total").increment(count);
}

/// A task panicked.
pub fn task_panicked(task: &'static str) {
    counter!("cc_gateway_task_panics_total", "task" => task).increment(1);
}
