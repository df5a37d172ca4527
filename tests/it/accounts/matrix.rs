//! Row C11: every method against everybody who might call it.

use cc_gateway::api::method::TABLE;
use serde_json::{Value, json};
use uuid::Uuid;

use super::account;
use crate::rpc_scopes::narrowed;
use crate::support::{Client, Gateway};

/// Whose business a method is, beside its scope.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum About {
    /// Nobody's: whoever has the scope may.
    Nothing,
    /// A session: to all but its owner and admins it does not exist.
    Session,
    /// The connection's own command.
    Command,
}
use About::{Command, Nothing, Session};

/// The access that is meant, method by method: a new method has no place here until somebody has thought of it.
const ACCESS: [(&str, Option<&str>, About); 30] = [
    ("session.start", Some("run"), Nothing),
    ("session.attach", Some("watch"), Session),
    ("session.detach", Some("watch"), Session),
    ("session.get", Some("watch"), Session),
    ("session.list", Some("watch"), Nothing),
    ("session.events", Some("watch"), Session),
    ("session.send", Some("run"), Session),
    ("session.respond", Some("control"), Session),
    ("session.configure", Some("control"), Session),
    ("session.input", Some("raw"), Session),
    ("session.interrupt", Some("control"), Session),
    ("session.pause", Some("control"), Session),
    ("session.unpause", Some("control"), Session),
    ("session.stop", Some("control"), Session),
    ("auth.reauthenticate", None, Nothing),
    ("account.list", Some("admin"), Nothing),
    ("account.create", Some("admin"), Nothing),
    ("account.update", Some("admin"), Nothing),
    ("account.invite", Some("admin"), Nothing),
    ("key.create", None, Nothing),
    ("key.list", None, Nothing),
    ("key.revoke", None, Nothing),
    ("audit.list", Some("admin"), Nothing),
    ("server.info", None, Nothing),
    ("rpc.discover", None, Nothing),
    ("execute", Some("run"), Nothing),
    ("control", Some("control"), Command),
    ("pong", None, Nothing),
    ("hook_status", None, Nothing),
    // What is no method is nobody's.
    ("no.such.method", None, Nothing),
];

/// Parameters that a method's type takes, and that start nothing.
fn params(method: &str, session: Uuid) -> Value {
    match method {
        "session.send" => json!({"session_id": session, "prompt": "p"}),
        "session.respond" => json!({"session_id": session, "request_id": "r", "behavior": "deny"}),
        "session.configure" => json!({"session_id": session, "model": "m"}),
        "session.input" => {
            json!({"session_id": session, "message": {"type": "user", "message": {"role": "user", "content": "p"}}})
        }
        "control" => json!({"type": "CANCEL"}),
        name if name.starts_with("session.") && name != "session.start" && name != "session.list" => {
            json!({"session_id": session})
        }
        _ => json!({}),
    }
}

#[tokio::test]
async fn c11_every_method_answers_everybody_as_its_row_says() {
    let methods: Vec<_> = ACCESS.iter().filter(|(name, ..)| *name != "no.such.method").collect();
    let rows: Vec<_> = methods.iter().map(|(name, scope, _)| (*name, *scope)).collect();
    let table: Vec<_> = TABLE.iter().map(|method| (method.name, method.scope.map(|scope| scope.as_str()))).collect();
    assert_eq!(rows, table, "every method of the table has its row here, and its scope");

    let mut gateway = Gateway::builder().setting("shared_uid_accepted", true).start().await;
    let mut admin = gateway.client().await;
    let (ada, bob) = (account(&gateway, &mut admin, "ada").await, account(&gateway, &mut admin, "bob").await);
    let mut owner = Client::connect(gateway.ws, "/ws", &ada).await;
    let session = owner.start(json!({"prompt": "hello"})).await;
    owner.until_ended(session).await;

    let all = ["run", "watch", "control", "raw", "admin"];
    let users = &all[..3];
    let admins = gateway.login().await;
    let mut callers = vec![
        ("another user", bob, users.to_vec(), false),
        ("the owner", ada.clone(), users.to_vec(), true),
        ("an admin", admins.clone(), all.to_vec(), true),
    ];
    for scope in all {
        // Only `admin` lets an admin see what is another's.
        callers.push((scope, narrowed(&gateway, &admins, scope), vec![scope], scope == "admin"));
    }
    for scope in users {
        callers.push((scope, narrowed(&gateway, &ada, scope), vec![scope], true));
    }
    let started = gateway.started_agents();
    for (who, token, scopes, sees) in callers {
        let mut client = Client::connect(gateway.ws, "/ws", &token).await;
        for (method, scope, about) in ACCESS {
            let answer = client.call(method, params(method, session)).await;
            let code = answer.as_ref().err().and_then(|error| error["code"].as_i64());
            let may = scope.is_none_or(|scope| scopes.contains(&scope));
            let told = format!("{method} by {who} with {scopes:?}: {answer:?}");
            match about {
                _ if method == "no.such.method" => assert_eq!(code, Some(-32601), "{told}"),
                _ if !may => assert_eq!(code, Some(-32005), "{told}"),
                Session if !sees => {
                    assert_eq!(code, Some(-32002), "{told}");
                    let nowhere = client.error(method, params(method, Uuid::new_v4())).await;
                    let words = |error: &Value| error["message"].as_str().unwrap_or_default().len();
                    assert_eq!(
                        words(&nowhere),
                        words(&answer.unwrap_err()),
                        "it looks as if it were not there: {told}"
                    );
                }
                // The connection has no command.
                Command => assert_eq!(code, Some(-32002), "{told}"),
                // `auth.reauthenticate` and bad tokens have a code of their own to refuse with.
                Session | Nothing => assert!(!matches!(code, Some(-32005 | -32002)), "{told}"),
            }
        }
    }
    assert_eq!(gateway.started_agents(), started, "nothing of this may start an agent");

    let anonymous = Client::try_connect(gateway.ws, "/ws", &[]).await.err().expect("nobody calls without a token");
    assert_eq!(anonymous.status, 401, "{anonymous:?}");
    gateway.stop().await;
}
