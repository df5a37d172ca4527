//! The loader as a whole: precedence, names, and every problem at once.

use std::path::{Path, PathBuf};

use secrecy::ExposeSecret;
use tempfile::TempDir;

use super::settings::{LogFormat, Seconds};
use super::table::{Shape, setting};
use super::*;

const RANDOM: &str = "9f1c6b0d5e7a48329f0b7c6d1e2a3f4b";

/// A world with a home of its own and nothing in it.
fn world() -> (TempDir, Vec<(String, String)>) {
    let home = tempfile::tempdir().unwrap();
    let env = vec![("HOME".to_owned(), home.path().display().to_string())];
    (home, env)
}

fn sources(env: &[(String, String)], more: &[(&str, &str)], flags: &[&str]) -> Sources {
    let more = more.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    Sources {
        file: None,
        env: env.iter().cloned().chain(more).collect(),
        flags: flags.iter().map(|flag| Flag::set(flag).unwrap()).collect(),
    }
}

fn write(home: &TempDir, name: &str, text: &str) -> PathBuf {
    let path = home.path().join(name);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(&path, text).unwrap();
    path
}

fn loaded(sources: &Sources) -> Loaded {
    load(sources).unwrap_or_else(|problems| panic!("{}", lines(&problems)))
}

fn lines(problems: &[Problem]) -> String {
    problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

fn problems(sources: &Sources) -> String {
    lines(&load(sources).err().unwrap_or_default())
}

#[test]
fn without_any_source_the_defaults_are_safe_and_right() {
    let (home, env) = world();
    let loaded = loaded(&sources(&env, &[], &[]));
    let settings = &loaded.settings;
    assert!(settings.http.http_listen.ip().is_loopback() && settings.websocket.ws_listen.ip().is_loopback());
    assert!(settings.auth.jwt_secret.is_none());
    assert!(settings.websocket.allowed_origins.is_empty() && !settings.websocket.query_token);
    assert_eq!(settings.data.data_dir, home.path().join(".local/share/cc-gateway"));
    assert_eq!(paths::store_file(settings), Some(settings.data.data_dir.join("gateway.db")));
    assert_eq!(settings.auth.jwt_secret_file, Path::new(""));
    assert_eq!(paths::default_secret_file(settings), settings.data.data_dir.join("jwt-secret"));
    assert_eq!(settings.workspaces.workspace_roots, [home.path().join("cc-gateway-workspaces")]);
    assert_eq!(settings.agent.claude_config_dir, Path::new(""));
    assert!(loaded.origins.is_empty() && loaded.file.is_none());
}

#[test]
fn flags_win_over_the_environment_which_wins_over_the_file_which_wins_over_defaults() {
    let (home, env) = world();
    let file = write(
        &home,
        ".config/cc-gateway/cc-gateway.toml",
        "[sessions]\nmax_sessions = 1\ntimeout_seconds = 11\nidle_timeout_seconds = 12\n",
    );
    let more = [("CC_GATEWAY_MAX_SESSIONS", "2"), ("CC_GATEWAY_TIMEOUT_SECONDS", "22.5")];
    let loaded = loaded(&sources(&env, &more, &["max_sessions=3"]));
    let sessions = &loaded.settings.sessions;
    assert_eq!(sessions.max_sessions, 3);
    assert_eq!(sessions.timeout_seconds, Seconds::new(22.5));
    assert_eq!(sessions.idle_timeout_seconds, Seconds::new(12.0));
    assert_eq!(sessions.start_timeout_seconds, Seconds::new(60.0));
    assert_eq!(loaded.file, Some(file.clone()));
    assert_eq!(loaded.origin("max_sessions"), Source::Flag { name: "--set max_sessions".to_owned() });
    assert_eq!(loaded.origin("timeout_seconds").to_string(), "CC_GATEWAY_TIMEOUT_SECONDS");
    let key = Some("sessions.idle_timeout_seconds".to_owned());
    assert_eq!(loaded.origin("idle_timeout_seconds"), Source::File { path: file, key });
    assert_eq!(loaded.origin("start_timeout_seconds"), Source::Default { leaf: "start_timeout_seconds" });
}

#[test]
fn a_later_flag_wins_and_a_flag_may_name_the_section() {
    let (_home, env) = world();
    let loaded = loaded(&sources(&env, &[], &["max_sessions=3", "sessions.max_sessions=4"]));
    assert_eq!(loaded.settings.sessions.max_sessions, 4);
}

#[test]
fn the_flag_names_the_file_before_the_variable_does() {
    let (home, env) = world();
    let first = write(&home, "first.toml", "[sessions]\nmax_sessions = 1\n");
    let second = write(&home, "second.toml", "[sessions]\nmax_sessions = 2\n");
    let mut both = sources(&env, &[("CC_GATEWAY_CONFIG", second.to_str().unwrap())], &[]);
    assert_eq!(loaded(&both).settings.sessions.max_sessions, 2);
    both.file = Some(first);
    assert_eq!(loaded(&both).settings.sessions.max_sessions, 1);
}

#[test]
fn a_file_that_was_named_must_exist() {
    let (home, env) = world();
    let missing = home.path().join("missing.toml");
    let text = problems(&sources(&env, &[("CC_GATEWAY_CONFIG", missing.to_str().unwrap())], &[]));
    assert!(text.contains("missing.toml: the settings file can't be read"), "{text}");
}

/// A value of the setting's shape that is not its default, as a variable's text.
fn other_value(home: &TempDir, info: &SettingInfo) -> String {
    match (info.leaf, &info.shape) {
        ("store_url", _) => "sqlite:/srv/other.db".to_owned(),
        ("jwt_secret", _) => RANDOM.to_owned(),
        ("jwt_secret_file", _) => write(home, "the-secret", RANDOM).display().to_string(),
        ("data_dir" | "admin_password_file" | "claude_config_dir" | "agent_program", _) => "/srv/other".to_owned(),
        ("credentials_uploads_dir", _) => "/srv/uploads".to_owned(),
        ("workspace_roots" | "trusted_workspace_roots", _) => "/srv/a, /srv/b".to_owned(),
        ("allowed_origins", _) => "https://a.example.com,https://b.example.com".to_owned(),
        ("oidc_issuer" | "oidc_redirect_base", _) => "https://other.example.com".to_owned(),
        ("oidc_client_secret_file", _) => write(home, "client-secret", RANDOM).display().to_string(),
        ("signing_key_file", _) => fixture("ed25519-1.pem"),
        ("accepted_key_files", _) => fixture("ed25519-1.pub.pem"),
        (_, Shape::Text) => "debug".to_owned(),
        (_, Shape::Address) => "127.0.0.1:9".to_owned(),
        ("token_leeway_seconds" | "warm_processes", _) => "7".to_owned(),
        (_, Shape::Whole(_)) => "2048".to_owned(),
        (_, Shape::Seconds | Shape::Dollars) => "7.5".to_owned(),
        (_, Shape::Switch) => (info.default != "true").to_string(),
        (_, Shape::Choice(words)) => words.iter().find(|word| format!("\"{word}\"") != info.default).unwrap().clone(),
        ("trusted_proxies", _) => "10.0.0.1,fd00::/8".to_owned(),
        (_, Shape::List) => "a,b".to_owned(),
        (_, Shape::Map) => "A=1,B=2".to_owned(),
        (_, Shape::Tables) => r#"[{ issuer = "i", jwks_url = "https://i.example.com/k", audience = "a" }]"#.to_owned(),
    }
}

fn fixture(name: &str) -> String {
    format!("{}/tests/fixtures/keys/{name}", env!("CARGO_MANIFEST_DIR"))
}

#[test]
fn m5_every_setting_is_set_by_its_variable_its_flag_and_its_key() {
    let (home, env) = world();
    let defaults = loaded(&sources(&env, &[("CC_GATEWAY_WORKSPACE_ROOTS", "/srv")], &[]));
    for info in table() {
        let text = other_value(&home, info);
        // Trusted roots must lie in the roots.
        let mut roots =
            if info.leaf == "workspace_roots" { vec![] } else { vec![("CC_GATEWAY_WORKSPACE_ROOTS", "/srv")] };
        // A provider of logins must be described as a whole.
        if info.section == "oidc" {
            let whole = [
                ("CC_GATEWAY_OIDC_ISSUER", "https://id.example.com"),
                ("CC_GATEWAY_OIDC_CLIENT_ID", "gateway"),
                ("CC_GATEWAY_OIDC_REDIRECT_BASE", "https://gateway.example.com"),
                ("CC_GATEWAY_OIDC_ROLE_CLAIM", "groups"),
                ("CC_GATEWAY_OIDC_USER_VALUES", "staff"),
                ("CC_GATEWAY_OIDC_ADMIN_VALUES", "boss"),
            ];
            roots.extend(whole.into_iter().filter(|(name, _)| *name != info.env));
        }
        let mut more = roots.clone();
        more.push((&info.env, &text));
        let by_variable = loaded(&sources(&env, &more, &[]));
        let by_flag = loaded(&sources(&env, &roots, &[&format!("{}={text}", info.leaf)]));
        let in_toml = match info.shape {
            Shape::Text | Shape::Address | Shape::Choice(_) => format!("{text:?}"),
            Shape::List => format!("{:?}", text.split(',').map(str::trim).collect::<Vec<_>>()),
            Shape::Map => r#"{ A = "1", B = "2" }"#.to_owned(),
            _ => text.clone(),
        };
        let file = write(&home, "one.toml", &format!("[{}]\n{} = {in_toml}\n", info.section, info.leaf));
        let mut from_file = sources(&env, &roots, &[]);
        from_file.file = Some(file);
        let by_key = loaded(&from_file);

        let value = |loaded: &Loaded| {
            let settings = &loaded.settings;
            match info.leaf {
                "jwt_secret" => settings.auth.jwt_secret.as_ref().map(|s| s.expose_secret().to_owned()).into(),
                leaf => serde_json::to_value(settings).unwrap()[info.section][leaf].clone(),
            }
        };
        assert_ne!(value(&by_variable), value(&defaults), "{} had no effect", info.env);
        assert_eq!(value(&by_variable), value(&by_flag), "{}", info.leaf);
        assert_eq!(value(&by_variable), value(&by_key), "{}", info.leaf);
        assert!(by_variable.origins.contains_key(info.leaf));
    }
}

#[test]
fn an_amount_of_money_or_time_that_is_no_number_is_refused_as_it_was_found() {
    let (home, env) = world();
    for (leaf, expected) in [
        ("max_spend_usd_per_principal", "expected a number of US dollars, 0 or more"),
        ("timeout_seconds", "expected a number of seconds from 0 to 1000000000"),
    ] {
        for text in ["nan", "inf", "1e400", "-1"] {
            let told = problems(&sources(&env, &[], &[&format!("{leaf}={text}")]));
            assert!(told.contains(expected) && told.contains(&format!("found \"{text}")), "{told}");
        }
        let file = write(&home, "amount.toml", &format!("[sessions]\n{leaf} = nan\n"));
        let told = problems(&Sources { file: Some(file), ..sources(&env, &[], &[]) });
        assert!(told.contains(expected) && told.contains("found \"NaN\""), "{told}");
    }
}

#[test]
fn texts_that_look_like_numbers_stay_texts() {
    let (_home, env) = world();
    let loaded = loaded(&sources(&env, &[("CC_GATEWAY_AGENT_USER", "1000"), ("CC_GATEWAY_TOKEN_ISSUER", "true")], &[]));
    assert_eq!(loaded.settings.agent.agent_user.as_deref(), Some("1000"));
    assert_eq!(loaded.settings.auth.token_issuer, "true");
}

#[test]
fn a_map_or_list_replaces_the_one_below_it() {
    let (home, env) = world();
    let file =
        write(&home, "c.toml", "[agent]\nagent_env = { A = \"1\" }\nallowed_commands = [\"claude\", \"other\"]\n");
    let mut all =
        sources(&env, &[("CC_GATEWAY_AGENT_ENV", "B=2"), ("CC_GATEWAY_AGENT_ENV_PASS", "")], &["allowed_commands="]);
    all.file = Some(file);
    let agent = loaded(&all).settings.agent;
    assert_eq!(agent.agent_env, [("B".to_owned(), "2".to_owned())].into());
    assert_eq!(agent.agent_env_pass, Vec::<String>::new());
    assert_eq!(agent.allowed_commands, Vec::<String>::new());
}

#[test]
fn c3_every_problem_is_reported_in_one_run_with_its_source() {
    let (home, env) = world();
    let file = write(
        &home,
        "bad.toml",
        "max_sessions = 3\n[sesions]\nx = 1\n[sessions]\nmax_sesions = 1\nmax_line_bytes = \"lots\"\nhttp_listen = \"127.0.0.1:1\"\n\
         [auth]\ntoken_leeway_seconds = 31\n",
    );
    let mut all = sources(
        &env,
        &[
            ("CC_GATEWAY_JWT_SECRET", &RANDOM[..31]),
            ("CC_GATEWAY_STORE_URL", "redis://"),
            ("CC_GATEWAY_MAX_SESIONS", "5"),
            ("CC_GATEWAY_LOG_FORMAT", "xml"),
            ("CC_GATEWAY_MAX_MESSAGE_BYTES", "12"),
        ],
        &[
            "ws_listen=127.0.0.1:8001",
            "max_sessoins=5",
            "ping_interval_seconds=2m",
            "allowed_origins=*,https://a.example.com/",
        ],
    );
    all.file = Some(file.clone());
    let found = load(&all).unwrap_err();
    let text = lines(&found);
    let file = file.display();
    for expected in [
        format!("max_sessions in {file}: this setting belongs in the section [sessions]"),
        format!("sesions in {file}: no such section; did you mean `sessions`?"),
        format!("sessions.max_sesions in {file}: no such setting; did you mean `max_sessions`?"),
        format!("sessions.max_line_bytes in {file}: expected a whole number, 0 or more; found \"lots\""),
        format!("sessions.http_listen in {file}: this setting belongs in the section [http]"),
        format!("auth.token_leeway_seconds in {file}: expected 0 to 30; found 31"),
        "CC_GATEWAY_JWT_SECRET: is too short: expected 32 random bytes or more".to_owned(),
        "CC_GATEWAY_STORE_URL: expected a host, or a socket's path, after `://`".to_owned(),
        "CC_GATEWAY_MAX_SESIONS: no such variable; did you mean `CC_GATEWAY_MAX_SESSIONS`?".to_owned(),
        "CC_GATEWAY_LOG_FORMAT: expected one of json, text; found \"xml\"".to_owned(),
        "CC_GATEWAY_MAX_MESSAGE_BYTES: expected 1024 or more; found 12".to_owned(),
        "--set ws_listen: 127.0.0.1:8001 is also the HTTP listener (http_listen (default)): they need different ports"
            .to_owned(),
        "--set max_sessoins: no such setting; did you mean `max_sessions`?".to_owned(),
        "--set ping_interval_seconds: expected a number of seconds from 0 to 1000000000; found \"2m\"".to_owned(),
        "--set allowed_origins: \"*\": an origin is exact, there are no wildcards".to_owned(),
        "--set allowed_origins: \"https://a.example.com/\": an origin ends with its host or port".to_owned(),
    ] {
        assert!(text.contains(&expected), "missing: {expected}\nin:\n{text}");
    }
    assert_eq!(found.len(), 16, "{text}");
}

#[test]
fn c3_an_empty_or_example_secret_is_refused_wherever_it_stands() {
    let (home, env) = world();
    for (secret, reason) in [("", "is empty"), ("changeme", "is an example"), (&RANDOM[..31], "is too short")] {
        let text = problems(&sources(&env, &[("CC_GATEWAY_JWT_SECRET", secret)], &[]));
        assert!(text.starts_with("CC_GATEWAY_JWT_SECRET: ") && text.contains(reason), "{text}");
        let file = write(&home, "the-secret", &format!("{secret}\n"));
        let text = problems(&sources(&env, &[("CC_GATEWAY_JWT_SECRET_FILE", file.to_str().unwrap())], &[]));
        assert!(text.starts_with("CC_GATEWAY_JWT_SECRET_FILE: ") && text.contains(reason), "{text}");
    }
    let gone = [("CC_GATEWAY_JWT_SECRET_FILE", "/nowhere/jwt-secret")];
    let text = problems(&sources(&env, &gone, &[]));
    assert!(text.contains("/nowhere/jwt-secret: can't be read"), "{text}");
    let file = write(&home, "the-secret", RANDOM);
    let both = [("CC_GATEWAY_JWT_SECRET", RANDOM), ("CC_GATEWAY_JWT_SECRET_FILE", file.to_str().unwrap())];
    let text = problems(&sources(&env, &both, &[]));
    assert_eq!(text, "CC_GATEWAY_JWT_SECRET: a file is named too (CC_GATEWAY_JWT_SECRET_FILE): set one of the two");
}

#[test]
fn m5_an_unknown_variable_is_refused_and_the_clients_own_are_not() {
    let (_home, env) = world();
    let text = problems(&sources(&env, &[("CC_GATEWAY_HTTP_LISTNE", "127.0.0.1:1")], &[]));
    assert_eq!(text, "CC_GATEWAY_HTTP_LISTNE: no such variable; did you mean `CC_GATEWAY_HTTP_LISTEN`?");
    assert_eq!(
        problems(&sources(&env, &[("CC_GATEWAY_URL", "ws://x"), ("CC_GATEWAY_TOKEN", "y"), ("OTHER", "z")], &[])),
        ""
    );
}

#[test]
fn settings_that_do_not_fit_each_other_or_their_bounds_are_refused() {
    let (_home, env) = world();
    for (flag, expected) in [
        ("max_sessions=0", "expected 1 or more; found 0"),
        ("max_queued_per_principal=0", "expected 1 or more; found 0"),
        ("outbox_messages=0", "expected 1 or more; found 0"),
        ("ping_interval_seconds=0", "expected more than 0 seconds"),
        ("ping_interval_seconds=-1", "expected a number of seconds from 0"),
        ("max_sessions=5000000000", "expected a whole number from 0 to 4294967295"),
        ("http_listen=localhost:8001", "expected an IP address and a port"),
        ("store_url=postgres://x", "expected sqlite:<file>"),
        ("store_url=redis://", "expected a host"),
        ("redis_key_prefix={x}", "expected 1 to 64 letters"),
        ("store_url=sqlite:", "expected a file after `sqlite:`"),
        ("workspace_roots=relative", "relative: expected an absolute path"),
        ("trusted_workspace_roots=/elsewhere", "lies in none of the workspace_roots"),
        ("agent_program=bin/claude", "expected a name to look up in PATH"),
        ("agent_user=", "it is empty"),
        ("allowed_commands=[\"\"]", "one is empty"),
        ("agent_env=CC_GATEWAY_JWT_SECRET=x", "agents get nothing of the gateway's own"),
        ("agent_env_pass=A B", "can't be the name of a variable"),
        ("log_filter=info,[", "expected a filter such as `info`"),
        ("access_token_seconds=0", "expected 1 or more"),
        ("access_token_seconds=9999999", "30 days"),
        ("token_audience= ", "it is empty"),
        ("slot_lease_seconds=0.5", "1 or more"),
        ("warm_processes=100", "fewer than max_sessions"),
        ("warm_idle_seconds=0", "more than 0"),
    ] {
        let text = problems(&sources(&env, &[], &[flag]));
        let leaf = flag.split('=').next().unwrap();
        assert!(text.starts_with(&format!("--set {leaf}: ")) && text.contains(expected), "{flag}: {text}");
        assert_eq!(text.lines().count(), 1, "{flag}: {text}");
    }
}

#[test]
fn paths_begin_at_home_or_where_the_gateway_was_started() {
    let (home, env) = world();
    let flags =
        ["data_dir=data", "workspace_roots=~/work", "store_url=sqlite:~/g.db", "claude_config_dir=~/.claude-gw"];
    let settings = loaded(&sources(&env, &[("XDG_DATA_HOME", "relative is ignored")], &flags)).settings;
    assert_eq!(settings.data.data_dir, std::env::current_dir().unwrap().join("data"));
    assert_eq!(settings.workspaces.workspace_roots, [home.path().join("work")]);
    assert_eq!(paths::store_file(&settings), Some(home.path().join("g.db")));
    let env: Environment = env.into_iter().collect();
    assert_eq!(paths::claude_config_dir(&settings, &env), Some(home.path().join(".claude-gw")));
    assert_eq!(paths::claude_config_dir(&Settings::default(), &env), Some(home.path().join(".claude")));
}

#[test]
fn m3_no_secret_is_shown_or_repeated_in_a_problem() {
    let (home, env) = world();
    let secret = "canary-9f1c6b0d5e7a48329f0b7c6d1e2a3f4b";
    let file = write(&home, "c.toml", "[agent]\nagent_env = { ANTHROPIC_API_KEY = \"canary-key\" }\n");
    let mut all = sources(&env, &[("CC_GATEWAY_JWT_SECRET", secret)], &[]);
    all.file = Some(file.clone());
    let url = Flag::set("store_url=redis://user:hunter2@host:1").unwrap();
    let with_password = loaded(&Sources { flags: vec![url], ..all.clone() });
    let loaded = loaded(&all);
    let shown = show(&loaded);
    assert!(shown.contains("jwt_secret = \"<hidden>\"  # from CC_GATEWAY_JWT_SECRET"), "{shown}");
    assert!(shown.contains("ANTHROPIC_API_KEY"), "{shown}");
    for text in [&shown, &show_json(&loaded).to_string(), &format!("{loaded:?}")] {
        assert!(text.contains("jwt_secret") && !text.contains(secret), "{text}");
    }
    assert!(!shown.contains("canary") && !show_json(&loaded).to_string().contains("canary"));

    for text in [show(&with_password), show_json(&with_password).to_string(), format!("{with_password:?}")] {
        assert!(text.contains("redis://<hidden>@host:1") && !text.contains("hunter2"), "{text}");
    }

    // Broken lines, misspelt names and wrong shapes repeat nothing either.
    std::fs::write(&file, "[auth]\njwt_secret = canary\n").unwrap();
    all.flags = vec![
        Flag::set("jwt_secrt=canary").unwrap(),
        Flag::set("agent_env=canary").unwrap(),
        Flag::set("store_url=reddis://:canary@host").unwrap(),
    ];
    all.env = env.into_iter().chain([("CC_GATEWAY_JWT_SECRET".to_owned(), "canary".to_owned())]).collect();
    let text = problems(&all);
    assert_eq!(text.lines().count(), 5, "{text}");
    assert!(text.contains("line 2 is not TOML") && !text.contains("canary"), "{text}");
}

#[test]
fn what_is_shown_is_a_settings_file_with_the_same_meaning() {
    let (home, env) = world();
    let first =
        loaded(&sources(&env, &[("CC_GATEWAY_LOG_FORMAT", "text")], &["max_sessions=7", "allowed_commands=a,b"]));
    let shown = show(&first);
    assert!(shown.contains("max_sessions = 7  # from --set\n"), "{shown}");
    assert!(shown.contains("timeout_seconds = 3600.0\n"), "{shown}");
    let mut again = sources(&env, &[], &[]);
    again.file = Some(write(&home, "shown.toml", &shown));
    let second = loaded(&again);
    assert_eq!(second.settings.log.log_format, LogFormat::Text);
    assert_eq!(serde_json::to_value(&first.settings).unwrap(), serde_json::to_value(&second.settings).unwrap());
}

#[test]
fn a_settings_file_to_begin_with_names_no_secret_and_freezes_nothing_that_follows_from_something_else() {
    let (home, env) = world();
    let flags =
        ["agent_env=ANTHROPIC_API_KEY=k", "store_url=redis://user:pass@host:1", &format!("jwt_secret={RANDOM}")];
    for line in show(&loaded(&sources(&env, &[], &flags))).lines().filter(|line| line.contains("<hidden>")) {
        assert!(line.starts_with("# "), "{line}");
    }
    let shown = show(&loaded(&sources(&env, &[], &[])));
    let mut elsewhere = sources(&env, &[], &["data_dir=/srv/elsewhere"]);
    elsewhere.file = Some(write(&home, "begin.toml", &shown));
    let settings = loaded(&elsewhere).settings;
    assert_eq!(settings.data.store_url, "sqlite:/srv/elsewhere/gateway.db");
    let shown = show(&loaded(&sources(&env, &[], &["data_dir=/srv/elsewhere"])));
    assert!(shown.contains("\ndata_dir = \"/srv/elsewhere\"  # from --set\n"), "what was said stays: {shown}");
}

#[test]
fn what_is_right_is_read_although_something_is_wrong() {
    let (_home, env) = world();
    let (loaded, problems) = load_what_is_right(&sources(&env, &[], &["http_listen=127.0.0.1:9", "max_sessions=none"]));
    assert_eq!(loaded.settings.http.http_listen.port(), 9);
    assert_eq!(loaded.settings.sessions.max_sessions, Settings::default().sessions.max_sessions);
    assert_eq!(problems.iter().filter_map(|problem| problem.leaf).collect::<Vec<_>>(), ["max_sessions"]);
}

#[test]
fn a_setting_is_found_by_its_leaf() {
    assert_eq!(setting("max_sessions").unwrap().env, "CC_GATEWAY_MAX_SESSIONS");
    assert_eq!(setting("sessions"), None);
}

#[test]
fn c3_every_problem_with_keys_issuers_and_hosts_is_told_in_one_run() {
    let (home, env) = world();
    let (bad, gone) = (write(&home, "bad.pem", "no key"), home.path().join("gone.pem"));
    let keys = home.path().join("keys");
    std::fs::create_dir(&keys).unwrap();
    std::fs::write(keys.join("short"), "short").unwrap();
    std::fs::write(keys.join("good.pem"), std::fs::read(fixture("rsa-1.pub.pem")).unwrap()).unwrap();
    let file = write(
        &home,
        "issuers.toml",
        "[[auth.trusted_issuers]]\nissuer = \"one\"\njwks_url = \"http://id.example.com/k\"\naudience = \"\"\n\
         [[auth.trusted_issuers]]\nissuer = \"one\"\njwks_url = \"https://id.example.com/k\"\naudience = \"a\"\n\
         algorithms = [\"HS256\"]\n",
    );
    let accepted = format!("accepted_key_files={},{}", keys.display(), gone.display());
    let mut all = sources(
        &env,
        &[("CC_GATEWAY_ALLOWED_HOSTS", "*.example.com,https://x,good.example.com"), ("CC_GATEWAY_JWT_SECRET", RANDOM)],
        &[&format!("signing_key_file={}", bad.display()), &accepted, "refresh_token_seconds=60"],
    );
    all.file = Some(file);
    let found = load(&all).unwrap_err();
    let text = lines(&found);
    for expected in [
        "CC_GATEWAY_ALLOWED_HOSTS: \"*.example.com\": a host is exact",
        "CC_GATEWAY_ALLOWED_HOSTS: \"https://x\": expected a name without scheme",
        "bad.pem: is no private key in PEM",
        "a secret is given too (CC_GATEWAY_JWT_SECRET)",
        "short: neither a key in PEM nor a secret that serves",
        "gone.pem: can't be read",
        "\"one\": `jwks_url`: expected https",
        "\"one\": `audience` is empty",
        "\"one\": `algorithms`: \"HS256\" is none of",
        "\"one\" is there twice",
        "--set refresh_token_seconds: expected as much as access_token_seconds",
    ] {
        assert!(text.contains(expected), "missing: {expected}\nin:\n{text}");
    }
    assert_eq!(found.len(), 11, "{text}");
    let variable = [("CC_GATEWAY_TRUSTED_ISSUERS", "[{ issuer = \"i\", jwks_url = \"https://i/k\" }]")];
    let text = problems(&sources(&env, &variable, &[]));
    assert!(text.contains("CC_GATEWAY_TRUSTED_ISSUERS: expected a list of tables"), "{text}");
}
