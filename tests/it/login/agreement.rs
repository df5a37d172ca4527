//! Three that must agree on each state of Claude's login: `/auth/status`, the gateway, which refuses a session or
//! starts it, and the real CLI.

use std::fs;
use std::os::unix::fs::{chown, symlink};
use std::path::Path;

use serde_json::{Value, json};

use super::{CANARY, DAY, HOUR, agents_user, assert_no_canary, builder, credentials, mode, put, status};
use crate::session::ended;
use crate::support::{Gateway, MessagesApi, cli};

const FILE: &str = ".credentials.json";
/// The stand-in refuses what begins so, as the API refuses a token that has ended.
const ENDED: &str = "sk-ant-oat01-ended-canary-c1a0de";

/// A state: its name, how it is made, and what it is.
struct State {
    name: &'static str,
    make: fn(&Path),
    status: &'static str,
    method: &'static str,
    warns: bool,
}

/// Only that, and nothing to warn of.
fn plain(name: &'static str, status: &'static str, method: &'static str, make: fn(&Path)) -> State {
    State { name, make, status, method, warns: false }
}

/// The same with a warning.
fn warned(name: &'static str, status: &'static str, method: &'static str, make: fn(&Path)) -> State {
    State { warns: true, ..plain(name, status, method, make) }
}

fn login(directory: &Path, ends_in: i64, change: fn(&mut Value)) {
    put(directory, FILE, &credentials(ends_in, change));
}

fn without_renewal(login: &mut Value) {
    login.as_object_mut().expect("a login").remove("refreshToken");
}

fn ended_token(login: &mut Value) {
    login["accessToken"] = json!(ENDED);
}

/// What the file holds.
fn contents() -> Vec<State> {
    vec![
        plain("no file", "not_authenticated", "none", |_| ()),
        plain("a login that renews itself", "authenticated", "oauth_file", |at| login(at, HOUR, |_| ())),
        plain("empty", "unreadable", "none", |at| put(at, FILE, "")),
        plain("not JSON", "unreadable", "none", |at| put(at, FILE, "{nonsense")),
        plain("text after the JSON", "unreadable", "none", |at| put(at, FILE, &(credentials(HOUR, |_| ()) + "x"))),
        plain("no login in it", "not_authenticated", "none", |at| put(at, FILE, "{}")),
        plain("emptied by Claude", "not_authenticated", "none", |at| {
            login(at, HOUR, |login| {
                (login["accessToken"], login["refreshToken"], login["expiresAt"]) = (json!(""), json!(""), json!(0));
            });
        }),
        plain("without the scope", "not_authenticated", "none", |at| {
            login(at, HOUR, |login| login["scopes"] = json!(["user:profile"]));
        }),
        plain("not renewable, a month left", "authenticated", "oauth_file", |at| login(at, 30 * DAY, without_renewal)),
        plain("not renewable, three days left", "expiring", "oauth_file", |at| login(at, 3 * DAY, without_renewal)),
        plain("no end", "authenticated", "oauth_file", |at| {
            login(at, HOUR, |login| {
                without_renewal(login);
                login.as_object_mut().expect("a login").remove("expiresAt");
            });
        }),
        plain("ended, renewable", "authenticated", "oauth_file", |at| login(at, -HOUR, |_| ())),
        plain("ended, not renewable", "expired", "oauth_file", |at| {
            login(at, -HOUR, |login| {
                without_renewal(login);
                ended_token(login);
            });
        }),
        warned("an API key beside the login", "authenticated", "api_key", |at| {
            login(at, HOUR, |_| ());
            put(at, "settings.json", &json!({"env": {"ANTHROPIC_API_KEY": format!("sk-{CANARY}")}}).to_string());
        }),
        plain("a helper for keys", "authenticated", "api_key_helper", |at| {
            put(at, "settings.json", &json!({"apiKeyHelper": format!("echo sk-{CANARY}")}).to_string());
        }),
        plain("a key of the console", "authenticated", "console_key", |at| {
            put(at, ".claude.json", &json!({"primaryApiKey": format!("sk-{CANARY}")}).to_string());
        }),
    ]
}

/// Where the file lies, and whose it is.
fn places() -> Vec<State> {
    let mut states = vec![
        plain("a directory in its place", "unreadable", "none", |at| fs::create_dir(at.join(FILE)).expect("one")),
        warned("a link", "authenticated", "oauth_file", |at| {
            login(at, HOUR, |_| ());
            fs::rename(at.join(FILE), at.join("real.json")).expect("another name");
            symlink("real.json", at.join(FILE)).expect("a link");
        }),
        plain("a link that leads nowhere", "not_authenticated", "none", |at| {
            symlink("gone.json", at.join(FILE)).expect("a link");
        }),
        warned("open to others", "authenticated", "oauth_file", |at| {
            login(at, HOUR, |_| ());
            mode(&at.join(FILE), 0o666);
        }),
    ];
    if agents_user().is_none() {
        return states;
    }
    states.extend([
        plain("the mode lets nobody read", "unreadable", "none", |at| {
            login(at, HOUR, |_| ());
            mode(&at.join(FILE), 0o000);
        }),
        plain("another's, mode 0600", "unreadable", "none", |at| {
            login(at, HOUR, |_| ());
            chown(at.join(FILE), Some(0), Some(0)).expect("an owner");
        }),
        warned("another's, mode 0644", "authenticated", "oauth_file", |at| {
            login(at, HOUR, |_| ());
            chown(at.join(FILE), Some(0), Some(0)).expect("an owner");
            mode(&at.join(FILE), 0o644);
        }),
        plain("a directory that can't be entered", "unreadable", "none", |at| {
            login(at, HOUR, |_| ());
            chown(at, Some(0), Some(0)).expect("an owner");
            mode(at, 0o700);
        }),
        warned("ended, renewable, its directory read-only", "expired", "oauth_file", |at| {
            login(at, -HOUR, ended_token);
            chown(at, Some(0), Some(0)).expect("an owner");
        }),
    ]);
    states
}

/// Makes Claude's directory anew, with nothing but the state.
fn make(gateway: &Gateway, state: &State) {
    let directory = gateway.path("claude");
    fs::remove_dir_all(&directory).expect("an old directory");
    fs::create_dir(&directory).expect("a directory");
    if let Some(user) = agents_user() {
        chown(&directory, Some(user.uid), Some(user.gid)).expect("an owner");
    }
    (state.make)(&directory);
}

async fn agree(states: Vec<State>, environment: &[(&str, &str)]) {
    let api = MessagesApi::start();
    // Where a renewal would go; nothing leaves the machine.
    let nowhere = |builder: crate::support::gateway::Builder| {
        let builder = builder
            .agent_env("ANTHROPIC_API_KEY", "")
            .agent_env("HTTPS_PROXY", "http://127.0.0.1:9")
            .agent_env("NO_PROXY", "127.0.0.1")
            .setting("start_timeout_seconds", 120);
        environment.iter().fold(builder, |builder, (name, value)| builder.agent_env(name, value))
    };
    let real = |builder: crate::support::gateway::Builder, required: bool| {
        let program = builder.directory().join("agent");
        let builder = nowhere(builder.real_agent(&api)).setting("require_claude_login", required);
        if program.exists() { builder.setting("agent_program", program.display()) } else { builder }
    };
    let mut strict = real(builder(&cli::real_cli()), true).start().await;
    // What the CLI does where the strict one starts none.
    let mut lenient = real(builder(&cli::real_cli()), false)
        .setting("claude_config_dir", strict.path("claude").display())
        .start()
        .await;
    let (mut asks, mut tries) = (strict.client().await, lenient.client().await);
    let mut table = format!("{:44} {:18} {:15} {:9} {}\n", "state", "status", "method", "gateway", "the real CLI");
    let mut wrong = Vec::new();
    for state in states {
        make(&strict, &state);
        let told = status(&strict).await;
        let started = asks.call("session.start", json!({"prompt": "Say hello"})).await;
        let (refusal, reason) = match started {
            Ok(started) => {
                let session = crate::support::client::session_id(&started).expect("a session");
                (None, ended(&asks.until_ended(session).await)["reason"].clone())
            }
            Err(error) => {
                let session = tries.start(json!({"prompt": "Say hello"})).await;
                (Some(error), ended(&tries.until_ended(session).await)["reason"].clone())
            }
        };
        let gateway = if refusal.is_some() { "refused" } else { "started" };
        let line = format!(
            "{:44} {:18} {:15} {:9} {}",
            state.name,
            told["status"].as_str().unwrap_or_default(),
            told["method"].as_str().unwrap_or_default(),
            gateway,
            reason.as_str().unwrap_or_default()
        );
        let usable = ["authenticated", "expiring"].contains(&state.status);
        let expected =
            if usable { (Value::Null, "started", "completed") } else { (json!(-32012), "refused", "auth_failed") };
        let code = refusal.as_ref().map_or(Value::Null, |error| error["code"].clone());
        let found = (code, gateway, reason.as_str().unwrap_or_default());
        let as_told = (&told["status"], &told["method"], &told["usable"], told["warnings"].is_array())
            == (&json!(state.status), &json!(state.method), &json!(usable), state.warns);
        let same_words = refusal.as_ref().is_none_or(|error| {
            let message = told["message"].as_str().expect("a sentence");
            error["message"].as_str().is_some_and(|text| text.contains(message))
                && error["data"]["kind"] == "claude_login"
                && error["data"]["details"]["instructions"] == told["instructions"]
        });
        let advised = told["instructions"].is_array() == (!usable || state.warns || state.status == "expiring");
        if !(found == expected && as_told && same_words && advised) {
            wrong.push(format!("{line}\n  told: {told}\n  refusal: {refusal:?}"));
        }
        table.push_str(&format!("{line}\n"));
    }
    eprintln!("{table}");
    assert!(wrong.is_empty(), "{table}\nwrong:\n{}", wrong.join("\n"));
    mode(&strict.path("claude"), 0o755);
    for gateway in [&mut strict, &mut lenient] {
        assert_no_canary(gateway).await;
        gateway.stop().await;
    }
}

#[tokio::test]
async fn m6_status_gateway_and_the_real_cli_agree_on_what_the_login_holds() {
    agree(contents(), &[]).await;
}

#[tokio::test]
async fn m6_status_gateway_and_the_real_cli_agree_on_where_the_login_lies_and_whose_it_is() {
    agree(places(), &[]).await;
}

#[tokio::test]
async fn m6_status_gateway_and_the_real_cli_agree_on_logins_of_the_environment() {
    let value = format!("sk-ant-oat01-{CANARY}");
    let logins = [
        ("ANTHROPIC_API_KEY", "api_key"),
        ("ANTHROPIC_AUTH_TOKEN", "auth_token"),
        ("CLAUDE_CODE_OAUTH_TOKEN", "oauth_token"),
    ];
    for (place, (name, method)) in logins.into_iter().enumerate() {
        // Each with all that lose against it.
        let environment: Vec<_> = logins[place..].iter().map(|(name, _)| (*name, value.as_str())).collect();
        let beside = warned(name, "authenticated", method, |at| login(at, HOUR, |_| ()));
        let ended_beside = warned(name, "authenticated", method, |at| {
            login(at, -HOUR, |login| {
                without_renewal(login);
                ended_token(login);
            });
        });
        agree(vec![plain(name, "authenticated", method, |_| ()), beside, ended_beside], &environment).await;
    }
}
