//! `cc-gateway login --oidc`: the program as people run it, with a browser that the test plays.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Stdio;

use http::Method;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::Command;

use super::provider::{BASE, Browser, Provider};
use crate::support::http::Response;
use crate::support::program::{Finished, caller_environment, cc_gateway};
use crate::support::{Gateway, eventually, within};

/// The environment of a caller whose browser tells where it was sent.
fn environment(gateway: &Gateway) -> Vec<(String, String)> {
    let browser = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/support/browser.sh");
    let mut env = caller_environment(gateway);
    env.push(("BROWSER".to_owned(), browser.display().to_string()));
    env.push(("BROWSER_SENT_TO".to_owned(), gateway.path("sent-to").display().to_string()));
    env
}

/// Where the program has sent its browser.
async fn sent_to(gateway: &Gateway) -> String {
    let file = gateway.path("sent-to");
    let address = eventually("the browser to be opened", || std::fs::read_to_string(&file).ok()).await;
    std::fs::remove_file(file).expect("the browser's file");
    address
}

/// The part of an address that comes after the gateway's own, or a provider's base.
fn below<'a>(address: &'a str, base: &str) -> &'a str {
    address.strip_prefix(base).unwrap_or_else(|| panic!("{address} is not below {base}"))
}

/// Goes to the program's own port, where the gateway has sent the browser.
async fn back_home(browser: &mut Browser, answer: &Response) -> Response {
    assert_eq!(answer.status, 302, "{}", answer.text());
    let (port, path) = below(answer.header("location"), "http://127.0.0.1:").split_once('/').expect("a path");
    let home = SocketAddr::from(([127, 0, 0, 1], port.parse().expect("a port")));
    browser.ask(home, Method::GET, &format!("/{path}"), None).await
}

/// Plays the browser from the program's address on; the page that it shows in the end.
async fn browse(gateway: &Gateway, provider: &Provider, address: &str, name: &str) -> Response {
    let mut browser = Browser::default();
    let path = below(address, &format!("http://{}", gateway.http));
    let answer = browser.ask(gateway.http, Method::GET, path, None).await;
    assert_eq!(answer.status, 302, "{}", answer.text());
    let back = browser.log_in(provider, answer.header("location"), name).await;
    assert!(!back.starts_with(BASE), "{back}");
    let answer = browser.ask(gateway.http, Method::GET, &back, None).await;
    back_home(&mut browser, &answer).await
}

/// A whole `cc-gateway login --oidc` of that person: the program's end and the browser's last page.
async fn log_in(gateway: &Gateway, provider: &Provider, name: &str) -> (Finished, Response) {
    let env = environment(gateway);
    tokio::join!(cc_gateway(&["login", "--oidc"], &env, ""), async {
        let address = sent_to(gateway).await;
        browse(gateway, provider, &address, name).await
    })
}

#[tokio::test]
async fn a_login_by_browser_serves_the_other_commands_and_no_token_is_shown() {
    let provider = Provider::start().await;
    let mut gateway = provider.gateway(Gateway::builder()).start().await;
    let (done, page) = log_in(&gateway, &provider, "bob").await;
    assert_eq!(done.code, Some(0), "{done:?}");
    assert!(done.stderr.contains("logged in as bob (user)"), "{done:?}");
    assert!(page.status == 200 && page.text().contains("You are logged in"), "{}", page.text());
    let env = caller_environment(&gateway);
    let said = cc_gateway(&["exec", "say hello"], &env, "").await;
    assert_eq!((said.code, said.stdout.as_str()), (Some(0), "hello\n"), "{said:?}");
    let saved = std::fs::read_to_string(gateway.path("caller-home/.config/cc-gateway/token.json")).unwrap();
    let saved: serde_json::Value = serde_json::from_str(&saved).unwrap();
    let saved = &saved["tokens"][format!("http://{}", gateway.http)];
    for secret in ["access_token", "refresh_token"] {
        let secret = saved[secret].as_str().expect("a token");
        let told = [&done.stdout, &done.stderr, &page.text(), &gateway.log()].map(|text| text.contains(secret));
        assert_eq!(told, [false; 4], "m3: nobody is shown a token");
    }
    assert_eq!(cc_gateway(&["logout"], &env, "").await.code, Some(0));
    assert_eq!(cc_gateway(&["sessions"], &env, "").await.code, Some(77));
    gateway.stop().await;
}

#[tokio::test]
async fn whoever_is_refused_reads_why_in_the_terminal_and_nothing_is_saved() {
    let provider = Provider::start().await;
    let gateway = provider.gateway(Gateway::builder()).start().await;
    let (done, page) = log_in(&gateway, &provider, "eve").await;
    assert_eq!(done.code, Some(77), "{done:?}");
    assert!(done.stderr.contains("gives you no access to this gateway"), "{done:?}");
    assert!(page.text().contains("did not succeed"), "{}", page.text());
    assert!(!gateway.path("caller-home/.config/cc-gateway/token.json").exists());
}

#[tokio::test]
async fn a_gateway_without_a_provider_tells_the_terminal_so() {
    let gateway = Gateway::builder().start().await;
    let env = environment(&gateway);
    let (done, page) = tokio::join!(cc_gateway(&["login", "--oidc"], &env, ""), async {
        let address = sent_to(&gateway).await;
        let mut browser = Browser::default();
        let path = below(&address, &format!("http://{}", gateway.http));
        let answer = browser.ask(gateway.http, Method::GET, path, None).await;
        back_home(&mut browser, &answer).await
    });
    assert_eq!(done.code, Some(1), "{done:?}");
    assert!(done.stderr.contains("this gateway has no logins at a provider"), "{done:?}");
    assert!(page.text().contains("did not succeed"), "{}", page.text());
}

#[tokio::test]
async fn without_a_browser_the_address_is_shown_and_whatever_else_asks_the_port_ends_nothing() {
    let provider = Provider::start().await;
    let gateway = provider.gateway(Gateway::builder()).start().await;
    let mut command = Command::new(env!("CARGO_BIN_EXE_cc-gateway"));
    command.args(["login", "--oidc", "--no-browser"]).env_clear().envs(environment(&gateway));
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).kill_on_drop(true);
    let mut program = command.spawn().expect("the program");
    let mut lines = BufReader::new(program.stderr.take().expect("its words")).lines();
    let line = within("the address", lines.next_line()).await.expect("a line").expect("a line");
    let address = below(&line, "log in with your browser at ").to_owned();
    let port = address.split("return=").nth(1).and_then(|rest| rest.split('&').next()).expect("a port");
    let home = SocketAddr::from(([127, 0, 0, 1], port.parse().expect("a port")));
    for stray in ["/", "/callback", "/callback?code=x", "/favicon.ico"] {
        assert_eq!(Browser::default().ask(home, Method::GET, stray, None).await.status, 404, "{stray}");
    }
    let page = browse(&gateway, &provider, &address, "ada").await;
    assert_eq!(page.status, 200, "{}", page.text());
    assert!(within("the program's end", program.wait()).await.expect("its end").success());
    let last = within("its last words", lines.next_line()).await.expect("a line").expect("a line");
    assert!(last.contains("logged in as ada (admin)"), "{last}");
    assert!(!gateway.path("sent-to").exists(), "no browser was opened");
}
