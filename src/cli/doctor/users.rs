//! Which user the gateway and its agents run as, and what follows from it.

use nix::unistd::{Uid, User};

use super::report::Check;
use crate::config::settings::AgentSettings;
use crate::process::{RunAs, UserError};

const NAME: &str = "users";

/// The numbers of the capabilities a gateway needs to run agents as another user.
const NEEDED: [(u32, &str); 3] = [(5, "CAP_KILL"), (6, "CAP_SETGID"), (7, "CAP_SETUID")];

/// The user that agents run as, judged for this process.
pub(super) fn users(agent: &AgentSettings) -> Check {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    judge(agent, Uid::effective(), effective_capabilities(&status))
}

fn judge(agent: &AgentSettings, own: Uid, capabilities: u64) -> Check {
    let own_name = User::from_uid(own).ok().flatten().map_or_else(|| own.to_string(), |user| user.name);
    let Some(name) = agent.agent_user.as_deref() else {
        return one_user(agent, own, &own_name);
    };
    match RunAs::lookup(name) {
        Ok(user) if user.uid == own.as_raw() => one_user(agent, own, &own_name),
        Ok(user) if user.uid == 0 => {
            Check::fail(NAME, "agents would run as root", "set agent_user to a user without rights")
        }
        Ok(user) => {
            let missing: Vec<&str> = NEEDED
                .iter()
                .filter(|(bit, _)| capabilities & (1 << bit) == 0)
                .map(|(_, capability)| *capability)
                .collect();
            if missing.is_empty() {
                Check::ok(NAME, format!("the gateway runs as {own_name}, agents run as {}", user.name))
            } else {
                Check::fail(
                    NAME,
                    format!("{own_name} may not run agents as {name}: {} missing", missing.join(", ")),
                    "give the gateway these capabilities, or leave agent_user out",
                )
            }
        }
        Err(UserError::Unknown) => {
            Check::fail(NAME, format!("there is no user {name}"), "make that user, or set agent_user to another")
        }
        Err(UserError::Lookup(error)) => {
            Check::fail(NAME, format!("the user {name} can't be looked up: {error}"), "try again")
        }
    }
}

/// Agents run as the gateway's own user.
fn one_user(agent: &AgentSettings, own: Uid, own_name: &str) -> Check {
    let found = format!("the gateway and its agents both run as {own_name}");
    let meaning = "agents can read the gateway's secret and store";
    if own.is_root() {
        Check::warn(
            NAME,
            format!("{found}: {meaning}, and all else on this machine"),
            "set agent_user to a user without rights",
        )
    } else if agent.shared_uid_accepted {
        Check::warn(
            NAME,
            format!("{found}: {meaning}; several principals may start sessions all the same"),
            "set agent_user to keep principals out of each other's reach (shared_uid_accepted says you know)",
        )
    } else {
        Check::warn(
            NAME,
            format!("{found}: {meaning}, so only one principal may start sessions"),
            "fine for one person; else set agent_user, or shared_uid_accepted = true if all callers trust each other",
        )
    }
}

/// The effective capabilities in the text of `/proc/self/status`; none if it does not say.
fn effective_capabilities(status: &str) -> u64 {
    status
        .lines()
        .find_map(|line| line.strip_prefix("CapEff:"))
        .and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok())
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::super::report::Level;
    use super::*;

    const ALL_THREE: u64 = 0b1110_0000;

    fn agent(user: Option<&str>) -> AgentSettings {
        AgentSettings { agent_user: user.map(str::to_owned), ..AgentSettings::default() }
    }

    #[test]
    fn one_user_for_both_is_said_with_its_meaning() {
        let check = judge(&agent(None), Uid::from_raw(4_000_000), 0);
        assert_eq!(check.level, Level::Warn);
        assert!(check.found.contains("only one principal"), "{check:?}");
        let accepted = AgentSettings { shared_uid_accepted: true, ..agent(None) };
        assert!(judge(&accepted, Uid::from_raw(4_000_000), 0).found.contains("several principals"));
        assert!(judge(&agent(Some("root")), Uid::from_raw(0), ALL_THREE).found.contains("all else on this machine"));
    }

    #[test]
    fn another_user_needs_three_capabilities() {
        let own = Uid::from_raw(4_000_000);
        assert_eq!(judge(&agent(Some("nobody")), own, ALL_THREE).level, Level::Ok);
        let check = judge(&agent(Some("nobody")), own, 1 << 5);
        assert_eq!(check.level, Level::Fail);
        assert!(check.found.ends_with("CAP_SETGID, CAP_SETUID missing"), "{check:?}");
    }

    #[test]
    fn agents_never_run_as_root_on_purpose_nor_as_a_user_that_is_not_there() {
        let own = Uid::from_raw(4_000_000);
        assert_eq!(judge(&agent(Some("root")), own, ALL_THREE).level, Level::Fail);
        assert_eq!(judge(&agent(Some("no-such-user-here")), own, ALL_THREE).level, Level::Fail);
    }

    #[test]
    fn capabilities_are_read_from_the_kernels_text() {
        assert_eq!(effective_capabilities("Name:\tx\nCapEff:\t00000000000000e0\n"), ALL_THREE);
        assert_eq!(effective_capabilities(""), 0);
    }
}
