//! The one policy: judges what may be started, whatever the door it came through.
//!
//! `session.start` and the dialect's `execute` both end here, so that no door is wider than the other. A
//! judgement is a [`Plan`], or a refusal with a reason; nothing is started here.

use std::path::{Path, PathBuf};
use std::time::Duration;

use parking_lot::Mutex;
use serde_json::Value;
use uuid::Uuid;

use super::error::SessionError;
use super::machine::Origin;
use super::message::Message;
use super::plan::{Arguments, Plan};
use super::workspace::{Workspace, Workspaces};
use crate::api::event::SessionState;
use crate::api::principal::{Principal, Role, Scope};
use crate::api::session::{OnLost, PermissionMode, Prompt, SessionKind, StartParams};
use crate::claude::mcp::servers_needing_raw;
use crate::claude::updates::parse_updates;
use crate::claude::{CommandLine, Conversation, parse_caller_arguments};
use crate::config::settings::{AgentSettings, Audience, SessionSettings};
use crate::store::SessionRow;

/// Longest time a caller may ask for, in seconds: a week.
const LONGEST_SECONDS: f64 = 7.0 * 24.0 * 3_600.0;
const MAX_LABELS: usize = 32;
const MAX_LABEL_BYTES: usize = 256;

/// The rules of one node.
#[derive(Debug)]
pub struct Policy {
    agent: AgentSettings,
    sessions: SessionSettings,
    workspaces: Workspaces,
    /// With one uid for all agents, the only principal who may start sessions: the first who did. Everybody's
    /// agents could read everybody's files otherwise.
    sole_principal: Mutex<Option<String>>,
}

impl Policy {
    /// The rules of the settings. `first_principal` is who started sessions on this store before.
    #[must_use]
    pub fn new(
        agent: AgentSettings,
        sessions: SessionSettings,
        workspaces: Workspaces,
        first_principal: Option<String>,
    ) -> Self {
        Self { agent, sessions, workspaces, sole_principal: Mutex::new(first_principal) }
    }

    /// Judges a `session.start`. `resumed` is the session that `params.resume` names, if the caller may see it.
    ///
    /// # Errors
    /// [`SessionError::NotAllowed`] or [`SessionError::InvalidParams`], with what to change.
    pub fn judge_start(
        &self,
        caller: &Principal,
        mut params: StartParams,
        resumed: Option<&SessionRow>,
    ) -> Result<Plan, SessionError> {
        self.check_principal(caller)?;
        check_raw(caller, &params)?;
        check_first_prompt(&params)?;
        check_labels(&params)?;
        check_ceilings(&params)?;
        check_model(params.model.as_deref())?;
        self.check_mode(caller, params.permission_mode)?;
        check_mcp(caller, params.mcp_config.as_ref())?;
        let id = Uuid::new_v4();
        let conversation = match resumed {
            None => Conversation::New { session_id: id },
            Some(row) => Conversation::Fork { from: resumable(row)?, session_id: id },
        };
        let workspace = match (&params.workspace, resumed) {
            (Some(name), _) => self.workspaces.named(name)?,
            (None, Some(row)) => self.workspaces.named(&row.workspace)?,
            (None, None) => self.workspaces.fresh(id)?,
        };
        let timeout = limit("timeout_seconds", params.timeout_seconds, self.sessions.timeout_seconds.duration())?;
        let idle_timeout =
            limit("idle_timeout_seconds", params.idle_timeout_seconds, self.sessions.idle_timeout_seconds.duration())?;
        let queue_timeout = self.queue_timeout(params.queue_timeout_seconds)?;
        let line = command_line(&params, conversation, &workspace);
        line.arguments().map_err(|error| SessionError::InvalidParams(error.to_string()))?;
        self.claim(caller)?;
        // One that is to survive its node keeps its first message, for as long as no agent has it.
        let prompt = if params.on_lost == OnLost::Resume { params.prompt.clone() } else { params.prompt.take() };
        Ok(Plan {
            id,
            kind: SessionKind::Claude,
            program: self.agent.agent_program.clone(),
            arguments: Arguments::Claude(Box::new(line)),
            needs_login: true,
            fresh_workspace: params.workspace.is_none() && resumed.is_none(),
            workspace: workspace.path,
            message: prompt.map(|prompt| Message::first(id, prompt)),
            origin: Origin::New,
            interactive: params.interactive,
            raw: params.raw,
            timeout,
            began_at_ms: None,
            timeout_per_turn: params.interactive && params.timeout_seconds.is_none(),
            idle_timeout,
            queue_timeout,
            may_have_begun: false,
            resumable: true,
            cost_before: resumed.and_then(|row| row.total_cost_usd).unwrap_or_default(),
            params,
        })
    }

    /// The plan of a session that goes on under its own id: one that was put away, or whose node died. What was
    /// judged at its start is not judged again, but for its workspace, which may have gone.
    ///
    /// # Errors
    /// [`SessionError::NotAllowed`] or [`SessionError::InvalidParams`], if it can't go on here.
    pub fn plan_again(
        &self,
        row: &SessionRow,
        resumed: Option<&SessionRow>,
        origin: Origin,
    ) -> Result<Plan, SessionError> {
        let params: StartParams = serde_json::from_str(&row.params).map_err(|error| {
            tracing::error!(session_id = %row.id, %error, "a session's parameters can't be read");
            SessionError::NotAllowed("the session can't be brought back: its record is damaged".to_owned())
        })?;
        let fresh = params.workspace.is_none() && params.resume.is_none();
        // Its own one is made again if it has gone; it may also never have been made.
        let workspace = match (self.workspaces.named(&row.workspace), fresh) {
            (Err(_), true) => self.workspaces.fresh(row.id)?,
            (named, _) => named?,
        };
        // Only one with a conversation is put away.
        let has_begun = origin == Origin::Woken
            || row.total_cost_usd.is_some()
            || !matches!(row.state, SessionState::Queued | SessionState::Starting | SessionState::Idle);
        // The record is written behind what happens: an agent that was just starting may have begun it.
        let may_have_begun = !has_begun && origin == Origin::Recovered && row.state != SessionState::Queued;
        let conversation = match params.resume {
            _ if has_begun => Conversation::Continue { session_id: row.id },
            Some(from) => Conversation::Fork { from, session_id: row.id },
            None => Conversation::New { session_id: row.id },
        };
        // What an agent may have got is never sent again unasked.
        let unsent = (row.state == SessionState::Queued && !has_begun).then(|| params.prompt.clone()).flatten();
        let message =
            unsent.map(|prompt| Message { id: row.messages.first().copied().unwrap_or_else(Uuid::new_v4), prompt });
        let cost_before = row.total_cost_usd.unwrap_or_default();
        let inherited = resumed.and_then(|resumed| resumed.total_cost_usd).unwrap_or_default();
        let mut plan = Plan {
            id: row.id,
            kind: row.kind,
            program: self.agent.agent_program.clone(),
            arguments: Arguments::Claude(Box::new(command_line(&params, conversation, &workspace))),
            needs_login: true,
            fresh_workspace: fresh,
            workspace: workspace.path,
            message,
            origin,
            interactive: params.interactive,
            raw: params.raw,
            timeout: limit("timeout_seconds", params.timeout_seconds, self.sessions.timeout_seconds.duration())?,
            began_at_ms: None,
            timeout_per_turn: params.interactive && params.timeout_seconds.is_none(),
            idle_timeout: limit(
                "idle_timeout_seconds",
                params.idle_timeout_seconds,
                self.sessions.idle_timeout_seconds.duration(),
            )?,
            queue_timeout: self.queue_timeout(params.queue_timeout_seconds)?,
            may_have_begun,
            resumable: true,
            cost_before,
            params,
        };
        plan.spent(cost_before - inherited);
        Ok(plan)
    }

    /// Judges the dialect's `execute`: the words of a command line that never sees a shell.
    ///
    /// # Errors
    /// As [`Policy::judge_start`].
    pub fn judge_command(
        &self,
        caller: &Principal,
        command: &str,
        timeout_seconds: Option<f64>,
    ) -> Result<Plan, SessionError> {
        self.check_principal(caller)?;
        if command.contains('\0') {
            return Err(SessionError::InvalidParams("`command` must not hold a NUL".to_owned()));
        }
        let words = shlex::split(command)
            .ok_or_else(|| SessionError::InvalidParams("`command` has an open quote".to_owned()))?;
        let Some((program, args)) = words.split_first() else {
            return Err(SessionError::InvalidParams("`command` is empty".to_owned()));
        };
        if !self.agent.allowed_commands.iter().any(|allowed| allowed == program) {
            return Err(SessionError::NotAllowed(format!(
                "this program is not allowed; allowed: {}",
                self.agent.allowed_commands.join(", ")
            )));
        }
        let id = Uuid::new_v4();
        let workspace = self.workspaces.fresh(id)?;
        let (program, words, needs_login) = if program == "claude" {
            let parsed = parse_caller_arguments(args).map_err(|error| SessionError::NotAllowed(error.to_string()))?;
            self.check_mode(caller, parsed.permission_mode)?;
            for config in &parsed.mcp_config {
                check_mcp(caller, Some(config))?;
            }
            for directory in &parsed.add_dirs {
                self.workspaces.named(directory)?;
            }
            let args =
                parsed.arguments(!workspace.trusted).map_err(|error| SessionError::InvalidParams(error.to_string()))?;
            // What answers without a model answers without a login.
            (self.agent.agent_program.clone(), args, parsed.information.is_none())
        } else {
            // Under another name too.
            let is_agent = self.agent.agent_program == Path::new(program);
            (program.into(), args.to_vec(), is_agent)
        };
        let timeout = limit("timeout", timeout_seconds, self.sessions.timeout_seconds.duration())?;
        self.claim(caller)?;
        Ok(Plan {
            id,
            kind: SessionKind::Command,
            program,
            arguments: Arguments::Command(words),
            needs_login,
            workspace: workspace.path,
            fresh_workspace: true,
            message: None,
            origin: Origin::New,
            interactive: false,
            raw: false,
            timeout,
            began_at_ms: None,
            timeout_per_turn: false,
            idle_timeout: limit("timeout", None, self.sessions.idle_timeout_seconds.duration())?,
            queue_timeout: self.sessions.queue_timeout_seconds.duration(),
            may_have_begun: false,
            resumable: false,
            cost_before: 0.0,
            params: StartParams::default(),
        })
    }

    /// Judges rules that a caller wants Claude to remember with an answer: none may reach beyond the session.
    ///
    /// # Errors
    /// [`SessionError::NotAllowed`], [`SessionError::InvalidParams`].
    pub fn check_updates(&self, caller: &Principal, updates: &[Value]) -> Result<(), SessionError> {
        for update in parse_updates(updates).map_err(|error| SessionError::InvalidParams(error.to_string()))? {
            if !update.stays_in_session {
                let text = "rules can be kept for the session or its workspace (`session`, `localSettings`, \
                            `projectSettings`), not for everybody";
                return Err(SessionError::NotAllowed(text.to_owned()));
            }
            self.check_mode(caller, update.mode)?;
            for directory in &update.directories {
                self.workspaces.named(directory)?;
            }
        }
        Ok(())
    }

    /// Makes what the plan needs before its start.
    ///
    /// # Errors
    /// [`SessionError::NotAllowed`] if its workspace can't be made.
    pub fn prepare(&self, plan: &Plan) -> Result<(), SessionError> {
        if plan.fresh_workspace { self.workspaces.make(&plan.workspace) } else { Ok(()) }
    }

    /// The workspace of its own that a session of that id has, made or not.
    ///
    /// # Errors
    /// [`SessionError::NotAllowed`] if there is no root.
    pub(super) fn fresh_workspace(&self, session: Uuid) -> Result<Workspace, SessionError> {
        self.workspaces.fresh(session)
    }

    /// Makes it; where it is.
    ///
    /// # Errors
    /// [`SessionError::NotAllowed`] if it can't be made.
    pub(super) fn make_fresh_workspace(&self, session: Uuid) -> Result<PathBuf, SessionError> {
        let path = self.workspaces.fresh(session)?.path;
        self.workspaces.make(&path)?;
        Ok(path)
    }

    /// Removes it, if nothing is in it.
    pub(super) fn remove_fresh_workspace(&self, session: Uuid) {
        if let Ok(workspace) = self.workspaces.fresh(session) {
            self.workspaces.remove_if_empty(&workspace.path);
        }
    }

    fn check_principal(&self, caller: &Principal) -> Result<(), SessionError> {
        self.check_against(self.sole_principal.lock().as_deref(), caller)
    }

    /// Makes the caller the one who may start sessions, if there must be only one. Comes last: who is refused
    /// for another reason shuts nobody out.
    fn claim(&self, caller: &Principal) -> Result<(), SessionError> {
        let mut sole = self.sole_principal.lock();
        self.check_against(sole.as_deref(), caller)?;
        sole.get_or_insert_with(|| caller.subject.clone());
        Ok(())
    }

    fn check_against(&self, sole: Option<&str>, caller: &Principal) -> Result<(), SessionError> {
        let several = self.agent.agent_user.is_some() || self.agent.shared_uid_accepted;
        if several || sole.is_none_or(|first| first == caller.subject) {
            return Ok(());
        }
        Err(SessionError::NotAllowed(
            "all agents run as one system user here, so only one principal may start sessions; the operator can \
             set `agent_user`, or `shared_uid_accepted`"
                .to_owned(),
        ))
    }

    /// How long a session waits for a slot.
    fn queue_timeout(&self, asked: Option<f64>) -> Result<Duration, SessionError> {
        let default = self.sessions.queue_timeout_seconds.duration();
        Ok(limit("queue_timeout_seconds", asked, default)?.unwrap_or(Duration::from_secs_f64(LONGEST_SECONDS)))
    }

    /// May the caller have that permission mode?
    ///
    /// # Errors
    /// [`SessionError::NotAllowed`].
    pub fn check_mode(&self, caller: &Principal, mode: Option<PermissionMode>) -> Result<(), SessionError> {
        let allowed = match self.agent.bypass_permissions {
            Audience::Nobody => false,
            Audience::Admin => caller.role == Role::Admin,
            Audience::Everybody => true,
        };
        if mode == Some(PermissionMode::BypassPermissions) && !allowed {
            return Err(SessionError::NotAllowed(
                "the permission mode `bypassPermissions` is not allowed; name the tools in `allowed_tools`".to_owned(),
            ));
        }
        Ok(())
    }
}

/// Raw sessions are for those who may write to an agent's stdin.
fn check_raw(caller: &Principal, params: &StartParams) -> Result<(), SessionError> {
    if params.raw && !caller.has(Scope::Raw) {
        return Err(SessionError::NotAllowed("`raw` needs the scope `raw`".to_owned()));
    }
    Ok(())
}

/// Is that a model that Claude could be asked for?
///
/// # Errors
/// [`SessionError::InvalidParams`]
pub fn check_model(model: Option<&str>) -> Result<(), SessionError> {
    if model.is_some_and(|model| model.is_empty() || model.contains('\0')) {
        return Err(SessionError::InvalidParams("`model` must not be empty or hold a NUL".to_owned()));
    }
    Ok(())
}

fn check_first_prompt(params: &StartParams) -> Result<(), SessionError> {
    match &params.prompt {
        None if params.interactive => Ok(()),
        None => Err(SessionError::InvalidParams(
            "`prompt` is missing; only an interactive session can start without one".to_owned(),
        )),
        Some(prompt) => check_prompt(prompt),
    }
}

/// Can that be a message?
///
/// # Errors
/// [`SessionError::InvalidParams`].
pub fn check_prompt(prompt: &Prompt) -> Result<(), SessionError> {
    let invalid = |text: &str| Err(SessionError::InvalidParams(text.to_owned()));
    match prompt {
        Prompt::Text(text) if text.is_empty() => invalid("`prompt` is empty"),
        Prompt::Text(text) if text.contains('\0') => invalid("`prompt` must not hold a NUL"),
        Prompt::Blocks(blocks) if blocks.is_empty() => invalid("`prompt` holds no content block"),
        Prompt::Blocks(blocks) if !blocks.iter().all(|block| block.contains_key("type")) => {
            invalid("every content block of `prompt` needs a `type`")
        }
        _ => Ok(()),
    }
}

fn command_line(params: &StartParams, conversation: Conversation, workspace: &Workspace) -> CommandLine {
    CommandLine {
        conversation,
        model: params.model.clone(),
        permission_mode: params.permission_mode,
        allowed_tools: params.allowed_tools.clone(),
        disallowed_tools: params.disallowed_tools.clone(),
        max_turns: params.max_turns,
        max_budget_usd: params.max_budget_usd,
        system_prompt: params.system_prompt.clone(),
        append_system_prompt: params.append_system_prompt.clone(),
        mcp_config: params.mcp_config.clone(),
        json_schema: params.json_schema.clone(),
        partial_messages: params.partial_messages,
        user_settings_only: !workspace.trusted,
    }
}

/// A session whose conversation can be continued, as the id that Claude knows it by.
fn resumable(row: &SessionRow) -> Result<Uuid, SessionError> {
    let need = |need| Err(SessionError::wrong_state(row.state, need));
    match &row.ended {
        None => need("only an ended session can be resumed in a new one"),
        Some(ended) if ended.resumable => Ok(row.id),
        Some(_) => need("its conversation can't be continued"),
    }
}

fn check_mcp(
    caller: &Principal,
    config: Option<&serde_json::Map<String, serde_json::Value>>,
) -> Result<(), SessionError> {
    let needing = config.map(servers_needing_raw).unwrap_or_default();
    if needing.is_empty() || caller.has(Scope::Raw) {
        return Ok(());
    }
    let names = needing.join(", ");
    Err(SessionError::NotAllowed(format!("MCP servers that are not plain http or sse need the scope `raw`: {names}")))
}

fn check_labels(params: &StartParams) -> Result<(), SessionError> {
    let bad = |(name, value): (&String, &String)| {
        name.is_empty() || name.contains('=') || name.len() > MAX_LABEL_BYTES || value.len() > MAX_LABEL_BYTES
    };
    if params.labels.len() > MAX_LABELS || params.labels.iter().any(bad) {
        return Err(SessionError::InvalidParams(format!(
            "`labels` holds at most {MAX_LABELS} pairs of at most {MAX_LABEL_BYTES} bytes, and no `=` in a name"
        )));
    }
    match &params.idempotency_key {
        Some(key) if key.is_empty() || key.len() > 200 => {
            Err(SessionError::InvalidParams("`idempotency_key` has 1 to 200 bytes".to_owned()))
        }
        _ => Ok(()),
    }
}

/// The ceilings of turns and costs. Claude's own answer to zero would be an agent that is started and fails.
fn check_ceilings(params: &StartParams) -> Result<(), SessionError> {
    let invalid = |text: &str| Err(SessionError::InvalidParams(text.to_owned()));
    match (params.max_turns, params.max_budget_usd) {
        (Some(0), _) => invalid("`max_turns` must be at least 1"),
        (_, Some(dollars)) if dollars <= 0.0 => invalid("`max_budget_usd` must be above 0"),
        _ => Ok(()),
    }
}

/// The limit asked for, else the settings'; none for zero settings.
fn limit(name: &str, asked: Option<f64>, default: Duration) -> Result<Option<Duration>, SessionError> {
    match asked {
        None => Ok((!default.is_zero()).then_some(default)),
        Some(seconds) if seconds > 0.0 && seconds <= LONGEST_SECONDS => Ok(Some(Duration::from_secs_f64(seconds))),
        Some(_) => Err(SessionError::InvalidParams(format!("`{name}` must be above 0 and at most a week"))),
    }
}
