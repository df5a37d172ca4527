//! A gateway as a real process on free ports, with a directory of its own, an empty environment and a mark
//! on everything that it starts.

use std::fmt::Display;
use std::fs::File;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::Signal;
use serde_json::Value;
use tempfile::TempDir;
use uuid::Uuid;

use super::redis_server::Server;
use super::settings::{TestSettings, list};
use super::{Client, MessagesApi, agents, cli, eventually, http, proc, terminal};

/// The admin's password in every test: also a canary that must show nowhere.
pub(crate) const ADMIN_PASSWORD: &str = "canary-admin-password-7f3a";

/// Where the gateway lives.
#[derive(Debug, Clone, Copy)]
enum Housing {
    /// Beside the test.
    Plain,
    /// With `data` on a disk of its own of so many MiB.
    SmallDisk(u32),
    /// In a pid namespace that ends with it, as a container does.
    PidNamespace,
    /// In the foreground of a terminal.
    Terminal,
    /// Where it may not look into other users' processes, if it could.
    Container,
    /// As a user that owns nothing but the gateway's files, and may do no more than become others and signal them.
    Unprivileged,
}

/// A user and a group that own nothing on any machine.
const NOBODY: u32 = 65_534;
/// The rights of a gateway in the project's own container, which is not root's.
const UNPRIVILEGED: [&str; 7] = [
    "--reuid=65534",
    "--regid=65534",
    "--clear-groups",
    "--inh-caps=-all,+kill,+setgid,+setuid",
    "--ambient-caps=-all,+kill,+setgid,+setuid",
    "--bounding-set=-all,+kill,+setgid,+setuid",
    "--no-new-privs",
];

/// A running gateway.
pub(crate) struct Gateway {
    process: Option<Child>,
    settings: TestSettings,
    env: Vec<(String, String)>,
    housing: Housing,
    /// The keyboard of its terminal.
    terminal: Option<File>,
    directory: TempDir,
    /// The value of `CC_TEST_RUN` in the environment of everything that the gateway starts.
    mark: String,
    /// Killed without a chance to tidy up: what it started is not its fault.
    killed: bool,
    /// The HTTP listener.
    pub(crate) http: SocketAddr,
    /// The WebSocket listener.
    pub(crate) ws: SocketAddr,
}

/// A gateway about to be started.
pub(crate) struct Builder {
    settings: TestSettings,
    env: Vec<(String, String)>,
    housing: Housing,
    directory: TempDir,
}

impl Builder {
    /// Sets a setting by its leaf's name; lists by [`list`].
    pub(crate) fn setting(mut self, leaf: &str, value: impl Display) -> Self {
        self.settings.set(leaf, &value);
        self
    }

    /// Keeps everything in that Redis.
    pub(crate) fn redis(self, server: &Server) -> Self {
        self.setting("store_url", server.url())
    }

    /// Sets a variable that agents get.
    pub(crate) fn agent_env(mut self, name: &str, value: impl Display) -> Self {
        self.settings.agent_env(name, &value);
        self
    }

    /// Sets a variable of the gateway's own environment.
    pub(crate) fn env(mut self, name: &str, value: &str) -> Self {
        self.env.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Gives its data directory a small disk of its own, which goes with the process: see [`Gateway::own_path`].
    pub(crate) fn small_disk(mut self, mib: u32) -> Self {
        self.housing = Housing::SmallDisk(mib);
        self
    }

    /// Puts it and all it starts into a pid namespace whose first process ends when it does.
    pub(crate) fn pid_namespace(mut self) -> Self {
        self.housing = Housing::PidNamespace;
        self
    }

    /// Takes the right from it that root's containers lack: to look into other users' processes. Its program is where
    /// every user may run it.
    pub(crate) fn container(mut self) -> Self {
        self.housing = Housing::Container;
        self
    }

    /// Makes it a user of its own who may only become others and signal them, as in the project's container, if the
    /// test may do that. Its program is where every user may run it.
    pub(crate) fn unprivileged(mut self) -> Self {
        self.housing = Housing::Unprivileged;
        if rustix::process::geteuid().is_root() {
            for path in [self.directory.path().to_owned(), self.directory.path().join("admin-password")] {
                std::os::unix::fs::chown(path, Some(NOBODY), Some(NOBODY)).expect("another owner");
            }
        }
        self
    }

    /// Runs it in the foreground of a terminal of its own: see [`Gateway::press`].
    pub(crate) fn terminal(mut self) -> Self {
        self.housing = Housing::Terminal;
        self
    }

    /// Runs the real CLI against a stand-in of its API.
    pub(crate) fn real_agent(self, api: &MessagesApi) -> Self {
        let temporary = self.directory.path().join("tmp");
        self.setting("agent_program", cli::real_cli().display())
            .setting("require_claude_login", true)
            .agent_env("ANTHROPIC_BASE_URL", api.base_url())
            .agent_env("ANTHROPIC_API_KEY", "sk-ant-test-canary-5b21")
            .agent_env("CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC", "1")
            .agent_env("TMPDIR", temporary.display())
            .agent_env("CLAUDE_CODE_TMPDIR", temporary.display())
    }

    /// Where the gateway will have its files: to put something there before the start.
    pub(crate) fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// Starts it and waits until it listens.
    pub(crate) async fn start(self) -> Gateway {
        let nowhere = SocketAddr::from(([127, 0, 0, 1], 0));
        let mark = Uuid::new_v4().to_string();
        let mut settings = self.settings;
        settings.agent_env("CC_TEST_RUN", &mark);
        let mut gateway = Gateway {
            process: None,
            settings,
            env: self.env,
            housing: self.housing,
            terminal: None,
            directory: self.directory,
            mark,
            killed: false,
            http: nowhere,
            ws: nowhere,
        };
        gateway.launch().await;
        gateway
    }
}

impl Gateway {
    /// A gateway with the scripted agent, until told otherwise.
    pub(crate) fn builder() -> Builder {
        let directory = tempfile::Builder::new().prefix("cc-gateway-test-").tempdir().expect("a temporary directory");
        let path = |name: &str| directory.path().join(name);
        // Agents of another user must be able to get to their workspaces and homes.
        std::fs::set_permissions(directory.path(), std::fs::Permissions::from_mode(0o755)).expect("permissions");
        for name in ["workspaces", "home", "claude", "tmp"] {
            std::fs::create_dir(path(name)).expect("a directory");
        }
        std::fs::write(path("admin-password"), ADMIN_PASSWORD).expect("a password file");
        std::fs::set_permissions(path("admin-password"), std::fs::Permissions::from_mode(0o600)).expect("permissions");
        let mut settings = TestSettings::default();
        settings.set("http_listen", &"127.0.0.1:0");
        settings.set("ws_listen", &"127.0.0.1:0");
        settings.set("data_dir", &path("data").display());
        settings.set("workspace_roots", &list([path("workspaces").display().to_string()]));
        settings.set("admin_password_file", &path("admin-password").display());
        settings.set("claude_config_dir", &path("claude").display());
        settings.set("agent_program", &env!("CARGO_BIN_EXE_scripted-agent"));
        // It logs in nowhere.
        settings.set("require_claude_login", &false);
        settings.agent_env("HOME", &path("home").display());
        settings.agent_env("SCRIPTED_AGENT_COUNT_DIR", &path("agents").display());
        Builder { settings, env: Vec::new(), housing: Housing::Plain, directory }
    }

    /// Its process id.
    pub(crate) fn pid(&self) -> u32 {
        let started = self.process.as_ref().expect("a running gateway").id();
        match self.housing {
            // The namespace's maker, its first process, the gateway.
            Housing::PidNamespace => {
                let only_child = |pid| proc::children(pid).first().copied().unwrap_or(pid);
                only_child(only_child(started))
            }
            _ => started,
        }
    }

    /// Presses keys on its terminal.
    pub(crate) fn press(&self, keys: &[u8]) {
        let mut keyboard = self.terminal.as_ref().expect("a gateway with a terminal");
        std::io::Write::write_all(&mut keyboard, keys).expect("a terminal that takes keys");
    }

    /// The settings it runs with, as variables.
    pub(crate) fn environment(&self) -> Vec<(String, String)> {
        self.settings.environment()
    }

    /// Sets a setting for the next start.
    pub(crate) fn set(&mut self, leaf: &str, value: &str) {
        self.settings.set(leaf, &value);
    }

    /// A file or directory below the one that is all its own: `data`, `workspaces`, `home`, `claude`.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// [`Gateway::path`] as the running gateway sees it: also below a disk of its own.
    pub(crate) fn own_path(&self, name: &str) -> PathBuf {
        let path = self.path(name);
        Path::new(&format!("/proc/{}/root", self.pid())).join(path.strip_prefix("/").expect("an absolute path"))
    }

    /// Everything that it has logged, over all its starts.
    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.path("gateway.log")).unwrap_or_default()
    }

    /// Logs the admin in; the access token.
    pub(crate) async fn login(&self) -> String {
        match http::login(self.http, "admin", ADMIN_PASSWORD).await {
            Ok(token) => token,
            Err(response) => panic!("the admin can't log in: {} {}", response.status, response.text()),
        }
    }

    /// Connects to `/ws` as the admin.
    pub(crate) async fn client(&self) -> Client {
        let token = self.login().await;
        Client::connect(self.ws, "/ws", &token).await
    }

    /// Living processes that this gateway's agents have started, and the agents.
    pub(crate) fn processes(&self) -> Vec<u32> {
        proc::with_environment(&format!("CC_TEST_RUN={}", self.mark))
    }

    /// Waits until none of them is left.
    pub(crate) async fn until_no_processes(&self) {
        eventually("every process of this gateway's agents to be gone", || self.processes().is_empty().then_some(()))
            .await;
    }

    /// Scripted agents that live now, by their own account.
    pub(crate) fn running_agents(&self) -> usize {
        agents::running(&self.path("agents"))
    }

    /// The most scripted agents that ever lived at once.
    pub(crate) fn peak_agents(&self) -> usize {
        agents::peak(&self.path("agents"))
    }

    /// How many scripted agents were ever started.
    pub(crate) fn started_agents(&self) -> usize {
        agents::started(&self.path("agents"))
    }

    /// Sends it a signal.
    pub(crate) fn signal(&self, signal: Signal) {
        proc::signal(self.pid(), signal);
    }

    /// Waits for its exit.
    pub(crate) async fn exited(&mut self) -> ExitStatus {
        let mut process = self.process.take().expect("a running gateway");
        let status = eventually("the gateway to exit", || process.try_wait().expect("the state of a process")).await;
        self.assert_no_panic();
        status
    }

    /// SIGTERM; it must exit with code 0 and leave nothing behind.
    pub(crate) async fn stop(&mut self) {
        self.signal(Signal::TERM);
        let status = self.exited().await;
        assert_eq!(status.code(), Some(0), "SIGTERM should end it with code 0, not {status}; log:\n{}", self.log());
        self.assert_nothing_left();
    }

    /// SIGKILL.
    pub(crate) async fn kill9(&mut self) {
        self.killed = true;
        self.signal(Signal::KILL);
        self.exited().await;
    }

    /// Starts it again on the same directory, on new ports; stops it first if it runs.
    pub(crate) async fn restart(&mut self) {
        if self.process.is_some() {
            self.stop().await;
        }
        self.launch().await;
        self.killed = false;
    }

    /// Starts it again and sends SIGTERM after `moment`, whether it is ready or not; its exit.
    pub(crate) async fn start_and_end(&mut self, moment: Duration) -> ExitStatus {
        self.spawn();
        tokio::time::sleep(moment).await;
        self.signal(Signal::TERM);
        let status = self.exited().await;
        self.assert_nothing_left();
        status
    }

    async fn launch(&mut self) {
        self.spawn();
        let ready = self.path("ready.json");
        let first_line = eventually("the gateway to say that it is ready", || {
            let text = std::fs::read_to_string(&ready).unwrap_or_default();
            if let Some((line, _)) = text.split_once('\n') {
                return Some(line.to_owned());
            }
            let ended = self.process.as_mut().and_then(|process| process.try_wait().expect("the state of a process"));
            if let Some(status) = ended {
                self.process = None;
                panic!("the gateway ended before it was ready: {status}; log:\n{}", self.log());
            }
            None
        })
        .await;
        let line: Value = serde_json::from_str(&first_line)
            .unwrap_or_else(|_| panic!("the gateway's first line is not JSON: {first_line}"));
        let address = |name: &str| line[name].as_str().and_then(|text| text.parse().ok());
        self.http = address("http").unwrap_or_else(|| panic!("no HTTP address in {line}"));
        self.ws = address("ws").unwrap_or_else(|| panic!("no WebSocket address in {line}"));
    }

    fn spawn(&mut self) {
        let log = File::options().create(true).append(true).open(self.path("gateway.log")).expect("a log file");
        let (stdin, keyboard) = match self.housing {
            Housing::Terminal => {
                let (screen, keyboard) = terminal::pair();
                (Stdio::from(screen), Some(keyboard))
            }
            _ => (Stdio::null(), None),
        };
        self.terminal = keyboard;
        let process = self
            .program()
            .env_clear()
            .env("PATH", "/usr/local/bin:/usr/bin:/bin")
            .envs(self.settings.environment())
            .envs(self.env.iter().cloned())
            .current_dir(self.directory.path())
            .stdin(stdin)
            .stdout(File::create(self.path("ready.json")).expect("a file for its output"))
            .stderr(log)
            .spawn()
            .expect("the gateway's program starts");
        self.process = Some(process);
    }

    /// The program and its words. The disk is mounted where only the gateway and its agents see it. But for the
    /// pid namespace every step replaces the one before, so the process id is the gateway's.
    fn program(&self) -> Command {
        let program = env!("CARGO_BIN_EXE_cc-gateway");
        let unshare = |namespaces: &[&str]| {
            let mut command = Command::new("unshare");
            command.args((!rustix::process::geteuid().is_root()).then_some("-Ur")).args(namespaces);
            command
        };
        let mib = match self.housing {
            Housing::SmallDisk(mib) => mib,
            Housing::Plain => {
                let mut command = Command::new(program);
                command.arg("serve");
                return command;
            }
            Housing::PidNamespace => {
                // The first process does not become the gateway: it stands for the init of a container.
                let mut command = unshare(&["--pid", "--fork", "--mount-proc"]);
                command.args(["sh", "-c", r#""$0" serve; exit $?"#, program]);
                return command;
            }
            Housing::Container | Housing::Unprivileged => {
                let copy = self.path("cc-gateway");
                if !copy.exists() {
                    std::fs::copy(program, &copy).expect("a copy of the program");
                }
                let mut command = Command::new("setpriv");
                let root = rustix::process::geteuid().is_root();
                match self.housing {
                    _ if !root => {}
                    Housing::Unprivileged => {
                        command.args(UNPRIVILEGED);
                    }
                    _ => {
                        command.arg("--bounding-set=-sys_ptrace");
                    }
                }
                command.arg("--").arg(copy).arg("serve");
                return command;
            }
            Housing::Terminal => {
                // It becomes the leader of the terminal's session, and then the gateway.
                let mut command = Command::new("setsid");
                command.args(["--ctty", program, "serve"]);
                return command;
            }
        };
        let data = self.path("data");
        std::fs::create_dir_all(&data).expect("the place of the disk");
        let script = r#"mount -t tmpfs -o "size=$2m,mode=0700" tmpfs "$1" && exec "$0" serve"#;
        let mut command = unshare(&["-m"]);
        command.args(["sh", "-c", script, program]).arg(data).arg(mib.to_string());
        command
    }

    fn assert_no_panic(&self) {
        let log = self.log();
        let line = log.lines().find(|line| line.contains("panicked"));
        assert_eq!(line, None, "the gateway's log tells of a panic");
    }

    fn assert_nothing_left(&self) {
        let left: Vec<String> = self.processes().into_iter().map(proc::command_line).collect();
        assert!(left.is_empty(), "the gateway has left processes behind: {left:?}");
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        let pid = self.process.as_ref().map_or(0, |_| self.pid());
        if let Some(mut process) = self.process.take() {
            // Again and again: the first says "soon", the second "at once".
            let ended = (0..40).any(|_| {
                proc::signal(pid, Signal::TERM);
                super::wait_at_most(Duration::from_millis(500), || {
                    process.try_wait().is_ok_and(|status| status.is_some())
                })
            });
            if ended {
                let _status = process.wait();
            } else {
                self.killed = true;
                let _already_gone = process.kill();
                let _status = process.wait();
            }
        }
        let gone = super::wait_at_most(Duration::from_secs(5), || self.processes().is_empty());
        let left: Vec<String> = self.processes().into_iter().map(proc::command_line).collect();
        for pid in self.processes() {
            proc::signal(pid, Signal::KILL);
        }
        if std::thread::panicking() {
            let log = self.log();
            let start = log.char_indices().rev().nth(20_000).map_or(0, |(place, _)| place);
            eprintln!("--- the gateway's log ---\n{}", &log[start..]);
            return;
        }
        assert!(gone || self.killed, "the gateway has left processes behind: {left:?}");
        self.assert_no_panic();
        let store = self.path("data").join("gateway.db");
        // Some keep it where only they can see it.
        if !self.killed && store.exists() {
            let wrong = super::stored::wrong_ends(&store);
            assert!(wrong.is_empty(), "sessions without exactly one end: {wrong:?}");
        }
    }
}
