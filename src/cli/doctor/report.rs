//! What `doctor` found: one line a check, and what to do about it.

use serde::Serialize;

use super::super::{Exit, output};

/// How a check came out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// As it should be.
    Ok,
    /// It works, but an operator should know.
    Warn,
    /// The gateway, or its sessions, will not work.
    Fail,
}

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Check {
    /// What was looked at.
    pub name: &'static str,
    /// How it came out.
    pub level: Level,
    /// What was found.
    pub found: String,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub advice: Option<String>,
}

impl Check {
    /// As it should be.
    #[must_use]
    pub fn ok(name: &'static str, found: impl Into<String>) -> Self {
        Self { name, level: Level::Ok, found: found.into(), advice: None }
    }

    /// It works, but an operator should know, or do something.
    #[must_use]
    pub fn warn(name: &'static str, found: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { name, level: Level::Warn, found: found.into(), advice: Some(advice.into()) }
    }

    /// It does not work.
    #[must_use]
    pub fn fail(name: &'static str, found: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { name, level: Level::Fail, found: found.into(), advice: Some(advice.into()) }
    }
}

/// Everything that was found, in order.
#[derive(Debug, Default, Serialize)]
pub struct Report {
    /// The checks.
    pub checks: Vec<Check>,
}

impl Report {
    /// 1 if any check failed.
    #[must_use]
    pub fn exit(&self) -> Exit {
        if self.checks.iter().any(|check| check.level == Level::Fail) { Exit::FAILURE } else { Exit::SUCCESS }
    }

    /// For people.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = String::new();
        for check in &self.checks {
            let level = match check.level {
                Level::Ok => "ok  ",
                Level::Warn => "warn",
                Level::Fail => "FAIL",
            };
            text.push_str(&format!("{level}  {:<15}  {}\n", check.name, output::plain_line(&check.found)));
            for line in check.advice.iter().flat_map(|advice| advice.lines()) {
                text.push_str(&format!("{:23}→ {}\n", "", output::plain_line(line)));
            }
        }
        let count = |level| self.checks.iter().filter(|check| check.level == level).count();
        text.push_str(&format!("\n{} failed, {} to know about\n", count(Level::Fail), count(Level::Warn)));
        text
    }

    /// For programs.
    #[must_use]
    pub fn json(&self) -> serde_json::Value {
        serde_json::json!({ "ok": self.exit() == Exit::SUCCESS, "checks": self.checks })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_failure_makes_the_exit_code_1_and_a_warning_does_not() {
        let mut report = Report { checks: vec![Check::ok("a", "fine"), Check::warn("b", "hm", "look")] };
        assert_eq!(report.exit(), Exit::SUCCESS);
        assert_eq!(report.json()["ok"], true);
        report.checks.push(Check::fail("c", "broken\u{1b}", "mend\nit"));
        assert_eq!(report.exit(), Exit::FAILURE);
        assert_eq!(report.json()["checks"][2]["level"], "fail");
        let text = report.text();
        assert!(text.contains("FAIL  c                broken\n                       → mend\n"), "{text}");
        assert!(text.ends_with("1 failed, 1 to know about\n"), "{text}");
    }
}
