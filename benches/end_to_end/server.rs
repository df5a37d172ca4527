//! The servers that are compared: the gateway, websocketd, and the bare pipe that both read from.
//!
//! Each runs the same agent with the same script and is asked by the same client.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::socket::Socket;

/// The agent that all of them run.
pub(crate) const AGENT: &str = env!("CARGO_BIN_EXE_scripted-agent");
/// The gateway's program, once it has been named; of the whole process, for it is the same in every row.
static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
const PASSWORD: &str = "a password of the benchmarks";

/// Something that runs the agent with a script and sends its lines, one a message.
pub(crate) trait Server {
    /// Its process.
    fn pid(&self) -> u32;
    /// Runs the script; its lines come over the socket.
    fn run(&self, script: &str) -> Socket;
}

/// A gateway of its own, in a directory that goes with it.
pub(crate) struct Gateway {
    process: Child,
    directory: TempDir,
    ws: SocketAddr,
    token: String,
}

/// A gateway's settings, as `(leaf, value)`.
pub(crate) type Settings<'a> = &'a [(&'a str, String)];

impl Gateway {
    /// From now on the gateway is this program.
    pub(crate) fn is(program: &Path) {
        let program = program.canonicalize().expect("the gateway's program");
        PROGRAM.set(program).expect("it is named once");
    }

    /// Starts one; further settings come last and count.
    pub(crate) fn start(settings: Settings<'_>) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        Self::start_in(directory, settings)
    }

    /// The same in a directory that may have a store already, as `data/gateway.db`.
    pub(crate) fn start_in(directory: TempDir, settings: Settings<'_>) -> Self {
        let path = |name: &str| directory.path().join(name);
        for name in ["workspaces", "home", "claude"] {
            std::fs::create_dir_all(path(name)).expect("a directory");
        }
        write_private(&path("password"), PASSWORD);
        let home = toml::Value::from(toml::Table::from_iter([(
            "HOME".to_owned(),
            toml::Value::from(path("home").display().to_string()),
        )]));
        let roots = toml::Value::from(vec![path("workspaces").display().to_string()]);
        let mut all = vec![
            ("http_listen", "127.0.0.1:0".to_owned()),
            ("ws_listen", "127.0.0.1:0".to_owned()),
            ("data_dir", path("data").display().to_string()),
            ("workspace_roots", roots.to_string()),
            ("admin_password_file", path("password").display().to_string()),
            ("claude_config_dir", path("claude").display().to_string()),
            ("agent_program", AGENT.to_owned()),
            ("agent_env", home.to_string()),
            ("require_claude_login", "false".to_owned()),
            ("max_sessions", "400".to_owned()),
        ];
        all.extend(settings.iter().cloned());
        let variables = all.into_iter().map(|(leaf, value)| (format!("CC_GATEWAY_{}", leaf.to_uppercase()), value));
        let log = std::fs::File::create(path("gateway.log")).expect("a file for its log");
        let program = PROGRAM.get().map_or(Path::new(env!("CARGO_BIN_EXE_cc-gateway")), PathBuf::as_path);
        let mut process = Command::new(program)
            .arg("serve")
            .env_clear()
            .env("PATH", "/usr/local/bin:/usr/bin:/bin")
            .envs(variables)
            .current_dir(directory.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .expect("the gateway starts");
        let mut ready = String::new();
        BufReader::new(process.stdout.take().expect("its output")).read_line(&mut ready).expect("its first line");
        let ready: Value = serde_json::from_str(&ready).unwrap_or_else(|_| {
            panic!("not ready: {}", std::fs::read_to_string(path("gateway.log")).unwrap_or_default())
        });
        let address = |name: &str| ready[name].as_str().and_then(|text| text.parse().ok()).expect("an address");
        let (http, ws) = (address("http"), address("ws"));
        Self { process, directory, ws, token: login(http) }
    }

    /// An open connection that has asked for nothing.
    pub(crate) fn connect(&self) -> Socket {
        Socket::connect(self.ws, "/ws", Some(&self.token))
    }

    /// Its directory.
    pub(crate) fn directory(&self) -> &Path {
        self.directory.path()
    }
}

impl Server for Gateway {
    fn pid(&self) -> u32 {
        self.process.id()
    }

    fn run(&self, script: &str) -> Socket {
        let mut socket = self.connect();
        socket.send(&start(&json!({"prompt": script})));
        answer(&mut socket);
        socket
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        end(&mut self.process);
    }
}

/// A call of `session.start`.
pub(crate) fn start(params: &Value) -> String {
    call("session.start", params)
}

/// A call with the id 1.
pub(crate) fn call(method: &str, params: &Value) -> String {
    json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}).to_string()
}

/// The result of the call with the id 1; what comes before it is passed over.
pub(crate) fn answer(socket: &mut Socket) -> Value {
    loop {
        let (message, _) = socket.message();
        if !message.starts_with(br#"{"jsonrpc":"2.0","method""#) {
            let answer: Value = serde_json::from_slice(message).expect("JSON");
            assert!(answer["error"].is_null(), "refused: {answer}");
            return answer["result"].clone();
        }
    }
}

/// websocketd, which starts the agent with one script for every connection.
pub(crate) struct Websocketd {
    process: Child,
    address: SocketAddr,
    /// Where its agents work; it goes with this.
    _directory: TempDir,
}

impl Websocketd {
    /// Whether the program is there.
    pub(crate) fn is_there() -> bool {
        Command::new("websocketd").arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok()
    }

    /// Starts one for this script.
    pub(crate) fn start(script: &str) -> Self {
        Self::of(AGENT, &arguments(script))
    }

    /// Starts one that sends back every line it gets.
    pub(crate) fn echo() -> Self {
        Self::of("cat", &[])
    }

    fn of(program: &str, arguments: &[String]) -> Self {
        let address = free_address();
        let directory = tempfile::tempdir().expect("a directory");
        let process = Command::new("websocketd")
            .args(["--loglevel=error", "--address=127.0.0.1", &format!("--port={}", address.port())])
            .arg(program)
            .args(arguments)
            .env_clear()
            .env("PATH", "/usr/local/bin:/usr/bin:/bin")
            .current_dir(directory.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .expect("websocketd starts");
        until_listening(address);
        Self { process, address, _directory: directory }
    }
}

impl Server for Websocketd {
    fn pid(&self) -> u32 {
        self.process.id()
    }

    fn run(&self, _script: &str) -> Socket {
        Socket::connect(self.address, "/", None)
    }
}

impl Drop for Websocketd {
    fn drop(&mut self) {
        end(&mut self.process);
    }
}

/// Where a server can listen that takes no socket from outside and can't say which port it got.
pub(crate) fn free_address() -> SocketAddr {
    let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).and_then(|socket| socket.local_addr());
    port.expect("a free port")
}

/// Waits until a server listens there.
pub(crate) fn until_listening(address: SocketAddr) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while TcpStream::connect(address).is_err() {
        assert!(Instant::now() < deadline, "nobody listens at {address}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// The agent alone: what its pipe gives to a reader that only counts.
pub(crate) fn agent(script: &str, directory: &Path) -> Child {
    Command::new(AGENT)
        .args(arguments(script))
        .env_clear()
        .current_dir(directory)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("the agent starts")
}

/// What makes the agent perform a script without being asked over its standard input.
fn arguments(script: &str) -> [String; 4] {
    let script = format!("nothing; {script}");
    ["-p".to_owned(), "--verbose".to_owned(), "--output-format=stream-json".to_owned(), script]
}

fn login(server: SocketAddr) -> String {
    let body = json!({"username": "admin", "password": PASSWORD}).to_string();
    let answer = http(server, "POST /login HTTP/1.1\r\nContent-Type: application/json", &body);
    let body = answer.split_once("\r\n\r\n").map_or("", |(_, body)| body);
    let answer: Value = serde_json::from_str(body).unwrap_or_else(|_| panic!("no login: {answer}"));
    answer["access_token"].as_str().expect("a token").to_owned()
}

/// One request on a connection of its own; the whole answer.
fn http(server: SocketAddr, request: &str, body: &str) -> String {
    let mut stream = TcpStream::connect(server).expect("a connection");
    let length = body.len();
    write!(stream, "{request}\r\nHost: {server}\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{body}")
        .expect("a request");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    answer
}

fn write_private(file: &Path, text: &str) {
    use std::os::unix::fs::PermissionsExt;
    std::fs::write(file, text).expect("a file");
    std::fs::set_permissions(file, std::fs::Permissions::from_mode(0o600)).expect("a file's mode");
}

/// Ends a server and waits for it.
pub(crate) fn end(process: &mut Child) {
    if let Some(pid) = rustix::process::Pid::from_raw(process.id().cast_signed()) {
        let _gone = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
    }
    let _ended = process.wait();
}
