//! The codes that the program ends with.

use std::process::ExitCode;

/// How a command ended, as its exit code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Exit(pub u8);

impl Exit {
    /// It did what it was asked to.
    pub const SUCCESS: Self = Self(0);
    /// It could not, or what it looked at is not well.
    pub const FAILURE: Self = Self(1);
    /// The command line makes no sense.
    pub const USAGE: Self = Self(2);
    /// The settings are wrong (`EX_CONFIG`); every problem has been told.
    pub const SETTINGS: Self = Self(78);
}

impl Exit {
    /// `self` if that is a failure, else `other`.
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        if self == Self::SUCCESS { other } else { self }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.0)
    }
}
