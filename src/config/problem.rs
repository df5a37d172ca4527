//! A problem with the settings: what is wrong, where it was said, what is expected.
//!
//! A problem's text never holds the value of a secret setting.

use std::fmt;
use std::path::PathBuf;

/// Where a value was given.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Source {
    /// Nowhere: it is the default of this setting.
    Default {
        /// The setting.
        leaf: &'static str,
    },
    /// A TOML file.
    File {
        /// Which.
        path: PathBuf,
        /// The key in it, `section.leaf`; `None` if it is about the whole file.
        key: Option<String>,
    },
    /// An environment variable.
    Variable {
        /// Its name.
        name: String,
    },
    /// A flag of the command line.
    Flag {
        /// As it was written, without the value: `--http-listen`, `--set max_sessions`.
        name: String,
    },
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default { leaf } => write!(f, "{leaf} (default)"),
            Self::File { path, key: Some(key) } => write!(f, "{key} in {}", path.display()),
            Self::File { path, key: None } => write!(f, "{}", path.display()),
            Self::Variable { name } | Self::Flag { name } => f.write_str(name),
        }
    }
}

/// One thing that is wrong with the settings.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{source_of}: {message}{}", .suggestion.as_ref().map(|name| format!("; did you mean `{name}`?")).unwrap_or_default())]
pub struct Problem {
    /// Where it was said.
    pub source_of: Source,
    /// The setting it is about; `None` if there is no such setting.
    pub leaf: Option<&'static str>,
    /// What is wrong and what is expected.
    pub message: String,
    /// A name that is nearly the one that was given.
    pub suggestion: Option<String>,
}

impl Problem {
    /// A problem with what a source says about a known setting, or with the source itself.
    #[must_use]
    pub fn new(source_of: Source, leaf: Option<&'static str>, message: impl Into<String>) -> Self {
        Self { source_of, leaf, message: message.into(), suggestion: None }
    }

    /// A name that means nothing, with the nearest one that does.
    #[must_use]
    pub fn unknown<'a>(
        source_of: Source,
        message: impl Into<String>,
        name: &str,
        known: impl IntoIterator<Item = &'a str>,
    ) -> Self {
        Self { source_of, leaf: None, message: message.into(), suggestion: nearest(name, known) }
    }
}

/// The known name most like `name`, if any is like it at all.
fn nearest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<String> {
    known
        .into_iter()
        .map(|known| (strsim::jaro_winkler(&name.to_lowercase(), &known.to_lowercase()), known))
        .filter(|(likeness, _)| *likeness > 0.85)
        .max_by(|(a, _), (b, _)| a.total_cmp(b))
        .map(|(_, known)| known.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_near_miss_is_suggested_and_a_far_one_is_not() {
        let known = ["max_sessions", "http_listen", "ws_listen"];
        assert_eq!(nearest("max_sesions", known).as_deref(), Some("max_sessions"));
        assert_eq!(nearest("listen_http", known), None);
        assert_eq!(nearest("HTTP_LISTEN", known).as_deref(), Some("http_listen"));
    }

    #[test]
    fn a_problem_names_its_source_and_the_nearest_name() {
        let source = Source::Variable { name: "CC_GATEWAY_MAX_SESIONS".to_owned() };
        let problem = Problem::unknown(source, "no such setting", "max_sesions", ["max_sessions"]);
        assert_eq!(problem.to_string(), "CC_GATEWAY_MAX_SESIONS: no such setting; did you mean `max_sessions`?");
    }
}
