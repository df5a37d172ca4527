//! `server.info` and `rpc.discover`.

use std::sync::atomic::Ordering;

use jsonrpsee::core::RegisterMethodError;

use crate::api::method::{RpcDiscover, ServerInfo as Info};
use crate::api::server::ServerInfo;
use crate::api::{PROTOCOL_VERSION, RpcError, VERSION, document};
use crate::rpc::register::{Registrar, Request};

pub(in crate::rpc) fn register(registrar: &mut Registrar) -> Result<(), RegisterMethodError> {
    registrar.on::<Info, _, _, _>(info)?;
    registrar.on::<RpcDiscover, _, _, _>(|_| async { Ok(document::openrpc()) })
}

async fn info(request: Request<Info>) -> Result<ServerInfo, RpcError> {
    let context = &request.context;
    let (slots, max_sessions) = context.sessions.slots().await;
    Ok(ServerInfo {
        name: "cc-gateway".to_owned(),
        version: VERSION.to_owned(),
        protocol_version: PROTOCOL_VERSION.to_owned(),
        node: context.node.clone(),
        store: context.store.to_owned(),
        uptime_seconds: context.started.elapsed().as_secs(),
        active_sessions: slots.taken,
        max_sessions,
        queued_sessions: slots.waiting,
        connections: context.connections.load(Ordering::Relaxed),
        warm: context.sessions.warm_counts(),
        draining: context.sessions.is_draining(),
        nodes: context.sessions.nodes().living(),
        limits: context.limits.clone(),
    })
}
