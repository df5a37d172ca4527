//! Documents that are generated must be what the code generates.
//!
//! To bring them up to date: `cc-gateway protocol > docs/protocol.md`, and in README.md put the output of
//! `cc-gateway config --markdown` between the marks.

use std::collections::BTreeSet;
use std::path::Path;

use cc_gateway::api::event::SessionState;
use cc_gateway::cli::protocol;
use cc_gateway::config;
use cc_gateway::ws::close;

fn document(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(name);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// What stands between `<!-- name -->` and `<!-- /name -->` in README.md.
fn block(name: &str) -> String {
    let text = document("README.md");
    let (open, close) = (format!("<!-- {name} -->\n"), format!("<!-- /{name} -->"));
    let (_, rest) = text.split_once(&open).unwrap_or_else(|| panic!("README.md has no {open}"));
    let (inside, _) = rest.split_once(&close).unwrap_or_else(|| panic!("README.md has no {close}"));
    inside.trim().to_owned()
}

#[test]
fn the_protocol_document_is_what_the_code_generates() {
    assert!(
        document("docs/protocol.md") == protocol::markdown(),
        "docs/protocol.md is not up to date: cc-gateway protocol > docs/protocol.md"
    );
}

#[test]
fn the_readme_has_the_settings_that_the_code_has() {
    assert!(
        block("settings") == config::markdown().trim(),
        "the settings in README.md are not up to date: put the output of `cc-gateway config --markdown` there"
    );
}

#[test]
fn the_readme_has_the_close_codes_that_the_code_has() {
    assert!(
        block("close codes") == close::markdown().trim(),
        "the close codes in README.md are not up to date: the last table of `cc-gateway protocol` is right"
    );
}

/// The names of metrics in a text, as they are declared: without what Prometheus adds to a histogram's.
fn metrics(text: &str) -> BTreeSet<&str> {
    let words = text.split(|letter: char| !letter.is_ascii_lowercase() && letter != '_');
    let names = words.filter(|word| word.starts_with("cc_gateway_"));
    names
        .map(|name| ["_bucket", "_sum", "_count"].iter().find_map(|part| name.strip_suffix(part)).unwrap_or(name))
        .collect()
}

#[test]
fn alerts_and_the_dashboard_ask_for_metrics_that_there_are() {
    let declared = document("src/telemetry/metrics.rs");
    let declared = metrics(&declared);
    let rule = document("docker/kubernetes/adapter-rule.yaml");
    let (_, query) = rule.split_once("seriesQuery:").expect("the rule says which series it is made of");
    let texts = ["alerts.yml", "dashboard.json"].map(|name| document(&format!("docker/monitoring/{name}")));
    for text in texts.iter().map(String::as_str).chain(query.lines().next()) {
        let asked = metrics(text);
        assert!(!asked.is_empty(), "no metric is named in: {text}");
        assert_eq!(asked.difference(&declared).collect::<Vec<_>>(), Vec::<&&str>::new());
    }
}

#[test]
fn the_autoscaler_counts_the_states_that_take_a_slot() {
    let rule = document("docker/kubernetes/adapter-rule.yaml");
    let (_, states) = rule.split_once("state=~\"").expect("the rule names states");
    let (states, _) = states.split_once('"').expect("the states end");
    let live =
        SessionState::ALL.into_iter().filter(|state| !matches!(state, SessionState::Queued | SessionState::Ended));
    assert_eq!(states.split('|').collect::<BTreeSet<_>>(), live.map(SessionState::as_str).collect());
}
