//! Tests of `arguments`: what is understood, what is refused, what is run.

use proptest::prelude::*;
use serde_json::json;

use super::*;

fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|&word| word.to_owned()).collect()
}

fn parse(arguments: &[&str]) -> Result<CallerArguments, ArgumentError> {
    parse_caller_arguments(&words(arguments))
}

fn run(arguments: &[&str]) -> Vec<String> {
    parse(arguments).unwrap().arguments(false).unwrap()
}

#[test]
fn the_usual_command_is_run_with_the_prompt_behind_the_flags() {
    assert_eq!(
        run(&["-p", "What is 2+2?", "--output-format", "stream-json", "--verbose"]),
        words(&["--print", "--output-format=stream-json", "--verbose", "--", "What is 2+2?"])
    );
}

#[test]
fn every_allowed_flag_is_understood_in_both_forms() {
    let id = "00000000-0000-0000-0000-000000000007";
    let flags = [
        ("--output-format", "json"),
        ("--model", "opus"),
        ("--fallback-model", "sonnet"),
        ("--effort", "low"),
        ("--permission-mode", "plan"),
        ("--max-turns", "3"),
        ("--max-budget-usd", "0.5"),
        ("--system-prompt", "-be brief"),
        ("--append-system-prompt", "--x=y"),
        ("--json-schema", r#"{"type":"object"}"#),
        ("--session-id", id),
        ("--resume", id),
        ("--add-dir", "../x"),
        ("--allowedTools", "Bash(git:*) Read"),
        ("--disallowedTools", "WebFetch"),
        ("--tools", ""),
        ("--mcp-config", r#"{"mcpServers":{}}"#),
    ];
    let booleans = [
        "--verbose",
        "--include-partial-messages",
        "--continue",
        "--fork-session",
        "--strict-mcp-config",
        "--no-session-persistence",
        "--disable-slash-commands",
    ];
    let mut expected = vec!["--print".to_owned()];
    expected.extend(flags.iter().map(|(flag, value)| format!("{flag}={value}")));
    expected.extend(booleans.iter().map(|&flag| flag.to_owned()));
    expected.extend(words(&["--", "hi"]));

    let joined: Vec<String> =
        words(&["hi"]).into_iter().chain(expected[..expected.len() - 2].iter().cloned()).collect();
    let apart: Vec<String> = words(&["hi", "-p"])
        .into_iter()
        .chain(flags.iter().flat_map(|(flag, value)| words(&[flag, value])))
        .chain(words(&booleans))
        .collect();
    assert_eq!(parse_caller_arguments(&joined).unwrap().arguments(false).unwrap(), expected);
    assert_eq!(parse_caller_arguments(&apart).unwrap().arguments(false).unwrap(), expected);
}

#[test]
fn other_spellings_mean_the_same() {
    let id = "00000000-0000-0000-0000-000000000007";
    assert_eq!(parse(&["-p", "x", "-c"]), parse(&["--print", "x", "--continue"]));
    assert_eq!(parse(&["x", "-r", id]), parse(&["x", &format!("--resume={id}")]));
    assert_eq!(parse(&["x", "--allowed-tools", "A", "B"]), parse(&["x", "--allowedTools=A", "--allowedTools", "B"]));
    assert_eq!(parse(&["x", "--input-format=text"]), parse(&["x"]));
    assert_eq!(parse(&["x", "--permission-mode=manual"]).unwrap().permission_mode, Some(PermissionMode::Default));
}

#[test]
fn a_flag_that_is_not_on_the_list_is_refused_by_name() {
    for flag in [
        "--settings",
        "--setting-sources",
        "--plugin-dir",
        "--plugin-url",
        "--debug-file",
        "--debug",
        "-d",
        "--permission-prompt-tool",
        "--permission-prompts",
        "--allow-dangerously-skip-permissions",
        "--agents",
        "--bare",
        "--ide",
        "--bg",
        "--remote-control",
        "--worktree",
        "--system-prompt-file",
        "--replay-user-messages",
        "--no-such-flag",
        "--Model",
        "-pc",
    ] {
        let expected = Err(ArgumentError::NotAllowed { flag: flag.to_owned() });
        assert_eq!(parse(&["-p", "x", flag, "y"]), expected);
        assert_eq!(parse(&["-p", flag]), expected, "a prompt can't begin with a dash");
        if flag.starts_with("--") {
            assert_eq!(parse(&["-p", "x", &format!("{flag}=secret")]), expected, "the value is not shown");
        }
    }
}

#[test]
fn a_lone_dash_is_a_prompt() {
    assert_eq!(parse(&["-p", "-"]).unwrap().prompt, ["-"]);
}

#[test]
fn skipping_permissions_is_told_as_the_mode_for_the_policy_to_judge() {
    let bypass = Some(PermissionMode::BypassPermissions);
    for arguments in [
        ["x", "--dangerously-skip-permissions", "--permission-mode=plan"],
        ["x", "--permission-mode=plan", "--dangerously-skip-permissions"],
        ["x", "--permission-mode=bypassPermissions", "--permission-mode=bypassPermissions"],
    ] {
        assert_eq!(parse(&arguments).unwrap().permission_mode, bypass, "{arguments:?}");
    }
    assert_eq!(run(&["x", "--dangerously-skip-permissions"])[1], "--permission-mode=bypassPermissions");
}

#[test]
fn e11_after_two_dashes_everything_is_the_prompt() {
    let parsed = parse(&["-p", "--verbose", "--", "--settings", "-x", "--"]).unwrap();
    assert_eq!(parsed.prompt, ["--settings", "-x", "--"]);
    assert_eq!(
        parsed.arguments(true).unwrap(),
        words(&["--print", "--verbose", "--setting-sources=user", "--", "--settings", "-x", "--"])
    );
}

#[test]
fn a_flag_with_many_values_takes_the_words_up_to_the_next_flag() {
    let parsed = parse(&["-p", "x", "--allowedTools", "A", "B", "--add-dir", "/a", "/b", "--verbose", "y"]).unwrap();
    assert_eq!(parsed.allowed_tools, ["A", "B"]);
    assert_eq!(parsed.add_dirs, ["/a", "/b"]);
    assert_eq!(parsed.prompt, ["x", "y"]);
    let joined = parse(&["--allowedTools=A", "x"]).unwrap();
    assert_eq!((joined.allowed_tools, joined.prompt), (words(&["A"]), words(&["x"])));
}

#[test]
fn a_prompt_that_a_flag_has_taken_is_told() {
    assert_eq!(
        parse(&["-p", "--allowedTools", "Read", "What is 2+2?"]),
        Err(ArgumentError::PromptTaken { flag: "--allowedTools".to_owned() })
    );
    assert!(parse(&["-p", "--allowedTools", "Read", "--", "What is 2+2?"]).is_ok());
}

#[test]
fn values_that_do_not_fit_are_refused_by_their_flags_name() {
    for (flag, value) in [
        ("--output-format", "xml"),
        ("--input-format", "stream-json"),
        ("--max-turns", "-1"),
        ("--max-turns", "1.5"),
        ("--max-budget-usd", "0"),
        ("--max-budget-usd", "NaN"),
        ("--max-budget-usd", "inf"),
        ("--permission-mode", "auto"),
        ("--effort", "huge"),
        ("--session-id", "x"),
        ("--resume", "the old one"),
        ("--json-schema", "[]"),
        ("--mcp-config", "/etc/mcp.json"),
        ("--mcp-config", "[]"),
        ("--mcp-config", "{}"),
        ("--mcp-config", r#"{"mcpServers":{},"more":1}"#),
    ] {
        let result = parse(&["x", &format!("{flag}={value}")]);
        assert!(
            matches!(&result, Err(ArgumentError::InvalidValue { flag: named, .. }) if named == flag),
            "{flag}={value}: {result:?}"
        );
    }
    assert_eq!(parse(&["x", "--model"]), Err(ArgumentError::MissingValue { flag: "--model".to_owned() }));
    assert_eq!(parse(&["x", "-r", "--verbose"]), Err(ArgumentError::MissingValue { flag: "-r".to_owned() }));
    assert_eq!(parse(&["x", "--verbose=1"]), Err(ArgumentError::UnexpectedValue { flag: "--verbose".to_owned() }));
}

#[test]
fn a_subcommand_is_refused_unless_it_is_clearly_a_prompt() {
    assert_eq!(parse(&["mcp", "list"]), Err(ArgumentError::Subcommand { subcommand: "mcp".to_owned() }));
    assert_eq!(run(&["-p", "update"]), words(&["--print", "--", "update"]));
}

#[test]
fn asking_for_the_version_runs_nothing_else() {
    assert_eq!(run(&["--version"]), ["--version"]);
    assert_eq!(run(&["-v", "x", "--model", "y"]), ["--version"]);
    assert_eq!(run(&["-h"]), ["--help"]);
}

#[test]
fn an_mcp_configuration_is_given_as_an_object() {
    let parsed = parse(&["x", "--mcp-config", r#"{"mcpServers":{"a":{"command":"sh"}}}"#]).unwrap();
    assert_eq!(parsed.mcp_config, [json!({"mcpServers": {"a": {"command": "sh"}}}).as_object().unwrap().clone()]);
    assert_eq!(mcp::servers_needing_raw(&parsed.mcp_config[0]), ["a"]);
}

#[test]
fn a_word_that_no_argument_can_hold_is_refused() {
    let nul = parse(&["-p", "a\0b"]).unwrap().arguments(false);
    assert_eq!(nul, Err(CommandLineError::Nul { parameter: "command" }));
    let long = parse(&["-p", &"x".repeat(200_000)]).unwrap().arguments(false);
    assert!(matches!(long, Err(CommandLineError::ArgumentTooLong { parameter: "command", .. })));
}

fn word() -> impl Strategy<Value = String> {
    prop_oneof![
        proptest::sample::select(vec![
            "-p",
            "--",
            "-",
            "-c",
            "-r",
            "--verbose",
            "--model",
            "--allowedTools",
            "--tools",
            "--add-dir",
            "--resume",
            "--settings",
            "--model=x",
            "--tools=",
            "--permission-mode=plan",
            "--dangerously-skip-permissions",
            "--mcp-config",
            r#"{"mcpServers":{}}"#,
            "00000000-0000-0000-0000-000000000007",
            "--max-turns",
            "3",
            "--effort",
            "low",
        ])
        .prop_map(str::to_owned),
        "[-a-z=]{0,6}",
    ]
}

proptest! {
    #[test]
    fn what_is_run_reads_back_as_what_was_understood(arguments in proptest::collection::vec(word(), 0..8)) {
        if let Ok(parsed) = parse_caller_arguments(&arguments) {
            let run = parsed.arguments(false).unwrap();
            if parsed.information.is_none() {
                let again = parse_caller_arguments(&run);
                prop_assert_eq!(again.as_ref(), Ok(&parsed));
                // Nothing before the `--` is a bare word, so that nothing can be read in another way.
                for argument in run.iter().take_while(|argument| *argument != "--") {
                    prop_assert!(argument.starts_with("--"));
                }
            }
        }
    }
}
