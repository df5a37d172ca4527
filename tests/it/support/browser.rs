//! A real browser without a window, with a profile of its own, and a server with one page for it.
//!
//! The page does as its script says and posts what came of it to `/report`, as JSON. The browser resolves no name but
//! [`STRANGE_NAME`], so it reaches nothing beyond this machine. It ends, with all that it started, when it is dropped.

use std::convert::Infallible;
use std::fs::File;
use std::net::SocketAddr;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use cc_gateway::telemetry::tasks;
use http::{Method, Request, Response};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use rustix::process::{Pid, Signal, kill_process_group};
use serde_json::Value;
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use uuid::Uuid;

use super::{DEADLINE, proc, wait_at_most};

/// A name that the browser takes for this machine, as if a stranger's name server had said so.
pub(crate) const STRANGE_NAME: &str = "pages.evil.example";

/// The programs that will do, as systems call them.
const PROGRAMS: [&str; 5] =
    ["chromium-headless-shell", "chromium", "chromium-browser", "google-chrome-stable", "google-chrome"];

/// A web server with one page.
pub(crate) struct Page {
    /// Where it listens.
    pub(crate) address: SocketAddr,
    /// What it serves now. Held to copy or to set it.
    page: Arc<Mutex<Bytes>>,
    reports: mpsc::Receiver<Value>,
}

impl Page {
    /// The server, for now with an empty page.
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("its address");
        let (tell, reports) = mpsc::channel(4);
        let page: Arc<Mutex<Bytes>> = Arc::default();
        let served = Arc::clone(&page);
        tasks::spawn("test-page", async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (page, tell) = (served.lock().clone(), tell.clone());
                let service = service_fn(move |request| answer(request, page.clone(), tell.clone()));
                let server = hyper::server::conn::http1::Builder::new();
                tasks::spawn("test-page-connection", server.serve_connection(TokioIo::new(stream), service));
            }
        });
        Self { address, page, reports }
    }

    /// What a page with that script has to say once a browser shows it by that name.
    pub(crate) async fn shown_as(&mut self, host: &str, script: &str) -> Value {
        *self.page.lock() = format!("<!doctype html><title>a page</title><script>\n{script}\n</script>").into();
        let browser = Browser::show(&format!("http://{host}:{}/", self.address.port()));
        match tokio::time::timeout(DEADLINE, self.reports.recv()).await {
            Ok(report) => report.expect("a report"),
            Err(_) => panic!("waited {DEADLINE:?} in vain for the page's report; the browser: {}", browser.said()),
        }
    }
}

async fn answer(
    request: Request<Incoming>,
    page: Bytes,
    tell: mpsc::Sender<Value>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    if request.method() == Method::POST && request.uri().path() == "/report" {
        let body = request.into_body().collect().await.expect("a whole report").to_bytes();
        tell.send(serde_json::from_slice(&body).expect("a report in JSON")).await.expect("a test that waits for it");
        return Ok(Response::new(Full::default()));
    }
    Ok(Response::builder().header("content-type", "text/html").body(Full::new(page)).expect("an answer"))
}

/// A running browser.
struct Browser {
    process: Child,
    directory: TempDir,
    /// The value of `CC_TEST_RUN` in the environment of all its processes.
    mark: String,
}

impl Browser {
    fn show(url: &str) -> Self {
        let directory = tempfile::Builder::new().prefix("cc-gateway-browser-").tempdir().expect("a directory");
        let mark = Uuid::new_v4().to_string();
        let said = File::create(directory.path().join("said")).expect("a file");
        let process = Command::new(program())
            .args(["--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run"])
            .args(["--disable-background-networking", "--disable-component-update", "--disable-sync"])
            .args(["--disable-breakpad", "--disable-crash-reporter", "--remote-debugging-port=0"])
            .arg(format!("--host-resolver-rules=MAP {STRANGE_NAME} 127.0.0.1, MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"))
            .arg(format!("--user-data-dir={}", directory.path().join("profile").display()))
            .arg(url)
            .env_clear()
            .env("PATH", "/usr/local/bin:/usr/bin:/bin")
            .env("HOME", directory.path())
            .env("CC_TEST_RUN", &mark)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(said)
            .process_group(0)
            .spawn()
            .expect("a browser that starts");
        Self { process, directory, mark }
    }

    fn said(&self) -> String {
        std::fs::read_to_string(self.directory.path().join("said")).unwrap_or_default()
    }

    fn left(&self) -> Vec<u32> {
        proc::with_environment(&format!("CC_TEST_RUN={}", self.mark))
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        let group = i32::try_from(self.process.id()).ok().and_then(Pid::from_raw).expect("a process id");
        let _gone = kill_process_group(group, Signal::KILL);
        let _status = self.process.wait();
        let gone = wait_at_most(Duration::from_secs(10), || {
            // Some of its helpers have groups of their own.
            self.left().into_iter().for_each(|pid| proc::signal(pid, Signal::KILL));
            self.left().is_empty()
        });
        assert!(gone || std::thread::panicking(), "the browser has left processes behind");
    }
}

fn program() -> PathBuf {
    let places = ["/usr/local/bin", "/usr/bin", "/bin"].map(Path::new);
    let found = PROGRAMS.iter().flat_map(|name| places.map(|place| place.join(name))).find(|path| path.exists());
    found.unwrap_or_else(|| panic!("there is no Chromium here; run `scripts/tools.sh --tests`"))
}
