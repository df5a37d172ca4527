//! `cc-gateway store`: looks over a store, or copies one into another.

use std::path::Path;
use std::time::{Duration, Instant};

use clap::{Args as ClapArgs, Subcommand};
use parking_lot::Mutex;

use super::settings::{self, SettingsArgs};
use super::{Exit, output};
use crate::config::{Environment, Settings, paths, store_url};
use crate::session::log;
use crate::store::check::{Checked, check};
use crate::store::copy::{Copied, copy, rehearse};
use crate::store::{self, Batch, Finding, SharedStore, StoreError};

const EXAMPLES: &str = "\
Examples:
  cc-gateway store check
  cc-gateway store check --store redis://127.0.0.1:6379 --json
  cc-gateway store copy --from sqlite:/var/lib/cc-gateway/gateway.db --to redis://127.0.0.1:6379 --dry-run
  cc-gateway store copy --to redis://127.0.0.1:6379        from the store of the settings

A URL may hold a password, which other users of this machine can see on a command line: leave the URL out to take
the store of the settings. Redis is used with the setting `redis_key_prefix`.";

/// Between two lines that tell how far it has come.
const TELL: Duration = Duration::from_secs(1);

/// Look over a store, or copy one into another.
#[derive(Debug, ClapArgs)]
#[command(after_help = EXAMPLES, arg_required_else_help = true)]
pub struct Args {
    /// What to do.
    #[command(subcommand)]
    pub action: Action,

    /// Where settings come from.
    #[command(flatten)]
    pub settings: SettingsArgs,
}

/// What to do with stores.
#[derive(Debug, Subcommand)]
pub enum Action {
    /// Look over everything in a store: is it readable, whole, and free of contradictions?
    ///
    /// Changes nothing, but for a trial write. With the embedded store no gateway may run on it; Redis is looked
    /// over beside gateways. Ends with 1 if something is lost, hidden or contradicts itself.
    Check {
        /// The store; without it, that of the settings.
        #[arg(long, value_name = "URL")]
        store: Option<String>,
        /// Print what was found as JSON.
        #[arg(long)]
        json: bool,
    },
    /// Copy everything that outlives gateways from one store into another.
    ///
    /// Sessions with their logs and idempotency keys, accounts, API keys and invitations, revocations, the spend
    /// ledger and the audit log. No gateway may run on either store. What is in the target already and the same is
    /// left, what differs is refused: a copy that was broken off is made again, and until it is complete no gateway
    /// serves the target. The source is not changed.
    Copy {
        /// The store to copy from; without it, that of the settings.
        #[arg(long, value_name = "URL", required_unless_present = "to")]
        from: Option<String>,
        /// The store to copy to; without it, that of the settings.
        #[arg(long, value_name = "URL")]
        to: Option<String>,
        /// Only tell what there is to copy, and what stands in the way.
        #[arg(long)]
        dry_run: bool,
    },
}

/// Does it and says so.
pub async fn run(args: &Args, env: &Environment) -> Exit {
    let loaded = match settings::load(&args.settings.sources(env, [])) {
        Ok(loaded) => loaded,
        Err(exit) => return exit,
    };
    let outcome = match &args.action {
        Action::Check { store, json } => run_check(&loaded.settings, store.as_deref(), *json).await,
        Action::Copy { from, to, dry_run } => {
            run_copy(&loaded.settings, from.as_deref(), to.as_deref(), *dry_run).await
        }
    };
    outcome.unwrap_or_else(|(exit, complaint)| {
        output::complain(&format!("cc-gateway: {}", output::plain(&complaint)));
        exit
    })
}

/// How it ended if not well, and why.
type Failed = (Exit, String);

fn failed(error: &impl ToString) -> Failed {
    (Exit::FAILURE, error.to_string())
}

/// The settings with that store in place of their own.
fn with_store(settings: &Settings, url: Option<&str>) -> Result<Settings, Failed> {
    let mut settings = settings.clone();
    if let Some(url) = url {
        if let Some(complaint) = store_url::complaint(url) {
            return Err((Exit::USAGE, format!("that is no store: {complaint}")));
        }
        url.clone_into(&mut settings.data.store_url);
    }
    Ok(settings)
}

/// Opens a store that is there already, or may be made.
async fn open(settings: &Settings, may_make: bool) -> Result<SharedStore, Failed> {
    let shown = store_url::shown(&settings.data.store_url);
    if !may_make && !is_there(settings) {
        return Err(failed(&format!("{shown}: there is no such file")));
    }
    store::open_as_it_is(settings).await.map_err(|error| failed(&format!("{shown}: {error}")))
}

/// Could the store be there? A server is asked when it is opened.
fn is_there(settings: &Settings) -> bool {
    paths::store_file(settings).is_none_or(|file| Path::new(&file).exists())
}

async fn run_check(settings: &Settings, url: Option<&str>, json: bool) -> Result<Exit, Failed> {
    let store = open(&with_store(settings, url)?, false).await?;
    let pace = Pace::new();
    let progress = |checked: &Checked| pace.tell(|| format!("{} sessions, {}", checked.sessions, size(checked.bytes)));
    let checked = check(&store, read, &progress).await;
    store.close().await;
    let checked = checked.map_err(|error| failed(&error))?;
    let told = output::say(&if json { as_json(&checked) } else { as_text(&checked) });
    Ok(told.or(if checked.is_well() { Exit::SUCCESS } else { Exit::FAILURE }))
}

/// Of each event in a batch, whether it ends the session.
fn read(batch: &Batch) -> Result<Vec<bool>, StoreError> {
    Ok(log::decode_stored(batch)?.iter().map(log::Frame::is_end).collect())
}

fn as_json(checked: &Checked) -> String {
    let mut report = serde_json::json!(checked);
    report["ok"] = checked.is_well().into();
    format!("{report:#}")
}

fn as_text(checked: &Checked) -> String {
    let mut text: String = checked.findings.iter().map(line).collect();
    let Checked { sessions, events, bytes, .. } = checked;
    text.push_str(&format!("{sessions} sessions with {events} events, {}: ", size(*bytes)));
    let count = |severity| checked.findings.iter().filter(|finding| finding.severity == severity).count();
    let (faults, concerns) = (count(store::Severity::Fault), count(store::Severity::Concern));
    text.push_str(&format!("{faults} faults, {concerns} concerns, {} leftovers\n", count(store::Severity::Leftover)));
    text
}

fn line(finding: &Finding) -> String {
    let severity = match finding.severity {
        store::Severity::Fault => "FAULT   ",
        store::Severity::Concern => "concern ",
        store::Severity::Leftover => "leftover",
    };
    let session = finding.session.map(|id| format!("session {id}: ")).unwrap_or_default();
    format!("{severity}  {session}{}\n", output::plain_line(&finding.what))
}

async fn run_copy(settings: &Settings, from: Option<&str>, to: Option<&str>, dry: bool) -> Result<Exit, Failed> {
    let (from, to) = (with_store(settings, from)?, with_store(settings, to)?);
    if from.data.store_url == to.data.store_url {
        return Err((Exit::USAGE, "that is one store, not two".to_owned()));
    }
    let source = open(&from, false).await?;
    let copied = match target(&to, dry).await {
        Ok(target) => {
            let copied = copy_into(&source, target.as_ref(), dry).await;
            if let Some(target) = target {
                target.close().await;
            }
            copied
        }
        Err(error) => Err(error),
    };
    source.close().await;
    let (copied, done) = (copied?, if dry { "would be copied" } else { "copied" });
    Ok(output::say(&format!("{done}: {}", told(&copied))))
}

/// The store to copy to; `None` for one that is not there and must not be made.
async fn target(settings: &Settings, dry: bool) -> Result<Option<SharedStore>, Failed> {
    if dry && !is_there(settings) {
        return Ok(None);
    }
    open(settings, true).await.map(Some)
}

async fn copy_into(source: &SharedStore, target: Option<&SharedStore>, dry: bool) -> Result<Copied, Failed> {
    let pace = Pace::new();
    let progress = |copied: &Copied| pace.tell(|| told(copied));
    match target.filter(|_| !dry) {
        Some(target) => copy(source, target, &progress).await.map_err(|error| failed(&error)),
        None => rehearse(source, target).await.map_err(|error| failed(&error)),
    }
}

fn told(copied: &Copied) -> String {
    let Copied { accounts, notes, audit_entries, spend_entries, sessions, sessions_there, bytes } = copied;
    let there = if *sessions_there > 0 { format!(" ({sessions_there} of them there already)") } else { String::new() };
    format!(
        "{sessions} sessions with {}{there}, {accounts} accounts, {notes} notes, {spend_entries} entries of the spend \
         ledger, {audit_entries} of the audit log",
        size(*bytes)
    )
}

#[expect(clippy::cast_precision_loss, reason = "it is shown with one digit")]
fn size(bytes: u64) -> String {
    format!("{:.1} MB", bytes as f64 / 1e6)
}

/// Tells how far it has come, now and then.
struct Pace {
    /// When it was told last. Held for a look only.
    told: Mutex<Instant>,
}

impl Pace {
    fn new() -> Self {
        Self { told: Mutex::new(Instant::now()) }
    }

    fn tell(&self, text: impl FnOnce() -> String) {
        let mut told = self.told.lock();
        if told.elapsed() >= TELL {
            *told = Instant::now();
            output::complain(&text());
        }
    }
}
