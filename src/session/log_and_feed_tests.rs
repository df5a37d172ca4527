//! The log's promises over a store that fails: whatever the order of pushes, appends and reads, a reader gets
//! each event once, in order, byte for byte, and only after the store has acknowledged it.

use std::sync::Arc;

use futures_util::FutureExt;
use proptest::prelude::*;
use tokio::sync::Notify;
use uuid::Uuid;

use super::feed::Feed;
use super::log::Frame;
use super::reader::{EventReader, ReadError};
use super::writer::LogWriter;
use crate::api::event::EventType;
use crate::api::selector::TypeSet;
use crate::store::SharedStore;
use crate::store::contract::sample;
use crate::store::faulty::Faulty;
use crate::store::sqlite::test_store;

/// One step of a history.
#[derive(Debug, Clone)]
enum Step {
    /// Events of that type with so many bytes of text.
    Push { code: u8, count: u8, bytes: u16 },
    /// Begins an append, or looks once whether it is done, and is cancelled.
    Glance,
    /// Waits for one append.
    Advance,
    /// A reader joins after a share (of 256) of what has been acknowledged; may want only lines of Claude's,
    /// and may take a first look.
    Join { share: u8, filtered: bool, looks: bool },
    /// A reader reads.
    Read { which: u8, frames: u8, bytes: u16 },
    /// A reader goes.
    Leave { which: u8 },
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0_u8..9, 1_u8..20, 0_u16..400).prop_map(|(code, count, bytes)| Step::Push { code, count, bytes }),
        2 => Just(Step::Glance),
        3 => Just(Step::Advance),
        1 => any::<(u8, bool, bool)>().prop_map(|(share, filtered, looks)| Step::Join { share, filtered, looks }),
        5 => (any::<u8>(), 1_u8..30, 1_u16..5_000).prop_map(|(which, frames, bytes)| Step::Read { which, frames, bytes }),
        1 => any::<u8>().prop_map(|which| Step::Leave { which }),
    ]
}

#[derive(Debug, Clone)]
struct History {
    seed: u64,
    /// The share of calls that fail, in percent.
    failing: u8,
    tail_bytes: usize,
    steps: Vec<Step>,
}

fn history() -> impl Strategy<Value = History> {
    (any::<u64>(), 1_u8..=20, 0_usize..20_000, proptest::collection::vec(step(), 1..120))
        .prop_map(|(seed, failing, tail_bytes, steps)| History { seed, failing, tail_bytes, steps })
}

/// A reader and what it may expect.
struct Watching {
    reader: EventReader,
    wake: Arc<Notify>,
    types: TypeSet,
    seen: u64,
}

struct World {
    id: Uuid,
    /// The store behind the failing one: what it holds is certain.
    certain: SharedStore,
    store: Arc<Faulty>,
    feed: Arc<Feed>,
    log: LogWriter,
    /// Everything pushed: event number 1 stands first.
    pushed: Vec<(EventType, Vec<u8>)>,
    readers: Vec<Watching>,
}

type Outcome = Result<(), TestCaseError>;

impl World {
    async fn new(history: &History) -> Self {
        let certain = test_store();
        let session = sample::session(1);
        let id = session.row.id;
        certain.create_session(session).await.unwrap();
        let store = Faulty::new(Arc::clone(&certain), history.seed, f64::from(history.failing) / 100.0);
        let feed = Arc::new(Feed::new(0, history.tail_bytes));
        let log = LogWriter::new(id, 1, store.clone(), Arc::clone(&feed), 64 * 1024);
        Self { id, certain, store, feed, log, pushed: Vec::new(), readers: Vec::new() }
    }

    async fn take(&mut self, step: &Step) -> Outcome {
        match *step {
            Step::Push { code, count, bytes } => {
                let event_type = EventType::from_code(code).unwrap();
                for _ in 0..count {
                    let text = format!("{:>1$}", self.pushed.len(), usize::from(bytes));
                    let data = serde_json::to_vec(&text).unwrap();
                    self.log.push_json(event_type, &data);
                    self.pushed.push((event_type, data));
                }
            }
            Step::Glance => self.log.advance().now_or_never().unwrap_or(Ok(())).unwrap(),
            Step::Advance => self.log.advance().await.unwrap(),
            Step::Join { share, filtered, looks } => {
                let after = self.feed.head() * u64::from(share) / 255;
                let types = if filtered { TypeSet::default().with(EventType::Claude) } else { TypeSet::ALL };
                self.join(after, types, looks).await;
            }
            Step::Read { which, frames, bytes } => {
                let Some(which) = usize::from(which).checked_rem(self.readers.len()) else { return Ok(()) };
                self.read(which, frames.into(), bytes.into()).await?;
            }
            Step::Leave { which } => {
                if let Some(which) = usize::from(which).checked_rem(self.readers.len()) {
                    self.readers.swap_remove(which);
                }
            }
        }
        let stored = self.certain.bounds(self.id).await.unwrap().head;
        prop_assert!(self.feed.head() <= stored, "{} published, {stored} stored", self.feed.head());
        Ok(())
    }

    async fn join(&mut self, after: u64, types: TypeSet, looks: bool) {
        let store: SharedStore = self.store.clone();
        let mut reader = EventReader::new(self.id, store, Some(Arc::clone(&self.feed)), after, types);
        if looks {
            // A store that fails leaves the reader where it stood.
            let _ = reader.look().await;
        }
        let wake = Arc::new(Notify::new());
        reader.wake_by(&wake);
        self.readers.push(Watching { reader, wake, types: types.with(EventType::Ended), seen: after });
    }

    /// Reads and checks; how many frames came. A failing store is no failure of the reader's.
    async fn read(&mut self, which: usize, max_frames: usize, max_bytes: usize) -> Result<usize, TestCaseError> {
        let head = self.feed.head();
        let watching = &mut self.readers[which];
        let mut frames = Vec::new();
        match watching.reader.read(max_frames, max_bytes, &mut frames).await {
            Ok(()) => {}
            Err(ReadError::Store(error)) if error.retryable() => {}
            Err(error) => return Err(TestCaseError::fail(error.to_string())),
        }
        prop_assert!(frames.len() <= max_frames);
        for frame in &frames {
            prop_assert!(frame.seq <= head, "{} was shown before it was acknowledged: {head}", frame.seq);
            check(&self.pushed, watching, frame)?;
        }
        Ok(frames.len())
    }

    /// Reads on, for as long as each reader is woken or knows of more.
    async fn read_all(&mut self) -> Outcome {
        for which in 0..self.readers.len() {
            let woken = self.readers[which].wake.notified().now_or_never().is_some();
            prop_assert!(woken || !self.readers[which].reader.may_have_more(), "a reader was not woken");
            while self.readers[which].reader.may_have_more() {
                self.read(which, 50, 10_000).await?;
            }
        }
        Ok(())
    }
}

/// The frame must be the next one that the reader wants, as it was pushed.
fn check(pushed: &[(EventType, Vec<u8>)], watching: &mut Watching, frame: &Frame) -> Outcome {
    let after = usize::try_from(watching.seen).unwrap();
    let next = pushed.iter().enumerate().skip(after).find(|(_, (event_type, _))| watching.types.contains(*event_type));
    let Some((at, (event_type, data))) = next else {
        return Err(TestCaseError::fail(format!("{} was never pushed", frame.seq)));
    };
    prop_assert_eq!(frame.seq, at as u64 + 1);
    prop_assert_eq!(frame.kind.event_type(), Some(*event_type));
    prop_assert_eq!(&frame.data()[..], &data[..]);
    let told: serde_json::Value = serde_json::from_slice(&frame.text).unwrap();
    prop_assert_eq!(told["params"]["prev_seq"].as_u64(), Some(watching.seen));
    prop_assert_eq!(told["params"]["seq"].as_u64(), Some(frame.seq));
    watching.seen = frame.seq;
    Ok(())
}

async fn live(history: History) -> Outcome {
    let mut world = World::new(&history).await;
    for step in &history.steps {
        world.take(step).await?;
    }
    // The quiet phase: the session ends, the store answers, and everybody gets everything.
    world.join(0, TypeSet::ALL, false).await;
    world.store.set_failing(false);
    let end = sample::end_patch();
    let last = end.ended.clone().unwrap();
    world.pushed.push((EventType::Ended, serde_json::to_vec(&last).unwrap()));
    let mut acknowledged = false;
    world.log.end(&last, end, || acknowledged = true).await.unwrap();
    prop_assert!(acknowledged);
    world.read_all().await?;
    let all = world.pushed.len() as u64;
    for watching in &world.readers {
        prop_assert!(watching.reader.has_ended());
        prop_assert_eq!(watching.seen, all);
    }
    prop_assert_eq!(world.certain.bounds(world.id).await.unwrap().head, all);
    Ok(())
}

/// How many histories: more with `SOAK=1`.
fn cases() -> u32 {
    if std::env::var_os("SOAK").is_some_and(|value| value == "1") { 1_000 } else { 40 }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(), max_shrink_iters: 64, ..ProptestConfig::default() })]
    #[test]
    fn o2_every_reader_gets_every_acknowledged_event_once_over_a_store_that_fails(history in history()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(live(history))?;
    }
}

#[tokio::test]
async fn a_log_that_grows_line_by_line_never_keeps_more_than_its_limit() {
    const LIMIT: u64 = 16 * 1024;
    let (store, session) = (test_store(), sample::session(1));
    let id = session.row.id;
    store.create_session(session).await.unwrap();
    let feed = Arc::new(Feed::new(0, 64 * 1024));
    let mut log = LogWriter::new(id, 1, Arc::clone(&store), feed, 64 * 1024).limited_to(LIMIT);
    for _ in 0..100 {
        log.push_json(EventType::Claude, format!("\"{}\"", "x".repeat(300)).as_bytes());
        if let Some(done) = log.advance_at_once() {
            done.unwrap();
        }
        log.flush().await.unwrap();
        let kept = store.bounds(id).await.unwrap().bytes;
        assert!(kept <= LIMIT, "{kept} after event {}", log.last_seq());
    }
    assert!(store.bounds(id).await.unwrap().first > 1, "nothing was cut");
}
