//! The table of settings: one row a leaf, read off the structs in [`super::settings`].
//!
//! Names and order come from `Deserialize`, texts and types from `JsonSchema`, defaults from `Default`:
//! a field that is added there is in the table, the environment and the flags at once.

use std::sync::OnceLock;

use schemars::generate::SchemaSettings;
use serde_json::Value;

use super::settings::Settings;
use super::{dollars, fields};

/// What every variable of ours begins with.
pub const ENV_PREFIX: &str = "CC_GATEWAY_";

/// One setting.
#[derive(Debug, Clone, PartialEq)]
pub struct SettingInfo {
    /// The TOML section it stands in.
    pub section: &'static str,
    /// What the section is about.
    pub section_about: String,
    /// Its name, unique in all sections: the TOML key and the `leaf` of `--set leaf=value`.
    pub leaf: &'static str,
    /// Its environment variable.
    pub env: String,
    /// Its default as TOML; empty if there is none.
    pub default: String,
    /// What it does.
    pub about: String,
    /// What values look like.
    pub shape: Shape,
    /// Is it never shown? Its own texts and errors then leave the value out.
    pub secret: bool,
}

impl SettingInfo {
    /// `section.leaf`, the key in the TOML file.
    #[must_use]
    pub fn key(&self) -> String {
        format!("{}.{}", self.section, self.leaf)
    }
}

/// What the values of a setting look like.
#[derive(Debug, Clone, PartialEq)]
pub enum Shape {
    /// Any text.
    Text,
    /// An IP address and a port.
    Address,
    /// A whole number from 0 up to this.
    Whole(u64),
    /// A number of seconds.
    Seconds,
    /// An amount of US dollars.
    Dollars,
    /// `true` or `false`.
    Switch,
    /// One of these words.
    Choice(Vec<String>),
    /// A list of texts.
    List,
    /// Texts by name.
    Map,
    /// A list of tables with named values.
    Tables,
}

impl Shape {
    /// What is expected, in words.
    #[must_use]
    pub fn expected(&self) -> String {
        match self {
            Self::Text => "a text".to_owned(),
            Self::Address => "an IP address and a port, such as 127.0.0.1:8001 or [::1]:8001".to_owned(),
            Self::Whole(u64::MAX) => "a whole number, 0 or more".to_owned(),
            Self::Whole(max) => format!("a whole number from 0 to {max}"),
            Self::Seconds => "a number of seconds from 0 to 1000000000".to_owned(),
            Self::Dollars => "a number of US dollars, 0 or more".to_owned(),
            Self::Switch => "true or false".to_owned(),
            Self::Choice(words) => format!("one of {}", words.join(", ")),
            Self::List => "a list of texts: [\"a\", \"b\"], or a,b in a variable or flag".to_owned(),
            Self::Map => "texts by name: { A = \"1\", B = \"2\" }, or A=1,B=2 in a variable or flag".to_owned(),
            Self::Tables => "a list of tables with the named values: [{ a = \"1\", b = [\"2\"] }]".to_owned(),
        }
    }

    /// May a wrong value be repeated to the operator? Texts and maps may hold secrets.
    pub(super) fn may_be_shown(&self) -> bool {
        !matches!(self, Self::Text | Self::List | Self::Map | Self::Tables)
    }

    /// Reads the shape off a field's schema.
    fn of(schema: &Value) -> Self {
        let words: Vec<String> = schema["enum"]
            .as_array()
            .into_iter()
            .flatten()
            .chain(schema["oneOf"].as_array().into_iter().flatten().map(|variant| &variant["const"]))
            .filter_map(|word| word.as_str().map(str::to_owned))
            .collect();
        if !words.is_empty() {
            return Self::Choice(words);
        }
        // An `Option` has the types ["string", "null"].
        let kind = schema["type"].as_str().or_else(|| schema["type"][0].as_str()).unwrap_or("string");
        match (kind, schema["format"].as_str()) {
            ("integer", Some("uint32")) => Self::Whole(u32::MAX.into()),
            ("integer", _) => Self::Whole(u64::MAX),
            ("number", Some(dollars::FORMAT)) => Self::Dollars,
            ("number", _) => Self::Seconds,
            ("boolean", _) => Self::Switch,
            ("array", _) if schema["items"]["type"] == "object" => Self::Tables,
            ("array", _) => Self::List,
            ("object", _) => Self::Map,
            (_, Some("address-and-port")) => Self::Address,
            _ => Self::Text,
        }
    }
}

/// Every setting, in the order of declaration.
#[must_use]
pub fn table() -> &'static [SettingInfo] {
    /// Kept because every look-up of a name needs it and it never changes.
    static TABLE: OnceLock<Vec<SettingInfo>> = OnceLock::new();
    TABLE.get_or_init(build)
}

/// The setting of that leaf name.
#[must_use]
pub fn setting(leaf: &str) -> Option<&'static SettingInfo> {
    table().iter().find(|info| info.leaf == leaf)
}

fn build() -> Vec<SettingInfo> {
    let schema = SchemaSettings::draft2020_12()
        .with(|settings| settings.inline_subschemas = true)
        .into_generator()
        .into_root_schema_for::<Settings>()
        .to_value();
    let defaults = serde_json::to_value(Settings::default()).unwrap_or_default();
    let mut rows = Vec::new();
    for (section, leaves) in fields::sections() {
        let of_section = &schema["properties"][section];
        for leaf in leaves {
            let of_leaf = &of_section["properties"][leaf];
            rows.push(SettingInfo {
                section,
                section_about: sentence(&of_section["description"]),
                leaf,
                env: format!("{ENV_PREFIX}{}", leaf.to_uppercase()),
                default: as_toml(&defaults[section][leaf]),
                about: sentence(&of_leaf["description"]),
                shape: Shape::of(of_leaf),
                secret: of_leaf["writeOnly"].as_bool().unwrap_or(false),
            });
        }
    }
    rows
}

/// A doc comment on one line.
fn sentence(description: &Value) -> String {
    description.as_str().unwrap_or_default().split_whitespace().collect::<Vec<_>>().join(" ")
}

/// A value as it stands in a TOML file; empty for none.
pub(super) fn as_toml(value: &Value) -> String {
    toml::Value::try_from(value).map(|value| value.to_string()).unwrap_or_default()
}

/// The whole table as Markdown, one part a section.
#[must_use]
pub fn markdown() -> String {
    let mut text = String::new();
    let mut section = "";
    for info in table() {
        if info.section != section {
            if !section.is_empty() {
                text.push('\n');
            }
            section = info.section;
            text.push_str(&format!("### `[{section}]`\n\n{}\n\n", info.section_about));
            text.push_str("| setting | variable | default | what it does |\n|---|---|---|---|\n");
        }
        let default = match info.default.as_str() {
            "" | "\"\"" => String::new(),
            default => format!("`{}`", default.replace('|', "\\|")),
        };
        let about = info.about.replace('|', "\\|");
        text.push_str(&format!("| `{}` | `{}` | {default} | {about} |\n", info.leaf, info.env));
    }
    text
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn m5_the_table_has_every_field_of_the_settings_once() {
        let schema = schemars::schema_for!(Settings).to_value();
        let defs = &schema["$defs"];
        let mut fields = BTreeSet::new();
        for (section, property) in schema["properties"].as_object().unwrap() {
            let name = property["$ref"].as_str().unwrap().rsplit('/').next().unwrap();
            for leaf in defs[name]["properties"].as_object().unwrap().keys() {
                fields.insert(format!("{section}.{leaf}"));
            }
        }
        let rows: BTreeSet<String> = table().iter().map(SettingInfo::key).collect();
        assert_eq!(rows, fields);
        assert_eq!(rows.len(), table().len());
        assert!(rows.len() > 50, "the walk found only {} settings", rows.len());
    }

    #[test]
    fn leaf_names_are_unique_in_all_sections() {
        let leaves: BTreeSet<&str> = table().iter().map(|info| info.leaf).collect();
        assert_eq!(leaves.len(), table().len());
    }

    #[test]
    fn every_setting_says_what_it_does() {
        let silent: Vec<&str> = table()
            .iter()
            .filter(|info| info.about.is_empty() || info.section_about.is_empty())
            .map(|i| i.leaf)
            .collect();
        assert_eq!(silent, Vec::<&str>::new());
    }

    #[test]
    fn only_the_secret_itself_is_marked_secret_and_has_no_default() {
        let secret: Vec<(&str, &str)> =
            table().iter().filter(|info| info.secret).map(|info| (info.leaf, info.default.as_str())).collect();
        assert_eq!(secret, [("jwt_secret", "")]);
    }

    #[test]
    fn shapes_and_defaults_are_read_off_the_structs() {
        let row = |leaf: &str| {
            let info = setting(leaf).unwrap();
            (info.shape.clone(), info.default.as_str())
        };
        assert_eq!(row("http_listen"), (Shape::Address, "\"127.0.0.1:8001\""));
        assert_eq!(row("max_sessions"), (Shape::Whole(u32::MAX.into()), "100"));
        assert_eq!(row("max_message_bytes"), (Shape::Whole(u64::MAX), "10485760"));
        assert_eq!(row("ping_interval_seconds"), (Shape::Seconds, "20.0"));
        assert_eq!(row("query_token"), (Shape::Switch, "false"));
        assert_eq!(row("log_format"), (Shape::Choice(vec!["json".to_owned(), "text".to_owned()]), "\"json\""));
        assert_eq!(row("agent_user"), (Shape::Text, ""));
        assert_eq!(row("agent_env"), (Shape::Map, "{}"));
        assert_eq!(row("allowed_commands"), (Shape::List, "[\"claude\"]"));
    }

    #[test]
    fn m5_the_markdown_has_a_row_for_every_setting() {
        let text = markdown();
        for info in table() {
            assert!(text.contains(&format!("| `{}` | `{}` |", info.leaf, info.env)), "{}", info.leaf);
        }
    }
}
