//! One connection as the methods see it: who is calling, and what they can do to the connection.
//!
//! The connection's writer owns the readers of its attachments; the methods hand it new ones with their
//! answer, so that an answer always comes before the first event. What both sides need is in [`Attached`].

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::time::Instant;
use uuid::Uuid;

use super::dialect::Translator;
use crate::api::principal::{Login, Principal};
use crate::session::reader::EventReader;

/// One connection.
#[derive(Debug)]
pub struct Peer {
    /// The connection's id.
    pub id: Uuid,
    /// Who is calling, and what they may do, as when the connection was opened.
    pub principal: Arc<Principal>,
    /// The token that keeps the connection open: the principal's at first, later those of `auth.reauthenticate`.
    token: watch::Sender<TokenInUse>,
    max_attachments: usize,
    /// Sessions whose events go to this connection. Shared by the methods and the writer.
    attached: Mutex<HashMap<Uuid, Arc<Attached>>>,
    /// Live sessions with `on_disconnect: stop` that this connection stands behind.
    held: Mutex<HashSet<Uuid>>,
    /// The dialect's one command of this connection.
    command: Mutex<Option<Uuid>>,
    /// Send `ping` notifications: the connection speaks the dialect.
    speaks_dialect: AtomicBool,
    /// Sessions that this connection is known to watch. Held for a look.
    watched: Mutex<HashSet<Uuid>>,
}

/// Sessions that a connection is remembered to watch; beyond that it is forgotten and told again.
const MAX_WATCHED: usize = 1_024;

/// What of a token decides how long a connection may live.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenInUse {
    /// When it ends, in seconds since the Unix epoch.
    pub expires_at: u64,
    /// The login that it came from.
    pub login: Login,
}

impl TokenInUse {
    fn of(principal: &Principal) -> Self {
        Self { expires_at: principal.expires_at, login: principal.login.clone() }
    }
}

/// What the methods and the writer both know of one attachment.
#[derive(Debug, Default)]
pub struct Attached {
    inner: Mutex<Progress>,
    /// The dialect's CANCEL was asked for: it is told in the dialect's own way.
    pub cancel_asked: AtomicBool,
}

#[derive(Debug, Default)]
struct Progress {
    last_sent: u64,
    gone: bool,
}

/// A reader for the writer to serve.
#[derive(Debug)]
pub struct Attachment {
    /// Where the events come from.
    pub reader: EventReader,
    /// Shared with the methods.
    pub attached: Arc<Attached>,
    /// For a command of the dialect: turns its events into the dialect's notifications.
    pub translator: Option<Translator>,
    /// The newest number that the socket has taken. The reader is ahead of it by what still waits.
    pub sent: u64,
    /// When the client was last told of a number, by an event or a cursor.
    pub told_at: Instant,
}

impl Attached {
    /// The writer is about to send everything up to `seq`. `false` if the attachment has gone: then nothing
    /// may be sent.
    #[must_use]
    pub fn advance(&self, seq: u64) -> bool {
        let mut progress = self.inner.lock();
        if !progress.gone {
            progress.last_sent = seq;
        }
        !progress.gone
    }

    /// Has it been detached?
    #[must_use]
    pub fn is_gone(&self) -> bool {
        self.inner.lock().gone
    }

    /// Ends the attachment: the last number sent.
    pub fn end(&self) -> u64 {
        let mut progress = self.inner.lock();
        progress.gone = true;
        progress.last_sent
    }
}

/// Why a session can't be attached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AttachError {
    /// The connection has as many attachments as it may.
    TooMany,
}

impl Peer {
    /// A connection of `principal`.
    #[must_use]
    pub fn new(id: Uuid, principal: Arc<Principal>, max_attachments: usize, speaks_dialect: bool) -> Self {
        Self {
            id,
            token: watch::Sender::new(TokenInUse::of(&principal)),
            principal,
            max_attachments,
            attached: Mutex::default(),
            held: Mutex::default(),
            command: Mutex::default(),
            speaks_dialect: AtomicBool::new(speaks_dialect),
            watched: Mutex::default(),
        }
    }

    /// The token that keeps the connection open, and its changes.
    #[must_use]
    pub fn token(&self) -> watch::Receiver<TokenInUse> {
        self.token.subscribe()
    }

    /// The login that keeps the connection open.
    #[must_use]
    pub fn login(&self) -> Login {
        self.token.borrow().login.clone()
    }

    /// Who is calling, by the token of now.
    #[must_use]
    pub fn shown(&self) -> Principal {
        let TokenInUse { expires_at, login } = self.token.borrow().clone();
        Principal { expires_at, login, ..Principal::clone(&self.principal) }
    }

    /// The connection goes on with that caller's token. It must be the same caller.
    pub fn renew(&self, principal: &Principal) {
        self.token.send_replace(TokenInUse::of(principal));
    }

    /// Is there room for one more attachment?
    #[must_use]
    pub fn has_room(&self) -> bool {
        self.attached.lock().len() < self.max_attachments
    }

    /// Notes an attachment; an older one of the same session is replaced.
    ///
    /// # Errors
    /// [`AttachError::TooMany`].
    pub fn attach(&self, reader: EventReader, translator: Option<Translator>) -> Result<Attachment, AttachError> {
        let session = reader.session();
        let mut attached = self.attached.lock();
        if !attached.contains_key(&session) && attached.len() >= self.max_attachments {
            return Err(AttachError::TooMany);
        }
        let progress = Progress { last_sent: reader.last_seen(), gone: false };
        let shared = Arc::new(Attached { inner: Mutex::new(progress), cancel_asked: AtomicBool::new(false) });
        if let Some(older) = attached.insert(session, Arc::clone(&shared)) {
            older.end();
        }
        let sent = reader.last_seen();
        Ok(Attachment { reader, attached: shared, translator, sent, told_at: Instant::now() })
    }

    /// Ends an attachment: the last number sent, if there was one.
    pub fn detach(&self, session: Uuid) -> Option<u64> {
        self.attached.lock().remove(&session).map(|attached| attached.end())
    }

    /// The writer is done with an attachment (its session has ended, or it was replaced).
    pub fn done(&self, session: Uuid, attachment: &Arc<Attached>) {
        let mut attached = self.attached.lock();
        if attached.get(&session).is_some_and(|current| Arc::ptr_eq(current, attachment)) {
            attached.remove(&session);
        }
    }

    /// What is shared of the attachment to `session`.
    #[must_use]
    pub fn attachment(&self, session: Uuid) -> Option<Arc<Attached>> {
        self.attached.lock().get(&session).cloned()
    }

    /// This connection stands behind a session that is to end with its connections. `false` if it did before.
    pub fn hold(&self, session: Uuid) -> bool {
        self.held.lock().insert(session)
    }

    /// The sessions to let go now that the connection has gone.
    #[must_use]
    pub fn take_held(&self) -> HashSet<Uuid> {
        std::mem::take(&mut *self.held.lock())
    }

    /// This connection reads that session's events. `false` if it is known to do so already.
    pub fn watches_anew(&self, session: Uuid) -> bool {
        let mut watched = self.watched.lock();
        if watched.len() >= MAX_WATCHED {
            watched.clear();
        }
        watched.insert(session)
    }

    /// The dialect's command of this connection.
    #[must_use]
    pub fn command(&self) -> Option<Uuid> {
        *self.command.lock()
    }

    /// The dialect's command is now this session.
    pub fn set_command(&self, session: Uuid) {
        *self.command.lock() = Some(session);
    }

    /// Has this connection used the dialect?
    #[must_use]
    pub fn speaks_dialect(&self) -> bool {
        self.speaks_dialect.load(Ordering::Relaxed)
    }

    /// It has now.
    pub fn uses_dialect(&self) {
        self.speaks_dialect.store(true, Ordering::Relaxed);
    }
}
