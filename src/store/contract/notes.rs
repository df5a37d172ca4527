//! Notes: written once, changed by whoever knows what they say, gone when their time is over.

use futures_util::future::join_all;

use super::{Outcome, there};
use crate::store::{NOTE_BYTES, Note, NoteKind, SharedStore, StoreError};
use crate::telemetry::tasks;
use crate::telemetry::time::now_ms;

/// Far enough away for a busy machine.
const LONG_MS: u64 = 3_600_000;

fn note(key: &str, value: &str, expires_at_ms: Option<u64>) -> Note {
    Note { kind: NoteKind::Ticket, key: key.to_owned(), value: value.to_owned(), expires_at_ms }
}

fn soon() -> Option<u64> {
    Some(now_ms() + LONG_MS)
}

/// Any text, with and without an end.
pub async fn a_note_is_read_back_as_it_was_and_kinds_do_not_meet(store: SharedStore) -> Outcome {
    let odd = "Zoë's }{:*\u{0}\n\"key\" %_";
    for (kind, expires_at_ms) in NoteKind::ALL.into_iter().zip([None, soon(), Some(u64::MAX >> 1)].into_iter().cycle())
    {
        let written = Note { kind, ..note(odd, &format!("\"{}: {odd}\"", kind.as_str()), expires_at_ms) };
        assert_eq!(store.note(kind, odd).await?, None);
        assert!(store.put_note(written.clone()).await?);
        assert_eq!(store.note(kind, odd).await?, Some(written.clone()));
        assert_eq!(store.notes(kind, "", 9).await?, [written]);
    }
    assert_eq!(store.note(NoteKind::Ticket, "zoë").await?, None);
    assert_eq!(store.note(NoteKind::Ticket, "").await?, None);
    Ok(())
}

/// The very same one again is a success, as after a lost answer; another one is refused and changes nothing.
pub async fn of_two_notes_of_one_key_the_first_stays(store: SharedStore) -> Outcome {
    let first = note("key", "1", soon());
    assert!(store.put_note(first.clone()).await?);
    assert!(store.put_note(first.clone()).await?);
    assert!(!store.put_note(Note { value: "2".to_owned(), ..first.clone() }).await?);
    assert!(!store.put_note(Note { expires_at_ms: None, ..first.clone() }).await?);
    assert_eq!(store.note(NoteKind::Ticket, "key").await?, Some(first));
    assert!(store.put_note(note("other", "2", None)).await?);
    Ok(())
}

/// Value and end are replaced; what was said before is no longer a ground for a change.
pub async fn a_note_is_changed_by_whoever_knows_what_it_says(store: SharedStore) -> Outcome {
    let (kind, end) = (NoteKind::Ticket, soon());
    assert!(!store.change_note(kind, "key", "1", Some("2".to_owned()), None).await?);
    assert_eq!(store.note(kind, "key").await?, None);
    store.put_note(note("key", "1", None)).await?;
    assert!(!store.change_note(kind, "key", "3", Some("2".to_owned()), None).await?);
    assert!(!store.change_note(kind, "key", "3", None, None).await?);
    assert_eq!(store.note(kind, "key").await?, Some(note("key", "1", None)));
    // Again and again, as after a lost answer.
    for _ in 0..2 {
        assert!(store.change_note(kind, "key", "1", Some("2".to_owned()), end).await?);
        assert_eq!(store.note(kind, "key").await?, Some(note("key", "2", end)));
    }
    assert!(!store.change_note(kind, "key", "1", Some("2".to_owned()), None).await?, "the end is another one");
    assert!(store.change_note(kind, "key", "2", Some("2".to_owned()), None).await?);
    assert_eq!(store.notes(kind, "", 9).await?, [note("key", "2", None)]);
    assert!(store.change_note(kind, "key", "2", None, None).await?);
    assert!(!store.change_note(kind, "key", "2", None, None).await?);
    assert_eq!(store.notes(kind, "", 9).await?, []);
    // Its key is free.
    assert!(store.put_note(note("key", "9", None)).await?);
    Ok(())
}

/// A ticket serves once, whoever comes with it at the same moment.
pub async fn of_fifty_who_take_a_note_one_gets_it(store: SharedStore) -> Outcome {
    store.put_note(note("key", "1", soon())).await?;
    let takers = (0..50).map(|_| {
        let store = store.clone();
        tasks::spawn("takes", async move { store.change_note(NoteKind::Ticket, "key", "1", None, None).await })
    });
    let mut taken = 0;
    for taker in join_all(takers).await {
        taken += u32::from(there(taker.ok().flatten())??);
    }
    assert_eq!((taken, store.note(NoteKind::Ticket, "key").await?), (1, None));
    Ok(())
}

/// Each comes with a value of its own, and the winner's is there.
pub async fn of_fifty_who_change_a_note_one_wins(store: SharedStore) -> Outcome {
    store.put_note(note("key", "old", None)).await?;
    let changers = (0..50).map(|n| {
        let store = store.clone();
        tasks::spawn("changes", async move {
            let changed = store.change_note(NoteKind::Ticket, "key", "old", Some(n.to_string()), None).await?;
            Ok::<_, StoreError>(changed.then_some(n.to_string()))
        })
    });
    let mut winners = Vec::new();
    for changer in join_all(changers).await {
        winners.extend(there(changer.ok().flatten())??);
    }
    assert_eq!(winners.len(), 1);
    assert_eq!(store.note(NoteKind::Ticket, "key").await?.map(|note| note.value), winners.pop());
    Ok(())
}

/// Neither read, nor changed, nor in the way of another.
pub async fn a_note_that_has_ended_is_as_if_not_there(store: SharedStore) -> Outcome {
    let kind = NoteKind::Ticket;
    assert!(store.put_note(note("past", "1", Some(1))).await?);
    assert_eq!(store.note(kind, "past").await?, None);
    for again in 0..3 {
        assert!(store.put_note(note("key", "1", Some(now_ms() + 30))).await?, "{again}");
        while store.note(kind, "key").await?.is_some() {
            tokio::task::yield_now().await;
        }
        assert!(!store.change_note(kind, "key", "1", Some("2".to_owned()), None).await?);
        assert!(!store.change_note(kind, "key", "1", None, None).await?);
        assert_eq!(store.notes(kind, "", 9).await?, []);
    }
    // A change can end it too, and a later one make it last.
    store.put_note(note("key", "1", Some(now_ms() + LONG_MS))).await?;
    assert!(store.change_note(kind, "key", "1", Some("2".to_owned()), Some(1)).await?);
    assert_eq!(store.note(kind, "key").await?, None);
    assert!(store.put_note(note("key", "3", None)).await?);
    assert_eq!(store.notes(kind, "", 9).await?, [note("key", "3", None)]);
    Ok(())
}

/// In the order of bytes; every key once, however long the pages are, with ended ones in between.
pub async fn pages_of_notes_come_in_the_order_of_their_keys(store: SharedStore) -> Outcome {
    let kind = NoteKind::Ticket;
    let mut keys: Vec<String> = (0..40).map(|n| format!("key {}", n * 7 % 40)).collect();
    keys.extend(["B".to_owned(), "a".to_owned(), "é".to_owned(), "Z:1".to_owned()]);
    for (n, key) in keys.iter().enumerate() {
        let expires_at_ms = if n % 3 == 0 { soon() } else { None };
        assert!(store.put_note(note(key, "1", expires_at_ms)).await?);
        store.put_note(note(&format!("{key} gone"), "1", Some(now_ms() + 1))).await?;
    }
    keys.sort();
    while store.notes(kind, "", 1_000).await?.len() > keys.len() {
        tokio::task::yield_now().await;
    }
    for limit in [1, 7, 44, 1_000] {
        let (mut after, mut found) = (String::new(), Vec::new());
        loop {
            let page = store.notes(kind, &after, limit).await?;
            found.extend(page.iter().map(|note| note.key.clone()));
            match page.last() {
                Some(last) if page.len() == limit as usize => after.clone_from(&last.key),
                _ => break,
            }
        }
        assert_eq!(found, keys, "pages of {limit}");
    }
    assert_eq!(store.notes(kind, "zzzé", 9).await?.first().map(|note| note.key.clone()).as_deref(), Some("é"));
    assert_eq!(store.notes(kind, "", 0).await?, []);
    Ok(())
}

/// Up to the limit a value is kept whole.
pub async fn a_note_too_large_is_refused(store: SharedStore) -> Outcome {
    let largest = note("key", &"x".repeat(NOTE_BYTES), None);
    assert!(store.put_note(largest.clone()).await?);
    let too_large = Note { value: "x".repeat(NOTE_BYTES + 1), ..note("other", "", None) };
    assert!(matches!(store.put_note(too_large.clone()).await, Err(StoreError::Damaged(_))));
    let changed = store.change_note(NoteKind::Ticket, "key", &largest.value, Some(too_large.value), None).await;
    assert!(matches!(changed, Err(StoreError::Damaged(_))));
    assert_eq!(store.notes(NoteKind::Ticket, "", 9).await?, [largest]);
    Ok(())
}

/// In small steps, and nothing that still lives.
pub async fn a_purge_deletes_notes_that_have_ended(store: SharedStore) -> Outcome {
    let lasting = [note("lasting", "1", None), note("later", "1", soon())];
    for note in lasting.clone() {
        store.put_note(note).await?;
    }
    // They end by a change: what has ended before it is put is not kept at all, and there would be nothing to delete.
    for n in 0..10 {
        let key = n.to_string();
        assert!(store.put_note(note(&key, "1", soon())).await?);
        assert!(store.change_note(NoteKind::Ticket, &key, "1", Some("2".to_owned()), Some(1)).await?);
    }
    assert_eq!(store.notes(NoteKind::Ticket, "", 99).await?, lasting);
    let mut purges = 1;
    while store.purge(3).await? {
        purges += 1;
    }
    assert!(purges >= 4 && !store.purge(3).await?, "{purges}");
    assert_eq!(store.notes(NoteKind::Ticket, "", 99).await?, lasting);
    Ok(())
}
