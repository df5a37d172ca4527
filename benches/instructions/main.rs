//! Counts the instructions of dispatch and of the fan-out of events, and compares them with the last release's.
//!
//! Unlike time, such a count hardly depends on the machine or on what else it does. Each subject runs under valgrind's
//! `callgrind` with few rounds and with many; the difference is theirs alone.
//!
//! `cargo bench --features test-support --bench instructions`; at a release with `-- --record`, which writes
//! `last_release.json` beside this file. More than 5 % above it ends the program with 1.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a count that can't be made ends with a panic")]
#![expect(clippy::print_stdout, reason = "the figures are what this is for")]

use std::collections::BTreeMap;
use std::hint::black_box;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use cc_gateway::claude::parse_line;

#[path = "../subjects.rs"]
mod subjects;

use subjects::{CALL, Dispatch, FanOut, recorded, split};

/// What a subject may take more than at the last release.
const TOLERATED: f64 = 1.05;
const FEW: u64 = 20;
const MANY: u64 = 120;

/// A subject's name, and so many rounds of it.
type Subject = (&'static str, fn(u64));

/// What is counted.
const SUBJECTS: [Subject; 5] = [
    ("dispatch: a call", |rounds| {
        let dispatch = Dispatch::new();
        (0..rounds).for_each(|_| drop(black_box(dispatch.answer(CALL))));
    }),
    ("dispatch: a batch of 100", |rounds| {
        let (dispatch, batch) = (Dispatch::new(), format!("[{}]", vec![CALL; 100].join(",")));
        (0..rounds).for_each(|_| drop(black_box(dispatch.answer(&batch))));
    }),
    ("fan-out: 100 events to one reader", |rounds| {
        let mut fan_out = FanOut::new();
        (0..rounds).for_each(|_| fan_out.publish(1));
    }),
    ("fan-out: 100 events to 100 readers", |rounds| {
        let mut fan_out = FanOut::new();
        (0..rounds).for_each(|_| fan_out.publish(100));
    }),
    ("split and parse: a recorded session's lines", |rounds| {
        let output = recorded();
        for _ in 0..rounds / 10 {
            assert!(split(&output).iter().filter(|line| parse_line(line).is_some()).count() > 100);
        }
    }),
];

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [word, subject, rounds] = arguments.as_slice()
        && word == "--run"
    {
        SUBJECTS[subject.parse::<usize>().expect("a subject")].1(rounds.parse().expect("rounds"));
        return ExitCode::SUCCESS;
    }
    if Command::new("valgrind").arg("--version").output().is_err() {
        println!("valgrind is not installed: no instructions are counted.");
        return ExitCode::SUCCESS;
    }
    let counted: BTreeMap<&str, u64> =
        SUBJECTS.iter().enumerate().map(|(at, (name, _))| (*name, a_round_of(at))).collect();
    if arguments.iter().any(|argument| argument == "--record") {
        std::fs::write(last_release(), serde_json::to_string_pretty(&counted).unwrap() + "\n").unwrap();
        println!("recorded");
    }
    let before: BTreeMap<String, u64> =
        serde_json::from_str(&std::fs::read_to_string(last_release()).expect("the last release's counts")).unwrap();
    if compare(&counted, &before) { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Prints the table; `true` if nothing takes too many.
fn compare(counted: &BTreeMap<&str, u64>, before: &BTreeMap<String, u64>) -> bool {
    println!("| instructions of one round | now | last release | ratio | |\n|---|---|---|---|---|");
    let mut all_kept = true;
    for (name, now) in counted {
        let Some(before) = before.get(*name) else {
            println!("| {name} | {now} | – | – | new |");
            continue;
        };
        let ratio = *now as f64 / *before as f64;
        let kept = ratio <= TOLERATED;
        all_kept &= kept;
        println!("| {name} | {now} | {before} | {ratio:.3} | {} |", if kept { "kept" } else { "TOO MANY" });
    }
    all_kept
}

fn last_release() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/instructions/last_release.json")
}

/// The instructions of one round, without what is done once.
fn a_round_of(subject: usize) -> u64 {
    (instructions(subject, MANY) - instructions(subject, FEW)) / (MANY - FEW)
}

fn instructions(subject: usize, rounds: u64) -> u64 {
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg(std::env::current_exe().unwrap())
        .args(["--run", &subject.to_string(), &rounds.to_string()])
        .output()
        .expect("valgrind");
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{told}");
    let count = told.lines().find_map(|line| line.split_once("Collected :"));
    count.expect("a count").1.trim().parse().expect("a number")
}
