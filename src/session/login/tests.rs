//! The keeper, the deliveries and the turns, with real files.

use std::fs;
use std::future::Future;
use std::path::Path;
use std::task::Poll;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use futures_util::poll;
use serde_json::json;
use tempfile::TempDir;

use super::*;
use crate::api::http::{DeliveryOutcome, LoginState};
use crate::telemetry::time::now_ms;

const HOUR: i64 = 3_600_000;

/// A credentials file whose access token ends so many milliseconds from now, and can renew itself.
fn credentials(ends_in: i64) -> String {
    json!({"claudeAiOauth": {
        "accessToken": "sk-ant-oat01-SECRET", "refreshToken": "sk-ant-ort01-SECRET",
        "expiresAt": now_ms().saturating_add_signed(ends_in), "scopes": ["user:inference"],
    }})
    .to_string()
}

struct House {
    home: TempDir,
    stop: CancellationToken,
}

impl House {
    fn new() -> Self {
        let home = TempDir::new().unwrap();
        for name in ["claude", "uploads"] {
            fs::create_dir(home.path().join(name)).unwrap();
        }
        Self { home, stop: CancellationToken::new() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }

    fn put(&self, name: &str, text: &str) {
        let path = self.path(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    }

    async fn login(&self, delivered: Option<String>) -> ClaudeLogin {
        let agent = AgentSettings { credentials_uploads_dir: self.path("uploads"), ..AgentSettings::default() };
        let env = [("CLAUDE_CONFIG_DIR".into(), self.path("claude").into())].into();
        let setup = LoginSetup::new(&agent, inspector(&agent, env, None), delivered.map(SecretString::from));
        assert!(!format!("{setup:?}").contains("SECRET"));
        ClaudeLogin::keep(setup, None, self.stop.clone()).await
    }
}

impl Drop for House {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// Waits until `fact` gives something; the files are looked at every second.
async fn until<T, F: Future<Output = Option<T>>>(what: &str, fact: impl Fn() -> F) -> T {
    for _ in 0..2_000 {
        if let Some(found) = fact().await {
            return found;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("never came: {what}")
}

#[tokio::test]
async fn a_session_is_refused_until_there_is_a_login_and_the_refusal_says_what_the_status_says() {
    let house = House::new();
    let login = house.login(None).await;
    assert!(login.is_missing());
    let Err(SessionError::ClaudeLogin { status, message, instructions, momentary }) = login.check().await else {
        panic!("there is no login")
    };
    let told = login.status().await;
    assert_eq!((status, &message, momentary), (told.status, &told.message, false));
    assert_eq!(Some(instructions), told.instructions);
    // At once: nobody has to wait for the next look.
    house.put("claude/.credentials.json", &credentials(HOUR));
    assert_eq!(login.check().await, Ok(()));
    house.put("claude/.credentials.json", "");
    let refused = login.check().await;
    assert!(matches!(refused, Err(SessionError::ClaudeLogin { momentary: true, .. })), "{refused:?}");
}

#[tokio::test]
async fn a_change_is_seen_although_nobody_asks() {
    let house = House::new();
    let login = house.login(None).await;
    let mut seen = login.kept.as_ref().unwrap().seen.clone();
    house.put("claude/.credentials.json", &credentials(HOUR));
    seen.wait_for(|seen| seen.status.status == LoginState::Authenticated).await.unwrap();
    assert!(!login.is_missing());
    fs::remove_dir_all(house.path("claude")).unwrap();
    seen.wait_for(|seen| seen.status.status == LoginState::NotAuthenticated).await.unwrap();
}

#[tokio::test]
async fn a_link_that_is_swapped_as_kubernetes_does_it_is_seen_although_nobody_asks() {
    let house = House::new();
    let version = |name: &str, text: &str| {
        fs::create_dir(house.path("claude").join(name)).unwrap();
        house.put(&format!("claude/{name}/.credentials.json"), text);
        let link = house.path("claude").join("..data_tmp");
        std::os::unix::fs::symlink(name, &link).unwrap();
        fs::rename(link, house.path("claude/..data")).unwrap();
    };
    std::os::unix::fs::symlink("..data/.credentials.json", house.path("claude/.credentials.json")).unwrap();
    let login = house.login(None).await;
    let mut seen = login.kept.as_ref().unwrap().seen.clone();
    assert!(login.is_missing());
    version("..1", &credentials(HOUR));
    let first = seen.wait_for(|seen| seen.status.usable).await.unwrap().expires_at_ms;
    version("..2", &credentials(2 * HOUR));
    seen.wait_for(|seen| seen.expires_at_ms > first).await.unwrap();
}

#[tokio::test]
async fn what_the_environment_brings_is_installed_and_never_replaces_a_newer_login() {
    let house = House::new();
    let (older, newer) = (credentials(HOUR), credentials(2 * HOUR));
    let login = house.login(Some(format!("{}\n", STANDARD.encode(&older)))).await;
    assert_eq!(login.status().await.delivery.unwrap().outcome, DeliveryOutcome::Installed);
    assert_eq!(fs::read_to_string(house.path("claude/.credentials.json")).unwrap(), older);
    house.put("claude/.credentials.json", &newer);
    for brought in [STANDARD.encode(&older), "not base64!".to_owned(), STANDARD.encode("{}"), STANDARD.encode(b"\xff")]
    {
        let status = house.login(Some(brought)).await.status().await;
        assert_eq!(status.delivery.unwrap().outcome, DeliveryOutcome::Refused);
        assert!(status.usable);
        assert_eq!(fs::read_to_string(house.path("claude/.credentials.json")).unwrap(), newer);
    }
}

#[tokio::test]
async fn an_upload_is_taken_up_while_the_gateway_runs_and_a_bad_one_is_told_and_stays() {
    let house = House::new();
    let login = house.login(None).await;
    let login = &login;
    let outcome = |wanted: DeliveryOutcome| {
        move || async move { login.status().await.delivery.filter(|delivery| delivery.outcome == wanted) }
    };
    house.put("uploads/bad.json", r#"{"claudeAiOauth":{"accessToken":"sk-ant-SECRET","scopes":[]}}"#);
    let refused = until("the refusal", outcome(DeliveryOutcome::Refused)).await;
    assert!(refused.message.contains("user:inference") && !refused.message.contains("SECRET"), "{refused:?}");
    assert!(house.path("uploads/bad.json").exists());
    assert!(!house.path("claude/.credentials.json").exists());
    let good = credentials(HOUR);
    house.put("uploads/.credentials.json", &good);
    until("the installation", outcome(DeliveryOutcome::Installed)).await;
    assert_eq!(fs::read_to_string(house.path("claude/.credentials.json")).unwrap(), good);
    assert_eq!(login.check().await, Ok(()));
    until("the upload to be gone", || async { (!house.path("uploads/.credentials.json").exists()).then_some(()) })
        .await;
}

#[tokio::test]
async fn while_the_login_is_about_to_be_renewed_one_agent_starts_at_a_time() {
    let house = House::new();
    house.put("claude/.credentials.json", &credentials(60_000));
    let login = house.login(None).await;
    let first = login.turn().await.expect("it has to be renewed");
    let mut second = Box::pin(login.turn());
    assert!(poll!(&mut second).is_pending());
    // It ends without having renewed it: the next one goes.
    drop(first);
    let second = second.await.expect("it is still to be renewed");
    let mut third = Box::pin(login.turn());
    let mut fourth = Box::pin(login.turn());
    assert!(poll!(&mut third).is_pending() && poll!(&mut fourth).is_pending());
    // The second one renews it.
    house.put("claude/.credentials.json", &credentials(8 * HOUR));
    assert!(third.await.is_none() && fourth.await.is_none());
    assert!(login.turn().await.is_none());
    drop(second);
}

#[tokio::test]
async fn a_login_that_nobody_renews_holds_starts_up_for_a_bounded_time() {
    let house = House::new();
    house.put("claude/.credentials.json", &credentials(-60_000));
    let login = house.login(None).await;
    let seen = login.kept.as_ref().unwrap().seen.clone();
    let renewals = Renewals::hasty(seen, Duration::from_millis(200));
    let held = renewals.turn(|| login.look()).await.expect("it has to be renewed");
    assert!(renewals.turn(|| login.look()).await.is_none(), "patience is over");
    assert!(renewals.turn(|| login.look()).await.is_none(), "and stays so for this end of the login");
    house.put("claude/.credentials.json", &credentials(-50_000));
    drop(held);
    assert!(renewals.turn(|| login.look()).await.is_some(), "another end is waited for anew");
}

#[tokio::test]
async fn a_login_that_can_not_renew_itself_holds_nobody_up() {
    let house = House::new();
    let login = house.login(None).await;
    assert!(matches!(poll!(Box::pin(ClaudeLogin::unguarded().turn())), Poll::Ready(None)));
    assert!(login.turn().await.is_none());
    let text = credentials(60_000).replace("sk-ant-ort01-SECRET", "");
    house.put("claude/.credentials.json", &text);
    assert!(login.turn().await.is_none());
    assert!(Path::new(&house.path("claude/.credentials.json")).exists());
}
