//! The table that translates errors of the house into problems. The only place that does.
//!
//! Nothing is logged here: each error was logged where it arose. What is inside of it stays inside.

use std::time::Duration;

use http::StatusCode;

use super::problem::HttpProblem;
use crate::auth::{
    AcceptError, AccountError, AuthError, LoginError, OidcError, OriginError, RefreshError, TicketError,
};
use crate::store::StoreError;

/// What is away now is worth another try after so long.
const PAUSE: Duration = Duration::from_secs(1);

impl From<LoginError> for HttpProblem {
    fn from(error: LoginError) -> Self {
        match error {
            LoginError::Refused => {
                Self::new(StatusCode::UNAUTHORIZED, "login_refused", "The name or the password, or the key, is wrong")
            }
            LoginError::Throttled { retry_after } => {
                Self::new(StatusCode::TOO_MANY_REQUESTS, "throttled", "Too many failed logins")
                    .detail("Wait as long as the header Retry-After says, then try again.")
                    .retry_after(retry_after)
            }
            LoginError::Store(error) => error.into(),
            LoginError::Password(_) => Self::of(StatusCode::SERVICE_UNAVAILABLE).retry_after(PAUSE),
        }
    }
}

impl From<AcceptError> for HttpProblem {
    fn from(error: AcceptError) -> Self {
        match error {
            AcceptError::Refused => Self::new(StatusCode::UNAUTHORIZED, "invitation", "The invitation is not valid"),
            AcceptError::Login(error) => error.into(),
            AcceptError::Account(error) => error.into(),
        }
    }
}

impl From<AccountError> for HttpProblem {
    fn from(error: AccountError) -> Self {
        match error {
            AccountError::Store(error) => error.into(),
            AccountError::Exists => Self::new(StatusCode::CONFLICT, "name_taken", "That name is taken"),
            AccountError::Username(_) | AccountError::Password(_) => {
                Self::new(StatusCode::UNPROCESSABLE_ENTITY, "will_not_do", "The name or the password will not do")
                    .detail(error.to_string())
            }
            _ => Self::of(StatusCode::SERVICE_UNAVAILABLE).retry_after(PAUSE),
        }
    }
}

impl From<AuthError> for HttpProblem {
    fn from(error: AuthError) -> Self {
        match error {
            AuthError::Store(error) => error.into(),
            error => Self::new(StatusCode::UNAUTHORIZED, "unauthorised", error.to_string())
                .detail("Send `Authorization: Bearer <access token>`; POST /login gives one."),
        }
    }
}

impl From<RefreshError> for HttpProblem {
    fn from(error: RefreshError) -> Self {
        match error {
            RefreshError::Refused => {
                Self::new(StatusCode::UNAUTHORIZED, "refresh_refused", "The refresh token is not valid")
                    .detail("Log in again.")
            }
            RefreshError::Store(error) => error.into(),
            RefreshError::Random => Self::of(StatusCode::SERVICE_UNAVAILABLE).retry_after(PAUSE),
        }
    }
}

impl From<OidcError> for HttpProblem {
    fn from(error: OidcError) -> Self {
        let status = match &error {
            OidcError::State => StatusCode::BAD_REQUEST,
            OidcError::Denied | OidcError::Code | OidcError::BadToken | OidcError::OneTimeCode => {
                StatusCode::UNAUTHORIZED
            }
            OidcError::NotAllowed | OidcError::Disabled => StatusCode::FORBIDDEN,
            OidcError::Throttled { .. } => StatusCode::TOO_MANY_REQUESTS,
            OidcError::Broken => StatusCode::BAD_GATEWAY,
            OidcError::Away | OidcError::Random => StatusCode::SERVICE_UNAVAILABLE,
            OidcError::Store(error) => return error.clone().into(),
        };
        let problem = Self::new(status, error.word(), error.to_string());
        match error {
            OidcError::Throttled { retry_after } => problem.retry_after(retry_after),
            OidcError::Away | OidcError::Random => problem.detail("Begin again later.").retry_after(PAUSE),
            OidcError::NotAllowed | OidcError::Disabled => problem.detail("Ask whoever runs this gateway."),
            OidcError::Broken => problem.detail("Tell whoever runs this gateway."),
            _ => problem.detail("Begin again at /auth/oidc/login."),
        }
    }
}

impl From<TicketError> for HttpProblem {
    fn from(error: TicketError) -> Self {
        match error {
            TicketError::Refused => AuthError::InvalidToken.into(),
            TicketError::Store(error) => error.into(),
            TicketError::Random => Self::of(StatusCode::SERVICE_UNAVAILABLE).retry_after(PAUSE),
        }
    }
}

impl From<OriginError> for HttpProblem {
    fn from(error: OriginError) -> Self {
        Self::new(StatusCode::FORBIDDEN, "origin", error.to_string())
    }
}

impl From<StoreError> for HttpProblem {
    fn from(error: StoreError) -> Self {
        if error.retryable() {
            Self::new(StatusCode::SERVICE_UNAVAILABLE, "store_away", "The store does not answer")
                .detail("Try again later.")
                .retry_after(PAUSE)
        } else {
            Self::of(StatusCode::INTERNAL_SERVER_ERROR)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_login_error_has_its_status() {
        let status = |error: LoginError| HttpProblem::from(error).status().as_u16();
        assert_eq!(status(LoginError::Refused), 401);
        assert_eq!(status(LoginError::Throttled { retry_after: Duration::from_secs(7) }), 429);
        assert_eq!(status(LoginError::Store(StoreError::Away("x".to_owned()))), 503);
        assert_eq!(status(LoginError::Store(StoreError::Damaged("x".to_owned()))), 500);
    }

    #[test]
    fn b8_what_the_store_says_stays_inside() {
        let told = format!("{:?}", HttpProblem::from(StoreError::Away("/var/lib/gateway.db is locked".to_owned())));
        assert!(!told.contains("gateway.db"), "{told}");
    }
}
