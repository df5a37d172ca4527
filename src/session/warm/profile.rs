//! Profiles: what a process is started with and can't be told afterwards, for sessions that can be prepared for.
//!
//! Two plans of one profile differ in nothing but the session's id, what can be set on a running agent, and what only
//! the gateway heeds. The user and the environment of agents are one for a node, so they need not be here. A profile
//! that holds a caller's own words is that caller's: nobody else gets a process that was started with them.

use std::path::{Path, PathBuf};

use uuid::Uuid;

use crate::api::session::{OWN_REQUEST_PREFIX, PermissionMode, SessionKind};
use crate::claude::{CommandLine, Conversation, control};
use crate::session::machine::Origin;
use crate::session::plan::{Arguments, Plan};

/// A profile's arguments may take so much together, in bytes: many profiles are remembered.
const LONGEST: usize = 64 * 1024;
/// Claude's own name for the model of its settings: what it means is decided at the start.
const DEFAULT_MODEL: &str = "default";

/// What can't be set after the start.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Profile {
    program: PathBuf,
    /// Without a conversation, and without what [`Settable`] holds.
    line: CommandLine,
    /// Whether a model is set, and whether a mode is: one that is can be changed, but none can't be gone back to.
    sets: (bool, bool),
    /// Whose words it holds: a subject.
    owner: Option<String>,
}

/// What can be set after the start.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Settable {
    model: Option<String>,
    mode: Option<PermissionMode>,
}

impl Profile {
    /// The profile of a plan of `owner`'s (a subject). `None`: it can't be prepared for.
    ///
    /// Only what begins anew in a workspace of its own can: what others may change meanwhile is read by an agent when
    /// it starts, and so may have changed until it is handed out. MCP servers would be connected to with the caller's
    /// secrets before anybody has asked for a session.
    pub(super) fn of(plan: &Plan, owner: &str) -> Option<(Self, Settable)> {
        let Arguments::Claude(line) = &plan.arguments else { return None };
        let begins = plan.kind == SessionKind::Claude && plan.origin == Origin::New && plan.fresh_workspace;
        if !begins || !matches!(line.conversation, Conversation::New { .. }) || line.mcp_config.is_some() {
            return None;
        }
        let length: usize = line.arguments().ok()?.iter().map(String::len).sum();
        if length > LONGEST {
            return None;
        }
        let mut line = (**line).clone();
        line.conversation = Conversation::New { session_id: Uuid::nil() };
        let settable = Settable {
            model: line.model.take_if(|model| model != DEFAULT_MODEL),
            // The agent refuses that one unless it was started with it.
            mode: line.permission_mode.take_if(|mode| *mode != PermissionMode::BypassPermissions),
        };
        let owner = has_words(&line).then(|| owner.to_owned());
        let sets = (settable.model.is_some(), settable.mode.is_some());
        Some((Self { program: plan.program.clone(), line, sets, owner }, settable))
    }

    /// The program.
    pub(super) fn program(&self) -> &Path {
        &self.program
    }

    /// The command line of a session with that id.
    pub(super) fn command_line(&self, session_id: Uuid, settable: &Settable) -> CommandLine {
        let mut line = self.line.clone();
        line.conversation = Conversation::New { session_id };
        line.model = settable.model.clone().or(line.model);
        line.permission_mode = settable.mode.or(line.permission_mode);
        line
    }
}

/// Does it hold what only its caller should see?
fn has_words(line: &CommandLine) -> bool {
    line.system_prompt.is_some()
        || line.append_system_prompt.is_some()
        || line.json_schema.is_some()
        || !line.allowed_tools.is_empty()
        || !line.disallowed_tools.is_empty()
}

impl Settable {
    /// What an agent has to be asked that was started with `before`: the requests' ids and lines.
    pub(super) fn requests(&self, before: &Self) -> Vec<(String, Vec<u8>)> {
        let id = |what: &str| format!("{OWN_REQUEST_PREFIX}warm-{what}");
        let mut requests = Vec::new();
        if let Some(model) = self.model.as_deref().filter(|_| self.model != before.model) {
            requests.push((id("model"), control::set_model(&id("model"), Some(model))));
        }
        if let Some(mode) = self.mode.filter(|_| self.mode != before.mode) {
            requests.push((id("mode"), control::set_permission_mode(&id("mode"), mode)));
        }
        requests
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::api::principal::{Login, Principal, Role};
    use crate::api::session::StartParams;
    use crate::config::settings::{AgentSettings, SessionSettings};
    use crate::session::policy::Policy;
    use crate::session::workspace::Workspaces;

    fn plan(params: serde_json::Value) -> Plan {
        let root = tempfile::tempdir().unwrap();
        let workspaces = Workspaces::prepare(&[root.path().to_owned()], &[], None).unwrap();
        let policy = Policy::new(AgentSettings::default(), SessionSettings::default(), workspaces, None);
        let caller = Principal {
            subject: "1".to_owned(),
            username: "ann".to_owned(),
            role: Role::Admin,
            scopes: Role::Admin.scopes(),
            expires_at: u64::MAX,
            token_id: "t".to_owned(),
            login: Login { began_ms: 7, key: "a".repeat(32) },
            issuer: None,
        };
        let mut params: StartParams = serde_json::from_value(params).unwrap();
        params.interactive = true;
        policy.judge_start(&caller, params, None).unwrap()
    }

    fn profile(params: serde_json::Value, owner: &str) -> Option<(Profile, Settable)> {
        Profile::of(&plan(params), owner)
    }

    /// A profile for other tests; each number is another one.
    pub(in crate::session::warm) fn numbered(number: u32) -> (Profile, Settable) {
        profile(serde_json::json!({"max_turns": number + 1}), "ann").unwrap()
    }

    #[test]
    fn starts_that_differ_in_what_can_be_set_later_are_of_one_profile() {
        let json = |model: &str, mode: &str| serde_json::json!({"model": model, "permission_mode": mode});
        let (first, one) = profile(json("opus", "plan"), "ann").unwrap();
        let (second, other) = profile(json("haiku", "acceptEdits"), "bob").unwrap();
        assert_eq!(first, second);
        assert!(one.requests(&one).is_empty());
        let ids: Vec<_> = other.requests(&one).into_iter().map(|(id, _)| id).collect();
        assert_eq!(
            ids,
            ["gateway:warm-model", "gateway:warm-mode"].map(|id| id.replace("gateway:", OWN_REQUEST_PREFIX))
        );
        let line = first.command_line(Uuid::nil(), &one);
        assert_eq!((line.model.as_deref(), line.permission_mode), (Some("opus"), Some(PermissionMode::Plan)));
    }

    #[test]
    fn what_cannot_be_set_later_makes_another_profile() {
        let plain = profile(serde_json::json!({}), "ann").unwrap().0;
        assert_eq!(plain, profile(serde_json::json!({"labels": {"a": "b"}, "timeout_seconds": 5}), "bob").unwrap().0);
        for params in [
            serde_json::json!({"model": "opus"}),
            serde_json::json!({"model": "default"}),
            serde_json::json!({"permission_mode": "plan"}),
            serde_json::json!({"max_turns": 3}),
            serde_json::json!({"partial_messages": true}),
            serde_json::json!({"append_system_prompt": "be short"}),
        ] {
            assert_ne!(profile(params.clone(), "ann").unwrap().0, plain, "{params}");
        }
    }

    #[test]
    fn a_profile_with_a_callers_own_words_is_nobody_elses() {
        for params in [
            serde_json::json!({"system_prompt": "x"}),
            serde_json::json!({"append_system_prompt": "x"}),
            serde_json::json!({"allowed_tools": ["Read"]}),
            serde_json::json!({"disallowed_tools": ["Bash"]}),
            serde_json::json!({"json_schema": {"type": "object"}}),
        ] {
            let of = |owner| profile(params.clone(), owner).unwrap().0;
            assert_eq!(of("ann"), of("ann"));
            assert_ne!(of("ann"), of("bob"), "{params}");
        }
    }

    #[test]
    fn only_what_begins_anew_in_a_workspace_of_its_own_is_prepared_for() {
        assert!(profile(serde_json::json!({"workspace": "."}), "ann").is_none());
        assert!(profile(serde_json::json!({"system_prompt": "x".repeat(LONGEST)}), "ann").is_none());
        let servers = serde_json::json!({"mcp_config": {"mcpServers": {"a": {"type": "http", "url": "http://a"}}}});
        assert!(profile(servers, "ann").is_none());
    }
}
