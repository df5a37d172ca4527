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
