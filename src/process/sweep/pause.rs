//! Stopping a whole session without ending it, and letting it go on.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use parking_lot::Mutex;
use uuid::Uuid;

use super::hunt::{FreezeReport, ThawReport};
use super::order::Order;
use super::{Identity, LIMIT, carry_out, hunt, spawner, target_of};
use crate::process::{Marker, RunAs};

/// What the agents of frozen sessions themselves had stopped before: only the freeze can tell, and the thaw needs to know. An entry lives from a
/// session's freeze to its thaw or sweep.
static RESTING: Mutex<BTreeMap<Uuid, Vec<Identity>>> = Mutex::new(BTreeMap::new());

/// Stops (SIGSTOP) everything that carries the marker's session or descends from what does, the leader first; looks again until nothing new turns up.
/// Returns how many it stopped: not what was stopped before. `user`: whom the processes belong to, as in their launch. Takes some milliseconds
/// when there is nothing, and at most about 5 s.
///
/// One at a time for a session, and wait for its end before a thaw: given up halfway, it may still be stopping. Time goes on for the stopped: their
/// clocks and their peers' may run out meanwhile. What waits for a `vfork`ed child at that moment stops only after the child.
pub async fn freeze(marker: &Marker, user: Option<&RunAs>) -> u64 {
    let session = marker.session();
    // Before anything is stopped: what a second freeze finds stopped is the work of the first.
    let again = match RESTING.lock().entry(session) {
        Entry::Occupied(_) => true,
        Entry::Vacant(entry) => {
            entry.insert(Vec::new());
            false
        }
    };
    let spawner = spawner();
    let target = target_of(session, spawner.as_ref());
    let act = |target: &_| hunt::freeze(target, LIMIT);
    let Some(report) = carry_out::<FreezeReport>(Order::Freeze, target, user, spawner.as_ref(), act).await else {
        return 0;
    };
    if report.moving > 0 {
        tracing::warn!(session_id = %session, moving = report.moving, "processes of a paused session still run");
    }
    if let Some(resting) = RESTING.lock().get_mut(&session) {
        if again {
            resting.retain(|process| report.resting.contains(process));
        } else {
            *resting = report.resting;
        }
    }
    report.stopped
}

/// Lets everything of the marker's session go on (SIGCONT), the leader last; but nothing that the agent itself had stopped before the freeze. Returns how
/// many it woke. `user` and the time it takes as for [`freeze`]. Without a freeze before, it wakes all that is stopped.
pub async fn thaw(marker: &Marker, user: Option<&RunAs>) -> u64 {
    let session = marker.session();
    let resting = RESTING.lock().remove(&session).unwrap_or_default();
    let spawner = spawner();
    let target = target_of(session, spawner.as_ref());
    let order = Order::Thaw(resting.clone());
    let act = move |target: &_| hunt::thaw(target, &resting, LIMIT);
    carry_out::<ThawReport>(order, target, user, spawner.as_ref(), act).await.unwrap_or_default().woken
}

/// Nothing of this session is left to be woken.
pub(super) fn forget(session: Uuid) {
    RESTING.lock().remove(&session);
}
