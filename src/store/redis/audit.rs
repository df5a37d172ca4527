//! The audit log: entries as JSON by their id, and sorted sets of ids for what they are looked for by.
//!
//! Invariant: an entry is never changed, and goes only by [`crate::store::Store::forget_audit`].

use fred::interfaces::{HashesInterface, SortedSetsInterface};
use uuid::Uuid;

use super::record::to_json;
use super::{RedisStore, fault, scripts};
use crate::store::audit::first_id;
use crate::store::{AuditEntry, AuditQuery, StoreError};

/// Entries that are looked at in one step.
const STEP: i64 = 256;

impl RedisStore {
    /// See [`crate::store::Store::append_audit`].
    pub(super) async fn add_to_audit(&self, entries: &[AuditEntry]) -> Result<(), StoreError> {
        for entry in entries {
            let arguments = vec![member(entry.id).into(), to_json(entry)?.into()];
            let _: i64 =
                self.link.run("append_audit", &scripts::APPEND_AUDIT, self.audit_keys(entry), arguments).await?;
        }
        Ok(())
    }

    /// See [`crate::store::Store::audit`].
    pub(super) async fn page_of_audit(&self, query: &AuditQuery) -> Result<Vec<AuditEntry>, StoreError> {
        let [texts, all] = self.keys.audit();
        let index = match (query.session, &query.subject, &query.action) {
            (Some(session), _, _) => self.keys.audit_of("session", &session.to_string()),
            (None, Some(subject), _) => self.keys.audit_of("subject", subject),
            (None, None, Some(action)) => self.keys.audit_of("action", action),
            (None, None, None) => all,
        };
        let above = query.after.map_or("-".to_owned(), |after| format!("({}", member(after)));
        let mut below = query.before.map_or("+".to_owned(), |before| format!("({}", member(before)));
        let (wanted, mut page) = (query.limit as usize, Vec::new());
        while page.len() < wanted {
            let ids: Vec<String> = self
                .link
                .commands()?
                .zrevrangebylex(&index, below.as_str(), above.as_str(), Some((0, STEP.min(query.limit.into()))))
                .await
                .map_err(|error| fault::told("audit", &error))?;
            let Some(last) = ids.last() else { break };
            below = format!("({last}");
            page.extend(self.audit_entries(&texts, ids).await?.into_iter().filter(|entry| query.wants(entry)));
        }
        page.truncate(wanted);
        Ok(page)
    }

    /// See [`crate::store::Store::forget_audit`].
    pub(super) async fn forget_audited(&self, before_ms: u64) -> Result<(), StoreError> {
        let [texts, all] = self.keys.audit();
        let below = format!("({}", member(first_id(before_ms)));
        loop {
            let ids: Vec<String> = self
                .link
                .commands()?
                .zrangebylex(&all, "-", below.as_str(), Some((0, STEP)))
                .await
                .map_err(|error| fault::told("forget_audit", &error))?;
            if ids.is_empty() {
                return Ok(());
            }
            for entry in self.audit_entries(&texts, ids).await? {
                let arguments = vec![member(entry.id).into()];
                let keys = self.audit_keys(&entry);
                let _: i64 = self.link.run("forget_audit", &scripts::FORGET_AUDIT, keys, arguments).await?;
            }
        }
    }

    /// The entries of those ids; some may have been forgotten meanwhile.
    async fn audit_entries(&self, texts: &str, ids: Vec<String>) -> Result<Vec<AuditEntry>, StoreError> {
        let found: Vec<Option<String>> =
            self.link.commands()?.hmget(texts, ids).await.map_err(|error| fault::told("audit", &error))?;
        let decode = |text: String| {
            serde_json::from_str(&text).map_err(|_| fault::damaged("an audit entry is not the JSON it should be"))
        };
        found.into_iter().flatten().map(decode).collect()
    }

    /// The texts, all ids, and every list that the entry is in.
    fn audit_keys(&self, entry: &AuditEntry) -> Vec<String> {
        let session = entry.session.map(|session| self.keys.audit_of("session", &session.to_string()));
        let subject = entry.subject.as_ref().map(|subject| self.keys.audit_of("subject", subject));
        let action = self.keys.audit_of("action", &entry.action);
        self.keys.audit().into_iter().chain([action]).chain(session).chain(subject).collect()
    }
}

/// An id as a member, such that the order of the texts is that of the ids.
fn member(id: Uuid) -> String {
    id.simple().to_string()
}
