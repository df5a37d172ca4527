//! `auth.reauthenticate`.

use jsonrpsee::core::RegisterMethodError;

use crate::api::auth::ReauthenticateResult;
use crate::api::method::AuthReauthenticate;
use crate::api::{ErrorKind, RpcError};
use crate::rpc::register::{Registrar, Request};
use crate::telemetry::time::{now_ms, rfc3339_ms};

pub(in crate::rpc) fn register(registrar: &mut Registrar) -> Result<(), RegisterMethodError> {
    registrar.on::<AuthReauthenticate, _, _, _>(reauthenticate)
}

/// The connection goes on with another token of whoever opened it. What it may do was decided when it was opened, so a
/// token with other rights needs a connection of its own.
async fn reauthenticate(request: Request<AuthReauthenticate>) -> Result<ReauthenticateResult, RpcError> {
    let fresh = request.context.authenticator.authenticate_token(&request.params.access_token).await?;
    let opened_by = &request.peer.principal;
    let refuse = |text| Err(RpcError::new(ErrorKind::Unauthorised, text));
    if fresh.subject != opened_by.subject {
        return refuse("the access token is another caller's; open a connection with it");
    }
    if (fresh.role, &fresh.scopes) != (opened_by.role, &opened_by.scopes) {
        return refuse("the access token has other rights than this connection; open a new one with it");
    }
    request.peer.renew(&fresh);
    tracing::info!(connection = %request.peer.id, "a connection goes on with a new token");
    let ends_ms = fresh.expires_at.saturating_mul(1_000);
    Ok(ReauthenticateResult { expires_at: rfc3339_ms(ends_ms), expires_in: ends_ms.saturating_sub(now_ms()) / 1_000 })
}
