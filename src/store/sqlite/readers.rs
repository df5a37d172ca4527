//! The connections that read: a few, used in turn on the runtime's blocking threads.
//!
//! Invariants: at most [`READERS`] reads run at once, others wait; a read sees every write that was
//! acknowledged before it began.

use std::path::PathBuf;
use std::sync::Arc;

use parking_lot::Mutex;
use rusqlite::Connection;
use tokio::sync::Semaphore;

use super::fault::Fault;
use super::schema;
use crate::store::StoreError;

/// Reads at once. More would not be faster: the readers of live sessions are served from memory.
const READERS: usize = 4;

/// The reading connections.
pub(super) struct Readers {
    file: PathBuf,
    /// Connections that nobody uses now. Held for a push or a pop only.
    idle: Mutex<Vec<Connection>>,
    /// One permit a connection in use; closed when the store is.
    permits: Arc<Semaphore>,
}

impl Readers {
    pub(super) fn new(file: PathBuf) -> Self {
        Self { file, idle: Mutex::new(Vec::new()), permits: Arc::new(Semaphore::new(READERS)) }
    }

    /// Runs `work` on a connection of its own.
    pub(super) async fn read<T, W>(self: &Arc<Self>, name: &'static str, work: W) -> Result<T, StoreError>
    where
        T: Send + 'static,
        W: FnOnce(&Connection) -> Result<T, Fault> + Send + 'static,
    {
        let permit = Arc::clone(&self.permits).acquire_owned().await.map_err(|_| super::closed())?;
        let readers = Arc::clone(self);
        let reading = tokio::task::spawn_blocking(move || {
            let outcome = readers.read_now(work);
            drop(permit);
            outcome
        });
        let outcome = reading.await.map_err(|error| {
            tracing::error!(store = "sqlite", doing = name, %error, "a read did not finish");
            StoreError::Away("a read did not finish".to_owned())
        })?;
        outcome.map_err(|fault| fault.into_store_error(name))
    }

    fn read_now<T>(&self, work: impl FnOnce(&Connection) -> Result<T, Fault>) -> Result<T, Fault> {
        let idle = self.idle.lock().pop();
        let connection = match idle {
            Some(connection) => connection,
            None => schema::connect_reader(&self.file)?,
        };
        let outcome = work(&connection);
        let keep = !outcome.as_ref().is_err_and(Fault::spoils_connection);
        if keep && !self.permits.is_closed() {
            self.idle.lock().push(connection);
        }
        outcome
    }

    /// Refuses later reads and closes the connections that nobody uses.
    pub(super) fn close(&self) {
        self.permits.close();
        let idle = std::mem::take(&mut *self.idle.lock());
        drop(idle);
    }
}
