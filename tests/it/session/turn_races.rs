//! Whatever is asked of interactive sessions, in whatever order and from however many connections: each has one end,
//! each message one fate, and nothing is left.

use std::collections::HashMap;
use std::time::Duration;

use serde_json::{Value, json};
use uuid::Uuid;

use super::conversation::{answers, lost_turns, message_id};
use super::{ended, slots_taken};
use crate::support::client::session_id;
use crate::support::dice::Dice;
use crate::support::event::Event;
use crate::support::{Client, Gateway, soak};

const SESSIONS: usize = 10;
/// Fewer than there are sessions: they take turns.
const SLOTS: usize = 6;

/// Refusals that a command may meet: the state has changed, or too many messages wait.
const REFUSALS: [i64; 2] = [-32006, -32010];

const PROMPTS: [&str; 7] = [
    "say x",
    "sleep 30ms; say y",
    "lines 50; say z",
    "ask Bash {}; say asked",
    "result error it went wrong",
    "child setsid; child ignoreterm; say left",
    "sleep 200ms; say late",
];

/// One session and what it was asked.
struct Career {
    session: Uuid,
    dice: Dice,
    /// Messages that the gateway has taken in.
    accepted: Vec<Uuid>,
    /// Sees the whole log.
    watcher: Client,
    /// Gives the commands; comes and goes.
    caller: Client,
}

impl Career {
    async fn begin(gateway: &Gateway, token: &str, dice: Dice) -> Self {
        let mut watcher = Client::connect(gateway.ws, "/ws", token).await;
        let caller = Client::connect(gateway.ws, "/ws", token).await;
        let params = json!({"prompt": "say first", "interactive": true, "queue": true});
        let told = watcher.ok("session.start", params).await;
        let session = session_id(&told).expect("a session");
        Self { session, dice, accepted: vec![message_id(&told)], watcher, caller }
    }

    /// Calls a method; what was refused for a good reason is no failure.
    async fn call(&mut self, method: &str, mut params: Value) -> Option<Value> {
        params["session_id"] = json!(self.session);
        match self.caller.call(method, params.clone()).await {
            Ok(told) => Some(told),
            Err(error) => {
                let code = error["code"].as_i64().expect("a code");
                assert!(REFUSALS.contains(&code), "{method} {params}: {error}");
                None
            }
        }
    }

    async fn send(&mut self, prompt: &str) {
        let params = json!({"prompt": prompt, "message_id": Uuid::new_v4()});
        if let Some(told) = self.call("session.send", params).await {
            self.accepted.push(message_id(&told));
        }
    }

    /// Answers every question that was ever asked: those that are not open any more are refused.
    async fn answer_all(&mut self) {
        self.call("session.get", json!({})).await;
        let asked: Vec<_> = self
            .watcher
            .events(self.session)
            .into_iter()
            .filter(|event| event.kind == "permission.requested")
            .collect();
        if let Some(question) = asked.last().map(Event::data) {
            let behavior = if self.dice.number(0..2) == 0 { "allow" } else { "deny" };
            self.call("session.respond", json!({"request_id": question["request_id"], "behavior": behavior})).await;
        }
    }

    async fn one_command(&mut self, gateway: &Gateway, token: &str) {
        match self.dice.number(0..16) {
            0..=4 => {
                let prompt = PROMPTS[usize::try_from(self.dice.number(0..PROMPTS.len() as u64)).expect("an index")];
                self.send(prompt).await;
            }
            5 | 6 => drop(self.call("session.interrupt", json!({})).await),
            7 | 8 => drop(self.call("session.pause", json!({})).await),
            9 | 10 => drop(self.call("session.unpause", json!({})).await),
            11 | 12 => self.answer_all().await,
            13 => drop(self.call("session.configure", json!({"model": "haiku"})).await),
            14 => {
                let next = Client::connect(gateway.ws, "/ws", token).await;
                std::mem::replace(&mut self.caller, next).reset();
            }
            // Long enough to be put away.
            _ => tokio::time::sleep(self.dice.moment(Duration::from_millis(150))).await,
        }
        // The watcher reads along.
        self.watcher.ok("session.get", json!({"session_id": self.session})).await;
    }

    /// What has become of each message, by its events.
    fn fates(&self) -> HashMap<Uuid, usize> {
        let events = self.watcher.events(self.session);
        let lost = lost_turns(&events).into_iter().map(|(id, _)| id);
        let mut fates = HashMap::new();
        for id in events.iter().flat_map(answers).chain(lost) {
            *fates.entry(id).or_default() += 1;
        }
        fates
    }

    /// Waits until every message has its fate, and checks that it has only one.
    async fn settle(&mut self) {
        let deadline = tokio::time::Instant::now() + crate::support::DEADLINE;
        while self.accepted.iter().any(|id| !self.fates().contains_key(id)) {
            let left: Vec<_> = self.accepted.iter().filter(|id| !self.fates().contains_key(*id)).collect();
            let newest: Vec<_> = self.watcher.events(self.session).iter().rev().take(8).map(Event::data).collect();
            assert!(tokio::time::Instant::now() < deadline, "{}: no fate for {left:?}; {newest:?}", self.session);
            self.call("session.unpause", json!({})).await;
            self.answer_all().await;
            self.watcher.ok("session.get", json!({"session_id": self.session})).await;
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Stops it, at rest or in the midst of everything; its events.
    async fn end(mut self) -> usize {
        if self.dice.number(0..2) == 0 {
            self.settle().await;
        }
        self.call("session.stop", json!({})).await;
        let events = self.watcher.until_ended(self.session).await;
        assert_eq!(events.iter().filter(|event| event.kind == "session.ended").count(), 1);
        assert_eq!(ended(&events)["reason"], "cancelled", "{}", ended(&events));
        let fates = self.fates();
        for (id, count) in &fates {
            assert_eq!(*count, 1, "message {id} of {}", self.session);
            assert!(self.accepted.contains(id), "nobody has sent {id}");
        }
        let stored = self.watcher.ok("session.get", json!({"session_id": self.session})).await;
        assert_eq!((&stored["state"], &stored["last_seq"]), (&json!("ended"), &json!(events.len())));
        fates.len()
    }
}

#[tokio::test]
async fn o1_whatever_is_asked_in_whatever_order_each_session_has_one_end_and_each_message_one_fate() {
    let mut builder = Gateway::builder().setting("max_sessions", SLOTS).setting("idle_process_seconds", 0.05);
    for step in ["interrupt", "end_session", "sigint", "sigterm"] {
        builder = builder.setting(&format!("{step}_grace_seconds"), 0.5);
    }
    // Careers that are through wait for the others, and read nothing meanwhile, no pings either.
    builder = builder.setting("ping_interval_seconds", 600);
    let mut gateway = builder.setting("max_messages_per_second", 0).start().await;
    let token = gateway.login().await;
    let mut dice = Dice::roll();
    for round in 0..soak::count(1, 10) {
        let beginnings = (0..SESSIONS).map(|_| Career::begin(&gateway, &token, dice.split()));
        let mut careers = futures_util::future::join_all(beginnings).await;
        let steps = soak::count(40, 200);
        let work = careers.iter_mut().map(async |career: &mut Career| {
            for _ in 0..steps {
                career.one_command(&gateway, &token).await;
            }
        });
        futures_util::future::join_all(work).await;
        let accepted: usize = careers.iter().map(|career| career.accepted.len()).sum();
        let ends = futures_util::future::join_all(careers.into_iter().map(Career::end)).await;
        eprintln!(
            "round {round}: {accepted} messages, {} of them with a fate before the end",
            ends.iter().sum::<usize>()
        );
        assert_eq!((slots_taken(&gateway).await, gateway.processes()), (0, Vec::new()));
    }
    assert!((1..=SLOTS).contains(&gateway.peak_agents()), "{} agents at once", gateway.peak_agents());
    gateway.stop().await;
}
