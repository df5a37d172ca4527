//! Waits for orphans. The gateway is the subreaper of all it starts: a process whose parent died becomes its child and, once ended, stays a zombie
//! until waited for.
//!
//! Runs only on the spawner's thread, so that it never meets a process between its fork and its entry in the list. It waits for one named process at
//! a time, never for "any child": the others belong to somebody who wants their exit status.

use rustix::process::{Pid, WaitId, WaitIdOptions};

use super::leaders::Leaders;
use super::proc_fs;

/// Waits for every ended orphan that fell to the gateway. Returns how many.
pub(super) fn reap_orphans(leaders: &Leaders) -> u64 {
    // One cheap question, which takes nothing away: has any child ended at all?
    let peek = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
    if !matches!(rustix::process::waitid(WaitId::All, peek), Ok(Some(_))) {
        return 0;
    }
    let me = std::process::id();
    let my_session = proc_fs::stat(me).map(|stat| stat.session);
    let mut reaped = 0;
    let children = proc_fs::children_of_ours().unwrap_or_else(proc_fs::all_pids);
    let unexpected = children.into_iter().filter(|pid| !leaders.will_be_waited_for(*pid));
    for stat in unexpected.filter_map(proc_fs::stat) {
        // Whatever the gateway starts leads a system session of its own, and so its orphans are in another one than the gateway. A child in the
        // gateway's own was started by a library, which will wait for it.
        let orphan = stat.zombie && stat.parent == me && Some(stat.session) != my_session;
        let Some(pid) = i32::try_from(stat.pid).ok().and_then(Pid::from_raw) else { continue };
        if orphan
            && matches!(
                rustix::process::waitid(WaitId::Pid(pid), WaitIdOptions::EXITED | WaitIdOptions::NOHANG),
                Ok(Some(_))
            )
        {
            reaped += 1;
        }
    }
    reaped
}
