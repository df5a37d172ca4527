//! The audit log: append-only, told the newest first.

use uuid::Uuid;

use super::Outcome;
use crate::store::{AuditEntry, AuditQuery, SharedStore};

/// Entry number `n`, a second after the one before it.
fn entry(n: u64) -> AuditEntry {
    let at_ms = 1_700_000_000_000 + n * 1_000;
    AuditEntry {
        id: Uuid::from_u128((u128::from(at_ms) << 80) | 0x7000_8000_0000_0000_0000 | u128::from(n)),
        at_ms,
        subject: (!n.is_multiple_of(3)).then(|| format!("owner-{}", n % 3)),
        username: format!("Zoë {n}"),
        action: if n.is_multiple_of(2) { "login".to_owned() } else { "session.start".to_owned() },
        outcome: "ok".to_owned(),
        session: n.is_multiple_of(5).then(|| Uuid::from_u128(n.into())),
        target: Some("}{x}\u{0}:\"".to_owned()),
        address: None,
    }
}

async fn numbers(store: &SharedStore, query: AuditQuery) -> Result<Vec<u64>, crate::store::StoreError> {
    let page = store.audit(query).await?;
    Ok(page.iter().map(|entry| (entry.at_ms - 1_700_000_000_000) / 1_000).collect())
}

fn all() -> AuditQuery {
    AuditQuery { limit: 1_000, ..AuditQuery::default() }
}

/// Field by field, and once however often it is written.
pub async fn audit_entries_are_told_as_they_were_and_the_newest_first(store: SharedStore) -> Outcome {
    assert_eq!(store.audit(all()).await?, []);
    store.append_audit(vec![entry(2), entry(1)]).await?;
    store.append_audit(vec![entry(3)]).await?;
    store.append_audit(vec![entry(3), entry(2)]).await?;
    store.append_audit(Vec::new()).await?;
    assert_eq!(store.audit(all()).await?, [entry(3), entry(2), entry(1)]);
    let changed = AuditEntry { outcome: "another".to_owned(), ..entry(3) };
    store.append_audit(vec![changed]).await?;
    assert_eq!(store.audit(AuditQuery { limit: 1, ..all() }).await?, [entry(3)], "what is written stays as it was");
    Ok(())
}

/// Each filter by itself and all together, in pages.
pub async fn audit_entries_are_found_by_who_what_and_where(store: SharedStore) -> Outcome {
    let entries: Vec<_> = (1..=600).map(entry).collect();
    for part in entries.chunks(64) {
        store.append_audit(part.to_vec()).await?;
    }
    let some = |word: &str| Some(word.to_owned());
    let queries = [
        all(),
        AuditQuery { subject: some("owner-1"), ..all() },
        AuditQuery { subject: some("nobody"), ..all() },
        AuditQuery { action: some("login"), ..all() },
        AuditQuery { session: Some(Uuid::from_u128(55)), ..all() },
        AuditQuery { session: Some(Uuid::from_u128(55)), subject: some("owner-2"), ..all() },
        AuditQuery { subject: some("owner-2"), action: some("login"), ..all() },
        AuditQuery { before: Some(entry(100).id), after: Some(entry(50).id), ..all() },
        AuditQuery { after: Some(entry(590).id), action: some("session.start"), ..all() },
    ];
    for query in queries {
        let expected: Vec<u64> = (1..=600).rev().filter(|n| query.wants(&entry(*n))).collect();
        assert_eq!(numbers(&store, query.clone()).await?, expected, "{query:?}");
        let (mut pages, mut before) = (Vec::new(), query.before);
        loop {
            let page = store.audit(AuditQuery { limit: 7, before, ..query.clone() }).await?;
            let Some(last) = page.last() else { break };
            assert!(page.len() <= 7);
            before = Some(last.id);
            pages.extend(page.iter().map(|entry| (entry.at_ms - 1_700_000_000_000) / 1_000));
        }
        assert_eq!(pages, expected, "in pages: {query:?}");
    }
    Ok(())
}

/// By age alone, and from every list.
pub async fn a_forgotten_audit_entry_is_told_no_more(store: SharedStore) -> Outcome {
    store.append_audit((1..=600).map(entry).collect()).await?;
    store.forget_audit(entry(595).at_ms).await?;
    store.forget_audit(entry(595).at_ms).await?;
    assert_eq!(numbers(&store, all()).await?, [600, 599, 598, 597, 596, 595]);
    let by_action = AuditQuery { action: Some("login".to_owned()), ..all() };
    assert_eq!(numbers(&store, by_action).await?, [600, 598, 596]);
    assert_eq!(numbers(&store, AuditQuery { subject: Some("owner-1".to_owned()), ..all() }).await?, [598, 595]);
    let forgotten = AuditQuery { session: Some(Uuid::from_u128(55)), ..all() };
    assert_eq!(numbers(&store, forgotten).await?, [0_u64; 0]);
    store.forget_audit(u64::MAX).await?;
    assert_eq!(store.audit(all()).await?, []);
    Ok(())
}
