//! The contract on a real Redis, and what only this store promises.

mod calls;
mod copying;
mod examine;
mod kinds;
mod outage;
#[path = "../../../../tests/support/redis_server.rs"]
#[expect(unreachable_pub, reason = "it is a part of the integration tests too")]
mod server;
mod several;
mod steps;

use std::sync::Arc;

use uuid::Uuid;

pub(super) use self::server::Server;
use super::RedisStore;
use crate::store::contract::sample;
use crate::store::{SharedStore, Store};

/// A fresh, empty store on a server of its own that goes with it.
async fn fresh() -> SharedStore {
    let server = Server::start();
    let mut store = open(&server).await;
    store.server = Some(server);
    Arc::new(store)
}

async fn open(server: &Server) -> RedisStore {
    let store = RedisStore::open(&server.url(), "ccgw").unwrap();
    store.prepare().await.unwrap();
    store
}

mod contract {
    crate::store_contract!(super::fresh);
}

/// What a person sees who asks Redis by hand.
fn ask(store: &RedisStore, words: &[&str]) -> String {
    store.server.as_ref().unwrap().ask(words).unwrap()
}

/// A store with session number 1, on a server of its own.
async fn with_one_session() -> (RedisStore, Uuid) {
    let server = Server::start();
    let mut store = open(&server).await;
    store.server = Some(server);
    let session = sample::session(1);
    store.create_session(session.clone()).await.unwrap();
    (store, session.row.id)
}
