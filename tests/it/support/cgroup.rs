//! Control groups, where the machine lets a test make some: limits that the kernel enforces on whole processes.
//!
//! Elsewhere (an ordinary user, most containers) there are none, and a test has to do with what comes closest.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use uuid::Uuid;

/// A control group of a test's own, inside the one that the test runs in. It goes when it is dropped; its
/// processes must have gone before.
#[derive(Debug)]
pub(crate) struct Cgroup(PathBuf);

impl Cgroup {
    /// A group whose `controller` (`memory`, `pids`) has these limits: names of files of either version of
    /// control groups, of which those that are there are written. `None`: this machine does not let us.
    pub(crate) fn with_limits(controller: &str, limits: &[(&str, u64)]) -> Option<Self> {
        let group = Self(own_group(controller)?.join(format!("cc-gateway-test-{}", Uuid::new_v4())));
        fs::create_dir(&group.0).ok()?;
        let written = limits.iter().filter(|(name, limit)| group.set(name, *limit)).count();
        (written > 0).then_some(group)
    }

    /// Changes a limit; `false`: there is no such limit here.
    pub(crate) fn set(&self, name: &str, limit: u64) -> bool {
        let file = self.0.join(name);
        // Writing to a file that is not there would try to make it.
        file.exists() && fs::write(file, limit.to_string()).is_ok()
    }

    /// Puts a process in, with all its threads.
    pub(crate) fn take_in(&self, pid: u32) {
        fs::write(self.0.join("cgroup.procs"), pid.to_string()).expect("a group that takes a process");
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        // The kernel may still be busy with the last one's end.
        let _gone = (0..500).any(|_| {
            std::thread::sleep(Duration::from_millis(10));
            fs::remove_dir(&self.0).is_ok()
        });
    }
}

/// The directory of the group that this test is in.
fn own_group(controller: &str) -> Option<PathBuf> {
    let groups = fs::read_to_string("/proc/self/cgroup").ok()?;
    let of = |wanted: &dyn Fn(&str) -> bool| {
        let mut lines = groups.lines().filter_map(|line| line.split_once(':')?.1.split_once(':'));
        lines.find(|(controllers, _)| wanted(controllers)).map(|(_, path)| path.trim_start_matches('/').to_owned())
    };
    if let Some(path) = of(&|controllers| controllers.split(',').any(|one| one == controller)) {
        return Some(Path::new("/sys/fs/cgroup").join(controller).join(path));
    }
    of(&str::is_empty).map(|path| Path::new("/sys/fs/cgroup").join(path))
}
