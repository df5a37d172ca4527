//! The first admin: made at the first start, and missed aloud where there is none.

use secrecy::SecretString;

use super::AppError;
use crate::auth::{Accounts, FirstAdmin};
use crate::config::Settings;
use crate::config::oidc::admins_come_from_outside;

/// Makes the first admin if there is no account at all; its password, if one was made up for it.
pub(super) async fn ensure(accounts: &Accounts, settings: &Settings) -> Result<Option<SecretString>, AppError> {
    match accounts.ensure_admin(Some(&settings.auth.admin_password_file)).await? {
        FirstAdmin::Created { password_shown_once } => Ok(password_shown_once),
        FirstAdmin::Exists => {
            if !admins_come_from_outside(settings) && !accounts.can_be_managed().await? {
                tracing::warn!(
                    "no account can manage accounts: stop the gateway and make one with `cc-gateway user add NAME --role admin`"
                );
            }
            Ok(None)
        }
    }
}
