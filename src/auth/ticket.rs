//! Tickets: what a web page opens a socket with, since a browser lets it set no header there.
//!
//! A page asks for a ticket with its access token and offers it at the upgrade as a subprotocol. A ticket serves once,
//! within half a minute, from the page's own origin, and gives what the token would have given: so one that ends up in
//! a log is worth nothing.
//!
//! Invariants: only a ticket's hash is kept (see [`super::random`]); it is taken out of the store in one step before
//! anything else is judged, so it can't serve twice, on whatever gateways; everything wrong with it looks the same.

use http::header::SEC_WEBSOCKET_PROTOCOL;
use http::{HeaderMap, HeaderValue};
use serde::{Deserialize, Serialize};

use super::random::{is_secret, kept_form, make_secret};
use super::token::{read_scopes, write_scopes};
use crate::api::{Login, Principal, Role};
use crate::store::{Note, NoteKind, SharedStore, StoreError};
use crate::telemetry::time::now_ms;

/// How long a ticket serves, in seconds.
pub const TICKET_SECONDS: u64 = 30;
/// What a subprotocol that holds a ticket begins with.
const PREFIX: &str = "ticket.";

/// A fresh ticket for its owner.
pub struct Ticket {
    /// Its text, to be offered as the subprotocol `ticket.<text>`.
    pub text: String,
    /// Seconds until it ends.
    pub expires_in: u64,
}

impl std::fmt::Debug for Ticket {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ticket").field("expires_in", &self.expires_in).finish_non_exhaustive()
    }
}

/// Why there is no ticket, or why one does not serve. The texts are for the caller.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TicketError {
    /// Unknown, used, ended, of another origin, malformed, or more than one. 401.
    #[error("the ticket is not valid")]
    Refused,
    /// The store does not answer. 503.
    #[error("the ticket can't be looked up now; try again")]
    Store(#[source] StoreError),
    /// The system gives no random bytes. 503.
    #[error("no ticket can be made now; try again")]
    Random,
}

impl From<StoreError> for TicketError {
    fn from(error: StoreError) -> Self {
        tracing::error!(%error, "a ticket could not be looked up or written");
        Self::Store(error)
    }
}

/// What is kept of a ticket: what its token said, and which page it is for.
#[derive(Serialize, Deserialize)]
struct Kept {
    subject: String,
    username: String,
    role: Role,
    scope: String,
    expires_at: u64,
    token_id: String,
    login: String,
    issuer: Option<String>,
    origin: Option<String>,
}

/// Makes and takes tickets.
#[derive(Debug, Clone)]
pub struct Tickets {
    store: SharedStore,
}

impl Tickets {
    /// Tickets in that store.
    #[must_use]
    pub fn new(store: SharedStore) -> Self {
        Self { store }
    }

    /// A ticket for that caller, for the page of that origin (`None`: for what is no web page).
    ///
    /// # Errors
    /// [`TicketError::Store`] or [`TicketError::Random`].
    pub async fn issue(&self, principal: &Principal, origin: Option<&str>) -> Result<Ticket, TicketError> {
        let text = make_secret().map_err(|_| TicketError::Random)?;
        let kept = Kept {
            subject: principal.subject.clone(),
            username: principal.username.clone(),
            role: principal.role,
            scope: write_scopes(&principal.scopes),
            expires_at: principal.expires_at,
            token_id: principal.token_id.clone(),
            login: principal.login.to_string(),
            issuer: principal.issuer.clone(),
            origin: origin.map(str::to_owned),
        };
        let now = now_ms();
        // Never longer than the token it stands for.
        let ends = now.saturating_add(TICKET_SECONDS * 1_000).min(principal.expires_at.saturating_mul(1_000));
        let note = Note {
            kind: NoteKind::Ticket,
            key: kept_form(&text),
            value: serde_json::to_string(&kept).unwrap_or_default(),
            expires_at_ms: Some(ends),
        };
        if !self.store.put_note(note).await? {
            return Err(TicketError::Random);
        }
        Ok(Ticket { text, expires_in: ends.saturating_sub(now).div_ceil(1_000) })
    }

    /// Takes a ticket that a page of that origin shows: whoever it was made for, as its token said. It serves no more,
    /// whatever comes of it.
    ///
    /// # Errors
    /// [`TicketError::Refused`] or [`TicketError::Store`].
    pub async fn redeem(&self, text: &str, origin: Option<&HeaderValue>) -> Result<Principal, TicketError> {
        if !is_secret(text) {
            return Err(refuse("malformed"));
        }
        let key = kept_form(text);
        let Some(note) = self.store.note(NoteKind::Ticket, &key).await? else {
            return Err(refuse("unknown, used or ended"));
        };
        if !self.store.change_note(NoteKind::Ticket, &key, &note.value, None, None).await? {
            return Err(refuse("used at the same moment"));
        }
        let Ok(kept) = serde_json::from_str::<Kept>(&note.value) else {
            return Err(refuse("its record is not the JSON it should be"));
        };
        if kept.origin.as_deref().map(str::as_bytes) != origin.map(HeaderValue::as_bytes) {
            return Err(refuse("another origin"));
        }
        if kept.expires_at.saturating_mul(1_000) <= now_ms() {
            return Err(refuse("its token has ended"));
        }
        let login: Login = kept.login.parse().map_err(|_| refuse("its login is malformed"))?;
        Ok(Principal {
            scopes: read_scopes(&kept.scope),
            subject: kept.subject,
            username: kept.username,
            role: kept.role,
            expires_at: kept.expires_at,
            token_id: kept.token_id,
            login,
            issuer: kept.issuer,
        })
    }
}

/// The ticket among the offered subprotocols, if there is one.
///
/// # Errors
/// [`TicketError::Refused`] if there are several.
pub fn offered(headers: &HeaderMap) -> Result<Option<&str>, TicketError> {
    let offers = headers.get_all(SEC_WEBSOCKET_PROTOCOL).iter().filter_map(|value| value.to_str().ok());
    let mut tickets = offers.flat_map(|value| value.split(',')).filter_map(|word| word.trim().strip_prefix(PREFIX));
    match (tickets.next(), tickets.next()) {
        (_, Some(_)) => Err(refuse("several tickets")),
        (ticket, None) => Ok(ticket),
    }
}

fn refuse(reason: &str) -> TicketError {
    tracing::info!(reason, "a ticket was refused");
    TicketError::Refused
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use futures_util::future::join_all;

    use super::*;
    use crate::store::sqlite::test_store;

    const PAGE: &str = "https://app.example.com";

    fn principal() -> Principal {
        Principal {
            subject: "1".to_owned(),
            username: "ada".to_owned(),
            role: Role::User,
            scopes: Role::User.scopes(),
            expires_at: now_ms() / 1_000 + 600,
            token_id: "t".to_owned(),
            login: Login { began_ms: 7, key: "a".repeat(32) },
            issuer: None,
        }
    }

    fn origin(text: &'static str) -> HeaderValue {
        HeaderValue::from_static(text)
    }

    #[tokio::test]
    async fn a_ticket_gives_what_its_token_gave_once() {
        let tickets = Tickets::new(test_store());
        let ticket = tickets.issue(&principal(), Some(PAGE)).await.unwrap();
        assert_eq!(ticket.expires_in, TICKET_SECONDS);
        let given = tickets.redeem(&ticket.text, Some(&origin(PAGE))).await.unwrap();
        assert_eq!(given, Principal { expires_at: given.expires_at, ..principal() });
        assert_eq!(tickets.redeem(&ticket.text, Some(&origin(PAGE))).await, Err(TicketError::Refused));
    }

    #[tokio::test]
    async fn of_fifty_who_show_a_ticket_one_gets_in() {
        let tickets = Tickets::new(test_store());
        let ticket = tickets.issue(&principal(), None).await.unwrap();
        let shown = join_all((0..50).map(|_| tickets.redeem(&ticket.text, None))).await;
        assert_eq!(shown.iter().filter(|outcome| outcome.is_ok()).count(), 1);
    }

    #[tokio::test]
    async fn a_ticket_shown_by_another_page_is_spent() {
        let tickets = Tickets::new(test_store());
        for (made_for, shown_by) in [
            (Some(PAGE), Some(origin("https://evil.example.com"))),
            (Some(PAGE), Some(origin("https://app.example.com."))),
            (Some(PAGE), None),
            (None, Some(origin(PAGE))),
        ] {
            let ticket = tickets.issue(&principal(), made_for).await.unwrap();
            assert_eq!(tickets.redeem(&ticket.text, shown_by.as_ref()).await, Err(TicketError::Refused));
            let owner = made_for.map(origin);
            assert_eq!(tickets.redeem(&ticket.text, owner.as_ref()).await, Err(TicketError::Refused), "it is spent");
        }
    }

    #[tokio::test]
    async fn a_ticket_ends_with_its_token_and_is_kept_as_a_hash_only() {
        let store = test_store();
        let tickets = Tickets::new(Arc::clone(&store));
        let ended = Principal { expires_at: now_ms() / 1_000, ..principal() };
        let ticket = tickets.issue(&ended, None).await.unwrap();
        assert_eq!(ticket.expires_in, 0);
        assert_eq!(tickets.redeem(&ticket.text, None).await, Err(TicketError::Refused));
        let ticket = tickets.issue(&principal(), None).await.unwrap();
        let kept = store.notes(NoteKind::Ticket, "", 9).await.unwrap();
        assert_eq!(kept.len(), 1);
        assert!(!format!("{kept:?} {ticket:?}").contains(&ticket.text));
        for bad in ["", "x", &ticket.text[1..], "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"] {
            assert_eq!(tickets.redeem(bad, None).await, Err(TicketError::Refused), "{bad}");
        }
    }

    #[test]
    fn c10_the_ticket_is_found_among_the_offered_subprotocols() {
        let found = |offers: &[&'static str]| {
            let mut headers = HeaderMap::new();
            for offer in offers {
                headers.append(SEC_WEBSOCKET_PROTOCOL, origin(offer));
            }
            offered(&headers).map(|ticket| ticket.map(str::to_owned))
        };
        assert_eq!(found(&[]), Ok(None));
        assert_eq!(found(&["cc-gateway.v1, aa.bb.cc"]), Ok(None));
        assert_eq!(found(&["cc-gateway.v1,ticket.abc"]), Ok(Some("abc".to_owned())));
        assert_eq!(found(&["cc-gateway.v1", "ticket.abc"]), Ok(Some("abc".to_owned())));
        assert_eq!(found(&["ticket.a", "ticket.b"]), Err(TicketError::Refused));
    }
}
