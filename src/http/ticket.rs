//! `POST /auth/ticket`: a ticket for one socket of a web page.

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use http::{HeaderMap, Uri};

use super::body::read_json_if_any;
use super::problem::HttpProblem;
use super::state::HttpState;
use crate::api::http::{TicketRequest, TicketResponse};
use crate::auth::OriginError;

const FORM: &str = "Send nothing, or {\"origin\": \"https://…\"} for the page of one of the allowed origins.";

pub(super) async fn ticket(
    State(state): State<HttpState>,
    uri: Uri,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<TicketResponse>, HttpProblem> {
    let asks = state.browsers.check_origin(&headers)?;
    let principal = state.authenticator.authenticate(&headers, uri.query()).await?;
    let request: TicketRequest = read_json_if_any(&headers, body, state.limits, FORM).await?;
    let named = request.origin.as_deref();
    // A page gets tickets for itself. What is no page may get one for a page, if that one may connect.
    let is_other = asks.is_some() && named.is_some() && asks != named;
    if is_other || named.is_some_and(|origin| !state.browsers.lists(origin)) {
        return Err(OriginError::NotAllowed.into());
    }
    let ticket = state.authenticator.issue_ticket(&principal, asks.or(named)).await?;
    Ok(Json(TicketResponse { ticket: ticket.text, expires_in: ticket.expires_in }))
}
