//! A stand-in for the Anthropic Messages API, for tests, the demo and benches: no traffic leaves the machine.
//!
//! `messages-api [--port N] [--log FILE] [--default TEXT] [--exit-with-stdin]` listens on the loopback
//! address, prints `{"port":N}` as its first line and serves until it is ended. Point Claude Code at it with
//! `ANTHROPIC_BASE_URL=http://127.0.0.1:N` and any API key. `directive` says how a prompt chooses its answer.

mod answer;
mod directive;
mod log;
mod server;
mod stream;

use std::collections::HashMap;
use std::io::Write;
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::sync::Arc;

use cc_gateway::telemetry::tasks;
use clap::Parser;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::AsyncReadExt;
use tokio::net::TcpListener;

/// A stand-in for the Anthropic Messages API.
#[derive(Parser)]
#[command(name = "messages-api")]
struct Arguments {
    /// Port on 127.0.0.1; 0: any free one.
    #[arg(long, default_value_t = 0)]
    port: u16,
    /// Append one JSON object a request to this file.
    #[arg(long)]
    log: Option<PathBuf>,
    /// Answer prompts that hold no directive with this text or directive.
    #[arg(long)]
    default: Option<String>,
    /// End when standard input ends, so that it never outlives its starter.
    #[arg(long)]
    exit_with_stdin: bool,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> std::io::Result<()> {
    let arguments = Arguments::parse();
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, arguments.port)).await?;
    let server = Arc::new(server::Server {
        default: arguments.default,
        log: log::RequestLog::open(arguments.log.as_deref())?,
        failures: parking_lot::Mutex::new(HashMap::new()),
    });
    writeln!(std::io::stdout(), "{{\"port\":{}}}", listener.local_addr()?.port())?;
    if !arguments.exit_with_stdin {
        return accept(&listener, &server).await;
    }
    tokio::select! {
        ended = accept(&listener, &server) => ended,
        () = stdin_end() => Ok(()),
    }
}

async fn accept(listener: &TcpListener, server: &Arc<server::Server>) -> std::io::Result<()> {
    loop {
        let (socket, _) = listener.accept().await?;
        socket.set_nodelay(true)?;
        let server = Arc::clone(server);
        tasks::spawn("connection", async move {
            let service = service_fn(|request| server.serve(request));
            // A connection that breaks is the client's affair, and often what a test wants.
            let _broken =
                hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(socket), service).await;
        });
    }
}

async fn stdin_end() {
    let mut stdin = tokio::io::stdin();
    let mut ignored = [0; 256];
    while stdin.read(&mut ignored).await.is_ok_and(|count| count > 0) {}
}
