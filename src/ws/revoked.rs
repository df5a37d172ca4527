//! Closes sockets whose tokens were taken back, here or on another gateway of the same store.
//!
//! Invariants:
//! - One read of the store for all sockets, twice a second at most, and none while there is no socket.
//! - While the store is away sockets stay. If it was away for so long that news may have been missed, every socket's
//!   token is looked up once.
//! - A socket that was opened between its token's check and a revocation is found too: what was read lately is
//!   applied again.

use std::sync::Arc;
use std::time::Duration;

use futures_util::{StreamExt, stream};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::close::Close;
use super::registry::Connections;
use crate::auth::revocation::{NEWS_LIVE, NewsCursor, Revocations};
use crate::auth::{AuthError, Authenticator};
use crate::rpc::peer::Peer;
use crate::store::StoreError;
use crate::telemetry::{metrics, tasks};

/// How often is looked for news.
const INTERVAL: Duration = Duration::from_millis(500);
/// Sockets whose tokens are looked up at once after an outage.
const LOOK_UPS: usize = 16;

/// Looks again and again, until `stop`.
pub fn keep_watch(
    connections: Connections,
    revocations: Revocations,
    authenticator: Arc<Authenticator>,
    stop: CancellationToken,
) {
    let mut watch =
        Watch { connections, revocations, authenticator, cursor: NewsCursor::default(), current: Instant::now() };
    tasks::spawn("ws-revoked", async move {
        let mut is_away = false;
        loop {
            let pause = async {
                tokio::select! {
                    () = tokio::time::sleep(INTERVAL) => {}
                    () = watch.revocations.told_here() => {}
                }
            };
            tokio::select! {
                () = stop.cancelled() => return,
                () = pause => {}
            }
            let looked = watch.look().await;
            match &looked {
                Err(error) if !is_away => {
                    tracing::warn!(%error, "revoked tokens can't be looked up; sockets stay meanwhile");
                }
                Ok(()) if is_away => tracing::info!("revoked tokens can be looked up again"),
                _ => {}
            }
            is_away = looked.is_err();
        }
    });
}

struct Watch {
    connections: Connections,
    revocations: Revocations,
    authenticator: Arc<Authenticator>,
    cursor: NewsCursor,
    /// Nothing that was revoked before this moment has been missed.
    current: Instant,
}

impl Watch {
    async fn look(&mut self) -> Result<(), StoreError> {
        let began = Instant::now();
        if self.connections.is_empty() {
            self.current = began;
            return Ok(());
        }
        let (news, cursor) = self.revocations.news(&self.cursor).await?;
        if !news.is_empty() {
            let concerned = |peer: &Peer| news.concern(&peer.principal.subject, &peer.login());
            told(self.connections.close_if(concerned, Close::TokenEnded));
        }
        if began.duration_since(self.current) > NEWS_LIVE / 2 {
            self.look_everything_up().await?;
        }
        (self.cursor, self.current) = (cursor, began);
        Ok(())
    }

    async fn look_everything_up(&self) -> Result<(), StoreError> {
        let peers = self.connections.peers();
        tracing::info!(sockets = peers.len(), "the store was away for long: the tokens of all sockets are looked up");
        let look_ups = peers.into_iter().map(async |peer: Arc<Peer>| {
            let outcome = self.authenticator.still_good(peer.shown()).await;
            (peer.id, outcome)
        });
        let mut outcomes = stream::iter(look_ups).buffer_unordered(LOOK_UPS);
        while let Some((id, outcome)) = outcomes.next().await {
            match outcome {
                Ok(_) => {}
                Err(AuthError::Store(error)) => return Err(error),
                Err(AuthError::InvalidToken | AuthError::MissingToken(_)) => {
                    told(self.connections.close_if(|peer| peer.id == id, Close::TokenEnded));
                }
            }
        }
        Ok(())
    }
}

fn told(closed: u64) {
    if closed > 0 {
        metrics::sockets_revoked(closed);
        tracing::info!(sockets = closed, "sockets are closed: their tokens were revoked");
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::{mpsc, watch};
    use uuid::Uuid;

    use super::*;
    use crate::api::{Login, Principal, Role};
    use crate::auth::fake_store::account;
    use crate::auth::{SigningSecret, Tokens};
    use crate::config::settings::{AuthSettings, WebSocketSettings};
    use crate::store::SharedStore;
    use crate::store::faulty::Faulty;
    use crate::store::sqlite::test_store;
    use crate::ws::registry::{Entered, Newcomer};

    /// An open socket, and how it learns of its end.
    struct Socket {
        principal: Principal,
        closing: watch::Receiver<Option<Close>>,
        _entered: Entered,
        _outbox: mpsc::Receiver<crate::ws::outbox::Outgoing>,
    }

    fn open(connections: &Connections, subject: &str, digit: char) -> Socket {
        let principal = Principal {
            subject: subject.to_owned(),
            username: "ada".to_owned(),
            role: Role::User,
            scopes: Role::User.scopes(),
            expires_at: u64::MAX,
            token_id: String::new(),
            login: Login { began_ms: 1, key: digit.to_string().repeat(32) },
            issuer: None,
        };
        let peer = Arc::new(Peer::new(Uuid::new_v4(), Arc::new(principal.clone()), 1, false));
        let (close, closing) = watch::channel(None);
        let (outbox, queue) = mpsc::channel(1);
        let entered =
            connections.enter(Newcomer { peer, address: None, close, outbox }, &WebSocketSettings::default()).unwrap();
        Socket { principal, closing, _entered: entered, _outbox: queue }
    }

    impl Socket {
        fn is_closed(&self) -> bool {
            *self.closing.borrow() == Some(Close::TokenEnded)
        }
    }

    /// A watch over a store that fails when it is told to, with the account of that subject.
    async fn watching() -> (Watch, Arc<Faulty>, String) {
        let faulty = Faulty::new(test_store(), 1, 1.0);
        faulty.set_failing(false);
        let store = Arc::clone(&faulty) as SharedStore;
        let ada = account("ada", Role::User);
        store.create_account(ada.clone()).await.unwrap();
        let settings = AuthSettings::default();
        let secret = SigningSecret::from_text("q8Zt3vN1kLx0WmC7rYbE5uHsJd2FgPaT").unwrap();
        let tokens = Arc::new(Tokens::new(&settings, secret));
        let watch = Watch {
            connections: Connections::default(),
            revocations: Revocations::new(Arc::clone(&store), &settings),
            authenticator: Arc::new(Authenticator::new(tokens, store, false)),
            cursor: NewsCursor::default(),
            current: Instant::now(),
        };
        (watch, faulty, ada.subject)
    }

    #[tokio::test]
    async fn c5_a_revoked_login_is_closed_and_sockets_stay_while_the_store_is_away() {
        let (mut watch, faulty, ada) = watching().await;
        let (one, two) = (open(&watch.connections, &ada, 'a'), open(&watch.connections, &ada, 'b'));
        watch.look().await.unwrap();
        watch.revocations.revoke_login(&one.principal.login, None).await.unwrap();
        faulty.set_failing(true);
        watch.look().await.unwrap_err();
        assert!(!one.is_closed());
        faulty.set_failing(false);
        watch.look().await.unwrap();
        assert!(one.is_closed() && !two.is_closed());
        // One that was let in by a check from before the revocation, and came in after it was read.
        let late = open(&watch.connections, &ada, 'a');
        watch.look().await.unwrap();
        assert!(late.is_closed() && !two.is_closed());
    }

    #[tokio::test]
    async fn c5_after_a_long_outage_every_socket_is_looked_up() {
        let (mut watch, _faulty, ada) = watching().await;
        let (one, two) = (open(&watch.connections, &ada, 'a'), open(&watch.connections, &ada, 'b'));
        let stranger = open(&watch.connections, "nobody", 'c');
        watch.revocations.revoke_login(&one.principal.login, None).await.unwrap();
        // As if the news had ended unread.
        watch.cursor = watch.revocations.news(&NewsCursor::default()).await.unwrap().1;
        watch.current = Instant::now().checked_sub(NEWS_LIVE).unwrap();
        watch.look_everything_up().await.unwrap();
        assert!(one.is_closed() && stranger.is_closed() && !two.is_closed());
        watch.look().await.unwrap();
        assert!(watch.current.elapsed() < NEWS_LIVE / 2);
    }

    #[tokio::test]
    async fn without_sockets_the_store_is_not_asked() {
        let (mut watch, faulty, _) = watching().await;
        faulty.set_failing(true);
        watch.look().await.unwrap();
        assert_eq!(faulty.failed(), 0);
    }
}
