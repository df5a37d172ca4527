//! Turns a plan into a process: program, environment, user, marker.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::future::Future;
use std::path::Path;
use std::sync::Arc;

use uuid::Uuid;

use super::login::ClaudeLogin;
use super::plan::Plan;
use crate::api::session::SessionKind;
use crate::claude::CommandLine;
use crate::config::settings::SessionSettings;
use crate::process::{self, Launch, Marker, Process, RunAs, SpawnError, Spawner, StdinMode};
use crate::telemetry::metrics;

/// What every agent of this node is started with.
#[derive(Debug)]
pub struct Launcher {
    spawner: Spawner,
    /// The whole environment of an agent, but for the marker. Made once: it never depends on a caller.
    env: BTreeMap<OsString, OsString>,
    user: Option<RunAs>,
    node: Arc<str>,
    settings: Arc<SessionSettings>,
    login: ClaudeLogin,
}

impl Launcher {
    /// A launcher for `node`.
    #[must_use]
    pub fn new(
        spawner: Spawner,
        env: BTreeMap<OsString, OsString>,
        user: Option<RunAs>,
        node: &str,
        settings: Arc<SessionSettings>,
        login: ClaudeLogin,
    ) -> Self {
        Self { spawner, env, user, node: node.into(), settings, login }
    }

    /// The login that agents have.
    #[must_use]
    pub fn login(&self) -> &ClaudeLogin {
        &self.login
    }

    /// Can the program of the settings be started at all? For readiness.
    ///
    /// # Errors
    /// Why not.
    pub fn find(&self, program: &Path) -> Result<std::path::PathBuf, SpawnError> {
        process::find_program(program, self.env.get(std::ffi::OsStr::new("PATH")).map(OsString::as_os_str))
    }

    /// Starts the plan's process.
    ///
    /// # Errors
    /// See [`SpawnError`].
    pub async fn spawn(&self, plan: &Plan) -> Result<Process, SpawnError> {
        // The policy has tried the same arguments; only what was changed since could make them too long.
        let args = plan.arguments().map_err(|_| SpawnError::BadArgument("they are too long"))?;
        let stdin = match plan.kind {
            SessionKind::Claude => StdinMode::Pipe,
            SessionKind::Command => StdinMode::Null,
        };
        self.start(plan.id, &plan.program, args, &plan.workspace, stdin).await
    }

    /// Starts Claude for a session of that id that nobody has asked for yet.
    ///
    /// # Errors
    /// See [`SpawnError`].
    pub(super) async fn spawn_ahead(
        &self,
        session: Uuid,
        program: &Path,
        line: &CommandLine,
        workspace: &Path,
    ) -> Result<Process, SpawnError> {
        let args = line.arguments().map_err(|_| SpawnError::BadArgument("they are too long"))?;
        self.start(session, program, args, workspace, StdinMode::Pipe).await
    }

    async fn start(
        &self,
        session: Uuid,
        program: &Path,
        args: Vec<String>,
        workspace: &Path,
        stdin: StdinMode,
    ) -> Result<Process, SpawnError> {
        let launch = Launch {
            program: self.find(program)?,
            args: args.into_iter().map(OsString::from).collect(),
            env: self.env.clone(),
            cwd: workspace.to_owned(),
            stdin,
            marker: Marker::new(session, &self.node),
            user: self.user.clone(),
            max_line_bytes: self.settings.max_line_bytes,
            output_grace: self.settings.output_grace_seconds.duration(),
        };
        self.spawner.spawn(launch).await
    }

    /// Stops everything of a session's tree for now.
    pub fn freeze(&self, session: Uuid) -> impl Future<Output = ()> + Send + 'static {
        let (marker, user) = (Marker::new(session, &self.node), self.user.clone());
        async move {
            process::freeze(&marker, user.as_ref()).await;
        }
    }

    /// Lets everything of a session's tree go on.
    pub fn thaw(&self, session: Uuid) -> impl Future<Output = ()> + Send + 'static {
        let (marker, user) = (Marker::new(session, &self.node), self.user.clone());
        async move {
            process::thaw(&marker, user.as_ref()).await;
        }
    }

    /// Kills whatever is left of a session's tree.
    pub fn sweep(&self, session: Uuid) -> impl Future<Output = ()> + Send + 'static {
        let marker = Marker::new(session, &self.node);
        let user = self.user.clone();
        async move {
            let report = process::sweep(&marker, user.as_ref()).await;
            metrics::processes_swept(report.killed);
            if report.left > 0 {
                tracing::error!(session_id = %session, left = report.left, "processes of an ended session can't be killed");
            }
        }
    }
}
