//! Everything goes from the one store to the other and back, and is the same.

use uuid::Uuid;

use super::fresh;
use crate::api::selector::TypeSet;
use crate::store::contract::sample;
use crate::store::copy::{Copied, CopyError, Side, copy, is_under_way, rehearse};
use crate::store::sqlite::test_store;
use crate::store::{
    Account, AuditEntry, AuditQuery, Batch, LogBounds, NewSession, Note, NoteKind, SessionRow, SharedStore, Spend,
    StoreError,
};

const LATER: u64 = 1 << 50;

/// A record, its log, and its idempotency key with the fingerprint.
type Session = (SessionRow, LogBounds, Vec<Batch>, Option<(String, String)>);

/// Everything that is to be copied, as a store tells it.
#[derive(Debug, PartialEq)]
struct Everything {
    sessions: Vec<Session>,
    accounts: Vec<Account>,
    notes: Vec<Note>,
    spent: Vec<Spend>,
    audit: Vec<AuditEntry>,
    kept_bytes: u64,
}

async fn everything(store: &SharedStore) -> Result<Everything, StoreError> {
    let mut sessions = Vec::new();
    for (_, id) in store.session_ids(None, 100).await? {
        let row = store.session(id).await?.ok_or(StoreError::Missing)?;
        let log = store.read(id, 0, TypeSet::ALL, usize::MAX).await?;
        sessions.push((row, store.bounds(id).await?, log, store.key_of_session(id).await?));
    }
    let mut notes = Vec::new();
    for kind in NoteKind::ALL {
        notes.extend(store.notes(kind, "", 100).await?);
    }
    let mut spent = store.spent(None, 100).await?;
    spent.sort_by_key(|entry| (entry.session, entry.seq));
    Ok(Everything {
        sessions,
        accounts: store.accounts().await?,
        notes,
        spent,
        audit: store.audit(AuditQuery { limit: 100, ..AuditQuery::default() }).await?,
        kept_bytes: store.kept_bytes().await?,
    })
}

/// Ended sessions, one of them cut, and one put away that has been taken over before.
async fn fill(store: &SharedStore) -> Result<(), StoreError> {
    for n in 1..=4 {
        let idempotency = (n != 2).then(|| (format!("key {n}"), format!("finger:{n}")));
        store.create_session(NewSession { idempotency, ..sample::session(n) }).await?;
        for seq in 1..=3 {
            store.append(sample::id(n), 1, sample::batch(2 * seq - 1, 2 * seq)).await?;
        }
        store
            .add_spend(Spend { owner: "owner-1".to_owned(), session: sample::id(n), seq: n, at_ms: 9, micro_usd: n })
            .await?;
    }
    for n in 1..=2 {
        store.end_session(sample::id(n), 1, sample::last_batch(7), sample::end_patch()).await?;
    }
    store.cut_head(sample::id(1), 1, 128, 10).await?;
    store.update_session(sample::id(3), 1, sample::takeover_patch("node-9", 4)).await?;
    let mut away = sample::put_away_patch(77);
    (away.total_cost_usd, away.model) = (Some(0.1 + 0.2), Some(None));
    store.update_session(sample::id(3), 4, away).await?;
    store.cut_head(sample::id(3), 4, 64, 10).await?;
    store.update_session(sample::id(4), 1, sample::put_away_patch(78)).await?;
    for n in 0..3 {
        store.create_account(Account { revision: n, ..sample::account(n) }).await?;
        let note =
            |expires_at_ms| Note { kind: NoteKind::ApiKey, key: format!("k{n}"), value: "{}".into(), expires_at_ms };
        store.put_note(note((n > 0).then_some(LATER + n))).await?;
        store
            .append_audit(vec![AuditEntry {
                id: Uuid::from_u128(u128::from(n) << 80),
                at_ms: n,
                subject: None,
                username: "operator".to_owned(),
                action: "a".to_owned(),
                outcome: "ok".to_owned(),
                session: Some(sample::id(1)),
                target: None,
                address: None,
            }])
            .await?;
    }
    Ok(())
}

async fn copied(source: &SharedStore, target: &SharedStore) -> Result<Copied, CopyError> {
    copy(source, target, &|_| {}).await
}

#[tokio::test]
async fn what_was_copied_there_and_back_is_the_same() {
    let (first, redis, second) = (test_store(), fresh().await, test_store());
    fill(&first).await.unwrap();
    let before = everything(&first).await.unwrap();
    let rehearsed = rehearse(&first, Some(&redis)).await.unwrap();
    assert_eq!(redis.session_ids(None, 1).await.unwrap(), [], "a rehearsal writes nothing");
    assert_eq!(copied(&first, &redis).await.unwrap(), rehearsed);
    assert_eq!((rehearsed.sessions, rehearsed.accounts, rehearsed.notes, rehearsed.audit_entries), (4, 3, 3, 3));
    assert_eq!(everything(&redis).await.unwrap(), before);
    assert_eq!(redis.examine().await.unwrap(), []);
    copied(&redis, &second).await.unwrap();
    assert_eq!(everything(&second).await.unwrap(), before);
    assert_eq!(second.examine().await.unwrap(), []);
    assert_eq!(everything(&first).await.unwrap(), before, "what is copied stays as it was");
}

#[tokio::test]
async fn a_copy_that_was_broken_off_anywhere_is_made_to_its_end_by_another() {
    use crate::store::faulty::Faulty;
    let (source, target) = (test_store(), fresh().await);
    fill(&source).await.unwrap();
    let faulty = Faulty::new(target.clone(), 7, 0.03);
    let failing: SharedStore = faulty.clone();
    let mut broken_off = 0;
    while let Err(error) = copied(&source, &failing).await {
        assert!(matches!(error, CopyError::Store(Side::To, StoreError::Away(_))), "{error}");
        broken_off += 1;
    }
    assert!(broken_off > 0, "nothing was broken off");
    assert_eq!(everything(&target).await.unwrap(), everything(&source).await.unwrap());
    assert!(!is_under_way(&target).await.unwrap());
    let again = copied(&source, &target).await.unwrap();
    assert_eq!((again.sessions, again.sessions_there), (4, 4));
    assert_eq!(target.examine().await.unwrap(), []);
}

#[tokio::test]
async fn what_differs_is_refused_and_left_as_it_is() {
    let (source, target) = (test_store(), fresh().await);
    fill(&source).await.unwrap();
    let mut other = sample::session(1);
    other.row.workspace = "/elsewhere".to_owned();
    for n in 1..=2 {
        target.create_account(Account { disabled: true, ..sample::account(n) }).await.unwrap();
        assert!(matches!(copied(&source, &target).await, Err(CopyError::Differs(what)) if what.contains("user-001")));
        assert!(!is_under_way(&target).await.unwrap(), "it serves on");
        assert_eq!(target.accounts().await.unwrap().len() as u64, n);
    }
    let target = fresh().await;
    target.create_session(other).await.unwrap();
    target.end_session(sample::id(1), 1, sample::last_batch(1), sample::end_patch()).await.unwrap();
    let before = everything(&target).await.unwrap();
    let id = sample::id(1).to_string();
    assert!(matches!(copied(&source, &target).await, Err(CopyError::Differs(what)) if what.contains(&id)));
    assert_eq!(everything(&target).await.unwrap(), before);
}

#[tokio::test]
async fn a_copy_is_refused_while_a_gateway_runs_or_sessions_are_unfinished() {
    let (source, target) = (fresh().await, test_store());
    source.keep_node("node-1", "{}", 600_000).await.unwrap();
    assert_eq!(copied(&source, &target).await, Err(CopyError::Gateway(Side::From)));
    source.keep_node("node-1", "{}", 0).await.unwrap();
    source.create_session(sample::session(1)).await.unwrap();
    assert_eq!(copied(&source, &target).await, Err(CopyError::Unfinished(Side::From, 1)));
    source.end_session(sample::id(1), 1, sample::last_batch(1), sample::end_patch()).await.unwrap();
    target.create_session(sample::session(2)).await.unwrap();
    assert_eq!(copied(&source, &target).await, Err(CopyError::Unfinished(Side::To, 1)));
    target.end_session(sample::id(2), 1, sample::last_batch(1), sample::end_patch()).await.unwrap();
    // What is there besides is nobody's business.
    assert_eq!(copied(&source, &target).await.unwrap().sessions, 1);
    assert_eq!(target.session_ids(None, 10).await.unwrap().len(), 2);
}
