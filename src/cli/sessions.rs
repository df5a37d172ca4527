//! `cc-gateway sessions`: lists sessions, newest first. What is done to one of them stands in `steer` and `send`.

use std::process::ExitCode;
use std::time::{Duration, SystemTime};

use crate::api::SessionState;
use crate::api::method::SessionList;
use crate::api::session::{ListParams, Session};

use super::gateway::{Failure, GatewayArgs, OK};
use super::output::plain_line;
use super::screen;
use super::steer::{self, SteerCommand};

/// The largest page that a gateway gives.
const PAGE: u32 = 500;

/// Lists your sessions (an admin's: everybody's), newest first, or steers one.
#[derive(Debug, Clone, clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct SessionsArgs {
    /// What to do with one session; without it sessions are listed.
    #[command(subcommand)]
    pub command: Option<SteerCommand>,
    /// Which gateway, and as whom.
    #[command(flatten)]
    pub gateway: GatewayArgs,
    /// Only sessions in this state: queued, starting, running, `awaiting_permission`, idle, paused, stopping
    /// or ended.
    #[arg(long, value_parser = state)]
    pub state: Option<SessionState>,
    /// Only sessions with this label.
    #[arg(long, value_name = "NAME[=VALUE]")]
    pub label: Option<String>,
    /// At most so many.
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..))]
    pub limit: u32,
    /// Print each session as a line of JSON.
    #[arg(long)]
    pub json: bool,
}

/// Runs it. Exit codes: 0 listed, 1 refused, 2 usage, 69 gateway unreachable, 77 not authorised.
pub async fn run(args: SessionsArgs) -> ExitCode {
    if let Some(command) = args.command {
        return match steer::steer(&args.gateway, command).await {
            Ok(code) => code,
            Err(failure) => failure.report(),
        };
    }
    match list(args).await {
        Ok(()) => ExitCode::from(OK),
        Err(failure) => failure.report(),
    }
}

async fn list(args: SessionsArgs) -> Result<(), Failure> {
    let (sessions, more) = fetch(&args).await?;
    let lines = if args.json {
        sessions.iter().filter_map(|session| serde_json::to_string(session).ok()).collect()
    } else {
        table(&sessions, SystemTime::now())
    };
    for line in lines {
        if !screen::print_line(&line)? {
            return Ok(());
        }
    }
    if more {
        screen::info_line("there are more; ask for them with --limit");
    }
    Ok(())
}

/// As many as were asked for, over as many pages as it takes; and whether there are more.
async fn fetch(args: &SessionsArgs) -> Result<(Vec<Session>, bool), Failure> {
    let client = args.gateway.connect().await?;
    let mut sessions = Vec::new();
    let mut cursor = None;
    loop {
        let wanted = args.limit as usize - sessions.len();
        let limit = Some(u32::try_from(wanted).unwrap_or(PAGE).min(PAGE));
        let params = ListParams { state: args.state, label: args.label.clone(), cursor, limit };
        let page = client.call::<SessionList>(params).await?;
        sessions.extend(page.sessions);
        cursor = page.next_cursor;
        if cursor.is_none() || sessions.len() >= args.limit as usize {
            return Ok((sessions, cursor.is_some()));
        }
    }
}

/// A heading and a line for each session, in columns.
fn table(sessions: &[Session], now: SystemTime) -> Vec<String> {
    let heading = ["ID", "STATE", "AGE", "OWNER", "WORKSPACE", "END"].map(str::to_owned);
    let rows: Vec<_> = std::iter::once(heading).chain(sessions.iter().map(|session| row(session, now))).collect();
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or_default();
    let widths: Vec<_> = (0..6).map(width).collect();
    let line = |row: &[String; 6]| {
        let cells: Vec<_> = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}")).collect();
        cells.join("  ").trim_end().to_owned()
    };
    rows.iter().map(line).collect()
}

fn row(session: &Session, now: SystemTime) -> [String; 6] {
    let age = humantime::parse_rfc3339_weak(&session.created_at)
        .map_or_else(|_| "?".to_owned(), |start| age(now.duration_since(start).unwrap_or_default()));
    let end = session.ended.as_ref().map_or_else(String::new, |ended| ended.reason.as_str().to_owned());
    [
        session.session_id.to_string(),
        session.state.as_str().to_owned(),
        age,
        plain_line(&session.owner),
        plain_line(&session.workspace),
        end,
    ]
}

/// The largest unit that fits, as `kubectl` shows it.
fn age(time: Duration) -> String {
    match time.as_secs() {
        seconds @ 0..60 => format!("{seconds}s"),
        seconds @ 60..3_600 => format!("{}m", seconds / 60),
        seconds @ 3_600..86_400 => format!("{}h", seconds / 3_600),
        seconds => format!("{}d", seconds / 86_400),
    }
}

fn state(word: &str) -> Result<SessionState, String> {
    SessionState::from_word(word).ok_or_else(|| {
        let words: Vec<_> = SessionState::ALL.iter().map(|state| state.as_str()).collect();
        format!("use one of {}", words.join(", "))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn session(owner: &str, state: &str) -> Session {
        serde_json::from_value(serde_json::json!({
            "session_id": "00000000-0000-0000-0000-000000000007", "kind": "claude", "state": state, "owner": owner,
            "created_at": "2026-11-21T03:37:09.123Z", "workspace": "/w", "interactive": false,
            "on_disconnect": "keep", "on_lost": "end", "last_seq": 3,
        }))
        .unwrap()
    }

    #[test]
    fn the_table_has_its_columns_below_each_other() {
        let now = humantime::parse_rfc3339("2026-11-21T04:37:10Z").unwrap();
        let lines = table(&[session("alice", "running"), session("bo", "awaiting_permission")], now);
        assert_eq!(lines[0], "ID                                    STATE                AGE  OWNER  WORKSPACE  END");
        assert_eq!(lines[1], "00000000-0000-0000-0000-000000000007  running              1h   alice  /w");
        assert_eq!(lines[2], "00000000-0000-0000-0000-000000000007  awaiting_permission  1h   bo     /w");
    }

    #[test]
    fn an_age_is_shown_in_its_largest_unit() {
        let ages = [(5, "5s"), (65, "1m"), (7_300, "2h"), (200_000, "2d")];
        assert!(ages.iter().all(|(seconds, text)| age(Duration::from_secs(*seconds)) == *text));
    }

    #[test]
    fn a_name_can_not_break_the_table() {
        assert_eq!(row(&session("a\nb\x1b[2J", "idle"), SystemTime::now())[3], "a b[2J");
    }

    #[test]
    fn a_state_that_does_not_exist_is_refused_with_those_that_do() {
        assert_eq!(state("idle"), Ok(SessionState::Idle));
        assert!(state("gone").unwrap_err().contains("awaiting_permission"));
    }
}
