//! Tests of `credentials`: every state with a real file. Bits of permission do not bind root, so the rows that need
//! them say what they expect in each case.

use std::os::unix::fs::{PermissionsExt, symlink};

use serde_json::{Value, json};
use tempfile::TempDir;

use super::*;

const NOW: u64 = 1_800_000_000_000;
const HOUR: u64 = 3_600_000;
const ACCESS: &str = "sk-ant-oat01-SECRET-ACCESS";
const REFRESH: &str = "sk-ant-ort01-SECRET-REFRESH";

/// A scratch configuration directory.
struct Scratch(TempDir);

impl Scratch {
    fn new() -> Self {
        Self(TempDir::new().unwrap())
    }

    fn with(content: &str) -> Self {
        let scratch = Self::new();
        std::fs::write(scratch.file(), content).unwrap();
        scratch
    }

    fn with_login(change: impl FnOnce(&mut Value)) -> Self {
        let mut login = json!({
            "accessToken": ACCESS,
            "refreshToken": REFRESH,
            "expiresAt": NOW + HOUR,
            "scopes": ["user:inference", "user:profile"],
            "subscriptionType": "max",
        });
        change(&mut login);
        Self::with(&json!({"claudeAiOauth": login}).to_string())
    }

    fn file(&self) -> PathBuf {
        self.0.path().join(".credentials.json")
    }

    fn inspect_with(&self, more: &[(&str, &str)]) -> AuthStatus {
        let mut env: BTreeMap<OsString, OsString> =
            more.iter().map(|&(name, value)| (name.into(), value.into())).collect();
        env.insert("CLAUDE_CONFIG_DIR".into(), self.0.path().into());
        let status = inspect(&env, NOW, 10 * HOUR);
        let shown = serde_json::to_string(&status).unwrap();
        assert!(!shown.contains("SECRET") && !shown.contains("sk-ant"), "a token is shown: {shown}");
        status
    }

    fn inspect(&self) -> AuthStatus {
        self.inspect_with(&[])
    }
}

#[test]
fn a_login_that_renews_itself_is_authenticated() {
    let scratch = Scratch::with_login(|_| ());
    let status = scratch.inspect();
    assert_eq!(
        status,
        AuthStatus {
            status: LoginState::Authenticated,
            method: LoginMethod::OauthFile,
            credentials_found: true,
            path: Some(scratch.file().to_string_lossy().into_owned()),
            readable: true,
            writable: true,
            refreshable: true,
            expires_at: Some("2027-01-15T09:00:00.000Z".to_owned()),
            expires_in_seconds: Some(3_600),
            subscription_type: Some("max".to_owned()),
            message: "Claude is logged in and renews the login itself".to_owned(),
            instructions: None,
        }
    );
}

#[test]
fn an_access_token_that_has_ended_is_no_trouble_while_it_can_be_renewed() {
    let status = Scratch::with_login(|login| login["expiresAt"] = json!(NOW - 1)).inspect();
    assert_eq!((status.status, status.refreshable), (LoginState::Authenticated, true));
    assert_eq!(status.expires_in_seconds, Some(-1));
}

#[test]
fn a_login_that_can_not_renew_itself_expires() {
    let state = |expires_at: u64| {
        let status = Scratch::with_login(|login| {
            login["refreshToken"] = json!("");
            login["expiresAt"] = json!(expires_at);
        })
        .inspect();
        assert!(!status.refreshable);
        (status.status, status.instructions.is_some())
    };
    assert_eq!(state(NOW - 1), (LoginState::Expired, true));
    assert_eq!(state(NOW), (LoginState::Expired, true));
    assert_eq!(state(NOW + 10 * HOUR), (LoginState::Expiring, true));
    assert_eq!(state(NOW + 10 * HOUR + 1), (LoginState::Authenticated, false));
}

#[test]
fn a_login_without_an_end_is_authenticated() {
    let status = Scratch::with_login(|login| {
        login.as_object_mut().unwrap().retain(|name, _| name != "expiresAt" && name != "refreshToken");
    })
    .inspect();
    assert_eq!((status.status, status.expires_at), (LoginState::Authenticated, None));
}

#[test]
fn a_missing_file_is_no_login() {
    let status = Scratch::new().inspect();
    assert_eq!((status.status, status.method), (LoginState::NotAuthenticated, LoginMethod::None));
    assert!(!status.credentials_found && !status.readable && status.writable);
    assert!(status.path.is_some() && status.instructions.is_some());
}

#[test]
fn a_missing_directory_is_no_login_and_nothing_can_be_saved() {
    let env = [(OsString::from("HOME"), OsString::from("/nonexistent"))].into();
    let status = inspect(&env, NOW, HOUR);
    assert_eq!(status.path.as_deref(), Some("/nonexistent/.claude/.credentials.json"));
    assert_eq!((status.status, status.writable), (LoginState::NotAuthenticated, false));
}

#[test]
fn without_a_home_there_is_no_path() {
    let status = inspect(&BTreeMap::new(), NOW, HOUR);
    assert_eq!((status.status, status.path), (LoginState::NotAuthenticated, None));
    assert!(status.instructions.is_some());
}

#[test]
fn a_wiped_login_is_told_as_ended() {
    let status = Scratch::with_login(|login| {
        *login = json!({"accessToken": "", "refreshToken": "", "expiresAt": 0, "scopes": ["user:inference"]});
    })
    .inspect();
    assert_eq!((status.status, status.credentials_found), (LoginState::NotAuthenticated, false));
    assert!(status.message.contains("emptied"), "{}", status.message);
}

#[test]
fn a_login_without_the_scope_does_not_count() {
    for scopes in [json!(["user:profile"]), json!([]), json!(null), json!("user:inference")] {
        let status = Scratch::with_login(|login| login["scopes"] = scopes.clone()).inspect();
        assert_eq!(status.status, LoginState::NotAuthenticated, "{scopes}");
        assert!(status.message.contains("user:inference"), "{}", status.message);
    }
}

#[test]
fn what_is_not_claudes_json_is_unreadable() {
    for content in ["", "garbage", "[]", r#"{"claudeAiOauth":"sk-ant-SECRET"}"#, r#"{"claudeAiOauth":{"a":1}"#] {
        let status = Scratch::with(content).inspect();
        assert_eq!(status.status, LoginState::Unreadable, "{content}");
        assert!(status.readable && !status.credentials_found);
    }
    let large = Scratch::with(&format!(r#"{{"claudeAiOauth":{{}},"x":"{}"}}"#, "x".repeat(1024 * 1024))).inspect();
    assert_eq!(large.status, LoginState::Unreadable);
    let scratch = Scratch::new();
    std::fs::write(scratch.file(), b"{\"a\":\"\xff\"}").unwrap();
    assert_eq!(scratch.inspect().status, LoginState::Unreadable);
}

#[test]
fn a_file_without_a_login_is_not_authenticated() {
    for content in ["{}", r#"{"claudeAiOauth":null}"#, r#"{"mcpOAuth":{}}"#] {
        assert_eq!(Scratch::with(content).inspect().status, LoginState::NotAuthenticated, "{content}");
    }
}

#[test]
fn a_directory_in_the_files_place_is_told() {
    let scratch = Scratch::new();
    std::fs::create_dir(scratch.file()).unwrap();
    let status = scratch.inspect();
    assert_eq!((status.status, status.readable), (LoginState::Unreadable, false));
    assert!(status.message.contains("not a regular file"));
}

#[test]
fn a_pipe_in_the_files_place_does_not_hold_up_the_answer() {
    let scratch = Scratch::new();
    rustix::fs::mknodat(rustix::fs::CWD, scratch.file(), rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
    assert_eq!(scratch.inspect().status, LoginState::Unreadable);
}

#[test]
fn a_file_that_may_not_be_read_is_unreadable() {
    let scratch = Scratch::with_login(|_| ());
    std::fs::set_permissions(scratch.file(), PermissionsExt::from_mode(0o000)).unwrap();
    let status = scratch.inspect();
    if rustix::process::geteuid().is_root() {
        assert_eq!(status.status, LoginState::Authenticated, "root may read it");
    } else {
        assert_eq!((status.status, status.readable), (LoginState::Unreadable, false));
    }
}

#[test]
fn in_a_directory_that_may_not_be_written_the_login_can_not_renew_itself() {
    let scratch = Scratch::with_login(|login| login["expiresAt"] = json!(NOW - 1));
    std::fs::set_permissions(scratch.0.path(), PermissionsExt::from_mode(0o555)).unwrap();
    let status = scratch.inspect();
    std::fs::set_permissions(scratch.0.path(), PermissionsExt::from_mode(0o755)).unwrap();
    if rustix::process::geteuid().is_root() {
        assert_eq!(status.status, LoginState::Authenticated, "root may write it");
    } else {
        assert_eq!((status.status, status.writable, status.refreshable), (LoginState::Expired, false, false));
        assert!(status.instructions.unwrap()[0].contains("directory writable"));
    }
}

/// What `saving` gives for the login of a file, without the need of a mount.
fn told_with(saving: Saving, login: &Value) -> AuthStatus {
    let content = understand(&json!({"claudeAiOauth": login}).to_string());
    let place = Place { path: PathBuf::from("/c/.credentials.json"), readable: true, saving, symlink: false, content };
    let mut status = inspect(&BTreeMap::new(), NOW, HOUR);
    status.writable = saving == Saving::Possible;
    place.tell(&mut status, NOW, HOUR);
    status
}

#[test]
fn a_file_mounted_read_only_burns_its_refresh_token_and_that_is_told() {
    let login = json!({
        "accessToken": ACCESS, "refreshToken": REFRESH, "expiresAt": NOW + 2 * HOUR, "scopes": ["user:inference"],
    });
    let status = told_with(Saving::FileReadOnly, &login);
    assert_eq!((status.status, status.refreshable), (LoginState::Authenticated, false));
    assert!(status.instructions.unwrap()[0].contains("mounted read-only"));

    let status = told_with(Saving::DirectoryReadOnly, &login);
    assert_eq!((status.status, status.refreshable), (LoginState::Authenticated, false));
    assert!(status.instructions.unwrap()[0].contains("directory writable"));
}

#[test]
fn a_symbolic_link_is_told() {
    let real = Scratch::with_login(|_| ());
    let scratch = Scratch::new();
    symlink(real.file(), scratch.file()).unwrap();
    let status = scratch.inspect();
    assert_eq!(status.status, LoginState::Authenticated);
    assert!(status.instructions.unwrap()[0].contains("symbolic link"));

    std::fs::remove_file(real.file()).unwrap();
    assert_eq!(scratch.inspect().status, LoginState::NotAuthenticated);
}

#[test]
fn the_logins_of_the_environment_win_in_claudes_order() {
    let scratch = Scratch::with_login(|_| ());
    let key = ("ANTHROPIC_API_KEY", "sk-ant-SECRET-KEY");
    let auth = ("ANTHROPIC_AUTH_TOKEN", "SECRET-TOKEN");
    let oauth = ("CLAUDE_CODE_OAUTH_TOKEN", "sk-ant-oat01-SECRET");
    for (env, method) in [
        (&[key, auth, oauth][..], LoginMethod::ApiKey),
        (&[auth, oauth], LoginMethod::AuthToken),
        (&[oauth], LoginMethod::OauthToken),
        (&[("ANTHROPIC_API_KEY", "")], LoginMethod::OauthFile),
        (&[], LoginMethod::OauthFile),
    ] {
        let status = scratch.inspect_with(env);
        assert_eq!((status.method, status.status), (method, LoginState::Authenticated));
    }
    let status = scratch.inspect_with(&[key]);
    assert!(status.message.contains("wins over the login in the credentials file"));
    assert!(!status.refreshable && status.expires_at.is_none());
    let alone = Scratch::new().inspect_with(&[key]);
    assert!(alone.credentials_found && !alone.message.contains("wins") && alone.instructions.is_none());
}

#[test]
fn inspecting_changes_nothing() {
    let scratch = Scratch::with_login(|login| login["expiresAt"] = json!(1));
    let before = std::fs::read(scratch.file()).unwrap();
    scratch.inspect();
    assert_eq!(std::fs::read(scratch.file()).unwrap(), before);
    assert_eq!(std::fs::read_dir(scratch.0.path()).unwrap().count(), 1);
}
