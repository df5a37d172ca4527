//! The mark that nobody loses by accident: numbers in a resource limit that nothing uses.
//!
//! Limits are inherited over fork and exec, whatever becomes of the environment, the system session and the parent, and every user may read them.
//! `RLIMIT_RTTIME` counts only under a real-time scheduler, and the numbers here are more than a hundred thousand years: they limit nothing. The soft
//! limit names the session, the hard one the instance. Both are hashes of 61 bits, in ranges of their own, so that the soft one is always the lower.
//!
//! Best effort, beside the environment: where the gateway itself was given a lower limit, its children keep that one and are found by the rest.

use rustix::process::{Resource, Rlimit};
use sha2::{Digest, Sha256};

use super::launch::{INSTANCE_VARIABLE, Marker, SESSION_VARIABLE};
use super::proc_fs;

const SOFT_RANGE: u64 = 0x4000_0000_0000_0000;
const HARD_RANGE: u64 = 0x6000_0000_0000_0000;

/// The limit that says to whom a process belongs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tag {
    /// To this session.
    Soft(u64),
    /// To this instance.
    Hard(u64),
}

impl Tag {
    /// The tag of whatever carries `entry` (a whole entry of the environment) as its marker; `None`: that is no marker.
    pub(super) fn of(entry: &[u8]) -> Option<Self> {
        let value_of = |name: &str| entry.strip_prefix(name.as_bytes())?.strip_prefix(b"=");
        if let Some(session) = value_of(SESSION_VARIABLE) {
            return Some(Self::Soft(SOFT_RANGE | hash(session)));
        }
        value_of(INSTANCE_VARIABLE).map(|instance| Self::Hard(HARD_RANGE | hash(instance)))
    }

    /// Does that process have the tag? `false` also if it can't be asked.
    pub(super) fn is_on(self, pid: u32) -> bool {
        limits(pid).is_some_and(|limits| self.is_in(limits))
    }

    /// Is it in these limits?
    pub(super) fn is_in(self, (soft, hard): Limits) -> bool {
        match self {
            Self::Soft(tag) => soft == tag,
            Self::Hard(tag) => hard == tag,
        }
    }
}

/// The soft and the hard limit of a process where tags are put.
pub(super) type Limits = (u64, u64);

/// Those of that process; `None`: it can't be asked, or has at most one.
pub(super) fn limits(pid: u32) -> Option<Limits> {
    parse(&proc_fs::read_at_once(&format!("/proc/{pid}/limits"))?)
}

/// The limit that a new process gives itself.
pub(super) fn limit(marker: &Marker) -> Rlimit {
    let session = SOFT_RANGE | hash(marker.session().to_string().as_bytes());
    Rlimit { current: Some(session), maximum: Some(HARD_RANGE | hash(marker.instance().as_bytes())) }
}

/// Sets the limit of this process. Makes one system call and nothing else.
pub(super) fn put_on(limit: Rlimit) {
    let _refused = rustix::process::setrlimit(Resource::Rttime, limit);
}

/// Can this process give its children any tag? Not where it was given a limit itself.
pub(super) fn can_be_put_on() -> bool {
    rustix::process::getrlimit(Resource::Rttime).maximum.is_none()
}

/// 61 bits that are the same in every version of the gateway: a hunt may look for what an older one has started.
fn hash(text: &[u8]) -> u64 {
    Sha256::digest(text).first_chunk().map_or(0, |bytes| u64::from_be_bytes(*bytes)) >> 3
}

/// Soft and hard limit in the text of `/proc/PID/limits`; `None`: one of them is no number.
fn parse(text: &[u8]) -> Option<Limits> {
    let line = text.split(|byte| *byte == b'\n').find_map(|line| line.strip_prefix(b"Max realtime timeout "))?;
    let mut words = std::str::from_utf8(line).ok()?.split_ascii_whitespace();
    Some((words.next()?.parse().ok()?, words.next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    #[test]
    fn the_tags_of_a_marker_are_those_of_its_entries_and_no_others() {
        let (session, other) = (Uuid::new_v4(), Uuid::new_v4());
        let limit = limit(&Marker::new(session, "a-node"));
        let tag = |entry: String| Tag::of(entry.as_bytes());
        assert_eq!(tag(format!("{SESSION_VARIABLE}={session}")), limit.current.map(Tag::Soft));
        assert_eq!(tag(format!("{INSTANCE_VARIABLE}=a-node")), limit.maximum.map(Tag::Hard));
        assert_ne!(tag(format!("{SESSION_VARIABLE}={other}")), limit.current.map(Tag::Soft));
        assert_ne!(tag(format!("{INSTANCE_VARIABLE}=a-nod")), limit.maximum.map(Tag::Hard));
        assert!(limit.current < limit.maximum && limit.maximum <= Some(u64::MAX >> 1));
        assert_eq!(tag("PATH=/bin".to_owned()), None);
    }

    #[test]
    fn limits_are_read_as_the_kernel_writes_them() {
        let text = b"Limit                     Soft Limit           Hard Limit           Units     \n\
            Max realtime priority     0                    0                    \n\
            Max realtime timeout      4611686018427387904  9223372036854775807  us        \n";
        assert_eq!(parse(text), Some((SOFT_RANGE, u64::MAX >> 1)));
        assert_eq!(parse(b"Max realtime timeout      unlimited            unlimited            us        \n"), None);
        assert!(!Tag::Soft(SOFT_RANGE).is_on(std::process::id()));
    }
}
