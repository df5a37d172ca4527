//! The command line as a whole: it parses as documented, and its help serves a newcomer.

use clap::{CommandFactory, Parser};

use super::*;
use crate::config::sources::OTHER_VARIABLES;

fn help(words: &[&str]) -> String {
    let words = std::iter::once("cc-gateway").chain(words.iter().copied()).chain(["--help"]);
    Cli::try_parse_from(words).unwrap_err().to_string()
}

/// The names of all subcommands that a person sees.
fn commands() -> Vec<String> {
    Cli::command().get_subcommands().map(|command| command.get_name().to_owned()).collect()
}

#[test]
fn the_command_line_is_well_formed() {
    Cli::command().debug_assert();
}

#[test]
fn all_commands_are_there_and_the_sweeps_helper_is_not_shown() {
    let all = [
        "serve",
        "exec",
        "chat",
        "attach",
        "sessions",
        "login",
        "logout",
        "user",
        "keys",
        "healthcheck",
        "doctor",
        "credentials",
        "store",
        "config",
        "protocol",
    ];
    assert_eq!(commands(), all);
    let text = help(&[]);
    for name in all {
        assert!(text.contains(&format!("\n  {name} ")), "{name} in {text}");
    }
    assert!(text.contains("First steps:") && !text.contains(HELPER_ARGUMENT), "{text}");
}

#[test]
fn the_help_of_every_command_says_what_it_does_and_has_examples() {
    for name in commands() {
        let text = help(&[&name]);
        assert!(text.contains("Examples:\n") && text.contains(&format!("  cc-gateway {name}")), "{name}: {text}");
        let about = text.lines().next().unwrap_or_default();
        assert!(about.len() > 20 && about != "Usage:", "{name}: {about}");
    }
}

#[test]
fn every_option_has_a_text() {
    let mut silent = Vec::new();
    let root = Cli::command();
    let mut open: Vec<&clap::Command> = root.get_subcommands().collect();
    while let Some(command) = open.pop() {
        open.extend(command.get_subcommands());
        let without = command.get_arguments().filter(|argument| argument.get_help().is_none());
        silent.extend(without.map(|argument| format!("{} {}", command.get_name(), argument.get_id())));
    }
    assert_eq!(silent, Vec::<String>::new());
}

#[test]
fn m5_the_variables_that_flags_read_are_known_to_the_settings_loader() {
    for name in gateway::VARIABLES {
        assert!(OTHER_VARIABLES.contains(&name), "{name}");
    }
}

#[test]
fn the_flags_of_serve_are_settings_and_win_over_set() {
    let line =
        ["cc-gateway", "serve", "--set", "max_sessions=3", "--max-sessions", "4", "--http-listen", "127.0.0.1:0"];
    let Command::Serve(args) = Cli::try_parse_from(line).unwrap().command else { panic!("serve is serve") };
    let env: Environment = [("HOME", "/nonexistent"), ("CC_GATEWAY_MAX_SESSIONS", "2")].into_iter().collect();
    let loaded = crate::config::load(&args.sources(&env)).unwrap();
    assert_eq!(loaded.settings.sessions.max_sessions, 4);
    assert_eq!(loaded.origin("max_sessions").to_string(), "--max-sessions");
    assert_eq!(loaded.settings.http.http_listen.port(), 0);
}

#[test]
fn c3_wrong_flags_of_serve_are_told_together_with_every_other_problem() {
    let line = ["cc-gateway", "serve", "--max-sessions", "many", "--log-format", "xml", "--store-url", "redis://"];
    let Command::Serve(args) = Cli::try_parse_from(line).unwrap().command else { panic!("serve is serve") };
    let env: Environment = [("HOME", "/nonexistent"), ("CC_GATEWAY_JWT_SECRET", "changeme")].into_iter().collect();
    let problems = crate::config::load(&args.sources(&env)).unwrap_err();
    let told = settings::told(&problems);
    assert!(told.starts_with("cc-gateway: 4 problems with the settings:\n"), "{told}");
    for source in ["--max-sessions: ", "--log-format: ", "--store-url: ", "CC_GATEWAY_JWT_SECRET: "] {
        assert!(told.contains(&format!("\n  {source}")), "{told}");
    }
}

#[test]
fn a_set_without_an_equals_sign_is_a_usage_error_that_says_the_form() {
    let error = Cli::try_parse_from(["cc-gateway", "config", "--set", "max_sessions"]).unwrap_err();
    assert_eq!(error.exit_code(), i32::from(Exit::USAGE.0));
    assert!(error.to_string().contains("expected leaf=value"), "{error}");
}
