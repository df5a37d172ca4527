//! Tests of what is found: every state with a real file. Bits of permission do not bind root, so the rows that need
//! them say what they expect in each case.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

use serde_json::{Value, json};
use tempfile::TempDir;

use super::content::Content;
use super::place::{Found, Saving};
use super::*;

const NOW: u64 = 1_800_000_000_000;
const HOUR: u64 = 3_600_000;
const ACCESS: &str = "sk-ant-oat01-SECRET-ACCESS";
const REFRESH: &str = "sk-ant-ort01-SECRET-REFRESH";

fn me() -> u32 {
    rustix::process::geteuid().as_raw()
}

fn inspect(env: &BTreeMap<OsString, OsString>, warn_ahead_ms: u64) -> AuthStatus {
    let status = Inspector { env: env.clone(), agent_uid: me(), warn_ahead_ms }.inspect(NOW).status;
    let serves = matches!(status.status, LoginState::Authenticated | LoginState::Expiring);
    assert_eq!(status.usable, serves);
    status
}

/// A scratch configuration directory.
struct Scratch(TempDir);

impl Scratch {
    fn new() -> Self {
        Self(TempDir::new().unwrap())
    }

    fn with(content: &str) -> Self {
        let scratch = Self::new();
        scratch.put(".credentials.json", content);
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

    /// Writes a file of the directory, for its owner only.
    fn put(&self, name: &str, content: &str) {
        let path = self.0.path().join(name);
        std::fs::write(&path, content).unwrap();
        std::fs::set_permissions(path, PermissionsExt::from_mode(0o600)).unwrap();
    }

    fn file(&self) -> PathBuf {
        self.0.path().join(".credentials.json")
    }

    fn inspect_with(&self, more: &[(&str, &str)]) -> AuthStatus {
        let mut env: BTreeMap<OsString, OsString> =
            more.iter().map(|&(name, value)| (name.into(), value.into())).collect();
        env.insert("CLAUDE_CONFIG_DIR".into(), self.0.path().into());
        let status = inspect(&env, 10 * HOUR);
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
            usable: true,
            method: LoginMethod::OauthFile,
            credentials_found: true,
            path: Some(scratch.file().to_string_lossy().into_owned()),
            file: Some(CredentialsFile { owner_uid: me(), mode: "0600".to_owned(), symlink: false }),
            readable: true,
            writable: true,
            refreshable: true,
            expires_at: Some("2027-01-15T09:00:00.000Z".to_owned()),
            expires_in_seconds: Some(3_600),
            subscription_type: Some("max".to_owned()),
            message: "Claude is logged in and renews the login itself".to_owned(),
            instructions: None,
            warnings: Vec::new(),
            delivery: None,
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
    let status = inspect(&env, HOUR);
    assert_eq!(status.path.as_deref(), Some("/nonexistent/.claude/.credentials.json"));
    assert_eq!((status.status, status.writable), (LoginState::NotAuthenticated, false));
}

#[test]
fn without_a_home_there_is_no_path() {
    let nobody = Inspector { env: BTreeMap::new(), agent_uid: 4_000_001, warn_ahead_ms: HOUR };
    let status = nobody.inspect(NOW).status;
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
    assert!(status.message.contains("there is a directory"));
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
        assert!(status.instructions.unwrap()[0].contains("writable for the user"));
    }
}

/// What `saving` gives for the login of a file, without the need of a mount.
fn told_with(saving: Saving, login: &Value) -> AuthStatus {
    let found = Found::File(Content::of(&json!({"claudeAiOauth": login}).to_string()));
    let place = Place { path: PathBuf::from("/c/.credentials.json"), facts: None, symlink: false, saving, found };
    let inspector = Inspector { env: BTreeMap::new(), agent_uid: me(), warn_ahead_ms: HOUR };
    judge::Judge { inspector: &inspector, now_ms: NOW }.file(&place, nothing(Some(&place))).status
}

#[test]
fn a_file_mounted_read_only_burns_its_refresh_token_and_that_is_told() {
    let login = json!({
        "accessToken": ACCESS, "refreshToken": REFRESH, "expiresAt": NOW + 2 * HOUR, "scopes": ["user:inference"],
    });
    let status = told_with(Saving::FileReadOnly, &login);
    assert_eq!((status.status, status.refreshable), (LoginState::Authenticated, false));
    assert!(status.warnings[0].contains("mounted read-only"));

    let status = told_with(Saving::DirectoryReadOnly, &login);
    assert_eq!((status.status, status.refreshable), (LoginState::Authenticated, false));
    assert!(status.instructions.unwrap()[0].contains("writable for the user"));
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
    assert!(status.warnings[0].contains("wins over the subscription login"));
    assert!(status.instructions.unwrap()[0].contains("unset ANTHROPIC_API_KEY"));
    assert!(!status.refreshable && status.expires_at.is_none());
    let alone = Scratch::new().inspect_with(&[key]);
    assert!(alone.credentials_found && alone.warnings.is_empty() && alone.instructions.is_none());
}

#[test]
fn inspecting_changes_nothing() {
    let scratch = Scratch::with_login(|login| login["expiresAt"] = json!(1));
    let before = std::fs::read(scratch.file()).unwrap();
    scratch.inspect();
    assert_eq!(std::fs::read(scratch.file()).unwrap(), before);
    assert_eq!(std::fs::read_dir(scratch.0.path()).unwrap().count(), 1);
}

#[test]
fn a_file_that_others_may_read_or_that_is_somebody_elses_is_warned_of() {
    let scratch = Scratch::with_login(|_| ());
    std::fs::set_permissions(scratch.file(), PermissionsExt::from_mode(0o644)).unwrap();
    let status = scratch.inspect();
    assert_eq!((status.status, status.file.unwrap().mode.as_str()), (LoginState::Authenticated, "0644"));
    assert!(status.warnings[0].contains("Other users"), "{:?}", status.warnings);
    let owner = scratch.file().metadata().unwrap().uid();
    let env = [("CLAUDE_CONFIG_DIR".into(), scratch.0.path().into())].into();
    let others = Inspector { env, agent_uid: owner + 1, warn_ahead_ms: 0 }.inspect(NOW).status;
    assert!(others.usable && others.warnings[0].contains("belongs to another user"), "{others:?}");
    assert_eq!(others.warnings.len(), 2);
}

#[test]
fn claudes_settings_count_as_its_environment_does() {
    let helper = r#"{"apiKeyHelper":"echo SECRET"}"#;
    for (settings, env, method) in [
        (helper, &[][..], LoginMethod::ApiKeyHelper),
        (helper, &[("ANTHROPIC_API_KEY", "SECRET")], LoginMethod::ApiKey),
        (helper, &[("CLAUDE_CODE_OAUTH_TOKEN", "SECRET")], LoginMethod::ApiKeyHelper),
        (r#"{"env":{"ANTHROPIC_API_KEY":"SECRET"}}"#, &[], LoginMethod::ApiKey),
        (r#"{"env":{"ANTHROPIC_API_KEY":""}}"#, &[("ANTHROPIC_API_KEY", "SECRET")], LoginMethod::OauthFile),
        (r#"{"env":{"CLAUDE_CODE_USE_BEDROCK":"1"}}"#, &[], LoginMethod::Provider),
        (r#"{"apiKeyHelper":""}"#, &[], LoginMethod::OauthFile),
        ("{nonsense", &[], LoginMethod::OauthFile),
    ] {
        let scratch = Scratch::with_login(|_| ());
        scratch.put("settings.json", settings);
        let status = scratch.inspect_with(env);
        assert_eq!((status.method, status.usable), (method, true), "{settings} {env:?}");
    }
}

#[test]
fn the_login_of_a_provider_wins_over_everything() {
    for (value, method) in [
        ("1", LoginMethod::Provider),
        ("True", LoginMethod::Provider),
        ("0", LoginMethod::ApiKey),
        ("", LoginMethod::ApiKey),
    ] {
        let scratch = Scratch::with_login(|_| ());
        let status = scratch.inspect_with(&[("CLAUDE_CODE_USE_VERTEX", value), ("ANTHROPIC_API_KEY", "SECRET")]);
        assert_eq!(status.method, method, "{value}");
    }
    let status = Scratch::new().inspect_with(&[("CLAUDE_CODE_USE_BEDROCK", "1")]);
    assert!(status.usable && status.message.contains("Amazon Bedrock"), "{status:?}");
}

#[test]
fn the_consoles_key_counts_where_claude_uses_no_other_login() {
    let with_key = |scratch: Scratch| {
        scratch.put(".claude.json", r#"{"primaryApiKey":"SECRET"}"#);
        scratch.inspect()
    };
    for scratch in
        [Scratch::new(), Scratch::with("{nonsense"), Scratch::with_login(|login| login["scopes"] = json!([]))]
    {
        let status = with_key(scratch);
        assert_eq!((status.method, status.usable), (LoginMethod::ConsoleKey, true));
        assert!(status.path.is_some());
    }
    assert_eq!(with_key(Scratch::with_login(|_| ())).method, LoginMethod::OauthFile);
    let ended = Scratch::with_login(|login| {
        login["expiresAt"] = json!(1);
        login["refreshToken"] = json!("");
    });
    let ended = with_key(ended);
    assert_eq!((ended.method, ended.usable), (LoginMethod::OauthFile, false));
}

#[test]
fn no_text_holds_a_path() {
    for content in ["", "{", "{}", r#"{"claudeAiOauth":{"accessToken":"a"}}"#] {
        let scratch = Scratch::with(content);
        let status = scratch.inspect();
        let told = format!("{} {:?} {:?}", status.message, status.instructions, status.warnings);
        assert!(!told.contains('/'), "{told}");
    }
}

#[test]
fn without_home_the_login_is_looked_for_where_the_account_database_says() {
    let own = rustix::process::geteuid().as_raw();
    let Some(user) = nix::unistd::User::from_uid(own.into()).unwrap() else { return };
    for env in [Variables::new(), Variables::from([("HOME".into(), "".into())])] {
        let inspector = Inspector { env, agent_uid: own, warn_ahead_ms: 0 };
        assert_eq!(inspector.target(), Some(user.dir.join(".claude/.credentials.json")));
    }
    let nobody = Inspector { env: Variables::new(), agent_uid: 4_000_001, warn_ahead_ms: 0 };
    assert_eq!(nobody.target(), None);
}
