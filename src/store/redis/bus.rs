//! The bus of the shared store: sharded pub/sub, one connection for all that a node listens to.
//!
//! A node has a channel, a session's log has one (the script that appends tells it), and the slots have one. What
//! is told while the connection is away is lost: whoever watches is told when it is back, and whoever calls gets no
//! answer. A message says until when it is worth anything, by Redis's clock, because a node that was stopped reads
//! late what was written early.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use fred::clients::Client;
use fred::interfaces::{EventInterface, PubsubInterface};
use fred::types::Message;
use parking_lot::Mutex;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{Notify, broadcast, mpsc, oneshot};
use uuid::Uuid;

use super::keys::Keys;
use super::link::Link;
use super::scripts;
use crate::store::bus::{Asker, Bus, CallError, Incoming, Topic, Watch};
use crate::telemetry::tasks;

/// Between two tries to subscribe again.
const RETRY: Duration = Duration::from_millis(200);

/// See the module.
pub(super) struct RedisBus {
    link: Arc<Link>,
    keys: Keys,
    /// In subscribed mode a connection takes no other commands.
    listens: Client,
    /// Who is told of what, by channel. Held for moments only.
    watchers: Mutex<HashMap<String, Vec<Weak<Notify>>>>,
    /// Calls that wait for an answer. Held for moments only.
    calls: Mutex<HashMap<Uuid, oneshot::Sender<Bytes>>>,
    /// This node's name, channel and mailbox, once it listens.
    here: OnceLock<Here>,
    /// Channels have come or gone: a task subscribes to what it must. Shared with it and with what ends a watch.
    changed: Arc<Notify>,
}

struct Here {
    node: String,
    channel: String,
    mailbox: mpsc::Sender<Incoming>,
}

/// What a message is.
enum Letter {
    /// Who asks, and until when the answer is worth anything, by Redis's clock.
    Call(Asker, u64),
    /// The answer to that call.
    Answer(Uuid),
}

impl std::fmt::Debug for RedisBus {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("RedisBus")
    }
}

/// Ends a watch when it goes: its channel may be left.
struct Leaves(Arc<Notify>);

impl Drop for Leaves {
    fn drop(&mut self) {
        self.0.notify_one();
    }
}

impl Drop for RedisBus {
    fn drop(&mut self) {
        // Its tasks see that it has gone.
        self.changed.notify_one();
    }
}

impl RedisBus {
    /// A bus that begins to listen as soon as it can. It ends with the link.
    pub(super) fn start(link: Arc<Link>, keys: Keys) -> Arc<Self> {
        let listens = link.listens();
        let bus = Arc::new(Self {
            link,
            keys,
            listens,
            watchers: Mutex::default(),
            calls: Mutex::default(),
            here: OnceLock::new(),
            changed: Arc::default(),
        });
        tasks::spawn("bus-messages", receive(Arc::downgrade(&bus), bus.listens.message_rx()));
        tasks::spawn("bus-channels", subscribe(Arc::downgrade(&bus), bus.listens.clone(), Arc::clone(&bus.changed)));
        bus
    }

    fn channel(&self, topic: Topic) -> String {
        match topic {
            Topic::Log(id) => self.keys.grown(id),
            Topic::Slots => self.keys.slots_moved(),
        }
    }

    /// The channels to be subscribed to now.
    fn wanted(&self) -> HashSet<String> {
        let mut watchers = self.watchers.lock();
        watchers.retain(|_, watchers| {
            watchers.retain(|watcher| watcher.strong_count() > 0);
            !watchers.is_empty()
        });
        watchers.keys().cloned().chain(self.here.get().map(|here| here.channel.clone())).collect()
    }

    fn tell(&self, channel: &str) {
        for watcher in self.watchers.lock().get(channel).into_iter().flatten().filter_map(Weak::upgrade) {
            watcher.notify_one();
        }
    }

    fn tell_all(&self) {
        for watcher in self.watchers.lock().values().flatten().filter_map(Weak::upgrade) {
            watcher.notify_one();
        }
    }

    async fn take(&self, message: Message) {
        let channel: &str = &message.channel;
        let Some(here) = self.here.get().filter(|here| here.channel == channel) else {
            self.tell(channel);
            return;
        };
        let Some((letter, body)) = message.value.into_bytes().and_then(|bytes| parse(&bytes)) else {
            tracing::warn!("a message from another gateway can't be read");
            return;
        };
        match letter {
            Letter::Answer(call) => {
                if let Some(waits) = self.calls.lock().remove(&call) {
                    // Who asked may have gone.
                    drop(waits.send(body));
                }
            }
            Letter::Call(asker, until_ms) => {
                let now_ms: Result<u64, _> =
                    self.link.run("time", &scripts::TIME, vec![here.channel.clone()], Vec::new()).await;
                // A Redis that does not say what time it is would not take the answer either.
                if now_ms.is_ok_and(|now_ms| now_ms > until_ms) {
                    tracing::warn!(asker = asker.node, "a call of another gateway came too late and is left alone");
                } else if here.mailbox.try_send(Incoming { request: body, asker }).is_err() {
                    tracing::warn!("too many calls of other gateways wait; one is dropped");
                }
            }
        }
    }

    async fn send(&self, node: &str, head: String, within: Option<Duration>, body: Bytes) -> Result<(), CallError> {
        let within = within.map_or_else(String::new, |within| within.as_millis().to_string());
        let arguments = vec![head.into(), within.into(), body.into()];
        let channel = vec![self.keys.calls(node)];
        let listeners: u64 = self.link.run("call_node", &scripts::CALL, channel, arguments).await?;
        if listeners == 0 { Err(CallError::NobodyThere) } else { Ok(()) }
    }
}

#[async_trait]
impl Bus for RedisBus {
    fn listen(&self, node: &str, waiting: usize) -> mpsc::Receiver<Incoming> {
        let (mailbox, requests) = mpsc::channel(waiting);
        let here = Here { node: node.to_owned(), channel: self.keys.calls(node), mailbox };
        if self.here.set(here).is_err() {
            tracing::error!("the bus is listened to twice; this is a bug");
        }
        self.changed.notify_one();
        requests
    }

    async fn call(&self, node: &str, request: Bytes, within: Duration) -> Result<Bytes, CallError> {
        let here = self.here.get().ok_or(CallError::NobodyThere)?;
        let (answer, answered) = oneshot::channel();
        let call = Uuid::new_v4();
        self.calls.lock().insert(call, answer);
        let _until_answered = Awaited { calls: &self.calls, call };
        let asked = async {
            self.send(node, format!("? {call} {} ", here.node), Some(within), request).await?;
            answered.await.map_err(|_| CallError::NoAnswer)
        };
        tokio::time::timeout(within, asked).await.unwrap_or(Err(CallError::NoAnswer))
    }

    async fn answer(&self, asker: &Asker, answer: Bytes) -> Result<(), CallError> {
        self.send(&asker.node, format!("! {} ", asker.call), None, answer).await
    }

    fn watch(&self, topic: Topic) -> Watch {
        let moved = Arc::new(Notify::new());
        let channel = self.channel(topic);
        let is_new = {
            let mut watchers = self.watchers.lock();
            let of_channel = watchers.entry(channel).or_default();
            of_channel.push(Arc::downgrade(&moved));
            of_channel.len() == 1
        };
        if is_new {
            self.changed.notify_one();
        }
        Watch { moved, _until: Box::new(Leaves(Arc::clone(&self.changed))) }
    }
}

/// A call that waits for its answer. Whoever stops waiting, however that comes, is not written to any more.
struct Awaited<'a> {
    calls: &'a Mutex<HashMap<Uuid, oneshot::Sender<Bytes>>>,
    call: Uuid,
}

impl Drop for Awaited<'_> {
    fn drop(&mut self) {
        self.calls.lock().remove(&self.call);
    }
}

/// A message: `? <call> <asking node> <until>` or `! <call> `, a line's end, and what is said.
fn parse(message: &Bytes) -> Option<(Letter, Bytes)> {
    let end = message.iter().position(|byte| *byte == b'\n')?;
    let head = std::str::from_utf8(&message[..end]).ok()?;
    let mut words = head.split(' ');
    let letter = match (words.next()?, words.next()?.parse().ok()?) {
        ("!", call) => Letter::Answer(call),
        ("?", call) => {
            let asker = Asker { node: words.next()?.to_owned(), call };
            Letter::Call(asker, words.next()?.parse().ok()?)
        }
        _ => return None,
    };
    Some((letter, message.slice(end + 1..)))
}

/// Takes messages in until the bus has gone.
async fn receive(bus: Weak<RedisBus>, mut messages: broadcast::Receiver<Message>) {
    loop {
        let message = messages.recv().await;
        let Some(bus) = bus.upgrade() else { return };
        match message {
            Ok(message) => bus.take(message).await,
            Err(RecvError::Lagged(missed)) => {
                tracing::warn!(missed, "messages of other gateways came faster than they could be read");
                bus.tell_all();
            }
            Err(RecvError::Closed) => return,
        }
    }
}

/// Keeps the subscriptions level with what is wanted, until the bus has gone.
async fn subscribe(bus: Weak<RedisBus>, client: Client, changed: Arc<Notify>) {
    let mut reconnects = client.reconnect_rx();
    let mut subscribed = HashSet::new();
    loop {
        let Some(wanted) = bus.upgrade().map(|bus| bus.wanted()) else { return };
        let mut level = true;
        for channel in wanted.difference(&subscribed.clone()) {
            if client.ssubscribe(channel.as_str()).await.is_err() {
                level = false;
                break;
            }
            subscribed.insert(channel.clone());
            // What was told before the subscription was there is made up for.
            if let Some(bus) = bus.upgrade() {
                bus.tell(channel);
            }
        }
        for channel in subscribed.difference(&wanted).cloned().collect::<Vec<_>>() {
            // If that fails the connection has gone, and the subscription with it.
            drop(client.sunsubscribe(channel.as_str()).await);
            subscribed.remove(&channel);
        }
        tokio::select! {
            () = changed.notified() => {}
            () = tokio::time::sleep(RETRY), if !level => {}
            back = reconnects.recv() => match back {
                Ok(_) | Err(RecvError::Lagged(_)) => subscribed.clear(),
                Err(RecvError::Closed) => return,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_a_call_or_an_answer_and_anything_else_is_dropped() {
        let call = Uuid::from_u128(7);
        let (letter, body) = parse(&format!("? {call} node-a 1234\nwhat?\nmore").into()).unwrap();
        assert!(matches!(letter, Letter::Call(asker, 1_234) if asker == Asker { node: "node-a".to_owned(), call }));
        assert_eq!(body, "what?\nmore");
        let (letter, body) = parse(&format!("! {call} \n").into()).unwrap();
        assert!(matches!(letter, Letter::Answer(answered) if answered == call));
        assert_eq!(body, "");
        for bad in ["", "\n", "? 7 node 1\n", &format!("? {call} node\n"), &format!("x {call}\n"), "no end"] {
            assert!(parse(&Bytes::copy_from_slice(bad.as_bytes())).is_none(), "{bad}");
        }
    }
}
