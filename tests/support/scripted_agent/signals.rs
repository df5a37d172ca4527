//! Signals, as the CLI takes them: SIGTERM exits 143 without a result, SIGHUP 129, SIGINT ends the turn and
//! exits 0. A script can have them ignored, or have SIGTERM start a cleaning-up that prints.

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::json;
use tokio::signal::unix::{SignalKind, signal};

use crate::Agent;
use crate::inbox::Stop;
use crate::script::Ignored;

/// Catches signals on a thread of its own; returns once they are caught.
pub(crate) fn catch(agent: &Arc<Agent>) -> std::io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    let mut signals = {
        let _entered = runtime.enter();
        [SignalKind::terminate(), SignalKind::interrupt(), SignalKind::hangup()].map(signal)
    };
    let agent = Arc::clone(agent);
    std::thread::spawn(move || {
        runtime.block_on(async move {
            let [Ok(term), Ok(int), Ok(hup)] = &mut signals else { return };
            loop {
                tokio::select! {
                    _ = term.recv() => on_term(&agent),
                    _ = int.recv() => on_int(&agent),
                    _ = hup.recv() => if !agent.inbox.ignores(Ignored::Hup) { agent.leave(129) },
                }
            }
        });
    });
    Ok(())
}

fn on_int(agent: &Agent) {
    if !agent.inbox.ignores(Ignored::Int) {
        agent.inbox.change(|state| state.stop = Some(Stop::Int));
    }
}

fn on_term(agent: &Agent) {
    if agent.inbox.ignores(Ignored::Term) {
        return;
    }
    let cleanup = agent.inbox.lock().cleanup;
    let Some((duration, code)) = cleanup else { agent.leave(143) };
    let begun = Instant::now();
    let mut step = 0;
    while begun.elapsed() < duration {
        step += 1;
        agent.say(&json!({"type": "system", "subtype": "scripted_cleanup", "step": step,
                          "session_id": agent.session().id}));
        std::thread::sleep(Duration::from_millis(100).min(duration.saturating_sub(begun.elapsed())));
    }
    agent.say(&json!({"type": "system", "subtype": "scripted_cleanup", "step": "last",
                      "session_id": agent.session().id}));
    agent.exit(code);
}
