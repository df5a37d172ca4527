//! Documents that are generated must be what the code generates.
//!
//! To bring them up to date: `cc-gateway protocol > docs/protocol.md`, and in README.md put the output of
//! `cc-gateway config --markdown` between the marks.

use std::path::Path;

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
