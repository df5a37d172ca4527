//! What is printed: a line a target, with the figures it comes from; and the same as JSON for the plots.

use serde_json::{Value, json};

use crate::statistics::Samples;

/// What a figure must be.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Target {
    AtLeast(f64),
    AtMost(f64),
    /// It is told, and nothing is asked of it.
    None,
}

/// Whom the gateway is compared with.
#[derive(Debug, Clone)]
pub(crate) struct Peer {
    pub(crate) name: &'static str,
    pub(crate) samples: Samples,
}

impl Peer {
    /// websocketd, doing the same work.
    pub(crate) fn websocketd(samples: Samples) -> Self {
        Self { name: "websocketd", samples }
    }

    /// The benchmark's own relay, doing the same work.
    pub(crate) fn relay(samples: Samples) -> Self {
        Self { name: "a bare relay", samples }
    }
}

/// One target.
#[derive(Debug, Clone)]
pub(crate) struct Row {
    /// The work that is done.
    pub(crate) work: String,
    /// What of it is measured, with its unit.
    pub(crate) measure: &'static str,
    pub(crate) ours: Samples,
    /// With one, the figure is ours in proportion to theirs; without, it is ours.
    pub(crate) peer: Option<Peer>,
    pub(crate) target: Target,
}

impl Row {
    /// What the target is about.
    pub(crate) fn figure(&self) -> f64 {
        self.peer.as_ref().map_or(1.0, |peer| 1.0 / peer.samples.median()) * self.ours.median()
    }

    /// Whether the figure is what it must be.
    pub(crate) fn is_met(&self) -> bool {
        match self.target {
            Target::AtLeast(least) => self.figure() >= least,
            Target::AtMost(most) => self.figure() <= most,
            Target::None => true,
        }
    }

    /// Prints it.
    pub(crate) fn print(&self) {
        let (work, measure) = (&self.work, self.measure);
        let ours = shown(&self.ours);
        let peer =
            self.peer.as_ref().map_or("–".to_owned(), |peer| format!("{} {}", peer.name, shown(&peer.samples)));
        let unit = if self.peer.is_some() { "×" } else { "" };
        let figure = format!("{}{unit}", short(self.figure()));
        let target = match self.target {
            Target::AtLeast(least) => format!("≥ {}{unit}", short(least)),
            Target::AtMost(most) => format!("≤ {}{unit}", short(most)),
            Target::None => "–".to_owned(),
        };
        let verdict = match self.target {
            Target::None => "",
            _ if self.is_met() => "met",
            _ => "MISSED",
        };
        println!("| {work} | {measure} | {ours} | {peer} | {figure} | {target} | {verdict} |");
    }

    /// The same for programs.
    pub(crate) fn json(&self) -> Value {
        let samples = |samples: &Samples| json!({"median": samples.median(), "range": samples.range()});
        json!({
            "work": self.work,
            "measure": self.measure,
            "ours": samples(&self.ours),
            "peer": self.peer.as_ref().map(|peer| json!({"name": peer.name, "samples": samples(&peer.samples)})),
            "figure": self.figure(),
            "met": self.is_met(),
        })
    }
}

/// Prints what stands above the rows.
pub(crate) fn head() {
    println!("| work | measure | cc-gateway: median (range) | compared with | figure | target | |");
    println!("|---|---|---|---|---|---|---|");
}

fn shown(samples: &Samples) -> String {
    let (least, most) = samples.range();
    format!("{} ({} … {})", short(samples.median()), short(least), short(most))
}

/// Three digits that count, and thousands apart.
fn short(value: f64) -> String {
    if !value.is_finite() {
        return "?".to_owned();
    }
    let digits = if value.abs() >= 100.0 {
        0
    } else if value.abs() >= 10.0 {
        1
    } else if value.abs() >= 1.0 {
        2
    } else {
        3
    };
    let text = format!("{value:.digits$}");
    let (whole, rest) = text.split_once('.').map_or((text.as_str(), None), |(whole, rest)| (whole, Some(rest)));
    let mut grouped = String::new();
    for (place, digit) in whole.chars().enumerate() {
        if place > 0 && (whole.len() - place).is_multiple_of(3) && digit.is_ascii_digit() && !grouped.ends_with('-') {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    rest.map_or(grouped.clone(), |rest| format!("{grouped}.{rest}"))
}
