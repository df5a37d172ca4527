//! Credentials files that an operator brings: in the environment at the start, and as files while the gateway runs.
//!
//! Each is judged before anything is touched; a bad one never takes the place of a good one. What became of the
//! newest is told by the log and by `/auth/status`.

use std::ffi::OsStr;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use secrecy::{ExposeSecret, SecretString};
use tokio::sync::{oneshot, watch};
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use super::{FILES_WITHIN, LoginSetup, as_agent};
use crate::api::http::{Delivery, DeliveryOutcome, DeliverySource};
use crate::claude::Inspector;
use crate::claude::credentials::uploads::{Upload, Uploads};
use crate::claude::credentials::{Installed, Refusal, install};
use crate::process::UserThread;
use crate::telemetry::time::{now_ms, rfc3339_ms};

const LOOK_EVERY: Duration = Duration::from_secs(1);

pub(super) struct Deliveries {
    inspector: Inspector,
    /// Touches Claude's files.
    thread: Option<Arc<UserThread>>,
    /// Reads the uploads: they are the operator's, not the agents'.
    own_thread: Option<UserThread>,
    /// `None` for good if reading them has hung or panicked: then whoever had them has them still.
    uploads: Option<Uploads>,
    /// The directory could not be read at the last look.
    unreadable: bool,
    told: watch::Sender<Option<Delivery>>,
}

impl Deliveries {
    pub(super) fn new(
        setup: &LoginSetup,
        thread: Option<Arc<UserThread>>,
        told: watch::Sender<Option<Delivery>>,
    ) -> Self {
        Self {
            inspector: setup.inspector.clone(),
            thread,
            own_thread: UserThread::start("upload-files", None).ok(),
            uploads: Some(Uploads::new(setup.uploads.clone())),
            unreadable: false,
            told,
        }
    }

    /// Installs what the variable holds, if it is a login.
    pub(super) async fn install_from_environment(&mut self, encoded: &SecretString) {
        let packed: String = encoded.expose_secret().split_whitespace().collect();
        let text = STANDARD.decode(packed).ok().and_then(|bytes| String::from_utf8(bytes).ok());
        let outcome = match text {
            Some(text) => self.install(SecretString::from(text)).await,
            None => Err(Refusal::NotBase64),
        };
        self.tell(DeliverySource::Environment, outcome);
    }

    /// Looks for uploads until `stop`; tells `looked` after the first time.
    pub(super) async fn serve(mut self, looked: oneshot::Sender<()>, stop: CancellationToken) {
        self.look().await;
        // The start may have lost patience.
        let _nobody_waits = looked.send(());
        let mut tick = tokio::time::interval(LOOK_EVERY);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                _ = tick.tick() => self.look().await,
            }
        }
    }

    /// Takes up what is new in the directory.
    async fn look(&mut self) {
        let found = self.with_uploads(Uploads::look).await;
        let Some(found) = found else { return };
        let uploads = match found {
            Ok(uploads) => {
                self.unreadable = false;
                uploads
            }
            Err(error) => {
                if !std::mem::replace(&mut self.unreadable, true) {
                    tracing::warn!(kind = %error.kind(), "the directory for credentials files can't be read");
                }
                return;
            }
        };
        for Upload { name, text } in uploads {
            let outcome = match text {
                Ok(text) => self.install(text).await,
                Err(refusal) => Err(refusal),
            };
            let after = |uploads: &mut Uploads, name: &OsStr, outcome: &Result<Installed, Refusal>| match outcome {
                Ok(_) => uploads.remove(name),
                Err(refusal) if refusal.is_momentary() => uploads.again(name),
                Err(_) => {}
            };
            let told = outcome.clone();
            self.with_uploads(move |uploads| after(uploads, &name, &told)).await;
            if !matches!(&outcome, Err(refusal) if refusal.is_momentary()) {
                self.tell(DeliverySource::Upload, outcome);
            }
        }
    }

    async fn with_uploads<T: Send + 'static>(
        &mut self,
        work: impl FnOnce(&mut Uploads) -> T + Send + 'static,
    ) -> Option<T> {
        let mut uploads = self.uploads.take()?;
        let work = move || {
            let done = work(&mut uploads);
            (uploads, done)
        };
        // A file system that hangs holds this task and nobody else.
        let (uploads, done) = self.own_thread.as_ref()?.run(work).await?;
        self.uploads = Some(uploads);
        Some(done)
    }

    async fn install(&self, text: SecretString) -> Result<Installed, Refusal> {
        let inspector = self.inspector.clone();
        let work = move || install(&inspector, text.expose_secret(), now_ms(), false);
        let done = as_agent(self.thread.as_deref(), work).await;
        done.unwrap_or_else(|| {
            tracing::error!(limit = ?FILES_WITHIN, "a login could not be installed: the file system does not answer");
            Err(Refusal::Failed(std::io::ErrorKind::TimedOut))
        })
    }

    fn tell(&self, source: DeliverySource, outcome: Result<Installed, Refusal>) {
        let (outcome, message) = match outcome {
            Ok(Installed::Written) => (DeliveryOutcome::Installed, "the login was installed".to_owned()),
            Ok(Installed::Unchanged) => (DeliveryOutcome::Installed, "the login was installed already".to_owned()),
            Err(refusal) => (DeliveryOutcome::Refused, refusal.to_string()),
        };
        match outcome {
            DeliveryOutcome::Installed => {
                tracing::info!(source = source.as_str(), "credentials for Claude were brought: {message}");
            }
            DeliveryOutcome::Refused => {
                tracing::warn!(
                    source = source.as_str(),
                    "credentials for Claude were brought and are refused: {message}"
                );
            }
        }
        self.told.send_replace(Some(Delivery { source, outcome, message, at: rfc3339_ms(now_ms()) }));
    }
}
