//! The settings in force, for people and programs. Secrets are `<hidden>`: the signing secret, user
//! and password in the store's URL, and the values given to agents as variables, where API keys go.

use serde_json::{Map, Value, json};

use super::loader::Loaded;
use super::problem::Source;
use super::store_url;
use super::table::{self, SettingInfo, table};

/// What stands in the place of a secret.
const HIDDEN: &str = "<hidden>";

/// What follows from other things unless it is set: the home directory, the data directory.
const DERIVED: [&str; 3] = ["data_dir", "store_url", "workspace_roots"];

/// The settings in force as TOML, with a comment where a value comes from unless it is a default. It can begin a
/// settings file: commented out is what is not set at all, what follows from other settings, and what is not shown in
/// full.
#[must_use]
pub fn show(loaded: &Loaded) -> String {
    let values = values(loaded);
    let mut text = match &loaded.file {
        Some(file) => format!("# Settings file: {}\n", file.display()),
        None => "# Settings file: none\n".to_owned(),
    };
    let mut section = "";
    for (info, value) in values {
        if info.section != section {
            section = info.section;
            text.push_str(&format!("\n[{section}]\n"));
        }
        let line = match &value {
            Value::Null => format!("# {} is not set", info.leaf),
            value => {
                let value = table::as_toml(value);
                let is_derived = DERIVED.contains(&info.leaf) && !loaded.origins.contains_key(info.leaf);
                let mark = if is_derived || value.contains(HIDDEN) { "# " } else { "" };
                format!("{mark}{} = {value}", info.leaf)
            }
        };
        text.push_str(&line);
        if let Some(origin) = loaded.origins.get(info.leaf) {
            text.push_str(&format!("  # from {}", said_in(origin)));
        }
        text.push('\n');
    }
    text
}

/// The same as one JSON object: `{file, settings: {section: {leaf: value}}, origins: {leaf: source}}`.
#[must_use]
pub fn show_json(loaded: &Loaded) -> Value {
    let mut settings = Map::new();
    for (info, value) in values(loaded) {
        settings.entry(info.section).or_insert_with(|| json!({}))[info.leaf] = value;
    }
    let origins: Map<String, Value> =
        loaded.origins.iter().map(|(leaf, origin)| ((*leaf).to_owned(), said_in(origin).into())).collect();
    json!({ "file": loaded.file, "settings": settings, "origins": origins })
}

/// Every setting with its value as it may be shown.
fn values(loaded: &Loaded) -> Vec<(&'static SettingInfo, Value)> {
    let mut all = serde_json::to_value(&loaded.settings).unwrap_or_default();
    for value in all["agent"]["agent_env"].as_object_mut().into_iter().flat_map(Map::values_mut) {
        *value = HIDDEN.into();
    }
    let url = &mut all["data"]["store_url"];
    *url = store_url::shown(url.as_str().unwrap_or_default()).into();
    table()
        .iter()
        .map(|info| {
            let value = match all[info.section][info.leaf].take() {
                Value::Null if info.secret && loaded.origins.contains_key(info.leaf) => HIDDEN.into(),
                value => value,
            };
            (info, value)
        })
        .collect()
}

/// The source without the setting's name, which stands beside it.
fn said_in(origin: &Source) -> String {
    match origin {
        Source::File { path, .. } => path.display().to_string(),
        Source::Variable { name } => name.clone(),
        Source::Flag { name } => name.split(' ').next().unwrap_or_default().to_owned(),
        Source::Default { .. } => "default".to_owned(),
    }
}
