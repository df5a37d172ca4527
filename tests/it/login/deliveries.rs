//! How a login is brought: in the environment, as a file in a directory, by the command line.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::{CANARY, HOUR, agents_user, assert_no_canary, credentials, mode, scripted, status};
use crate::session::{ended, run};
use crate::support::program::{as_operator, cc_gateway};
use crate::support::{Gateway, eventually};

/// It must be the agents' user's alone.
fn is_installed(gateway: &Gateway, text: &str) {
    let path = gateway.path("claude/.credentials.json");
    assert_eq!(fs::read_to_string(&path).expect("an installed file"), text);
    let metadata = path.metadata().expect("an installed file");
    let owner = agents_user().map_or_else(|| rustix::process::geteuid().as_raw(), |user| user.uid);
    assert_eq!((metadata.uid(), metadata.permissions().mode() & 0o7777), (owner, 0o600));
    let names = fs::read_dir(gateway.path("claude")).expect("a directory").map(|entry| entry.expect("one").file_name());
    // Locks and halves of files; what the agent has made has other names.
    let hidden = names.filter(|name| name.to_string_lossy().starts_with('.'));
    let beside: Vec<_> = hidden.filter(|name| name != ".credentials.json").collect();
    assert!(beside.is_empty(), "it leaves something beside it: {beside:?}");
}

/// Waits until the newest delivery has come to that.
async fn until_delivery(gateway: &Gateway, outcome: &str, words: &str) -> Value {
    crate::support::within(&format!("a delivery that is {outcome}: {words}"), async {
        loop {
            let status = status(gateway).await;
            let delivery = &status["delivery"];
            if delivery["outcome"] == outcome && delivery["message"].as_str().is_some_and(|text| text.contains(words)) {
                return status;
            }
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    })
    .await
}

#[tokio::test]
async fn m3_a_login_in_the_environment_is_installed_for_the_agents_user_who_never_sees_the_variable() {
    let brought = credentials(HOUR, |_| ());
    let mut gateway = scripted()
        .env("CLAUDE_CREDENTIALS_B64", &STANDARD.encode(&brought))
        .setting("agent_env_pass", r#"["PATH", "CLAUDE_CREDENTIALS_B64"]"#)
        .start()
        .await;
    is_installed(&gateway, &brought);
    let told = status(&gateway).await;
    assert_eq!((&told["usable"], &told["delivery"]["source"]), (&json!(true), &json!("environment")), "{told}");
    let mut client = gateway.client().await;
    let session = client.start(json!({"prompt": "dump facts.json"})).await;
    assert_eq!(ended(&client.until_ended(session).await)["reason"], "completed");
    let facts = fs::read_to_string(crate::session::workspace(&gateway, session).join("facts.json")).expect("facts");
    assert!(!facts.contains("CLAUDE_CREDENTIALS_B64"), "{facts}");
    // Claude has renewed it since: what was brought long ago must not come back with a restart.
    let renewed = credentials(2 * HOUR, |_| ());
    super::put(&gateway.path("claude"), ".credentials.json", &renewed);
    gateway.restart().await;
    is_installed(&gateway, &renewed);
    let told = status(&gateway).await;
    assert_eq!((&told["usable"], &told["delivery"]["outcome"]), (&json!(true), &json!("refused")), "{told}");
    // Unless it is the only one that serves.
    super::put(&gateway.path("claude"), ".credentials.json", "{}");
    gateway.restart().await;
    is_installed(&gateway, &brought);
    assert_no_canary(&gateway).await;
    gateway.stop().await;
}

#[tokio::test]
async fn m3_a_file_in_the_uploads_directory_becomes_the_login_of_a_running_gateway_and_a_bad_one_does_not() {
    let builder = scripted();
    let uploads = builder.directory().join("uploads");
    fs::create_dir(&uploads).expect("a directory");
    mode(&uploads, 0o700);
    let mut gateway = builder.setting("credentials_uploads_dir", uploads.display()).start().await;
    assert_eq!(status(&gateway).await["usable"], false);
    let write = |name: &str, text: &str| fs::write(uploads.join(name), text).expect("an upload");
    let good = credentials(2 * HOUR, |_| ());
    write(".credentials.json", &good);
    assert_eq!(until_delivery(&gateway, "installed", "was installed").await["usable"], true);
    is_installed(&gateway, &good);
    eventually("the upload to be gone", || (!uploads.join(".credentials.json").exists()).then_some(())).await;
    let mut client = gateway.client().await;
    assert_eq!(ended(&run(&mut client, "say x").await)["reason"], "completed");
    let ended_login = credentials(-HOUR, |login| login["refreshToken"] = json!(""));
    for (name, text, words) in [
        ("half.json", &good[..good.len() / 2], "not the JSON"),
        ("empty.json", "", "empty"),
        ("scope.json", &good.replace("user:inference", "user:other"), "user:inference"),
        ("ended.json", &ended_login, "has ended"),
        ("older.json", &credentials(HOUR, |_| ()), "older"),
    ] {
        write(name, text);
        let told = until_delivery(&gateway, "refused", words).await;
        assert_eq!(told["usable"], true, "{told}");
        is_installed(&gateway, &good);
        assert!(uploads.join(name).exists(), "what is refused stays for whoever brought it");
    }
    // A refusal is told once; a file that is completed is a new one.
    let newer = credentials(3 * HOUR, |_| ());
    write("half.json", &newer);
    until_delivery(&gateway, "installed", "was installed").await;
    is_installed(&gateway, &newer);
    let refusals = gateway.log().lines().filter(|line| line.contains("are refused")).count();
    assert_eq!(refusals, 5, "{}", gateway.log());
    assert_no_canary(&gateway).await;
    gateway.stop().await;
}

#[tokio::test]
async fn a_secret_of_kubernetes_is_followed_when_its_link_is_swapped() {
    let builder = scripted();
    let uploads = builder.directory().join("uploads");
    let version = |number: i64| {
        let directory = uploads.join(format!("..{number}"));
        fs::create_dir_all(&directory).expect("a directory");
        let text = credentials(number * HOUR, |_| ());
        fs::write(directory.join("login.json"), &text).expect("a secret");
        symlink(format!("..{number}"), uploads.join("..data_tmp")).expect("a link");
        fs::rename(uploads.join("..data_tmp"), uploads.join("..data")).expect("a swap");
        text
    };
    let first = version(1);
    symlink("..data/login.json", uploads.join("login.json")).expect("a link");
    let mut gateway = builder.setting("credentials_uploads_dir", uploads.display()).start().await;
    let there = |text: &str| {
        let path = gateway.path("claude/.credentials.json");
        fs::read_to_string(path).is_ok_and(|found| found == text).then_some(())
    };
    eventually("the first version", || there(&first)).await;
    symlink("..data/login.json", uploads.join("again.json")).expect("a link");
    let second = version(2);
    eventually("the second version", || there(&second)).await;
    gateway.stop().await;
}

#[tokio::test]
async fn m3_the_command_line_tells_the_login_and_installs_one() {
    let mut gateway = scripted().start().await;
    let none = as_operator(&gateway, &["credentials", "status"]).await;
    assert_eq!(none.code, Some(1), "{none:?}");
    assert!(none.stdout.starts_with("not_authenticated: ") && none.stdout.contains("to do "), "{none:?}");
    let text = credentials(2 * HOUR, |_| ());
    let environment = gateway.environment();
    let install = |arguments: &'static [&'static str], input: String| {
        let environment = environment.clone();
        async move { cc_gateway(arguments, &environment, &input).await }
    };
    let done = install(&["credentials", "install", "-"], text.clone()).await;
    assert_eq!(done.code, Some(0), "{done:?}");
    is_installed(&gateway, &text);
    assert_eq!(status(&gateway).await["usable"], true, "the running gateway knows at once");
    let refused = install(&["credentials", "install", "-"], credentials(HOUR, |_| ())).await;
    assert_eq!(refused.code, Some(1), "{refused:?}");
    assert!(refused.stderr.contains("older"), "{refused:?}");
    is_installed(&gateway, &text);
    let older = credentials(HOUR, |_| ());
    let file = gateway.path("brought.json");
    fs::write(&file, &older).expect("a file");
    let forced = as_operator(&gateway, &["credentials", "install", "--force", file.to_str().expect("a path")]).await;
    assert_eq!(forced.code, Some(0), "{forced:?}");
    is_installed(&gateway, &older);
    let told = as_operator(&gateway, &["credentials", "status", "--json"]).await;
    let value: Value = serde_json::from_str(&told.stdout).expect("JSON");
    assert_eq!((told.code, &value["status"], &value["usable"]), (Some(0), &json!("authenticated"), &json!(true)));
    for said in [none, done, refused, forced, told] {
        assert!(!format!("{said:?}").contains(CANARY), "a token shows: {said:?}");
    }
    gateway.stop().await;
}
