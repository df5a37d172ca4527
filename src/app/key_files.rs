//! Reads the files of signing keys again, on SIGHUP and when they have changed, so that keys are rotated without a
//! restart and without dropping a socket.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::auth::Tokens;
use crate::config::{Settings, paths};
use crate::telemetry::tasks;

/// How often is looked whether a file has changed.
const INTERVAL: Duration = Duration::from_secs(2);

/// Watches until `stop`. A secret that stands in the settings themselves never changes; then only SIGHUP is heard, so
/// that it does no harm.
pub(super) fn watch(tokens: Arc<Tokens>, settings: &Settings, stop: CancellationToken) {
    let (auth, default_secret) = (settings.auth.clone(), paths::default_secret_file(settings));
    let mut watched = auth.accepted_key_files.clone();
    watched.extend([auth.signing_key_file.clone(), auth.jwt_secret_file.clone(), default_secret.clone()]);
    watched.retain(|path| !path.as_os_str().is_empty());
    let Ok(mut hangup) = signal(SignalKind::hangup()) else {
        tracing::error!("SIGHUP can't be listened to; it ends this process");
        return;
    };
    // Before the first look: a file that changes between the start and now is read again for nothing, and no more.
    let mut known = look(&watched);
    tasks::spawn("key-files", async move {
        loop {
            let is_asked = tokio::select! {
                () = stop.cancelled() => return,
                heard = hangup.recv() => heard.is_some(),
                () = tokio::time::sleep(INTERVAL) => false,
            };
            let found = look(&watched);
            if !is_asked && found == known {
                continue;
            }
            known = found;
            match tokens.reload(&auth, &default_secret) {
                Ok(true) => {
                    let keys = tokens.keys().ids();
                    tracing::info!(
                        keys = keys.join(" "),
                        "the keys of access tokens have changed; the first one signs"
                    );
                }
                Ok(false) => tracing::debug!("the keys of access tokens were read again and are the same"),
                Err(error) => tracing::error!(%error, "the keys of access tokens can't be read; those of before stay"),
            }
        }
    });
}

/// What tells that a file is another one.
type Mark = (Option<SystemTime>, u64);

/// The marks of all files, those in named directories included. Links are followed.
fn look(watched: &[PathBuf]) -> BTreeMap<PathBuf, Mark> {
    let mut found = BTreeMap::new();
    for path in watched {
        let inside = std::fs::read_dir(path).ok().into_iter().flatten().filter_map(Result::ok);
        for path in inside.map(|entry| entry.path()).chain([path.clone()]) {
            if let Some(mark) = mark(&path) {
                found.insert(path, mark);
            }
        }
    }
    found
}

fn mark(path: &Path) -> Option<Mark> {
    let metadata = std::fs::metadata(path).ok()?;
    Some((metadata.modified().ok(), metadata.len()))
}
