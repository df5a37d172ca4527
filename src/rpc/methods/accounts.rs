//! `account.*` and `audit.list`: what admins do with accounts.

use jsonrpsee::core::RegisterMethodError;
use secrecy::ExposeSecret;

use crate::api::account::{AccountInfo, AccountList, AuditPage, AuditRecord, CreatedAccount, Invited, Secret};
use crate::api::method::{AccountCreate, AccountInvite, AccountListAll, AccountUpdate, AuditList};
use crate::api::{ErrorKind, RpcError, Scope};
use crate::auth::{AccountChange, AccountError, make_password};
use crate::rpc::register::{Registrar, Request};
use crate::store::{Account, AuditEntry, AuditQuery};
use crate::telemetry::time::rfc3339_ms;

/// Entries of the audit log in a page, by default and at most.
const AUDIT_PAGE: (u32, u32) = (100, 1_000);

pub(in crate::rpc) fn register(registrar: &mut Registrar) -> Result<(), RegisterMethodError> {
    registrar.on::<AccountListAll, _, _, _>(list)?;
    registrar.on::<AccountCreate, _, _, _>(create)?;
    registrar.on::<AccountUpdate, _, _, _>(update)?;
    registrar.on::<AccountInvite, _, _, _>(invite)?;
    registrar.on::<AuditList, _, _, _>(audit)
}

async fn list(request: Request<AccountListAll>) -> Result<AccountList, RpcError> {
    let accounts = request.context.accounts.list().await?;
    Ok(AccountList { accounts: accounts.iter().map(info).collect() })
}

async fn create(request: Request<AccountCreate>) -> Result<CreatedAccount, RpcError> {
    let params = request.params;
    let made = match params.password {
        Some(_) => None,
        None => Some(make_password().map_err(AccountError::from)?),
    };
    let told = made.as_ref().map(|password| Secret(password.expose_secret().to_owned()));
    let password = params.password.map(|Secret(password)| password.into()).or(made).unwrap_or_default();
    let account = request.context.accounts.create_with(&params.username, password, params.role, params.scopes).await?;
    Ok(CreatedAccount { account: info(&account), password: told })
}

async fn update(request: Request<AccountUpdate>) -> Result<AccountInfo, RpcError> {
    let params = request.params;
    let change = AccountChange {
        role: params.role,
        scopes: params.scopes.map(Some),
        disabled: params.disabled,
        password: params.password.map(|Secret(password)| password.into()),
    };
    let takes_admin = change.disabled == Some(true)
        || change.role.is_some_and(|role| !role.scopes().contains(&Scope::Admin))
        || change.scopes.iter().flatten().any(|scopes| !scopes.contains(&Scope::Admin));
    if takes_admin && !another_admin(&request.context.accounts.list().await?, &params.username) {
        let text = "this is the last account that can manage accounts; make another one first";
        return Err(RpcError::new(ErrorKind::NotAllowed, text));
    }
    Ok(info(&request.context.accounts.change(&params.username, change).await?))
}

async fn invite(request: Request<AccountInvite>) -> Result<Invited, RpcError> {
    let params = request.params;
    let (code, ends) = request.context.accounts.invite(params.role, params.scopes, params.expires_in_seconds).await?;
    Ok(Invited { code: Secret(code.expose_secret().to_owned()), expires_at: rfc3339_ms(ends) })
}

async fn audit(request: Request<AuditList>) -> Result<AuditPage, RpcError> {
    let params = request.params;
    let (usual, most) = AUDIT_PAGE;
    let limit = params.limit.unwrap_or(usual);
    if !(1..=most).contains(&limit) {
        return Err(RpcError::new(ErrorKind::InvalidParams, format!("`limit` must be 1 to {most}")));
    }
    let query = AuditQuery {
        before: params.before,
        after: params.after,
        subject: params.account_id,
        action: params.action,
        session: params.session_id,
        // One more tells whether there is another page.
        limit: limit + 1,
    };
    let mut entries = request.context.records.audit(query).await?;
    let more = entries.len() > limit as usize;
    entries.truncate(limit as usize);
    let next_before = entries.last().filter(|_| more).map(|entry| entry.id);
    Ok(AuditPage { entries: entries.into_iter().map(record).collect(), next_before })
}

/// Is there an account beside that one which can manage accounts?
fn another_admin(accounts: &[Account], username: &str) -> bool {
    accounts.iter().any(|account| account.username != username && account.can_manage())
}

fn info(account: &Account) -> AccountInfo {
    let changed = Some(account.password_changed_at_ms).filter(|moment| *moment > 0);
    AccountInfo {
        id: account.subject.clone(),
        username: account.username.clone(),
        role: account.role,
        scopes: account.allowed(),
        disabled: account.disabled,
        created_at: rfc3339_ms(account.created_at_ms),
        password_changed_at: changed.map(rfc3339_ms),
    }
}

fn record(entry: AuditEntry) -> AuditRecord {
    AuditRecord {
        id: entry.id,
        at: rfc3339_ms(entry.at_ms),
        account_id: entry.subject,
        username: entry.username,
        action: entry.action,
        outcome: entry.outcome,
        session_id: entry.session,
        target: entry.target,
        address: entry.address,
    }
}
