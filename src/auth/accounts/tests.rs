//! Logins and accounts on a store in memory, with the cheapest hash: what counts is how often it runs.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use argon2::Params;

use super::*;
use crate::store::sqlite::test_store;

const HERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));
const PASSWORD: &str = "correct horse";

struct Gateway {
    store: SharedStore,
    accounts: Accounts,
}

fn gateway_with(limit: u32, turns: usize) -> Gateway {
    let store = test_store();
    let settings = AuthSettings { max_failed_logins_per_minute: limit, ..AuthSettings::default() };
    let cheap = Passwords::with(turns, Params::new(8, 1, 1, None).unwrap());
    let accounts = Accounts { refusal_takes: Duration::ZERO, ..Accounts::with(Arc::clone(&store), &settings, cheap) };
    Gateway { store, accounts }
}

async fn gateway() -> Gateway {
    let gateway = gateway_with(10, 2);
    gateway.accounts.create("ada", PASSWORD.into(), Role::User).await.unwrap();
    gateway
}

impl Gateway {
    async fn login(&self, username: &str, password: &str) -> Result<Account, LoginError> {
        self.accounts.login(username, password.into(), HERE).await
    }
}

#[tokio::test]
async fn the_right_password_gives_the_account() {
    let gateway = gateway().await;
    let account = gateway.login("ada", PASSWORD).await.unwrap();
    assert_eq!((account.username.as_str(), account.role), ("ada", Role::User));
    assert!(Uuid::parse_str(&account.subject).is_ok());
    assert!(!format!("{account:?}").contains(PASSWORD));
}

#[tokio::test]
async fn every_refusal_reads_the_same_and_costs_one_hash() {
    let gateway = gateway().await;
    gateway.accounts.create("eve", PASSWORD.into(), Role::User).await.unwrap();
    gateway.accounts.set_disabled("eve", true).await.unwrap();
    let long = "x".repeat(100_000);
    let cases = [
        ("ada", "wrong"),
        ("ada", ""),
        ("Ada", PASSWORD),
        (" ada", PASSWORD),
        ("nobody", PASSWORD),
        ("nobody", ""),
        ("", ""),
        ("eve", PASSWORD),
        ("eve", "wrong"),
        ("a\0da", PASSWORD),
        (long.as_str(), PASSWORD),
    ];
    for (username, password) in cases {
        let before = gateway.accounts.passwords.operations();
        let refused = gateway.login(username, password).await.unwrap_err();
        assert_eq!(refused, LoginError::Refused);
        assert_eq!(refused.to_string(), "the username or the password is wrong");
        assert_eq!(gateway.accounts.passwords.operations() - before, 1, "{username:.20} {password}");
    }
}

#[tokio::test]
async fn a_disabled_account_can_log_in_once_it_is_enabled_again() {
    let gateway = gateway().await;
    assert!(gateway.accounts.set_disabled("ada", true).await.unwrap().disabled);
    assert_eq!(gateway.login("ada", PASSWORD).await, Err(LoginError::Refused));
    assert!(!gateway.accounts.set_disabled("ada", false).await.unwrap().disabled);
    assert!(gateway.login("ada", PASSWORD).await.is_ok());
}

#[tokio::test]
async fn a_damaged_stored_hash_refuses_its_account_and_no_other() {
    let gateway = gateway().await;
    let eve = crate::auth::fake_store::account("eve", Role::User);
    gateway.store.create_account(eve).await.unwrap();
    assert_eq!(gateway.login("eve", "").await, Err(LoginError::Refused));
    assert!(gateway.login("ada", PASSWORD).await.is_ok());
}

#[tokio::test]
async fn c7_a_hundred_wrong_passwords_are_throttled_after_the_limit_and_others_log_in() {
    let gateway = gateway().await;
    gateway.accounts.create("bob", PASSWORD.into(), Role::User).await.unwrap();
    let before = gateway.accounts.passwords.operations();
    for attempt in 0..100 {
        let refused = gateway.login("ada", "wrong").await.unwrap_err();
        if attempt < 10 {
            assert_eq!(refused, LoginError::Refused, "{attempt}");
        } else {
            let LoginError::Throttled { retry_after } = refused else { panic!("{attempt}: {refused:?}") };
            assert!(retry_after > Duration::ZERO && retry_after <= Duration::from_secs(60), "{retry_after:?}");
        }
    }
    assert_eq!(gateway.accounts.passwords.operations() - before, 10, "what is held back costs no hash");
    assert!(matches!(gateway.login("ada", PASSWORD).await, Err(LoginError::Throttled { .. })), "right or not");
    assert!(gateway.login("bob", PASSWORD).await.is_ok());
}

#[tokio::test]
async fn c7_unknown_names_are_throttled_as_known_ones_are() {
    let gateway = gateway_with(3, 1);
    for _ in 0..3 {
        assert_eq!(gateway.login("nobody", "wrong").await, Err(LoginError::Refused));
    }
    assert!(matches!(gateway.login("nobody", "wrong").await, Err(LoginError::Throttled { .. })));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn c7_wrong_passwords_sent_all_at_once_pass_the_limit_by_less_than_the_turns() {
    let gateway = gateway().await;
    let before = gateway.accounts.passwords.operations();
    let outcomes = futures_util::future::join_all((0..100).map(|_| gateway.login("ada", "wrong"))).await;
    let refused = outcomes.iter().filter(|outcome| **outcome == Err(LoginError::Refused)).count();
    let held_back = outcomes.iter().filter(|outcome| matches!(outcome, Err(LoginError::Throttled { .. }))).count();
    assert!((10..=11).contains(&refused), "{refused} with two turns");
    assert_eq!(refused + held_back, 100);
    assert_eq!(gateway.accounts.passwords.operations() - before, refused as u64);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn c9_two_hundred_logins_at_once_all_succeed_within_the_bound() {
    let gateway = gateway().await;
    let outcomes = futures_util::future::join_all((0..200).map(|_| gateway.login("ada", PASSWORD))).await;
    assert!(outcomes.iter().all(Result::is_ok));
    assert!(gateway.accounts.passwords.most_at_once() <= 2);
}

#[tokio::test]
async fn c7_who_hangs_up_before_the_answer_has_still_failed() {
    let gateway = gateway_with(1, 1);
    let mut login = Box::pin(gateway.login("ada", "wrong"));
    while gateway.accounts.passwords.operations() == 0 {
        let _ = futures_util::poll!(login.as_mut());
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    drop(login);
    assert!(matches!(gateway.login("ada", "wrong").await, Err(LoginError::Throttled { .. })));
}

#[tokio::test]
async fn a_store_that_is_away_is_not_a_wrong_password_and_does_not_count() {
    let gateway = gateway_with(1, 1);
    gateway.store.close().await;
    for _ in 0..3 {
        let refused = gateway.login("ada", PASSWORD).await.unwrap_err();
        assert!(matches!(refused, LoginError::Store(StoreError::Away(_))), "{refused:?}");
    }
}

#[tokio::test]
async fn names_that_will_not_do_are_refused() {
    let gateway = gateway_with(10, 1);
    let bad = ["", " ada", "ada ", "\tada", "a\nda", "a\u{0}da", "a\u{85}da", "\u{a0}ada", &"x".repeat(65)];
    for name in bad {
        let refused = gateway.accounts.create(name, PASSWORD.into(), Role::User).await;
        assert!(matches!(refused, Err(AccountError::Username(_))), "{name:?}");
    }
    for name in ["a", "ada lovelace", "Ädä", "ada@example.com", &"ä".repeat(64)] {
        assert!(gateway.accounts.create(name, PASSWORD.into(), Role::User).await.is_ok(), "{name:?}");
    }
    assert_eq!(gateway.accounts.list().await.unwrap().len(), 5);
}

#[tokio::test]
async fn short_and_endless_passwords_are_refused() {
    let gateway = gateway().await;
    for password in ["", "1234567", "ääääääa", &"x".repeat(1_025)] {
        let made = gateway.accounts.create("bob", password.into(), Role::User).await;
        assert!(matches!(made, Err(AccountError::Password(_))));
        let changed = gateway.accounts.set_password("ada", password.into()).await;
        assert!(matches!(changed, Err(AccountError::Password(_))));
    }
    assert!(gateway.login("ada", PASSWORD).await.is_ok(), "nothing was changed");
    assert!(gateway.accounts.create("bob", "12345678".into(), Role::User).await.is_ok());
}

#[tokio::test]
async fn a_taken_name_is_refused_and_its_account_stays() {
    let gateway = gateway().await;
    let taken = gateway.accounts.create("ada", "another password".into(), Role::Admin).await;
    assert!(matches!(taken, Err(AccountError::Exists)));
    assert_eq!(gateway.login("ada", PASSWORD).await.unwrap().role, Role::User);
}

#[tokio::test]
async fn a_new_password_replaces_the_old_one() {
    let gateway = gateway().await;
    gateway.accounts.set_password("ada", "battery staple".into()).await.unwrap();
    assert_eq!(gateway.login("ada", PASSWORD).await, Err(LoginError::Refused));
    assert!(gateway.login("ada", "battery staple").await.is_ok());
}

#[tokio::test]
async fn an_unknown_account_can_not_be_changed() {
    let gateway = gateway().await;
    let disabled = gateway.accounts.set_disabled("nobody", true).await;
    assert!(matches!(disabled, Err(AccountError::NoSuchAccount)));
    let changed = gateway.accounts.set_password("nobody", PASSWORD.into()).await;
    assert!(matches!(changed, Err(AccountError::NoSuchAccount)));
}

#[tokio::test]
async fn the_first_admin_is_made_once_with_a_password_that_is_shown_once() {
    let gateway = gateway_with(10, 1);
    let made = gateway.accounts.ensure_admin(None).await.unwrap();
    let FirstAdmin::Created { password_shown_once: Some(password) } = &made else { panic!("{made:?}") };
    assert_eq!(password.expose_secret().len(), 24);
    assert!(!format!("{made:?}").contains(password.expose_secret()), "only who asks for it sees it");
    assert_eq!(gateway.login("admin", password.expose_secret()).await.unwrap().role, Role::Admin);
    assert!(matches!(gateway.accounts.ensure_admin(None).await.unwrap(), FirstAdmin::Exists));
    assert_eq!(gateway.accounts.list().await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_first_admin_whose_password_nobody_got_to_know_is_made_again() {
    let gateway = gateway_with(10, 1);
    let mut passwords = Vec::new();
    for _ in 0..2 {
        let made = gateway.accounts.ensure_admin(None).await.unwrap();
        let FirstAdmin::Created { password_shown_once: Some(password) } = made else { panic!("{made:?}") };
        assert!(gateway.login("admin", password.expose_secret()).await.is_ok());
        gateway.accounts.take_back_admin().await.unwrap();
        for password in [password.expose_secret(), ""] {
            assert_eq!(gateway.login("admin", password).await, Err(LoginError::Refused));
        }
        passwords.push(password.expose_secret().to_owned());
    }
    assert_ne!(passwords[0], passwords[1]);
    gateway.accounts.create("ada", PASSWORD.into(), Role::User).await.unwrap();
    assert!(matches!(gateway.accounts.ensure_admin(None).await.unwrap(), FirstAdmin::Exists), "others are there");
}

#[tokio::test]
async fn no_admin_is_made_beside_other_accounts() {
    let gateway = gateway().await;
    gateway.accounts.set_disabled("ada", true).await.unwrap();
    assert!(matches!(gateway.accounts.ensure_admin(None).await.unwrap(), FirstAdmin::Exists));
    assert_eq!(gateway.accounts.list().await.unwrap().len(), 1);
}

#[tokio::test]
async fn the_first_admins_password_can_come_from_a_file_and_is_then_not_shown() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("password");
    for (text, password) in
        [("correct horse\n", PASSWORD), ("correct horse\r\n", PASSWORD), (" inner  blanks ", " inner  blanks ")]
    {
        std::fs::write(&path, text).unwrap();
        let gateway = gateway_with(10, 1);
        let made = gateway.accounts.ensure_admin(Some(&path)).await.unwrap();
        assert!(matches!(made, FirstAdmin::Created { password_shown_once: None }));
        assert!(gateway.login("admin", password).await.is_ok(), "{text:?}");
    }
}

#[tokio::test]
async fn without_its_password_file_or_with_a_short_password_no_admin_is_made() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("password");
    let gateway = gateway_with(10, 1);
    let missing = gateway.accounts.ensure_admin(Some(&path)).await;
    assert!(matches!(missing, Err(AccountError::PasswordFile { .. })));
    std::fs::write(&path, "short\n").unwrap();
    let short = gateway.accounts.ensure_admin(Some(&path)).await;
    assert!(matches!(short, Err(AccountError::Password(_))));
    assert!(gateway.accounts.list().await.unwrap().is_empty());
    let empty_path = gateway.accounts.ensure_admin(Some(Path::new(""))).await.unwrap();
    assert!(matches!(empty_path, FirstAdmin::Created { password_shown_once: Some(_) }));
}

#[tokio::test]
async fn c7_no_refusal_is_faster_than_another_whatever_its_reason() {
    let gateway = gateway().await;
    let accounts = Accounts { refusal_takes: login::REFUSAL_TAKES, ..gateway.accounts };
    for (name, hash) in [("old", OLD_HASH), ("locked", OLD_HASH)] {
        accounts.add(name, hash.to_owned(), Role::User, None).await.unwrap();
    }
    accounts.set_disabled("locked", true).await.unwrap();
    for (username, password) in
        [("ada", "wrong"), ("nobody", "wrong"), ("old", "wrong"), ("locked", PASSWORD), ("", "")]
    {
        let (before, began) = (accounts.passwords.operations(), Instant::now());
        assert_eq!(accounts.login(username, password.into(), HERE).await, Err(LoginError::Refused), "{username}");
        assert!(began.elapsed() >= login::REFUSAL_TAKES, "{username}");
        assert_eq!(accounts.passwords.operations() - before, 1, "{username}");
    }
}

/// `correct horse` as a system keeps it, and the same by its own password.
const OLD_HASH: &str = "$5$saltstring$vc6YOOogU4kWVvwga8e9zTFgKcy4tb5LaPxIiPJzqEC";
const SHADOW: &str = "root:*:19000:0:99999:7:::
# a comment
ada:$6$salt$x:19000::::::
old:$5$saltstring$vc6YOOogU4kWVvwga8e9zTFgKcy4tb5LaPxIiPJzqEC:19000:0:99999:7:::
weak:$1$saltsalt$NuzA7WTAelpl95xgBGWN60:19000::::::
locked:!$5$saltstring$vc6YOOogU4kWVvwga8e9zTFgKcy4tb5LaPxIiPJzqEC:19000::::::
empty::19000::::::
new:$y$j9T$F5Jx5fExrKuPp53xLKQ..1$zwtVrjrUCmXcyLTs6oxLTQlzifSUkF8RHJ./tK5KU79:19000::::::
des:abJnggxhB/yWI:19000::::::
dear:$6$rounds=999999999$saltstring$abc:19000::::::
old:$5$another$vc6YOOogU4kWVvwga8e9zTFgKcy4tb5LaPxIiPJzqEC:19000::::::

 blank:$5$saltstring$vc6YOOogU4kWVvwga8e9zTFgKcy4tb5LaPxIiPJzqEC:
";

#[tokio::test]
async fn accounts_of_a_shadow_file_log_in_and_get_a_hash_of_ours_at_their_first_login() {
    let gateway = gateway().await;
    let dry = gateway.accounts.import(SHADOW, Role::User, true).await.unwrap();
    assert_eq!(gateway.accounts.list().await.unwrap().len(), 1, "nothing is made");
    let outcomes = gateway.accounts.import(SHADOW, Role::User, false).await.unwrap();
    let told: Vec<_> = outcomes.iter().map(|(name, outcome)| (name.as_str(), *outcome)).collect();
    use crate::auth::system_hash::Scheme::{Md5, Sha256, Yescrypt};
    let expected = [
        ("root", Imported::NoPassword),
        ("ada", Imported::Exists),
        ("old", Imported::Made(Sha256)),
        ("weak", Imported::Made(Md5)),
        ("locked", Imported::NoPassword),
        ("empty", Imported::NoPassword),
        ("new", Imported::Made(Yescrypt)),
        ("des", Imported::Unusable),
        ("dear", Imported::Unusable),
        ("old", Imported::Exists),
        (" blank", Imported::BadName),
    ];
    assert_eq!(told, expected);
    assert_eq!(dry.len(), expected.len());
    for name in ["old", "weak", "new"] {
        assert_eq!(gateway.login(name, "wrong").await, Err(LoginError::Refused), "{name}");
        let hash = gateway.accounts.named(name).await.unwrap().password_hash;
        assert_eq!(gateway.login(name, &hash).await, Err(LoginError::Refused), "the hash is no password");
        for _ in 0..2 {
            assert_eq!(gateway.login(name, PASSWORD).await.unwrap().username, name);
            let stored = gateway.accounts.named(name).await.unwrap();
            assert!(stored.password_hash.starts_with("$argon2id$"), "{name}");
            assert_eq!(stored.password_changed_at_ms, 0, "it is the same password");
        }
        assert_eq!(gateway.login(name, "wrong").await, Err(LoginError::Refused), "{name}");
    }
    assert!(gateway.login("ada", PASSWORD).await.is_ok(), "who was there is untouched");
}

#[tokio::test]
async fn an_imported_hash_logs_in_only_where_that_is_switched_on_and_hashes_of_ours_never_do() {
    let gateway = gateway().await;
    gateway.accounts.import(SHADOW, Role::User, false).await.unwrap();
    let own = gateway.accounts.named("ada").await.unwrap().password_hash;
    assert_eq!(gateway.login("old", OLD_HASH).await, Err(LoginError::Refused));
    let accounts = Accounts { hash_logs_in: true, ..gateway.accounts };
    let login = async |name: &str, password: &str| accounts.login(name, password.into(), HERE).await;
    for password in [OLD_HASH, PASSWORD, OLD_HASH] {
        assert!(login("old", password).await.is_ok(), "both serve, and go on to");
    }
    assert_eq!(login("old", &OLD_HASH[..OLD_HASH.len() - 1]).await, Err(LoginError::Refused));
    assert_eq!(login("ada", &own).await, Err(LoginError::Refused));
    accounts.set_disabled("old", true).await.unwrap();
    assert_eq!(login("old", OLD_HASH).await, Err(LoginError::Refused));
}

#[tokio::test]
async fn an_account_has_no_more_scopes_than_its_role_and_as_few_as_it_is_given() {
    let gateway = gateway().await;
    let watch = || Some(Some([Scope::Watch].into()));
    let change = |scopes, role| AccountChange { scopes, role, ..AccountChange::default() };
    let changed = gateway.accounts.change("ada", change(watch(), None)).await.unwrap();
    assert_eq!(changed.allowed(), [Scope::Watch].into());
    let refused = gateway.accounts.change("ada", change(Some(Some([Scope::Raw].into())), None)).await;
    assert!(matches!(refused, Err(AccountError::Scope { scope: Scope::Raw, .. })));
    let refused = gateway.accounts.change("ada", change(Some(Some([].into())), None)).await;
    assert!(matches!(refused, Err(AccountError::NoScopes)));
    let raw = change(Some(Some([Scope::Raw, Scope::Run].into())), Some(Role::Admin));
    assert_eq!(gateway.accounts.change("ada", raw).await.unwrap().allowed(), [Scope::Raw, Scope::Run].into());
    let lowered = gateway.accounts.change("ada", change(None, Some(Role::User))).await.unwrap();
    assert_eq!(lowered.allowed(), [Scope::Run].into(), "a role that is taken away takes its scopes with it");
    let all = gateway.accounts.change("ada", change(Some(None), None)).await.unwrap();
    assert_eq!(all.allowed(), Role::User.scopes());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn changes_made_at_once_all_hold() {
    let gateway = gateway().await;
    let accounts = &gateway.accounts;
    let (disabled, hashed, renamed) = tokio::join!(
        accounts.set_disabled("ada", true),
        accounts.set_password("ada", "battery staple".into()),
        accounts.change("ada", AccountChange { role: Some(Role::Admin), ..AccountChange::default() }),
    );
    assert!(disabled.is_ok() && hashed.is_ok() && renamed.is_ok());
    let ada = accounts.named("ada").await.unwrap();
    assert!(ada.disabled && ada.role == Role::Admin && ada.password_changed_at_ms > 0);
    accounts.set_disabled("ada", false).await.unwrap();
    assert!(gateway.login("ada", "battery staple").await.is_ok());
}

#[tokio::test]
async fn an_invitation_makes_one_account_of_its_role_and_scopes() {
    let gateway = gateway().await;
    let accounts = &gateway.accounts;
    let (code, ends) = accounts.invite(Role::User, Some([Scope::Watch].into()), Some(60)).await.unwrap();
    assert!(ends > now_ms() && !format!("{code:?}").contains("ccgi_"));
    let accept = async |name: &str, password: &str| accounts.accept(&code, name, password.into(), HERE).await;
    assert!(matches!(accept("ada", PASSWORD).await, Err(AcceptError::Account(AccountError::Exists))));
    assert!(matches!(accept("bob", "short").await, Err(AcceptError::Account(AccountError::Password(_)))));
    assert!(matches!(accept(" bob", PASSWORD).await, Err(AcceptError::Account(AccountError::Username(_)))));
    let bob = accept("bob", PASSWORD).await.unwrap();
    assert_eq!((bob.role, bob.allowed()), (Role::User, [Scope::Watch].into()));
    assert!(matches!(accept("eve", PASSWORD).await, Err(AcceptError::Refused)), "it serves once");
    assert_eq!(gateway.login("bob", PASSWORD).await.unwrap().subject, bob.subject);
    for seconds in [0, 31 * 24 * 3_600] {
        let refused = accounts.invite(Role::User, None, Some(seconds)).await;
        assert!(matches!(refused, Err(AccountError::InvitationTime)));
    }
    let refused = accounts.invite(Role::User, Some([Scope::Admin].into()), None).await;
    assert!(matches!(refused, Err(AccountError::Scope { .. })));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_fifty_who_accept_one_invitation_at_once_one_gets_an_account() {
    let gateway = gateway().await;
    let (code, _) = gateway.accounts.invite(Role::User, None, None).await.unwrap();
    let names: Vec<String> = (0..50).map(|n| format!("name {n}")).collect();
    let all = names.iter().map(|name| gateway.accounts.accept(&code, name, PASSWORD.into(), HERE));
    let made = futures_util::future::join_all(all).await.into_iter().filter(Result::is_ok).count();
    assert_eq!((made, gateway.accounts.list().await.unwrap().len()), (1, 2));
}

#[tokio::test]
async fn c7_wrong_codes_are_held_back_by_address() {
    let gateway = gateway_with(1, 1);
    let (code, _) = gateway.accounts.invite(Role::User, None, None).await.unwrap();
    let wrong: SecretString = format!("ccgi_{}", crate::auth::random::make_secret().unwrap()).into();
    for attempt in 0..20 {
        let refused = gateway.accounts.accept(&wrong, "bob", PASSWORD.into(), HERE).await.unwrap_err();
        let throttled = matches!(refused, AcceptError::Login(LoginError::Throttled { .. }));
        assert_eq!(throttled, attempt >= 10, "{attempt}: {refused:?}");
    }
    let elsewhere = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 2));
    assert!(gateway.accounts.accept(&code, "bob", PASSWORD.into(), elsewhere).await.is_ok());
}
