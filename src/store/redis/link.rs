//! The connections: how commands and scripts get to Redis, within which time, and how they come back from an outage.
//!
//! Invariants: a command is answered or given up within [`COMMAND`]; one that was given up may still land, so
//! whatever is written is written such that it can be written again. Writes go over one connection, in the order
//! in which they are asked for: what follows a write that was given up lands after it. What may be large to read
//! has a connection of its own.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use fred::clients::Client;
use fred::interfaces::{ClientLike, LuaInterface};
use fred::types::Value;
use fred::types::config::{Config, ReconnectPolicy, UnresponsiveConfig};
use fred::types::{Builder, FromValue};

use super::fault;
use super::scripts::Script;
use crate::store::StoreError;

/// How long one command may take, its way through an outage included.
pub(super) const COMMAND: Duration = Duration::from_secs(2);
/// How long a connection may leave a command unanswered before it is given up for a new one.
const SILENCE: Duration = Duration::from_secs(5);
/// How often a client that connects is looked at.
const LOOK_AGAIN: Duration = Duration::from_millis(100);
/// Between two tries to connect: from the first to the longest, in milliseconds.
const RETRY_MS: (u32, u32) = (50, 1_000);
/// Messages of other nodes that may wait to be looked at.
const HEARD: usize = 4_096;
/// Commands that wait for an answer: one more is refused.
const WAITING: usize = 10_000;

/// The connections to one Redis.
pub(super) struct Link {
    commands: Client,
    /// For what may be large to read, so that nothing else waits behind it.
    bulk: Client,
    /// For what is told to this node: a connection that listens takes no other commands.
    listens: Client,
    /// Set once and for good.
    closed: AtomicBool,
}

impl Link {
    /// Begins to connect, and goes on trying until [`Link::close`]: Redis need not be there.
    pub(super) fn open(config: Config) -> Result<Self, StoreError> {
        let commands = client(config)?;
        let (bulk, listens) = (commands.clone_new(), commands.clone_new());
        for client in [&commands, &bulk, &listens] {
            // The client's own task; it ends with `quit`.
            drop(client.connect());
        }
        Ok(Self { commands, bulk, listens, closed: AtomicBool::new(false) })
    }

    /// Waits until all connections are there.
    pub(super) async fn connected(&self) -> Result<(), StoreError> {
        for client in [&self.commands, &self.bulk, &self.listens] {
            let client = self.unless_closed(client)?;
            match tokio::time::timeout(COMMAND, is_connected(client)).await {
                Ok(connected) => connected.map_err(|error| fault::told("connect", &error))?,
                Err(_) => return Err(StoreError::Away("it can't be reached".to_owned())),
            }
        }
        Ok(())
    }

    /// The connection for commands; [`StoreError::Away`] once closed.
    pub(super) fn commands(&self) -> Result<&Client, StoreError> {
        self.unless_closed(&self.commands)
    }

    /// The connection that listens.
    pub(super) fn listens(&self) -> Client {
        self.listens.clone()
    }

    fn unless_closed<'a>(&self, client: &'a Client) -> Result<&'a Client, StoreError> {
        if self.closed.load(Ordering::Acquire) {
            return Err(StoreError::Away("it is closed".to_owned()));
        }
        Ok(client)
    }

    /// Runs a script.
    pub(super) async fn run<T: FromValue>(
        &self,
        doing: &'static str,
        script: &Script,
        keys: Vec<String>,
        arguments: Vec<Value>,
    ) -> Result<T, StoreError> {
        run_on(self.commands()?, doing, script, keys, arguments).await
    }

    /// Runs a script that only reads, and may give much.
    pub(super) async fn run_bulk<T: FromValue>(
        &self,
        doing: &'static str,
        script: &Script,
        keys: Vec<String>,
        arguments: Vec<Value>,
    ) -> Result<T, StoreError> {
        run_on(self.unless_closed(&self.bulk)?, doing, script, keys, arguments).await
    }

    /// Ends the connections; later calls are refused.
    pub(super) async fn close(&self) {
        if self.closed.swap(true, Ordering::AcqRel) {
            return;
        }
        for client in [&self.commands, &self.bulk, &self.listens] {
            // It may be away, and then there is nobody to say goodbye to.
            drop(tokio::time::timeout(COMMAND, client.quit()).await);
        }
    }
}

/// Waits until the client is connected. It looks whether it is and then listens for it, so that what happens in between is
/// missed: it is asked to look again.
async fn is_connected(client: &Client) -> Result<(), fred::error::Error> {
    loop {
        if let Ok(connected) = tokio::time::timeout(LOOK_AGAIN, client.wait_for_connect()).await {
            return connected;
        }
    }
}

async fn run_on<T: FromValue>(
    client: &Client,
    doing: &'static str,
    script: &Script,
    keys: Vec<String>,
    arguments: Vec<Value>,
) -> Result<T, StoreError> {
    let answer = client.evalsha::<T, _, _, _>(script.hash(), keys.clone(), arguments.clone()).await;
    let answer = match answer {
        // A server that is new or was restarted does not know it: the text goes with the call, to the very node of
        // a cluster that is asked.
        Err(error) if error.details().starts_with("NOSCRIPT") => client.eval(script.text, keys, arguments).await,
        answer => answer,
    };
    answer.map_err(|error| fault::told(doing, &error))
}

fn client(config: Config) -> Result<Client, StoreError> {
    let built = Builder::from_config(config)
        .with_performance_config(|performance| {
            performance.default_command_timeout = COMMAND;
            performance.broadcast_channel_capacity = HEARD;
        })
        .with_connection_config(|connection| {
            connection.connection_timeout = COMMAND;
            connection.internal_command_timeout = COMMAND;
            connection.max_command_buffer_len = WAITING;
            connection.tcp.nodelay = Some(true);
            connection.unresponsive =
                UnresponsiveConfig { max_timeout: Some(SILENCE), interval: Duration::from_secs(1) };
        })
        // For ever: whoever waits has a time of its own.
        .set_policy(ReconnectPolicy::new_exponential(0, RETRY_MS.0, RETRY_MS.1, 2))
        .build();
    built.map_err(|error| fault::told("connect", &error))
}
