//! Why a gateway can't start. Told to the operator, so paths and addresses are named.

use std::net::SocketAddr;
use std::path::PathBuf;

use crate::auth::{AccountError, SecretError};
use crate::config::data_dir::DataDirError;
use crate::process::UserError;
use crate::store::StoreError;

/// Why a gateway can't start.
#[derive(Debug, thiserror::Error)]
pub enum AppError {
    /// The data directory.
    #[error(transparent)]
    DataDirectory(#[from] DataDirError),
    /// The node's id can't be kept in the data directory.
    #[error("the node's id can't be kept in {}: {source}", path.display())]
    NodeId {
        /// The data directory.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// A signal came while it waited for the store.
    #[error("it was stopped while it waited for the store")]
    Stopped,
    /// The store can't be opened or asked.
    #[error("the store can't be used: {0}")]
    Store(#[from] StoreError),
    /// The signing secret.
    #[error(transparent)]
    Secret(#[from] SecretError),
    /// The first account.
    #[error(transparent)]
    Accounts(#[from] AccountError),
    /// `agent_user`.
    #[error("agent_user can't be used: {0}")]
    AgentUser(#[from] UserError),
    /// The workspace roots.
    #[error("{0}")]
    Workspaces(String),
    /// The thread that starts agents.
    #[error("agents can't be started: {0}")]
    Spawner(std::io::Error),
    /// A listener's address.
    #[error("can't listen on {address}: {source}")]
    Bind {
        /// Which.
        address: SocketAddr,
        /// Why not.
        source: std::io::Error,
    },
    /// The first admin's password can't be shown.
    #[error(
        "the password of the first account, `admin`, can't be written to standard output: {0}; the account is taken back, \
         and the next start makes another password"
    )]
    Password(std::io::Error),
    /// A listener that does not know its own address.
    #[error("a listener has no address: {0}")]
    Listen(std::io::Error),
    /// The metrics recorder.
    #[error("metrics can't be recorded: {0}")]
    Metrics(metrics_exporter_prometheus::BuildError),
    /// A method registered twice: a bug.
    #[error("the method table is wrong: {0}")]
    Methods(#[from] jsonrpsee::core::RegisterMethodError),
}

impl AppError {
    /// Is a setting wrong, so that the same start would fail for ever? The rest can be otherwise next time.
    #[must_use]
    pub fn is_about_settings(&self) -> bool {
        match self {
            Self::AgentUser(error) => matches!(error, UserError::Unknown),
            Self::Accounts(error) => matches!(error, AccountError::PasswordFile { .. } | AccountError::Password(_)),
            Self::Secret(error) => !matches!(error, SecretError::Create { .. }),
            Self::DataDirectory(error) => !matches!(error, DataDirError::Io { .. } | DataDirError::Missing { .. }),
            _ => false,
        }
    }
}
