//! A principal's own limit, the account's, and a node without a line.

use super::*;
use crate::telemetry::time::now_ms;

#[tokio::test]
async fn with_its_own_limit_reached_a_principal_is_refused_and_others_are_not() {
    let (_store, admission) =
        with(&SessionSettings { max_sessions: 3, max_sessions_per_principal: 2, ..SessionSettings::default() });
    let anns = [take(&admission, "ann").await.unwrap(), take(&admission, "ann").await.unwrap()];
    let refused = reason(take(&admission, "ann").await);
    assert_eq!(refused, LimitReason::OwnSessions { max: 2 });
    assert!(refused.to_string().contains("your own limit"), "{refused}");
    let bobs = take(&admission, "bob").await.unwrap();
    let [first, _second] = anns;
    first.release().await;
    let again = take(&admission, "ann").await.unwrap();
    assert_eq!(reason(take(&admission, "cem").await), LimitReason::Slots { max: 3 });
    again.release().await;
    bobs.release().await;
}

#[tokio::test]
async fn in_the_line_a_principal_at_its_limit_is_passed_over_until_one_of_its_sessions_ends() {
    let (store, admission) =
        with(&SessionSettings { max_sessions: 3, max_sessions_per_principal: 1, ..SessionSettings::default() });
    let anns = take(&admission, "ann").await.unwrap();
    let mut waits = wait(&admission, "ann").await;
    // It waits for a session of its own, so nobody need wait for it, with or without the will to.
    let bobs = take(&admission, "bob").await.unwrap();
    let cems = match admission.take_or_wait(Uuid::new_v4(), "cem").await.unwrap() {
        Admitted::Slot(slot) => slot,
        Admitted::Waiting(waiting) => panic!("a slot is free: {waiting:?}"),
    };
    let mut dans = wait(&admission, "dan").await;
    until_place(&waits, 2).await;
    assert_eq!(dans.position(), 1);
    bobs.release().await;
    let dans = slot_of(&mut dans).await;
    assert!(has_slot(&mut waits).is_none());
    anns.release().await;
    let anns = slot_of(&mut waits).await;
    assert_eq!(store.slots().await.unwrap().taken, 3);
    for slot in [anns, cems, dans] {
        slot.release().await;
    }
}

#[tokio::test]
async fn while_the_account_is_limited_the_line_stands_still() {
    let (store, admission) = with_slots(2);
    admission.account_limited(Some(now_ms() + 600_000));
    let mut waits = wait(&admission, "ann").await;
    assert_eq!(waits.position(), 1, "slots are free, and yet it waits");
    let SessionError::Limit { reason, retry_after_ms } = take(&admission, "bob").await.unwrap_err() else {
        panic!("a limit was expected");
    };
    assert_eq!((reason, retry_after_ms), (LimitReason::Line { waiting: 1 }, 60_000), "as long as it makes sense");
    assert!(has_slot(&mut waits).is_none());
    assert_eq!(store.slots().await.unwrap().taken, 0);
    admission.account_limited(None);
    slot_of(&mut waits).await.release().await;
}

#[tokio::test]
async fn the_line_moves_on_by_itself_once_the_accounts_limit_is_over() {
    let (_store, admission) = with_slots(1);
    admission.account_limited(Some(now_ms() + 600_000));
    let mut waits = wait(&admission, "ann").await;
    // Near only now: else it could be over before there is anybody in the line.
    let until = now_ms() + 100;
    admission.account_limited(Some(until));
    let slot = slot_of(&mut waits).await;
    assert!(now_ms() >= until);
    slot.release().await;
}

#[tokio::test]
async fn without_the_setting_the_accounts_limit_holds_nobody() {
    let (_store, admission) =
        with(&SessionSettings { hold_queue_while_rate_limited: false, ..SessionSettings::default() });
    admission.account_limited(Some(now_ms() + 600_000));
    let admitted = admission.take_or_wait(Uuid::new_v4(), "ann").await.unwrap();
    assert!(matches!(admitted, Admitted::Slot(_)));
}

#[tokio::test]
async fn without_a_line_nobody_waits() {
    let (_store, admission) = with(&SessionSettings { max_sessions: 1, max_queue: 0, ..SessionSettings::default() });
    admission.account_limited(Some(now_ms() + 600_000));
    let Admitted::Slot(slot) = admission.take_or_wait(Uuid::new_v4(), "ann").await.unwrap() else {
        panic!("a slot is free");
    };
    let refused = admission.take_or_wait(Uuid::new_v4(), "ann").await;
    assert_eq!(reason(refused), LimitReason::Slots { max: 1 });
    slot.release().await;
}

#[tokio::test]
async fn those_who_wait_and_how_long_they_waited_are_counted() {
    let counted = crate::telemetry::metrics::install().unwrap();
    let has = |series: &str| counted.render().lines().any(|line| line == series);
    let (_store, admission) = with_slots(1);
    let slot = take(&admission, "ann").await.unwrap();
    assert!(has("cc_gateway_sessions_waiting 0"));
    let mut waits = wait(&admission, "ann").await;
    let leaves = wait(&admission, "bob").await;
    assert!(has("cc_gateway_sessions_waiting 2"));
    drop(leaves);
    assert!(has("cc_gateway_sessions_waiting 1"));
    slot.release().await;
    slot_of(&mut waits).await.release().await;
    assert!(has("cc_gateway_sessions_waiting 0"));
    assert!(has("cc_gateway_slot_wait_seconds_count 1") && has("cc_gateway_slot_wait_seconds_bucket{le=\"3600\"} 1"));
}

#[tokio::test]
async fn whoever_can_make_room_is_told_when_a_slot_is_wanted() {
    use futures_util::FutureExt;
    let (_store, admission) = with_slots(1);
    let wanted = admission.room_wanted();
    let slot = take(&admission, "ann").await.unwrap();
    assert!(wanted.notified().now_or_never().is_none(), "there was a slot");
    take(&admission, "ann").await.unwrap_err();
    assert!(wanted.notified().now_or_never().is_some());
    let mut waits = wait(&admission, "ann").await;
    // Once for the one who asked before it joined, and again and again for the line.
    for _ in 0..3 {
        wanted.notified().await;
    }
    slot.release().await;
    slot_of(&mut waits).await.release().await;
}
