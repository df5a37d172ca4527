//! Small measurements of what every line, event and call goes through: the line splitter, Claude's lines, the
//! event log's encoding, the feed, dispatch, and appends to both stores.
//!
//! `cargo bench --features test-support`, or with `-- --quick` for a fast look. The numbers are for comparing two
//! versions on one machine; no test depends on them.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a measurement that can't be made ends with a panic")]
#![expect(clippy::print_stdout, reason = "what is left out is said where the figures are")]

use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use cc_gateway::api::EventType;
use cc_gateway::claude::parse_line;
use cc_gateway::config::settings::SqliteSynchronous;
use cc_gateway::session::log::{Encoder, decode};
use cc_gateway::store::SharedStore;
use cc_gateway::store::contract::sample;
use cc_gateway::store::redis::RedisStore;
use cc_gateway::store::sqlite::SqliteStore;
use criterion::{Criterion, Throughput};
use futures_util::future::try_join_all;
use serde_json::json;
use tokio::runtime::Runtime;
use uuid::Uuid;

#[path = "end_to_end/redis.rs"]
mod redis;
mod subjects;

use subjects::{CALL, Dispatch, FanOut, PUBLISHED, recorded, split};

fn main() {
    // Shorter than by default: with the end-to-end table `make bench` is to take no more than ten minutes.
    let (warm_up, measured) = (Duration::from_secs(1), Duration::from_secs(2));
    let mut criterion = Criterion::default().warm_up_time(warm_up).measurement_time(measured).configure_from_args();
    lines(&mut criterion);
    claude(&mut criterion);
    events(&mut criterion);
    dispatch(&mut criterion);
    feed(&mut criterion);
    appends(&mut criterion);
    redis_appends(&mut criterion);
    criterion.final_summary();
}

fn lines(criterion: &mut Criterion) {
    let output = recorded();
    let long = Bytes::from([vec![b'x'; 10 * 1024 * 1024], b"\n".to_vec()].concat());
    let mut group = criterion.benchmark_group("lines");
    for (name, bytes) in [("recorded", &output), ("one of 10 MiB", &long)] {
        group.throughput(Throughput::Bytes(bytes.len() as u64));
        group.bench_function(name, |bencher| bencher.iter(|| split(black_box(bytes))));
    }
    group.finish();
}

fn claude(criterion: &mut Criterion) {
    let lines = split(&recorded());
    let mut group = criterion.benchmark_group("claude");
    group.throughput(Throughput::Elements(lines.len() as u64));
    group.bench_function("parse_line", |bencher| {
        bencher.iter(|| lines.iter().filter(|line| parse_line(black_box(line)).is_some()).count());
    });
    let parsed: Vec<_> = lines.iter().filter_map(|line| parse_line(line)).collect();
    group.bench_function("event_kind", |bencher| {
        bencher.iter(|| parsed.iter().map(|line| u64::from(black_box(line).event_kind().code())).sum::<u64>());
    });
    group.finish();
}

fn events(criterion: &mut Criterion) {
    let lines = split(&recorded());
    let mut group = criterion.benchmark_group("events");
    group.throughput(Throughput::Elements(lines.len() as u64));
    group.bench_function("encode", |bencher| {
        let mut encoder = Encoder::new(Uuid::from_u128(1), 1);
        bencher.iter(|| {
            lines.iter().for_each(|line| encoder.push(EventType::Claude, 1_795_232_229_123, line));
            encoder.take()
        });
    });
    let mut encoder = Encoder::new(Uuid::from_u128(1), 1);
    lines.iter().for_each(|line| encoder.push(EventType::Claude, 1_795_232_229_123, line));
    let batch = encoder.take().unwrap();
    group.bench_function("decode", |bencher| bencher.iter(|| decode(black_box(&batch)).unwrap()));
    group.finish();
}

fn dispatch(criterion: &mut Criterion) {
    let dispatch = Dispatch::new();
    let batch = format!("[{}]", vec![CALL; 100].join(","));
    let unknown = CALL.replace("server.info", "no.such.method");
    assert!(dispatch.answer(CALL).unwrap().contains("\"active_sessions\":3"));
    assert!(dispatch.answer(&unknown).unwrap().contains("-32601"));
    let mut group = criterion.benchmark_group("dispatch");
    for (name, text, calls) in [("call", CALL, 1), ("unknown method", &unknown, 1), ("batch of 100", &batch, 100)] {
        group.throughput(Throughput::Elements(calls));
        group.bench_function(name, |bencher| bencher.iter(|| dispatch.answer(black_box(text))));
    }
    group.finish();
}

/// A batch of events is published to the tail, and read by so many readers.
fn feed(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("feed");
    for readers in [1, 100] {
        group.throughput(Throughput::Elements(PUBLISHED * readers));
        group.bench_function(format!("{PUBLISHED} events, readers: {readers}"), |bencher| {
            let mut fan_out = FanOut::new();
            bencher.iter(|| fan_out.publish(readers));
        });
    }
    group.finish();
}

fn appends(criterion: &mut Criterion) {
    let runtime = Runtime::new().unwrap();
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("gateway.db");
    let store: SharedStore = Arc::new(SqliteStore::open(&file, SqliteSynchronous::Normal).unwrap());
    measure_appends(criterion, "sqlite append", &runtime, &store);
}

/// With a `redis-server` of our own, if it is installed.
fn redis_appends(criterion: &mut Criterion) {
    let Some(redis) = redis::Redis::start() else {
        println!("redis-server is not installed: appends to Redis are not measured");
        return;
    };
    let runtime = Runtime::new().unwrap();
    let store: SharedStore = {
        let _inside = runtime.enter();
        Arc::new(RedisStore::open(&redis.url(), "bench").unwrap())
    };
    runtime.block_on(async {
        while store.check().await.is_err() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    });
    measure_appends(criterion, "redis append", &runtime, &store);
}

fn measure_appends(criterion: &mut Criterion, name: &str, runtime: &Runtime, store: &SharedStore) {
    let data = json!({"type": "assistant", "text": "x".repeat(256)}).to_string();
    let mut next_session = 1;
    let mut group = criterion.benchmark_group(name);
    for (name, writers, events) in [
        ("1 event", 1, 1),
        ("100 events", 1, 100),
        ("50 sessions, 1 event", 50, 1),
        ("50 sessions, 100 events", 50, 100),
    ] {
        let mut sessions: Vec<(Uuid, Encoder)> = Vec::new();
        for n in next_session..next_session + writers {
            runtime.block_on(store.create_session(sample::session(n))).unwrap();
            sessions.push((sample::id(n), Encoder::new(sample::id(n), 1)));
        }
        next_session += writers;
        group.throughput(Throughput::Elements(writers * events));
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                let batches = sessions.iter_mut().map(|(id, encoder)| {
                    (0..events).for_each(|_| encoder.push(EventType::Claude, 0, data.as_bytes()));
                    store.append(*id, 1, encoder.take().unwrap())
                });
                runtime.block_on(try_join_all(batches)).unwrap()
            });
        });
    }
    group.finish();
    runtime.block_on(store.close());
}
