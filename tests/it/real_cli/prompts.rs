//! Prompts that look like something else reach the model byte for byte.

use serde_json::json;

use super::{ended, gateway};
use crate::support::{Client, Gateway, MessagesApi};

/// Runs them all, each in a session of its own; what the model was asked.
async fn asked(gateway: &Gateway, api: &MessagesApi, prompts: &[String]) -> Vec<String> {
    let mut client: Client = gateway.client().await;
    let mut sessions = Vec::new();
    for prompt in prompts {
        sessions.push(client.start(json!({"prompt": prompt})).await);
    }
    for (session, prompt) in sessions.into_iter().zip(prompts) {
        let ended = ended(&client.until_ended(session).await);
        let shown: String = prompt.chars().take(40).collect();
        assert_eq!(ended["reason"], "completed", "{shown:?}: {ended}");
    }
    let mut asked = api.prompts();
    asked.sort();
    asked
}

#[tokio::test]
async fn e11_prompts_that_look_like_flags_commands_or_files_reach_the_model_as_they_are() {
    let api = MessagesApi::start();
    let gateway = gateway(&api).await;
    let mut prompts = [
        "-p",
        "--help",
        "-",
        "--",
        "--dangerously-skip-permissions [[text:ok]]",
        "/clear",
        "/exit now [[text:ok]]",
        "@/etc/passwd what is it? [[text:ok]]",
    ]
    .map(str::to_owned);
    prompts.sort();
    assert_eq!(asked(&gateway, &api, &prompts).await, prompts);
}

#[tokio::test]
async fn e11_prompts_of_strange_or_very_many_characters_reach_the_model_as_they_are() {
    let api = MessagesApi::start();
    let gateway = gateway(&api).await;
    let mut prompts = [
        "two\nlines\r\nand a tab\t, ends with blanks  \n[[text:ok]]".to_owned(),
        "$(touch x) `id` \\ 'a' \"b\" ; | & > < * ? ~ ! # %s {\"json\": [1]} [[text:ok]]".to_owned(),
        "\u{1F600} \u{1F469}\u{200D}\u{1F680} \u{e9}e\u{301} \u{5d0}\u{202e} \u{feff} \u{1b}[31m \u{7f} [[text:ok]]"
            .to_owned(),
        format!("{} [[text:ok]]", "a megabyte \u{e9}\n".repeat(76_000)),
    ];
    assert!(prompts[3].len() > 1_000_000);
    prompts.sort();
    let asked = asked(&gateway, &api, &prompts).await;
    let lengths: Vec<usize> = asked.iter().map(String::len).collect();
    assert_eq!(lengths, prompts.iter().map(String::len).collect::<Vec<_>>());
    assert!(asked == prompts, "same lengths, other bytes");
}
