//! Puts the sources together: defaults ← TOML file ← environment ← flags, leaf by leaf.
//!
//! Every leaf is read alone and in every source, so that one run reports all that is wrong and names where
//! it was said. A wrong value is left out and the one below it stays.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use figment::Figment;
use figment::value::{Num, Value};

use super::problem::{Problem, Source};
use super::settings::Settings;
use super::sources::{Environment, OTHER_VARIABLES, Sources, made_by_kubernetes};
use super::table::{ENV_PREFIX, SettingInfo, setting, table};
use super::{check, paths, value};

/// Longest wrong value that is repeated in a problem, in bytes.
const LONGEST_SHOWN: usize = 80;

/// Settings that were read, and where from.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// The settings in force. Paths that were empty are filled in, see [`paths`].
    pub settings: Settings,
    /// The file that was read, if one was.
    pub file: Option<PathBuf>,
    /// Where each leaf that was given was given. What is not in here is a default.
    pub origins: BTreeMap<&'static str, Source>,
}

impl Loaded {
    /// Where a leaf's value comes from.
    #[must_use]
    pub fn origin(&self, leaf: &'static str) -> Source {
        self.origins.get(leaf).cloned().unwrap_or(Source::Default { leaf })
    }
}

/// Reads the settings.
///
/// # Errors
/// Every problem with them, at once; at least one.
pub fn load(sources: &Sources) -> Result<Loaded, Vec<Problem>> {
    let (loaded, problems) = load_what_is_right(sources);
    if problems.is_empty() { Ok(loaded) } else { Err(problems) }
}

/// Reads the settings and leaves out what is wrong. For commands that need only some of them, and for
/// `doctor`, which goes on after a problem; a gateway must not start on these.
#[must_use]
pub fn load_what_is_right(sources: &Sources) -> (Loaded, Vec<Problem>) {
    let mut reading = Reading::default();
    let file = reading.file(sources);
    reading.environment(&sources.env);
    reading.flags(sources);

    let mut problems = reading.problems;
    let mut figment = Figment::new();
    let mut origins = BTreeMap::new();
    for (leaf, (value, source)) in reading.given {
        if let Some(info) = setting(leaf) {
            figment = figment.merge((info.key(), value));
            origins.insert(leaf, source);
        }
    }
    let settings = figment.extract().unwrap_or_else(|error| {
        // Each value was accepted alone, so only the sum can be at fault.
        problems.push(Problem::new(Source::Default { leaf: "settings" }, None, error.kind.to_string()));
        Settings::default()
    });
    let mut loaded = Loaded { settings, file, origins };
    paths::fill_in(&mut loaded, &sources.env, &mut problems);
    check::check(&loaded, &mut problems);
    (loaded, problems)
}

/// What has been read so far.
#[derive(Default)]
struct Reading {
    given: BTreeMap<&'static str, (Value, Source)>,
    problems: Vec<Problem>,
}

impl Reading {
    fn file(&mut self, sources: &Sources) -> Option<PathBuf> {
        let (path, must_exist) = settings_file(sources)?;
        let whole = Source::File { path: path.clone(), key: None };
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == ErrorKind::NotFound && !must_exist => return None,
            Err(error) => {
                self.problems.push(Problem::new(whole, None, format!("the settings file can't be read: {error}")));
                return None;
            }
        };
        match toml::from_str::<toml::Table>(&text) {
            Ok(sections) => self.sections(&path, sections),
            Err(error) => {
                // Not the error's own text: it quotes the line, which may hold a secret.
                let at = error.span().map_or(0, |span| span.start).min(text.len());
                let line = text.as_bytes()[..at].iter().filter(|byte| **byte == b'\n').count() + 1;
                let reason = error.message().lines().collect::<Vec<_>>().join(", ");
                let message = format!("line {line} is not TOML: {reason}");
                self.problems.push(Problem::new(whole, None, message));
            }
        }
        Some(path)
    }

    fn sections(&mut self, path: &Path, sections: toml::Table) {
        let known: Vec<&str> = table().iter().map(|info| info.section).collect();
        for (name, content) in sections {
            let source = Source::File { path: path.to_owned(), key: Some(name.clone()) };
            if !known.contains(&name.as_str()) {
                self.problems.push(match setting(&name) {
                    Some(info) => {
                        Problem::new(source, None, format!("this setting belongs in the section [{}]", info.section))
                    }
                    None => Problem::unknown(source, "no such section", &name, known.iter().copied()),
                });
                continue;
            }
            let toml::Value::Table(leaves) = content else {
                self.problems.push(Problem::new(source, None, format!("expected a section: [{name}]")));
                continue;
            };
            for (leaf, content) in leaves {
                self.leaf(path, &name, &leaf, &content);
            }
        }
    }

    fn leaf(&mut self, path: &Path, section: &str, leaf: &str, content: &toml::Value) {
        let source = Source::File { path: path.to_owned(), key: Some(format!("{section}.{leaf}")) };
        match setting(leaf) {
            Some(info) if info.section == section => match Value::serialize(content) {
                Ok(value) => self.take(info, value, source),
                Err(_) => self.refuse(info, source, &info.shape.expected(), None),
            },
            Some(info) => {
                let message = format!("this setting belongs in the section [{}]", info.section);
                self.problems.push(Problem::new(source, None, message));
            }
            None => self.problems.push(Problem::unknown(source, "no such setting", leaf, leaves())),
        }
    }

    fn environment(&mut self, env: &Environment) {
        for (name, text) in env.iter() {
            let Some(name) = name.to_str().filter(|name| name.starts_with(ENV_PREFIX)) else { continue };
            let source = Source::Variable { name: name.to_owned() };
            let text = text.to_str();
            match (table().iter().find(|info| info.env == name), text) {
                (Some(info), Some(text)) => self.text(info, text, source),
                (Some(info), None) => self.refuse(info, source, "text in UTF-8", None),
                (None, _) if OTHER_VARIABLES.contains(&name) => {}
                (None, text) if made_by_kubernetes(env, name, text.unwrap_or_default()) => {}
                (None, _) => {
                    let known = table().iter().map(|info| info.env.as_str()).chain(OTHER_VARIABLES.iter().copied());
                    self.problems.push(Problem::unknown(source, "no such variable", name, known));
                }
            }
        }
    }

    fn flags(&mut self, sources: &Sources) {
        for flag in &sources.flags {
            let source = Source::Flag { name: flag.name.clone() };
            match table().iter().find(|info| info.leaf == flag.leaf || info.key() == flag.leaf) {
                Some(info) => self.text(info, &flag.text, source),
                None => self.problems.push(Problem::unknown(source, "no such setting", &flag.leaf, leaves())),
            }
        }
    }

    fn text(&mut self, info: &'static SettingInfo, text: &str, source: Source) {
        match value::parse(&info.shape, text) {
            Ok(value) => self.take(info, value, source),
            Err(expected) => self.refuse(info, source, &expected, Some(text)),
        }
    }

    /// Keeps a value if the setting's type accepts it.
    fn take(&mut self, info: &'static SettingInfo, value: Value, source: Source) {
        match Figment::from((info.key(), &value)).extract::<Settings>() {
            Ok(_) => {
                self.given.insert(info.leaf, (value, source));
            }
            Err(_) => {
                let found = match &value {
                    // JSON has no word for these.
                    Value::Num(_, Num::F64(number)) if !number.is_finite() => Some(number.to_string()),
                    value => value.as_str().map(str::to_owned).or_else(|| serde_json::to_string(value).ok()),
                };
                self.refuse(info, source, &info.shape.expected(), found.as_deref());
            }
        }
    }

    /// Says what is expected, and what was found unless that may be a secret.
    fn refuse(&mut self, info: &'static SettingInfo, source: Source, expected: &str, found: Option<&str>) {
        let found = found.filter(|found| info.shape.may_be_shown() && found.len() <= LONGEST_SHOWN);
        let message = match found {
            Some(found) => format!("expected {expected}; found {found:?}"),
            None => format!("expected {expected}"),
        };
        self.problems.push(Problem::new(source, Some(info.leaf), message));
    }
}

fn leaves() -> impl Iterator<Item = &'static str> {
    table().iter().map(|info| info.leaf)
}

/// The file to read, and whether somebody named it.
fn settings_file(sources: &Sources) -> Option<(PathBuf, bool)> {
    if let Some(path) = &sources.file {
        return Some((path.clone(), true));
    }
    if let Some(path) = sources.env.get("CC_GATEWAY_CONFIG") {
        return Some((path.into(), true));
    }
    paths::config_home(&sources.env).map(|home| (home.join("cc-gateway").join("cc-gateway.toml"), false))
}
