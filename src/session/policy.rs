//! The one policy: judges what may be started, whatever the door it came through.
//!
//! `session.start` and the dialect's `execute` both end here, so that no door is wider than the other. A
//! judgement is a [`Plan`], or a refusal with a reason; nothing is started here.

use std::time::Duration;

use parking_lot::Mutex;
use uuid::Uuid;

use super::error::SessionError;
use super::plan::Plan;
use super::workspace::{Workspace, Workspaces};
use crate::api::principal::{Principal, Role, Scope};
use crate::api::session::{OnLost, PermissionMode, Prompt, SessionKind, StartParams};
use crate::claude::mcp::servers_needing_raw;
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
        self.check_unsupported(&params)?;
        self.check_prompt(&params)?;
        check_labels(&params)?;
        check_ceilings(&params)?;
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
        let args = command_line(&params, conversation, &workspace)
            .arguments()
            .map_err(|error| SessionError::InvalidParams(error.to_string()))?;
        self.claim(caller)?;
        let prompt = params.prompt.take();
        Ok(Plan {
            id,
            kind: SessionKind::Claude,
            program: self.agent.agent_program.clone(),
            args,
            fresh_workspace: params.workspace.is_none() && resumed.is_none(),
            workspace: workspace.path,
            prompt,
            interactive: params.interactive,
            timeout,
            idle_timeout,
            resumable: true,
            params,
        })
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
        let (program, args) = if program == "claude" {
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
            (self.agent.agent_program.clone(), args)
        } else {
            (program.into(), args.to_vec())
        };
        let timeout = limit("timeout", timeout_seconds, self.sessions.timeout_seconds.duration())?;
        self.claim(caller)?;
        Ok(Plan {
            id,
            kind: SessionKind::Command,
            program,
            args,
            workspace: workspace.path,
            fresh_workspace: true,
            prompt: None,
            interactive: false,
            timeout,
            idle_timeout: limit("timeout", None, self.sessions.idle_timeout_seconds.duration())?,
            resumable: false,
            params: StartParams::default(),
        })
    }

    /// Makes what the plan needs before its start.
    ///
    /// # Errors
    /// [`SessionError::NotAllowed`] if its workspace can't be made.
    pub fn prepare(&self, plan: &Plan) -> Result<(), SessionError> {
        if plan.fresh_workspace { self.workspaces.make(&plan.workspace) } else { Ok(()) }
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

    fn check_unsupported(&self, params: &StartParams) -> Result<(), SessionError> {
        let refused = [(params.raw, "raw"), (params.on_lost == OnLost::Resume, "on_lost: resume")];
        match refused.into_iter().find(|(asked, _)| *asked) {
            Some((_, name)) => Err(SessionError::NotAllowed(format!("`{name}` is not available in this version"))),
            None => Ok(()),
        }
    }

    fn check_prompt(&self, params: &StartParams) -> Result<(), SessionError> {
        let invalid = |text: &str| Err(SessionError::InvalidParams(text.to_owned()));
        match &params.prompt {
            None if params.interactive => Ok(()),
            None => invalid("`prompt` is missing; only an interactive session can start without one"),
            Some(Prompt::Text(text)) if text.is_empty() => invalid("`prompt` is empty"),
            Some(Prompt::Text(text)) if text.contains('\0') => invalid("`prompt` must not hold a NUL"),
            Some(Prompt::Blocks(blocks)) if blocks.is_empty() => invalid("`prompt` holds no content block"),
            Some(Prompt::Blocks(blocks)) if !blocks.iter().all(|block| block.contains_key("type")) => {
                invalid("every content block of `prompt` needs a `type`")
            }
            Some(_) => Ok(()),
        }
    }

    fn check_mode(&self, caller: &Principal, mode: Option<PermissionMode>) -> Result<(), SessionError> {
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
    let need = |need| Err(SessionError::WrongState { state: row.state, need });
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
