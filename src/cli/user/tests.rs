//! The accounts by the command line, on a store of their own.

use std::net::{IpAddr, Ipv4Addr};

use super::*;

const PEER: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

fn world() -> (tempfile::TempDir, Settings) {
    let home = tempfile::tempdir().unwrap();
    let mut settings = Settings::default();
    settings.data.data_dir = home.path().join("data");
    settings.data.store_url = format!("sqlite:{}", settings.data.data_dir.join("gateway.db").display());
    (home, settings)
}

fn add(name: &str, file: Option<PathBuf>) -> Action {
    Action::Add {
        name: name.to_owned(),
        role: Role::User,
        scopes: None,
        password: PasswordArgs { password_file: file },
    }
}

async fn logs_in(settings: &Settings, name: &str, password: &str) -> bool {
    let store = open(settings).await.unwrap();
    let accounts = Accounts::new(Arc::clone(&store), &settings.auth);
    let outcome = accounts.login(name, password.into(), PEER).await.is_ok();
    store.close().await;
    outcome
}

#[tokio::test]
async fn a_password_that_was_made_is_shown_once_and_lets_in() {
    let (_home, settings) = world();
    let said = act(&add("alice", None), &settings).await.unwrap();
    let password = said.rsplit(' ').next().unwrap();
    assert!(logs_in(&settings, "alice", password).await, "{said}");
    let listed = act(&Action::List { json: false }, &settings).await.unwrap();
    assert!(listed.contains("alice  user   enabled") && !listed.contains(password), "{listed}");
}

#[tokio::test]
async fn a_password_from_a_file_is_not_shown_and_replaces_the_old_one() {
    let (home, settings) = world();
    let file = home.path().join("password");
    std::fs::write(&file, "correct horse\n").unwrap();
    let said = act(&add("bob", Some(file.clone())), &settings).await.unwrap();
    assert_eq!(said, "bob can log in (user)");
    assert!(logs_in(&settings, "bob", "correct horse").await);
    std::fs::write(&file, "battery staple").unwrap();
    let password = PasswordArgs { password_file: Some(file) };
    act(&Action::Password { name: "bob".to_owned(), password }, &settings).await.unwrap();
    assert!(logs_in(&settings, "bob", "battery staple").await);
    assert!(!logs_in(&settings, "bob", "correct horse").await);
}

#[tokio::test]
async fn a_disabled_account_is_shut_out_until_it_is_enabled() {
    let (home, settings) = world();
    let file = home.path().join("password");
    std::fs::write(&file, "correct horse").unwrap();
    act(&add("carol", Some(file)), &settings).await.unwrap();
    act(&Action::Disable { name: "carol".to_owned() }, &settings).await.unwrap();
    assert!(!logs_in(&settings, "carol", "correct horse").await);
    let listed = act(&Action::List { json: true }, &settings).await.unwrap();
    let listed: serde_json::Value = serde_json::from_str(&listed).unwrap();
    assert_eq!((&listed[0]["username"], &listed[0]["disabled"]), (&"carol".into(), &true.into()));
    assert!(listed[0].get("password_hash").is_none());
    act(&Action::Enable { name: "carol".to_owned() }, &settings).await.unwrap();
    assert!(logs_in(&settings, "carol", "correct horse").await);
}

#[tokio::test]
async fn while_a_gateway_runs_nothing_is_changed_and_the_way_out_is_said() {
    let (_home, settings) = world();
    let gateway = open(&settings).await.unwrap();
    let refused = act(&add("dave", None), &settings).await.unwrap_err().to_string();
    assert!(refused.contains("stop it, run this again"), "{refused}");
    assert_eq!(gateway.accounts().await.unwrap(), []);
}

#[tokio::test]
async fn an_account_that_is_not_there_or_taken_is_told() {
    let (_home, settings) = world();
    act(&add("ada", None), &settings).await.unwrap();
    let error = act(&Action::Enable { name: "eve".to_owned() }, &settings).await.unwrap_err();
    assert_eq!(error.to_string(), "there is no account of that name");
    act(&add("eve", None), &settings).await.unwrap();
    let error = act(&add("eve", None), &settings).await.unwrap_err();
    assert_eq!(error.to_string(), "there is already an account of that name");
}

#[tokio::test]
async fn where_there_is_no_store_it_is_said_and_none_is_made() {
    let (home, settings) = world();
    for action in [Action::List { json: true }, Action::Disable { name: "alice".to_owned() }] {
        let error = act(&action, &settings).await.unwrap_err().to_string();
        assert!(error.starts_with("there is no store at ") && error.contains("gateway.db"), "{error}");
    }
    assert_eq!(std::fs::read_dir(home.path()).unwrap().count(), 0);
    act(&add("alice", None), &settings).await.unwrap();
    assert!(act(&Action::List { json: false }, &settings).await.unwrap().contains("alice"));
}

#[tokio::test]
async fn an_account_of_a_shadow_file_whose_time_is_over_is_left_out() {
    let (home, settings) = world();
    let shadow = home.path().join("shadow");
    let hash = "$5$saltstring$vc6YOOogU4kWVvwga8e9zTFgKcy4tb5LaPxIiPJzqEC";
    let line = |name: &str, day: &str| format!("{name}:{hash}:1:0:99999:7::{day}:\n");
    let today = crate::telemetry::time::now_ms() / (24 * 3_600 * 1_000);
    let (tomorrow, today) = ((today + 2).to_string(), today.to_string());
    let days = [("past", "1"), ("zero", "0"), ("today", &today), ("later", &tomorrow), ("never", ""), ("below", "-1")];
    std::fs::write(&shadow, days.map(|(name, day)| line(name, day)).concat()).unwrap();
    let said = act(&Action::Import { shadow, role: Role::User, dry_run: false }, &settings).await.unwrap();
    for over in ["past", "zero", "today"] {
        assert!(said.contains(&format!("{over}: left out: its time is over")), "{said}");
        assert!(!logs_in(&settings, over, "correct horse").await, "{over}");
    }
    assert!(said.ends_with("3 of 6 were made"), "{said}");
    assert!(logs_in(&settings, "never", "correct horse").await);
}

#[tokio::test]
async fn a_shadow_file_is_imported_after_a_look_at_what_would_come_of_it() {
    let (home, settings) = world();
    let shadow = home.path().join("shadow");
    let hash = "$5$saltstring$vc6YOOogU4kWVvwga8e9zTFgKcy4tb5LaPxIiPJzqEC";
    std::fs::write(&shadow, format!("root:*:1::::::\nalice:{hash}:1::::::\nbob:!{hash}:1::::::\n")).unwrap();
    let import = |dry_run| Action::Import { shadow: shadow.clone(), role: Role::User, dry_run };
    let said = act(&import(true), &settings).await.unwrap();
    assert!(said.contains("alice: would be made (SHA-256-crypt)") && said.ends_with("1 of 3 would be made"), "{said}");
    assert!(!logs_in(&settings, "alice", "correct horse").await);
    let said = act(&import(false), &settings).await.unwrap();
    assert!(said.contains("alice: made") && said.contains("bob: left out") && !said.contains(hash), "{said}");
    assert!(logs_in(&settings, "alice", "correct horse").await);
    let unreadable = Action::Import { shadow: home.path().join("none"), role: Role::User, dry_run: false };
    assert!(act(&unreadable, &settings).await.unwrap_err().to_string().contains("can't be read"));
}

#[tokio::test]
async fn what_an_operator_does_is_in_the_audit_log_without_secrets() {
    let (_home, settings) = world();
    let said = act(&add("alice", None), &settings).await.unwrap();
    let password = said.rsplit(' ').next().unwrap();
    let scopes = Some(vec![Scope::Watch]);
    let said = act(&Action::Set { name: "alice".to_owned(), role: None, scopes }, &settings).await.unwrap();
    assert_eq!(said, "alice is user and may watch");
    let said = act(&Action::Invite { role: Role::User, scopes: None, hours: Some(2) }, &settings).await.unwrap();
    let code = said.rsplit(' ').next().unwrap();
    assert!(code.starts_with("ccgi_"), "{said}");
    act(&Action::List { json: true }, &settings).await.unwrap();
    let store = open(&settings).await.unwrap();
    let entries = store.audit(crate::store::AuditQuery { limit: 10, ..Default::default() }).await.unwrap();
    let told: Vec<_> = entries.iter().map(|entry| (entry.action.as_str(), entry.target.as_deref())).collect();
    let expected =
        [("operator.user.invite", None), ("operator.user.set", Some("alice")), ("operator.user.add", Some("alice"))];
    assert_eq!(told, expected);
    let text = format!("{entries:?}");
    assert!(!text.contains(password) && !text.contains(code) && text.contains("operator"));
    store.close().await;
}
