//! Logins over a real store.

use futures_util::future::join_all;
use secrecy::ExposeSecret;

use super::*;
use crate::api::Role;
use crate::auth::Keys;
use crate::auth::fake_store::account;
use crate::auth::secret::SigningSecret;
use crate::store::faulty::Faulty;
use crate::store::sqlite::test_store;

fn logins(store: &SharedStore) -> Logins {
    let settings = AuthSettings::default();
    let secret = SigningSecret::from_text("q8Zt3vN1kLx0WmC7rYbE5uHsJd2FgPaT").unwrap();
    let tokens = Arc::new(Tokens::with_keys(&settings, Keys::of_secret(&secret)));
    let revocations = Revocations::new(Arc::clone(store), &settings);
    Logins::new(tokens, Arc::clone(store), revocations, &settings)
}

async fn with_ada() -> (SharedStore, Logins, Account) {
    let store = test_store();
    let ada = account("ada", Role::Admin);
    store.create_account(ada.clone()).await.unwrap();
    let logins = logins(&store);
    (store, logins, ada)
}

fn refresh_text(pair: &TokenPair) -> String {
    pair.refresh.as_ref().unwrap().token.expose_secret().to_owned()
}

fn principal(logins: &Logins, pair: &TokenPair) -> Principal {
    logins.tokens.verify(pair.access.token.expose_secret()).unwrap()
}

#[tokio::test]
async fn a_login_renewed_many_times_stays_the_same_login_with_the_same_rights() {
    let (_store, logins, ada) = with_ada().await;
    let few: BTreeSet<Scope> = [Scope::Watch].into();
    let mut pair = logins.begin(&ada, Some(&few)).await.unwrap();
    let first = principal(&logins, &pair);
    assert_eq!(first.scopes, few);
    for _ in 0..5 {
        let (next, account) = logins.refresh(&refresh_text(&pair)).await.unwrap();
        assert_eq!(account, ada);
        assert_ne!(refresh_text(&next), refresh_text(&pair));
        let renewed = principal(&logins, &next);
        assert_eq!((&renewed.login, &renewed.scopes), (&first.login, &few));
        pair = next;
    }
}

#[tokio::test]
async fn a_lowered_role_counts_from_the_next_renewal() {
    let (store, logins, ada) = with_ada().await;
    let pair = logins.begin(&ada, None).await.unwrap();
    store.update_account(Account { role: Role::User, ..ada }).await.unwrap();
    let (next, _) = logins.refresh(&refresh_text(&pair)).await.unwrap();
    let renewed = principal(&logins, &next);
    assert_eq!((renewed.role, renewed.scopes), (Role::User, Role::User.scopes()));
}

#[tokio::test]
async fn of_fifty_who_use_a_refresh_token_at_once_one_gets_a_pair_and_the_login_ends() {
    let (store, logins, ada) = with_ada().await;
    let pair = logins.begin(&ada, None).await.unwrap();
    let login = principal(&logins, &pair).login;
    let text = refresh_text(&pair);
    let outcomes = join_all((0..50).map(|_| logins.refresh(&text))).await;
    let winners: Vec<_> = outcomes.iter().flatten().collect();
    assert!(winners.len() <= 1, "{}", winners.len());
    assert!(revocation::is_revoked(&store, &ada.subject, &login).await.unwrap());
    for (pair, _) in winners {
        assert_eq!(logins.refresh(&refresh_text(pair)).await.unwrap_err(), RefreshError::Refused);
    }
}

#[tokio::test]
async fn a_stranger_with_an_access_token_alone_can_not_end_the_login_as_by_a_reuse() {
    let (store, logins, ada) = with_ada().await;
    let pair = logins.begin(&ada, None).await.unwrap();
    let login = principal(&logins, &pair).login;
    let secret = "A".repeat(43);
    for family in [login.key.clone(), login.to_string(), secret.clone()] {
        let feigned = format!("{PREFIX}{family}.{secret}");
        assert_eq!(logins.refresh(&feigned).await.unwrap_err(), RefreshError::Refused);
        logins.log_out_refresh(&feigned).await.unwrap();
    }
    assert!(!revocation::is_revoked(&store, &ada.subject, &login).await.unwrap());
    logins.refresh(&refresh_text(&pair)).await.unwrap();
}

#[tokio::test]
async fn everything_a_subject_had_is_refused_after_its_revocation_and_a_new_login_serves() {
    let (_store, logins, ada) = with_ada().await;
    let old = logins.begin(&ada, None).await.unwrap();
    logins.revocations().revoke_subject(&ada.subject).await.unwrap();
    assert_eq!(logins.refresh(&refresh_text(&old)).await.unwrap_err(), RefreshError::Refused);
    // A login in the very millisecond of the revocation counts as before it.
    tokio::time::sleep(std::time::Duration::from_millis(2)).await;
    let new = logins.begin(&ada, None).await.unwrap();
    logins.refresh(&refresh_text(&new)).await.unwrap();
}

#[tokio::test]
async fn malformed_refresh_tokens_are_refused_without_a_look_into_the_store() {
    let (store, logins, _) = with_ada().await;
    store.close().await;
    let good = "A".repeat(43);
    for text in [
        String::new(),
        "ccgr_".to_owned(),
        format!("{PREFIX}{good}"),
        format!("{PREFIX}{good}.{good}."),
        format!("{good}.{good}"),
        format!("{PREFIX}{good}.{good}{}", "A".repeat(10_000)),
        format!("{PREFIX}{good}.{}", "=".repeat(43)),
        "a.b.c".to_owned(),
    ] {
        assert_eq!(logins.refresh(&text).await.unwrap_err(), RefreshError::Refused, "{text}");
    }
    let whole = format!("{PREFIX}{good}.{good}");
    assert!(matches!(logins.refresh(&whole).await, Err(RefreshError::Store(_))));
}

#[tokio::test]
async fn neither_token_is_kept_in_clear_or_printed() {
    let (store, logins, ada) = with_ada().await;
    let pair = logins.begin(&ada, None).await.unwrap();
    let kept = format!("{:?} {pair:?} {logins:?}", store.notes(NoteKind::RefreshFamily, "", 9).await.unwrap());
    let text = refresh_text(&pair);
    let (family, secret) = text.strip_prefix(PREFIX).unwrap().split_once('.').unwrap();
    assert!(kept.contains(&ada.subject) && !kept.contains(family) && !kept.contains(secret), "{kept}");
}

#[tokio::test]
async fn a_renewal_whose_answer_was_lost_on_the_way_from_the_store_is_no_reuse() {
    let (store, _, ada) = with_ada().await;
    let mut renewed = 0;
    for seed in 0..40 {
        let faulty = Faulty::new(Arc::clone(&store), seed, 0.2);
        let shared = Arc::clone(&faulty) as SharedStore;
        faulty.set_failing(false);
        let logins = logins(&shared);
        let pair = logins.begin(&ada, None).await.unwrap();
        faulty.set_failing(true);
        match logins.refresh(&refresh_text(&pair)).await {
            Ok((next, _)) => {
                faulty.set_failing(false);
                logins.refresh(&refresh_text(&next)).await.unwrap();
                renewed += 1;
            }
            Err(error) => assert!(matches!(error, RefreshError::Store(_)), "{error}"),
        }
    }
    assert!(renewed > 10, "{renewed}");
}

#[tokio::test]
async fn a_store_that_takes_no_new_login_gives_an_access_token_all_the_same() {
    let (store, _, ada) = with_ada().await;
    let faulty = Faulty::new(store, 1, 1.0);
    let logins = logins(&(Arc::clone(&faulty) as SharedStore));
    let pair = logins.begin(&ada, None).await.unwrap();
    assert!(pair.refresh.is_none());
    assert_eq!(principal(&logins, &pair).subject, ada.subject);
}
