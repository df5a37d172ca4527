//! The rules of the house that a compiler does not know.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Every Rust file below these directories, with its text.
fn sources(directories: &[&str]) -> Vec<(PathBuf, String)> {
    fn walk(directory: &Path, into: &mut Vec<(PathBuf, String)>) {
        for entry in fs::read_dir(directory).expect("a directory") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                walk(&path, into);
            } else if path.extension().is_some_and(|end| end == "rs") {
                let text = fs::read_to_string(&path).expect("a source file");
                into.push((path.strip_prefix(root()).expect("inside").to_owned(), text));
            }
        }
    }
    let mut all = Vec::new();
    for directory in directories {
        walk(&root().join(directory), &mut all);
    }
    assert!(!all.is_empty());
    all
}

/// The layer of a module: it may use only its own and lower ones.
fn layer(module: &str) -> Option<u8> {
    Some(match module {
        "api" | "config" | "telemetry" => 0,
        "store" | "process" | "claude" => 1,
        "session" | "auth" => 2,
        "rpc" => 3,
        "http" | "ws" => 4,
        "app" => 5,
        "cli" => 6,
        _ => return None,
    })
}

#[test]
fn imports_go_down_only() {
    let mut wrong = Vec::new();
    for (path, text) in sources(&["src"]) {
        let parts: Vec<_> = path.iter().filter_map(|part| part.to_str()).collect();
        let module = parts.get(1).map(|name| name.trim_end_matches(".rs")).unwrap_or_default();
        // The client sits beside the house: it may use only what goes over the wire.
        let own = if module == "client" { Some(0) } else { layer(module) };
        let Some(own) = own else { continue };
        let code = text.split("#[cfg(test)]").next().unwrap_or_default();
        let is_test = path.to_string_lossy().contains("test") || path.ends_with("contract.rs");
        for line in code.lines().filter(|line| !line.trim_start().starts_with("//")) {
            for used in line.split("crate::").skip(1) {
                let used: String =
                    used.chars().take_while(|letter| letter.is_alphanumeric() || *letter == '_').collect();
                let siblings = own == 1 && used != module && layer(&used) == Some(1);
                if !is_test && (layer(&used).is_some_and(|layer| layer > own) || siblings) {
                    wrong.push(format!("{}: {}", path.display(), line.trim()));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "imports that go up or sideways:\n{}", wrong.join("\n"));
}

#[test]
fn each_outside_library_is_named_in_its_own_place_only() {
    let places = [
        ("jsonwebtoken", &["src/auth/token"][..]),
        ("rusqlite", &["src/store/sqlite"]),
        ("fred::", &["src/store/redis"]),
        ("rustls::", &["src/store/redis", "src/auth/fetch.rs"]),
        ("unsafe {", &["src/process/unsafe_calls.rs"]),
    ];
    for (path, text) in sources(&["src"]) {
        for (name, own) in places {
            let named = text.lines().any(|line| !line.trim_start().starts_with("//") && line.contains(name));
            assert!(
                !named || own.iter().any(|place| path.to_string_lossy().starts_with(place)),
                "{name} in {}",
                path.display()
            );
        }
    }
}

#[test]
fn every_file_says_what_it_owns_and_has_one_subject() {
    for (path, text) in sources(&["src", "tests", "benches"]) {
        assert!(text.starts_with("//!"), "{} does not begin with `//!`", path.display());
        assert!(text.lines().count() <= 500, "{} has more than 500 lines: it has two subjects", path.display());
    }
}

#[test]
fn nothing_is_put_off_or_started_unnamed() {
    let own = Path::new(file!());
    let forbidden = ["#[ignore", "todo!(", "unimplemented!(", "FIXME", "unbounded_channel("];
    for (path, text) in sources(&["src", "tests", "benches"]).into_iter().filter(|(path, _)| path != own) {
        for word in forbidden {
            assert!(!text.contains(word), "{word} in {}", path.display());
        }
    }
    let spawning: Vec<_> = sources(&["src"])
        .into_iter()
        .filter(|(path, text)| text.contains("tokio::spawn(") && !path.to_string_lossy().contains("test"))
        .map(|(path, _)| path.display().to_string())
        .collect();
    assert_eq!(spawning, ["src/telemetry/tasks.rs"]);
}

#[test]
fn n4_every_dependency_is_used_and_every_crate_comes_from_the_registry() {
    let manifest: toml::Table =
        fs::read_to_string(root().join("Cargo.toml")).expect("a manifest").parse().expect("TOML");
    let code: String = sources(&["src", "tests", "benches"]).into_iter().map(|(_, text)| text).collect();
    let tables = ["dependencies", "dev-dependencies"].map(|name| manifest[name].as_table().expect("a table").clone());
    let unused: Vec<_> = tables
        .iter()
        .flat_map(toml::Table::keys)
        .filter(|name| !code.contains(&format!("{}::", name.replace('-', "_"))))
        .collect();
    assert!(unused.is_empty(), "named in Cargo.toml, used nowhere: {unused:?}");
    let lock: toml::Table = fs::read_to_string(root().join("Cargo.lock")).expect("a lock file").parse().expect("TOML");
    let packages = lock["package"].as_array().expect("packages");
    let mut versions = BTreeMap::<&str, u32>::new();
    for package in packages {
        let name = package["name"].as_str().expect("a name");
        *versions.entry(name).or_default() += 1;
        let source = package.get("source").and_then(toml::Value::as_str);
        assert!(
            name == "cc-gateway" || source.is_some_and(|source| source.starts_with("registry+")),
            "{name}: {source:?}"
        );
    }
    for single in ["hyper", "http", "tokio", "tungstenite", "rustls", "serde"] {
        assert!(versions.get(single).is_none_or(|count| *count == 1), "{single} is in the tree more than once");
    }
}
