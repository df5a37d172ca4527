//! `key.*`: API keys, everybody's own, and everybody's for admins.

use jsonrpsee::core::RegisterMethodError;
use secrecy::ExposeSecret;

use crate::api::account::{CreatedKey, KeyInfo, KeyList, RevokedKey, Secret};
use crate::api::method::{KeyCreate, KeyListAll, KeyRevoke};
use crate::api::{ErrorKind, Method, RpcError, Scope};
use crate::auth::keys::DEFAULT_LIFE_SECONDS;
use crate::auth::{ApiKey, KeyError, NewKey};
use crate::rpc::register::{Registrar, Request};
use crate::store::Account;
use crate::telemetry::time::rfc3339_ms;

pub(in crate::rpc) fn register(registrar: &mut Registrar) -> Result<(), RegisterMethodError> {
    registrar.on::<KeyCreate, _, _, _>(create)?;
    registrar.on::<KeyListAll, _, _, _>(list)?;
    registrar.on::<KeyRevoke, _, _, _>(revoke)
}

async fn create(request: Request<KeyCreate>) -> Result<CreatedKey, RpcError> {
    let principal = &request.peer.principal;
    // A key that has leaked must not be able to outlive its end or its revocation by another one.
    if crate::auth::keys::id_of(principal).is_some() {
        let text = "an API key can't make API keys; log in with a password";
        return Err(RpcError::new(ErrorKind::NotAllowed, text));
    }
    let account = whose(&request, request.params.username.as_deref()).await?;
    let may = principal.scopes.intersection(&account.allowed()).copied().collect();
    let scopes = match &request.params.scopes {
        Some(scopes) if !scopes.is_subset(&may) => return Err(KeyError::Scopes.into()),
        Some(scopes) => scopes.clone(),
        None => may,
    };
    let (key, text) = request
        .context
        .keys
        .create(NewKey {
            subject: account.subject,
            name: request.params.name.clone(),
            scopes,
            life_seconds: request.params.expires_in_seconds.unwrap_or(DEFAULT_LIFE_SECONDS),
        })
        .await?;
    Ok(CreatedKey { key: info(&key), api_key: Secret(text.expose_secret().to_owned()) })
}

async fn list(request: Request<KeyListAll>) -> Result<KeyList, RpcError> {
    let account = whose(&request, request.params.username.as_deref()).await?;
    let mut keys = request.context.keys.of(Some(&account.subject)).await?;
    keys.sort_by(|one, other| (other.created_at_ms, &other.id).cmp(&(one.created_at_ms, &one.id)));
    Ok(KeyList { keys: keys.iter().map(info).collect() })
}

async fn revoke(request: Request<KeyRevoke>) -> Result<RevokedKey, RpcError> {
    let principal = &request.peer.principal;
    let only = (!principal.has(Scope::Admin)).then_some(principal.subject.as_str());
    let key = request.context.keys.revoke(&request.params.key_id, only).await?;
    // It is refused already; this ends what came of it.
    request.context.accounts.revocations().revoke_login(&key.login(), None).await?;
    Ok(RevokedKey { key: info(&key) })
}

/// The account of that name, which is another's for admins only; the caller's own without a name.
async fn whose<M: Method>(request: &Request<M>, username: Option<&str>) -> Result<Account, RpcError> {
    let principal = &request.peer.principal;
    let store = &request.context.records;
    let account = match username {
        Some(name) if *name == principal.username || principal.has(Scope::Admin) => store.account_by_name(name).await?,
        Some(_) => {
            let text = "another's API keys need the scope `admin`";
            return Err(RpcError::new(ErrorKind::Unauthorised, text));
        }
        None => store.account(&principal.subject).await?,
    };
    account.ok_or_else(|| RpcError::new(ErrorKind::InvalidParams, "`username`: there is no account of that name"))
}

fn info(key: &ApiKey) -> KeyInfo {
    KeyInfo {
        id: key.id.clone(),
        name: key.name.clone(),
        account_id: key.subject.clone(),
        scopes: key.scopes.clone(),
        created_at: rfc3339_ms(key.created_at_ms),
        expires_at: rfc3339_ms(key.expires_at_ms),
    }
}
