//! A short measurement, printed with `--nocapture`. It asserts only that nothing was lost on the way: how
//! fast a busy machine is proves nothing.

use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::future::join_all;

use crate::store::contract::sample;
use crate::store::sqlite::test_store;
use crate::store::{Batch, SharedStore};

/// Appends for a moment from `writers` sessions, `events` of 300 bytes a batch; returns batches and time.
async fn append(store: &SharedStore, first: u64, writers: u64, events: u64) -> (u64, Duration) {
    let payload = Bytes::from(vec![b'x'; usize::try_from(events * 300).unwrap()]);
    for n in first..first + writers {
        store.create_session(sample::session(n)).await.unwrap();
    }
    let began = Instant::now();
    let appends = (first..first + writers).map(|n| {
        let (store, payload) = (store.clone(), payload.clone());
        crate::telemetry::tasks::spawn("appends", async move {
            let mut batches = 0;
            while began.elapsed() < Duration::from_millis(300) {
                let first_seq = batches * events + 1;
                let batch = Batch { payload: payload.clone(), ..sample::batch(first_seq, first_seq + events - 1) };
                store.append(sample::id(n), 1, batch).await.unwrap();
                batches += 1;
            }
            batches
        })
    });
    let batches = join_all(appends).await.into_iter().map(|task| task.unwrap().unwrap()).sum();
    (batches, began.elapsed())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn appends_of_many_shapes_lose_nothing() {
    let store = test_store();
    let mut first = 1;
    for (writers, events) in [(1, 1), (1, 100), (50, 1), (50, 10), (50, 100), (50, 500)] {
        let (batches, took) = append(&store, first, writers, events).await;
        let mut kept = 0;
        for n in first..first + writers {
            kept += store.bounds(sample::id(n)).await.unwrap().head;
        }
        assert_eq!(kept, batches * events);
        first += writers;
        let seconds = took.as_secs_f64();
        println!(
            "{writers:>2} writers, {events:>3} events a batch: {:>8.0} batches/s, {:>9.0} events/s, {:>6.1} us a batch",
            batches as f64 / seconds,
            kept as f64 / seconds,
            seconds * 1e6 / batches as f64,
        );
    }
}
