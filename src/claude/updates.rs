//! Changes of permissions that an answer to one of Claude's questions can bring: `updatedPermissions`.
//!
//! Claude keeps them where `destination` says: for its process, in the workspace's settings, or in the user's own,
//! which all sessions share.

use serde_json::Value;

use super::input::permission_mode;
use crate::api::session::PermissionMode;

/// Where a change may be kept without reaching other workspaces.
const OF_THE_SESSION: [&str; 4] = ["session", "cliArg", "localSettings", "projectSettings"];
/// Where a change is kept in the workspace's own settings.
const OF_THE_WORKSPACE: [&str; 2] = ["localSettings", "projectSettings"];
/// What there is besides a change of the mode and of the directories.
const RULES: [&str; 3] = ["addRules", "replaceRules", "removeRules"];

/// One change, as far as it has to be judged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PermissionUpdate {
    /// It is kept for the session or its workspace only.
    pub stays_in_session: bool,
    /// The permission mode it sets.
    pub mode: Option<PermissionMode>,
    /// The directories it opens.
    pub directories: Vec<String>,
}

/// Why changes can't be judged.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`updated_permissions` holds something that is no change of permissions: {0}")]
pub struct UpdateError(&'static str);

/// Understands changes of permissions.
///
/// # Errors
/// [`UpdateError`] for what this version does not know: it can't be judged.
pub fn parse_updates(updates: &[Value]) -> Result<Vec<PermissionUpdate>, UpdateError> {
    updates.iter().map(parse).collect()
}

/// Lets a change that would be kept in the workspace's settings hold for Claude's process instead.
pub fn keep_in_process(update: &mut Value) {
    if let Some(destination) = update.get_mut("destination")
        && destination.as_str().is_some_and(|word| OF_THE_WORKSPACE.contains(&word))
    {
        *destination = Value::from("session");
    }
}

fn parse(update: &Value) -> Result<PermissionUpdate, UpdateError> {
    let word = |name: &str| update.get(name).and_then(Value::as_str);
    let destination = word("destination").ok_or(UpdateError("a destination is missing"))?;
    let mut parsed = PermissionUpdate {
        stays_in_session: OF_THE_SESSION.contains(&destination),
        mode: None,
        directories: Vec::new(),
    };
    match word("type") {
        Some(kind) if RULES.contains(&kind) => {}
        Some("setMode") => {
            let mode = word("mode").and_then(permission_mode);
            parsed.mode = Some(mode.ok_or(UpdateError("an unknown mode"))?);
        }
        Some("addDirectories" | "removeDirectories") => {
            let directories = update.get("directories").and_then(Value::as_array);
            let directories = directories.ok_or(UpdateError("directories are missing"))?;
            let paths = directories.iter().map(|path| path.as_str().map(str::to_owned));
            parsed.directories = paths.collect::<Option<_>>().ok_or(UpdateError("a directory is no text"))?;
        }
        _ => return Err(UpdateError("an unknown type")),
    }
    Ok(parsed)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_claude_suggests_is_understood() {
        let line = include_str!("../../tests/fixtures/claude/permission.jsonl")
            .lines()
            .find(|line| line.contains("can_use_tool"))
            .unwrap();
        let line: Value = serde_json::from_str(line).unwrap();
        let suggestions = line["request"]["permission_suggestions"].as_array().unwrap();
        let parsed = parse_updates(suggestions).unwrap();
        assert!(parsed.len() > 1 && parsed.iter().all(|update| update.stays_in_session), "{parsed:?}");
        assert!(parsed.iter().any(|update| update.mode == Some(PermissionMode::AcceptEdits)));
    }

    #[test]
    fn what_reaches_other_workspaces_is_told() {
        let of = |destination: &str| {
            parse_updates(&[json!({"type": "addRules", "rules": [], "behavior": "allow", "destination": destination})])
        };
        assert!(of("session").unwrap()[0].stays_in_session);
        assert!(!of("userSettings").unwrap()[0].stays_in_session);
        assert!(!of("somewhere").unwrap()[0].stays_in_session);
    }

    #[test]
    fn what_the_workspace_would_keep_can_be_kept_in_the_process() {
        for (destination, kept) in [
            ("localSettings", "session"),
            ("projectSettings", "session"),
            ("session", "session"),
            ("userSettings", "userSettings"),
        ] {
            let mut update = json!({"type": "addRules", "rules": [], "destination": destination});
            keep_in_process(&mut update);
            assert_eq!(update, json!({"type": "addRules", "rules": [], "destination": kept}));
        }
    }

    #[test]
    fn what_this_version_does_not_know_is_refused() {
        for update in [
            json!({}),
            json!(1),
            json!({"type": "addRules"}),
            json!({"type": "grantAll", "destination": "session"}),
            json!({"type": "setMode", "mode": "auto", "destination": "session"}),
            json!({"type": "addDirectories", "destination": "session"}),
            json!({"type": "addDirectories", "directories": [1], "destination": "session"}),
        ] {
            assert!(parse_updates(std::slice::from_ref(&update)).is_err(), "{update}");
        }
    }
}
