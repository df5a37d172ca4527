//! Where the real Claude Code is: a pinned version that `make tools` installs.

use std::path::{Path, PathBuf};

/// The version that the tests are written for; `scripts/tools.sh` installs it.
pub(crate) const VERSION: &str = "2.1.329";

/// An old version that is still in use: the newest that npm installs for Node.js 20.
pub(crate) const OLD_VERSION: &str = "2.1.197";

/// The real CLI's program: `CC_GATEWAY_TEST_CLAUDE`, or the one below `.tools`.
pub(crate) fn real_cli() -> PathBuf {
    match std::env::var_os("CC_GATEWAY_TEST_CLAUDE") {
        Some(path) => PathBuf::from(path),
        None => below(".tools", VERSION),
    }
}

/// The program of the old version.
pub(crate) fn old_cli() -> PathBuf {
    below(&format!(".tools/claude-{OLD_VERSION}"), OLD_VERSION)
}

/// The program that npm has installed below `prefix`.
fn below(prefix: &str, version: &str) -> PathBuf {
    let modules = Path::new(env!("CARGO_MANIFEST_DIR")).join(prefix).join("node_modules");
    // The package's own program is a hard link to the platform's, made by an install script that may be off.
    let places = [
        "@anthropic-ai/claude-code-linux-x64/claude",
        "@anthropic-ai/claude-code-linux-arm64/claude",
        "@anthropic-ai/claude-code/bin/claude.exe",
    ];
    let found = places.iter().map(|place| modules.join(place)).find(|path| path.is_file());
    found.unwrap_or_else(|| panic!("Claude Code {version} is not there; run `scripts/tools.sh --tests`"))
}
