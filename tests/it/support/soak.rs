//! How often the rows with large counts are run.

/// `small`, or `full` when the environment holds `SOAK=1`.
pub(crate) fn count(small: usize, full: usize) -> usize {
    if std::env::var_os("SOAK").is_some_and(|value| value == "1") { full } else { small }
}
