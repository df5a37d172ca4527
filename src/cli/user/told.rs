//! Accounts as people and programs read them.

use serde_json::json;

use super::Action;
use crate::auth::Imported;
use crate::cli::output;
use crate::store::Account;
use crate::telemetry::time::rfc3339_ms;

/// What to do when nobody has got the secret that this action has shown; `None`: it shows none.
pub(super) fn if_lost(action: &Action) -> Option<String> {
    match action {
        Action::Add { name, password, .. } if password.password_file.is_none() => Some(format!(
            "The account is made, but nobody knows its password: make another with `cc-gateway user password {name}`."
        )),
        Action::Password { name, password } if password.password_file.is_none() => Some(format!(
            "The account has a password that nobody knows: make another with `cc-gateway user password {name}`."
        )),
        Action::Invite { .. } => {
            Some("The invitation is made, but nobody knows its code: make another, this one ends by itself.".to_owned())
        }
        _ => None,
    }
}

pub(super) fn as_text(accounts: &[Account]) -> String {
    let width = accounts.iter().map(|account| account.username.chars().count()).max().unwrap_or_default().max(4);
    let mut text = format!("{:width$}  {:5}  {:8}  MADE\n", "NAME", "ROLE", "STATE");
    for account in accounts {
        let state = if account.disabled { "disabled" } else { "enabled" };
        let (name, made) = (output::plain_line(&account.username), rfc3339_ms(account.created_at_ms));
        text.push_str(&format!("{name:width$}  {:5}  {state:8}  {made}\n", account.role.as_str()));
    }
    text
}

pub(super) fn as_json(accounts: &[Account]) -> String {
    let all: Vec<_> = accounts
        .iter()
        .map(|account| {
            json!({
                "id": account.subject, "username": account.username, "role": account.role, "scopes": account.allowed(),
                "disabled": account.disabled, "created_at": rfc3339_ms(account.created_at_ms),
            })
        })
        .collect();
    format!("{:#}", serde_json::Value::from(all))
}

/// What came of an import: a line for each account, then how many were made.
pub(super) fn imported(outcomes: &[(String, Imported)], dry_run: bool) -> String {
    let mut text = String::new();
    let mut made = 0;
    for (name, outcome) in outcomes {
        let told = match outcome {
            Imported::Made(scheme) => {
                made += 1;
                format!("{} ({})", if dry_run { "would be made" } else { "made" }, scheme.name())
            }
            Imported::Exists => "left as it is: there is an account of that name".to_owned(),
            Imported::Ended => "left out: its time is over (the file's eighth field)".to_owned(),
            Imported::NoPassword => "left out: nobody can log in with a password".to_owned(),
            Imported::Unusable => {
                "left out: its hash is of a kind that is not understood, or costs too much".to_owned()
            }
            Imported::BadName => "left out: its name will not do".to_owned(),
        };
        text.push_str(&format!("{}: {told}\n", output::plain_line(name)));
    }
    let all = outcomes.len();
    let verb = if dry_run { "would be" } else { "were" };
    text + &format!("{made} of {all} {verb} made")
}
