//! Files of older forms are brought up to date with all they hold.

use std::path::Path;

use rusqlite::{Connection, params};
use uuid::Uuid;

use super::{by_hand, open};
use crate::api::event::SessionState;
use crate::api::selector::TypeSet;
use crate::store::contract::sample;
use crate::store::sqlite::schema;
use crate::store::{EndedQuery, LogBounds, PutAwayQuery, SessionPatch, SessionRow, Spend, Store};

/// A new file of that form, without rows.
fn of_form(form: usize, path: &Path) -> Connection {
    let file = by_hand(path);
    for step in &schema::STEPS[..form] {
        file.execute_batch(step).unwrap();
    }
    file.execute_batch(&format!("PRAGMA application_id = 0x63636777; PRAGMA user_version = {form}")).unwrap();
    file
}

fn form(path: &Path) -> usize {
    let version: i64 = by_hand(path).query_row("PRAGMA user_version", [], |row| row.get(0)).unwrap();
    usize::try_from(version).unwrap()
}

#[tokio::test]
async fn a_file_of_the_first_form_is_brought_up_to_date_with_true_sums() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("gateway.db");
    {
        let old = of_form(1, &path);
        for (key, state, head) in [(1_u32, "running", 3_u32), (2, "ended", 1), (3, "queued", 0)] {
            old.execute(
                "INSERT INTO sessions (key, id, owner, state, node, epoch, last_seq, created_at_ms) \
                 VALUES (?1, ?2, 'owner-1', ?3, 'node-1', 1, ?4, ?1)",
                params![key, sample::id(key.into()).as_bytes(), state, head],
            )
            .unwrap();
            for seq in 1..=head {
                // Also a payload that has pages of its own.
                let payload = vec![7_u8; if seq == 2 { 100_000 } else { 10 }];
                old.execute("INSERT INTO batches VALUES (?1, ?2, ?2, 2, ?3)", params![key, seq, payload]).unwrap();
            }
        }
    }
    let store = open(&path).unwrap();
    let bounds = async |id: Uuid| store.bounds(id).await.unwrap();
    assert_eq!(bounds(sample::id(1)).await, LogBounds { first: 1, head: 3, bytes: 100_020 });
    assert_eq!(bounds(sample::id(2)).await, LogBounds { first: 1, head: 1, bytes: 10 });
    assert_eq!(bounds(sample::id(3)).await, LogBounds { first: 1, head: 0, bytes: 0 });
    assert_eq!(store.kept_bytes().await.unwrap(), 100_030);
    store.append(sample::id(1), 1, sample::batch(4, 4)).await.unwrap();
    assert_eq!(store.cut_head(sample::id(1), 1, 100, 10).await.unwrap(), LogBounds { first: 3, head: 4, bytes: 74 });
    assert_eq!(store.read(sample::id(1), 0, TypeSet::ALL, usize::MAX).await.unwrap().len(), 2);
    assert_eq!(form(&path), schema::STEPS.len());
}

/// `session_details.about` as the second form's versions wrote it.
const ABOUT: &str = r#"{"owner_name":"Zoë","kind":"claude","workspace":"/work/1","model":"opus","interactive":true,
    "on_disconnect":"stop","on_lost":"resume","labels":{"team":"t1"},"resumed_from":null,"of_a_later_version":7}"#;

#[tokio::test]
async fn a_file_of_the_second_form_keeps_its_sessions_and_learns_to_put_them_away() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("gateway.db");
    {
        let old = of_form(2, &path);
        for (key, state, ended_at_ms) in [(1_u32, "idle", None), (2, "ended", Some(9)), (3, "queued", None)] {
            old.execute(
                "INSERT INTO sessions (key, id, owner, state, node, epoch, last_seq, created_at_ms, ended_at_ms, bytes) \
                 VALUES (?1, ?2, 'owner-1', ?3, 'node-1', 1, 1, ?1, ?4, 10)",
                params![key, sample::id(key.into()).as_bytes(), state, ended_at_ms],
            )
            .unwrap();
            old.execute("INSERT INTO session_details VALUES (?1, ?2, '{}')", params![key, ABOUT]).unwrap();
            old.execute("INSERT INTO batches VALUES (?1, 1, 1, 2, zeroblob(10))", [key]).unwrap();
        }
    }
    let store = open(&path).unwrap();
    assert_eq!(form(&path), schema::STEPS.len());
    let id = sample::id(1);
    let mut expected = SessionRow {
        state: SessionState::Idle,
        created_at_ms: 1,
        interactive: true,
        resumed_from: None,
        last_seq: 1,
        params: "{}".to_owned(),
        ..sample::session(1).row
    };
    assert_eq!(store.session(id).await.unwrap(), Some(expected.clone()));
    let unfinished = async || -> Vec<Uuid> {
        store.unfinished_sessions(Some("node-1")).await.unwrap().into_iter().map(|row| row.id).collect()
    };
    assert_eq!(unfinished().await, [id, sample::id(3)]);
    assert_eq!(store.kept_bytes().await.unwrap(), 30);

    let patch = SessionPatch { model: Some(Some("haiku".to_owned())), ..sample::put_away_patch(5) };
    store.update_session(id, 1, patch.clone()).await.unwrap();
    sample::apply(&mut expected, &patch);
    let waiting = store.put_away_sessions(PutAwayQuery { limit: 9, ..PutAwayQuery::default() }).await.unwrap();
    assert_eq!(waiting, [expected]);
    assert_eq!(unfinished().await, [sample::id(3)]);
    assert_eq!(store.kept_bytes().await.unwrap(), 30);
    assert_eq!(store.ended_sessions(EndedQuery { limit: 9, ..EndedQuery::default() }).await.unwrap().len(), 1);
    let about: String =
        by_hand(&path).query_row("SELECT about FROM session_details WHERE key = 1", [], |row| row.get(0)).unwrap();
    assert!(about.contains(r#""of_a_later_version":7"#), "a new model dropped what it does not know: {about}");

    let spend = Spend { owner: "owner-1".to_owned(), session: id, seq: 2, at_ms: 6, micro_usd: 40 };
    store.add_spend(spend).await.unwrap();
    assert_eq!(store.spent_since("owner-1", 5).await.unwrap(), 40);
}
