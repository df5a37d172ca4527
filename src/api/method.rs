//! The one table of methods. Registration, the typed client, OpenRPC and the access matrix come from it.
//!
//! A method is a zero-sized type that implements [`Method`]; `methods!` declares the type and its row in
//! [`TABLE`] together, so that neither can exist without the other.

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::principal::Scope;
use super::{account, auth, dialect, server, session};

/// When a call may run beside the others of its connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// One after the other, in the order in which they were sent.
    Ordered,
    /// At any time; answers may overtake each other.
    Concurrent,
}

/// One method of the protocol.
pub trait Method {
    /// Its name on the wire.
    const NAME: &'static str;
    /// The scope it needs; `None`: every authenticated caller.
    const SCOPE: Option<Scope>;
    /// Whether it keeps its place among the connection's calls.
    const ORDER: Order;
    /// Its parameters: an object.
    type Params: Serialize + DeserializeOwned + JsonSchema + Send + 'static;
    /// Its result as a client reads it.
    type Result: Serialize + DeserializeOwned + JsonSchema + Send + 'static;
}

/// A method's row in the table.
#[derive(Debug, Clone, Copy)]
pub struct MethodInfo {
    /// Its name on the wire.
    pub name: &'static str,
    /// What it does, in a line.
    pub summary: &'static str,
    /// The scope it needs.
    pub scope: Option<Scope>,
    /// Whether it keeps its place.
    pub order: Order,
    /// The schema of its parameters.
    pub params: fn(&mut SchemaGenerator) -> Schema,
    /// The schema of its result.
    pub result: fn(&mut SchemaGenerator) -> Schema,
}

/// The row of that method, if there is one.
#[must_use]
pub fn find(name: &str) -> Option<&'static MethodInfo> {
    TABLE.iter().find(|method| method.name == name)
}

macro_rules! methods {
    ($( $(#[doc = $summary:literal])+ $ty:ident = $name:literal, $scope:expr, $order:ident, $params:ty => $result:ty; )*) => {
        $(
            $(#[doc = $summary])+
            #[derive(Debug, Clone, Copy)]
            pub struct $ty;

            impl Method for $ty {
                const NAME: &'static str = $name;
                const SCOPE: Option<Scope> = $scope;
                const ORDER: Order = Order::$order;
                type Params = $params;
                type Result = $result;
            }
        )*

        /// Every method, in the order of the documents.
        pub const TABLE: &[MethodInfo] = &[
            $( MethodInfo {
                name: $name,
                summary: concat!($($summary),+),
                scope: $scope,
                order: Order::$order,
                params: <$params as JsonSchema>::json_schema,
                result: <$result as JsonSchema>::json_schema,
            }, )*
        ];
    };
}

methods! {
    /// Starts a session and, unless told otherwise, streams its events to this connection.
    SessionStart = "session.start", Some(Scope::Run), Ordered, session::StartParams => session::StartResult;
    /// Streams a session's events to this connection: the log after `after_seq`, then live.
    SessionAttach = "session.attach", Some(Scope::Watch), Ordered, session::AttachParams => session::AttachResult;
    /// Stops streaming a session's events to this connection; the session goes on.
    SessionDetach = "session.detach", Some(Scope::Watch), Ordered, session::SessionParams => session::DetachResult;
    /// One session's record.
    SessionGet = "session.get", Some(Scope::Watch), Ordered, session::SessionParams => session::Session;
    /// A page of the caller's sessions (an admin's: everybody's), newest first.
    SessionList = "session.list", Some(Scope::Watch), Concurrent, session::ListParams => session::ListResult;
    /// A page of a session's log.
    SessionEvents = "session.events", Some(Scope::Watch), Concurrent, session::EventsParams => session::EventsResult;
    /// Sends the next message to an interactive session; brings its process back if it was put away.
    SessionSend = "session.send", Some(Scope::Run), Ordered, session::SendParams => session::SendResult;
    /// Answers a permission question; the first answer wins.
    SessionRespond = "session.respond", Some(Scope::Control), Ordered, session::RespondParams => session::StateResult;
    /// Changes a session's model or permission mode.
    SessionConfigure = "session.configure", Some(Scope::Control), Ordered, session::ConfigureParams => session::StateResult;
    /// Writes one raw stream-json message to the agent of a session started with `raw: true`.
    SessionInput = "session.input", Some(Scope::Raw), Ordered, session::InputParams => session::InputResult;
    /// Interrupts the running turn.
    SessionInterrupt = "session.interrupt", Some(Scope::Control), Ordered, session::SessionParams => session::StateResult;
    /// Stops a session's processes for now.
    SessionPause = "session.pause", Some(Scope::Control), Ordered, session::SessionParams => session::StateResult;
    /// Lets the processes of a paused session go on.
    SessionUnpause = "session.unpause", Some(Scope::Control), Ordered, session::SessionParams => session::StateResult;
    /// Ends a session and everything it started.
    SessionStop = "session.stop", Some(Scope::Control), Ordered, session::SessionParams => session::StateResult;
    /// Keeps this connection open past its access token's end, with a new token of the same caller.
    AuthReauthenticate = "auth.reauthenticate", None, Concurrent, auth::ReauthenticateParams => auth::ReauthenticateResult;
    /// Every account.
    AccountListAll = "account.list", Some(Scope::Admin), Concurrent, server::NoParams => account::AccountList;
    /// Makes an account, with a password that is given or made.
    AccountCreate = "account.create", Some(Scope::Admin), Ordered, account::CreateAccountParams => account::CreatedAccount;
    /// Changes an account's role, scopes or password, shuts it out or lets it in again. What takes something away revokes what was issued before.
    AccountUpdate = "account.update", Some(Scope::Admin), Ordered, account::UpdateAccountParams => account::AccountInfo;
    /// Makes a code that makes an account, once.
    AccountInvite = "account.invite", Some(Scope::Admin), Ordered, account::InviteParams => account::Invited;
    /// Makes an API key, which is told once.
    KeyCreate = "key.create", None, Ordered, account::CreateKeyParams => account::CreatedKey;
    /// An account's API keys.
    KeyListAll = "key.list", None, Concurrent, account::ListKeysParams => account::KeyList;
    /// Ends an API key and all that came of it.
    KeyRevoke = "key.revoke", None, Ordered, account::RevokeKeyParams => account::RevokedKey;
    /// A page of the audit log, the newest first: who did what.
    AuditList = "audit.list", Some(Scope::Admin), Concurrent, account::AuditParams => account::AuditPage;
    /// Versions, limits and counts.
    ServerInfo = "server.info", None, Concurrent, server::NoParams => server::ServerInfo;
    /// This protocol as an OpenRPC document.
    RpcDiscover = "rpc.discover", None, Concurrent, server::NoParams => serde_json::Value;
    /// cc_executor: runs an allowed command as a session of its own and streams its output.
    Execute = "execute", Some(Scope::Run), Ordered, dialect::ExecuteParams => dialect::ExecuteResult;
    /// cc_executor: pauses, resumes or cancels this connection's command.
    Control = "control", Some(Scope::Control), Ordered, dialect::ControlParams => dialect::ControlResult;
    /// cc_executor: the answer to a `ping` notification.
    Pong = "pong", None, Concurrent, dialect::AnyParams => dialect::PongResult;
    /// cc_executor: the state of its hooks, of which this gateway has none.
    HookStatus = "hook_status", None, Concurrent, dialect::AnyParams => dialect::HookStatusResult;
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_method_has_a_name_of_its_own_and_a_summary() {
        let names: BTreeSet<_> = TABLE.iter().map(|method| method.name).collect();
        assert_eq!(names.len(), TABLE.len());
        assert!(TABLE.iter().all(|method| method.summary.trim().len() > 10));
    }

    #[test]
    fn a_method_is_found_by_its_name() {
        assert_eq!(find("session.start").map(|method| method.name), Some(SessionStart::NAME));
        assert!(find("session.nothing").is_none());
    }
}
