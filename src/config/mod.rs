//! Settings: defaults ← TOML file ← `CC_GATEWAY_*` environment ← flags; every problem reported in one run.
//!
//! A setting is a field of a struct in [`settings`] and nothing else: its name, text, type and default are
//! read off that field, see [`table()`]. The program ends with the exit code 78 when [`load`] fails.

pub mod check;
pub mod data_dir;
mod dollars;
mod fields;
pub mod issuer;
pub mod loader;
mod log;
pub mod oidc;
pub mod paths;
pub mod problem;
mod seconds;
pub mod settings;
mod show;
pub mod sources;
pub mod store_url;
pub mod table;
mod value;

#[cfg(test)]
mod tests;

pub(crate) use check::forms::network;
pub use loader::{Loaded, load, load_what_is_right};
pub use problem::{Problem, Source};
pub use settings::Settings;
pub use show::{show, show_json};
pub use sources::{Environment, Flag, Sources};
pub use table::{SettingInfo, markdown, table};
