//! The line over two gateways' admissions on one Redis.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use cc_gateway::config::settings::SessionSettings;
use cc_gateway::session::admission::{Admission, Admitted, Progress, Slot, Waiting};
use cc_gateway::store::redis::RedisStore;
use cc_gateway::store::{SharedStore, SlotCounts};
use cc_gateway::telemetry::tasks;
use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::support::redis_server::Server;
use crate::support::{DEADLINE, soak};

/// A node of that name with a connection of its own.
async fn node(server: &Server, name: &str, max_sessions: u32) -> (SharedStore, Admission) {
    let store = RedisStore::open(&server.url(), "ccgw").unwrap();
    store.prepare().await.unwrap();
    let store: SharedStore = Arc::new(store);
    let settings = SessionSettings { max_sessions, max_queued_per_principal: 1_000, ..SessionSettings::default() };
    (Arc::clone(&store), Admission::new(store, name, &settings))
}

async fn admitted(admission: &Admission, owner: &str) -> Admitted {
    admission.take_or_wait(Uuid::new_v4(), owner).await.unwrap()
}

async fn slot_of(admitted: Admitted) -> Slot {
    let mut waiting = match admitted {
        Admitted::Slot(slot) => return slot,
        Admitted::Waiting(waiting) => waiting,
    };
    loop {
        if let Progress::Slot(slot) = waiting.next().await.unwrap() {
            return slot;
        }
    }
}

async fn wait(admission: &Admission, owner: &str) -> Waiting {
    match admitted(admission, owner).await {
        Admitted::Waiting(waiting) => waiting,
        Admitted::Slot(slot) => panic!("all slots are taken: {slot:?}"),
    }
}

/// Waits until the store counts so many.
async fn until_counted(store: &SharedStore, wanted: SlotCounts) {
    let counted = async {
        while store.slots().await.unwrap() != wanted {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    };
    if tokio::time::timeout(DEADLINE, counted).await.is_err() {
        panic!("{:?}, not {wanted:?}", store.slots().await);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn j1_of_two_hundred_starts_on_two_nodes_never_more_than_twenty_have_a_slot_and_all_get_one() {
    const CAP: u32 = 20;
    let server = Server::start();
    let nodes = [node(&server, "node-1", CAP).await, node(&server, "node-2", CAP).await];
    let (live, most) = (Arc::new(AtomicU32::new(0)), Arc::new(AtomicU32::new(0)));
    let starts = (0..soak::count(200, 5_000)).map(|number| {
        let (admission, live, most) = (nodes[number % 2].1.clone(), Arc::clone(&live), Arc::clone(&most));
        tasks::spawn("test-session", async move {
            let slot = slot_of(admitted(&admission, &format!("owner-{}", number % 7)).await).await;
            most.fetch_max(live.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            tokio::task::yield_now().await;
            live.fetch_sub(1, Ordering::SeqCst);
            slot.release().await;
        })
    });
    for start in starts.collect::<Vec<_>>() {
        start.await.unwrap().expect("a session that got its slot");
    }
    assert!((1..=CAP).contains(&most.load(Ordering::SeqCst)), "{most:?} at once");
    assert_eq!(nodes[0].0.slots().await.unwrap(), SlotCounts::default());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn j3_one_who_waits_on_another_node_behind_a_hundred_goes_within_two_free_slots() {
    let server = Server::start();
    let [(_, here), (store, there)] = [node(&server, "node-1", 1).await, node(&server, "node-2", 1).await];
    let slot = slot_of(admitted(&here, "many").await).await;
    let mut all = Vec::new();
    for _ in 0..100 {
        all.push(("many", wait(&here, "many").await));
    }
    let one = wait(&there, "one").await;
    assert_eq!(one.position(), 2);
    all.push(("one", one));
    // Whoever gets the slot gives it on at once: who got it when tells the order.
    let order = Arc::new(Mutex::new(Vec::new()));
    let sessions: Vec<_> = all
        .into_iter()
        .map(|(owner, waiting)| {
            let order = Arc::clone(&order);
            tasks::spawn("test-session", async move {
                let slot = slot_of(Admitted::Waiting(waiting)).await;
                order.lock().push(owner);
                slot.release().await;
            })
        })
        .collect();
    assert_eq!(store.slots().await.unwrap(), SlotCounts { taken: 1, waiting: 101 });
    slot.release().await;
    for session in sessions {
        session.await.unwrap().expect("a session that got its slot");
    }
    assert!(order.lock().iter().take(2).any(|owner| *owner == "one"), "{:?}", order.lock());
    assert_eq!(store.slots().await.unwrap(), SlotCounts::default());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_on_another_node_passes_those_who_wait_and_limits_are_counted_over_both() {
    let server = Server::start();
    let [(store, here), (_, there)] = [node(&server, "node-1", 2).await, node(&server, "node-2", 2).await];
    let slots = [slot_of(admitted(&here, "ann").await).await, slot_of(admitted(&there, "ann").await).await];
    let waits = wait(&here, "ann").await;
    let refused = there.take(Uuid::new_v4(), "bob").await.unwrap_err();
    assert!(refused.to_string().contains("come first: 1 now"), "{refused}");
    let [first, second] = slots;
    // The other node's slot comes free, and is for the one who waits here.
    second.release().await;
    there.take(Uuid::new_v4(), "bob").await.unwrap_err();
    let waited = slot_of(Admitted::Waiting(waits)).await;
    assert_eq!(store.slots().await.unwrap(), SlotCounts { taken: 2, waiting: 0 });
    for slot in [first, waited] {
        slot.release().await;
    }
    there.take(Uuid::new_v4(), "bob").await.unwrap().release().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn i7_after_all_keys_were_wiped_both_nodes_have_their_slots_and_places_again() {
    let server = Server::start();
    let nodes = [node(&server, "node-1", 3).await, node(&server, "node-2", 3).await];
    let store = &nodes[0].0;
    let stop = CancellationToken::new();
    let mut slots = Vec::new();
    let mut waiting = Vec::new();
    for (_, admission) in &nodes {
        slots.push(slot_of(admitted(admission, "ann").await).await);
        admission.keep_slots(stop.clone());
    }
    slots.push(slot_of(admitted(&nodes[0].1, "bob").await).await);
    let held = SlotCounts { taken: 3, waiting: 0 };
    let wipe = || assert!(server.ask(&["FLUSHALL"]).unwrap().starts_with("+OK"));
    assert_eq!(store.slots().await.unwrap(), held);
    wipe();
    until_counted(store, held).await;
    nodes[1].1.take(Uuid::new_v4(), "bob").await.unwrap_err();
    for (_, admission) in &nodes {
        waiting.push(wait(admission, "cem").await);
    }
    wipe();
    // Whoever waits takes part again, in whatever order the nodes come back, and nobody is left out.
    for slot in slots {
        slot.release().await;
    }
    for one in waiting {
        slot_of(Admitted::Waiting(one)).await.release().await;
    }
    until_counted(store, SlotCounts::default()).await;
    stop.cancel();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn i2_slots_and_places_outlive_an_outage_of_redis_and_nobody_passes_the_cap_after_it() {
    let mut server = Server::start();
    let [(store, here), (_, there)] = [node(&server, "node-1", 2).await, node(&server, "node-2", 2).await];
    let slots = [slot_of(admitted(&here, "ann").await).await, slot_of(admitted(&there, "ann").await).await];
    let waits = wait(&there, "bob").await;
    server.kill();
    here.take(Uuid::new_v4(), "ann").await.unwrap_err();
    let [first, second] = slots;
    // It comes back as soon as it can.
    first.release_later();
    server.run();
    let slot = slot_of(Admitted::Waiting(waits)).await;
    until_counted(&store, SlotCounts { taken: 2, waiting: 0 }).await;
    there.take(Uuid::new_v4(), "cem").await.unwrap_err();
    for slot in [slot, second] {
        slot.release().await;
    }
    until_counted(&store, SlotCounts::default()).await;
}
