//! Where the real Claude Code is: a pinned version that `make tools` installs.

use std::path::{Path, PathBuf};

/// The version that the tests are written for; `scripts/tools.sh` installs it.
pub(crate) const VERSION: &str = "2.1.329";

/// The real CLI's program: `CC_GATEWAY_TEST_CLAUDE`, or the one below `.tools`.
pub(crate) fn real_cli() -> PathBuf {
    if let Some(path) = std::env::var_os("CC_GATEWAY_TEST_CLAUDE") {
        return PathBuf::from(path);
    }
    let modules = Path::new(env!("CARGO_MANIFEST_DIR")).join(".tools/node_modules");
    // The package's own program is a hard link to the platform's, made by an install script that may be off.
    let places = [
        "@anthropic-ai/claude-code-linux-x64/claude",
        "@anthropic-ai/claude-code-linux-arm64/claude",
        "@anthropic-ai/claude-code/bin/claude.exe",
    ];
    let found = places.iter().map(|place| modules.join(place)).find(|path| path.is_file());
    found.unwrap_or_else(|| {
        panic!("Claude Code {VERSION} is not there; run `make tools`, or set CC_GATEWAY_TEST_CLAUDE to its program")
    })
}
