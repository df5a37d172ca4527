//! Several gateways on one store in memory.

use std::sync::Arc;

use super::*;
use crate::auth::fake_store::FakeStore;
use crate::store::Store as _;

fn here() -> IpAddr {
    "192.0.2.1".parse().unwrap()
}

fn address(host: usize) -> IpAddr {
    format!("198.51.100.{host}").parse().unwrap()
}

/// So many gateways on one store.
fn gateways<const N: usize>(limit: u32) -> (Arc<FakeStore>, [SharedThrottle; N]) {
    let store = Arc::new(FakeStore::default());
    let gateways = std::array::from_fn(|_| SharedThrottle::new(limit, store.clone()));
    (store, gateways)
}

/// An attempt that fails.
async fn fail(gateway: &SharedThrottle, username: &str, peer: IpAddr) {
    drop(gateway.attempt(username, peer));
    gateway.failed(username, peer).await;
}

async fn succeed(gateway: &SharedThrottle, username: &str, peer: IpAddr) {
    gateway.attempt(username, peer).succeeded();
    gateway.succeeded(username, peer).await;
}

#[tokio::test]
async fn c7_a_guesser_has_no_more_tries_at_several_gateways_than_at_one() {
    let (_store, [one, two, three]) = gateways(4);
    for gateway in [&one, &two, &one, &two] {
        for gateway in [&one, &two, &three] {
            assert_eq!(gateway.check("ada", here()).await, Ok(()));
        }
        fail(gateway, "ada", here()).await;
    }
    for gateway in [&one, &two, &three] {
        let wait = gateway.check("ada", here()).await.unwrap_err();
        assert!(wait > Duration::from_secs(30) && wait <= WINDOW, "{wait:?}");
        assert_eq!(gateway.check("bob", here()).await, Ok(()), "others are unaffected");
        assert_eq!(gateway.check("ada", address(1)).await, Ok(()));
    }
}

#[tokio::test]
async fn the_wait_that_others_cause_is_exact_and_what_is_over_counts_no_more() {
    let (_store, [one, two]) = gateways(2);
    // The store goes by its own clock: what is over for it may be gone.
    let begun = now_ms();
    for at in [begun, begun + 10_000] {
        one.add(Of::Both, "ada", here(), at).await;
    }
    let waits = async |now| two.elsewhere("ada", here(), now).await;
    assert_eq!(waits(begun + 10_000).await, Some(Duration::from_secs(50)));
    assert_eq!(waits(begun + 59_999).await, Some(Duration::from_millis(1)));
    assert_eq!(waits(begun + 60_000).await, None);
    two.add(Of::Both, "ada", here(), begun + 60_000).await;
    assert_eq!(waits(begun + 60_000).await, Some(Duration::from_secs(10)), "the window slides");
}

#[tokio::test]
async fn c7_guesses_at_all_gateways_do_not_keep_an_owner_out_where_the_account_is_used() {
    let (_store, [one, two, three]) = gateways(1);
    succeed(&one, "ada", here()).await;
    for (host, gateway) in [&one, &two, &three].into_iter().cycle().take(5).enumerate() {
        fail(gateway, "ada", address(host)).await;
    }
    for gateway in [&one, &two, &three] {
        assert!(gateway.check("ada", address(77)).await.is_err(), "from a new address");
        assert_eq!(gateway.check("ada", here()).await, Ok(()), "the owner gets in, at whatever gateway");
        assert_eq!(gateway.check("bob", address(77)).await, Ok(()));
    }
}

#[tokio::test]
async fn wrong_secrets_without_a_name_count_for_their_address_at_all_gateways() {
    let (_store, [one, two]) = gateways(1);
    for gateway in [&one, &two].into_iter().cycle().take(10) {
        assert_eq!(gateway.check_address(here()).await, Ok(()));
        gateway.address_failed(here()).await;
    }
    for gateway in [&one, &two] {
        assert!(gateway.check_address(here()).await.is_err());
        assert!(gateway.check("ada", here()).await.is_err());
        assert_eq!(gateway.check_address(address(2)).await, Ok(()));
    }
}

#[tokio::test]
async fn without_the_store_each_gateway_holds_back_by_its_own_count() {
    let (store, [one, two]) = gateways(2);
    store.close().await;
    for _ in 0..2 {
        assert_eq!(one.check("ada", here()).await, Ok(()));
        fail(&one, "ada", here()).await;
    }
    assert!(one.check("ada", here()).await.is_err());
    assert_eq!(two.check("ada", here()).await, Ok(()));
    succeed(&two, "ada", here()).await;
    two.address_failed(here()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn c7_failures_at_once_at_several_gateways_are_all_counted() {
    let (store, [one, two, three]) = gateways(100);
    let at_once = [&one, &two, &three].map(|gateway| async {
        for _ in 0..30 {
            gateway.failed("ada", here()).await;
        }
    });
    futures_util::future::join_all(at_once).await;
    let note = store.note(NoteKind::FailedLogins, &key(Of::Both, "ada", here())).await.unwrap().unwrap();
    assert_eq!(read(&note.value, now_ms()).at_ms.len(), 90);
}

#[tokio::test]
async fn the_store_sees_no_name_and_no_more_of_it_than_many_names_share() {
    let (store, [one]) = gateways(1);
    fail(&one, "hunter42-typed-as-a-name", here()).await;
    succeed(&one, "ada-lovelace", here()).await;
    let notes = store.notes(NoteKind::FailedLogins, "", 100).await.unwrap();
    assert_eq!(notes.len(), 4);
    for note in notes {
        assert!(!format!("{note:?}").contains("hunter42") && !format!("{note:?}").contains("lovelace"), "{note:?}");
        assert!(note.expires_at_ms.is_some(), "{note:?}");
    }
    assert_eq!(short("ada").len(), 4);
}

#[tokio::test]
async fn a_limit_beyond_what_a_note_can_hold_is_each_gateways_own() {
    let (store, [one]) = gateways(1_000);
    fail(&one, "ada", here()).await;
    let kept = store.notes(NoteKind::FailedLogins, "", 100).await.unwrap();
    assert_eq!(kept.len(), 1, "{kept:?}");
    let full = Window { at_ms: vec![now_ms(); MAX_SHARED], writing: Uuid::new_v4() };
    assert!(serde_json::to_string(&full).unwrap().len() < crate::store::NOTE_BYTES);
}
