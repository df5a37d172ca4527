//! Looking at sessions: records, pages of them, readers of their logs. Whoever may not see a session is told that there
//! is none.

use std::sync::Arc;

use uuid::Uuid;

use super::Sessions;
use crate::api::principal::{Principal, Scope};
use crate::api::selector::TypeSet;
use crate::api::session::{ListParams, ListResult, Session, SessionKind};
use crate::session::answers;
use crate::session::error::SessionError;
use crate::session::feed::Feed;
use crate::session::message::Message;
use crate::session::reader::{EventReader, ReadError};
use crate::session::view::{page_cursor, parse_cursor, session_view};
use crate::store::{ListQuery, SessionRow};

const DEFAULT_PAGE: u32 = 50;
const LARGEST_PAGE: u32 = 500;

impl Sessions {
    /// One session's record.
    ///
    /// # Errors
    /// [`SessionError::Missing`] if there is none or the caller may not see it.
    pub async fn get(&self, caller: &Principal, id: Uuid) -> Result<Session, SessionError> {
        self.row(caller, id).await.map(|row| session_view(&row))
    }

    /// The id of a session's first message, if it was started with one.
    pub async fn first_message(&self, row: &SessionRow) -> Option<Uuid> {
        let id = Message::first_id(row.id);
        // An interactive one may have been started without, and a log that is no longer kept can't tell.
        let has_one = !row.interactive
            || row.messages.contains(&id)
            || answers::has_begun(&self.store, row.id, id).await.is_ok_and(|begun| begun);
        (has_one && row.kind == SessionKind::Claude).then_some(id)
    }

    /// A page of the sessions that the caller may see, newest first.
    ///
    /// # Errors
    /// [`SessionError::InvalidParams`] for a cursor or a limit that is none, or the store's.
    pub async fn list(&self, caller: &Principal, params: &ListParams) -> Result<ListResult, SessionError> {
        let limit = params.limit.unwrap_or(DEFAULT_PAGE);
        if !(1..=LARGEST_PAGE).contains(&limit) {
            return Err(SessionError::InvalidParams(format!("`limit` must be 1 to {LARGEST_PAGE}")));
        }
        let label = params.label.as_deref().map(|label| match label.split_once('=') {
            Some((name, value)) => (name.to_owned(), Some(value.to_owned())),
            None => (label.to_owned(), None),
        });
        let owner = (!caller.has(Scope::Admin)).then(|| caller.subject.clone());
        let before = params.cursor.as_deref().map(parse_cursor).transpose()?;
        let page = self.store.list_sessions(ListQuery { owner, state: params.state, label, before, limit }).await?;
        let next_cursor = page.rows.last().filter(|_| page.more).map(page_cursor);
        // What lives here may be in another state than its record has yet.
        let as_asked = |row: &SessionRow| params.state.is_none_or(|state| row.state == state);
        let rows = page.rows.into_iter().map(|row| self.newest(row)).filter(as_asked);
        let sessions = rows.map(|row| session_view(&row)).collect();
        Ok(ListResult { sessions, next_cursor })
    }

    /// A reader of a session's log after `after_seq`, and the session.
    ///
    /// # Errors
    /// [`SessionError::Missing`], [`SessionError::BeyondHead`], or what the reader's first look meets, as
    /// [`SessionError::Read`].
    pub async fn reader(
        self: &Arc<Self>,
        caller: &Principal,
        id: Uuid,
        after_seq: u64,
        types: TypeSet,
    ) -> Result<(Session, EventReader), SessionError> {
        let (row, feed) = self.row_and_feed(caller, id).await?;
        if after_seq > row.last_seq {
            return Err(SessionError::BeyondHead { after_seq, head: row.last_seq });
        }
        let mut reader = EventReader::new(id, Arc::clone(&self.store), feed, after_seq, types);
        if after_seq < row.last_seq {
            match reader.look().await {
                // What can't be read at all is met, and told to everybody alike, by the reading.
                Ok(()) | Err(ReadError::Removed) => {}
                Err(ReadError::Store(error)) if !error.retryable() => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok((session_view(&row), reader))
    }

    /// The record, and the feed of a session that has not ended.
    async fn row_and_feed(
        self: &Arc<Self>,
        caller: &Principal,
        id: Uuid,
    ) -> Result<(SessionRow, Option<Arc<Feed>>), SessionError> {
        // The feed is looked up before the record: a session that ends in between is then still read to its end.
        if let Some(handle) = self.live(id) {
            return Ok((self.row(caller, id).await?, Some(Arc::clone(&handle.feed))));
        }
        let row = self.row(caller, id).await?;
        if row.ended.is_some() {
            return Ok((row, None));
        }
        // It is put away, runs elsewhere, or did at that moment: what it was brought back to since is not missed, for
        // whoever brings it back here uses the same feed, and what is written elsewhere is followed.
        let feed = self.feeds.of(id, row.last_seq);
        let row = self.row(caller, id).await?;
        if row.ended.is_none() && self.live(id).is_none() {
            feed.catch_up(row.last_seq);
        }
        let feed = row.ended.is_none().then_some(feed);
        if let Some(feed) = feed.as_ref().filter(|_| self.nodes.bus().is_some()) {
            self.follow(id, feed);
        }
        Ok((row, feed))
    }

    pub(super) async fn row(&self, caller: &Principal, id: Uuid) -> Result<SessionRow, SessionError> {
        let row = match self.live(id) {
            Some(handle) => Some(handle.current()),
            None => self.store.session(id).await?,
        };
        row.filter(|row| caller.may_see(&row.owner)).ok_or(SessionError::Missing(id))
    }

    /// The record as it stands: a live session's state is newer in memory than in the store.
    pub(super) fn newest(&self, row: SessionRow) -> SessionRow {
        match self.live(row.id) {
            Some(handle) if row.ended.is_none() => handle.current(),
            _ => row,
        }
    }
}
