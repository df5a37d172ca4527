//! What a helper is told to do, in one word, and what it answers, in one line.

use super::hunt::{FreezeReport, ThawReport};
use super::{Identity, SweepReport};

/// An answer names at most so many processes that were stopped before. The rest is woken by the thaw with all others.
const MOST_RESTING: usize = 1000;

/// What is to be done with everything that belongs to a target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Order {
    /// Stop and kill it.
    Kill,
    /// Stop it.
    Freeze,
    /// Let it go on, but for these.
    Thaw(Vec<Identity>),
}

impl Order {
    pub(super) fn word(&self) -> String {
        match self {
            Self::Kill => "kill".to_owned(),
            Self::Freeze => "freeze".to_owned(),
            Self::Thaw(resting) => format!("thaw={}", list(resting)),
        }
    }

    /// `None`: it is none.
    pub(super) fn parse(word: &str) -> Option<Self> {
        match word {
            "kill" => Some(Self::Kill),
            "freeze" => Some(Self::Freeze),
            _ => Some(Self::Thaw(parse_list(word.strip_prefix("thaw=")?)?)),
        }
    }
}

/// What came of an order.
pub(super) trait Answer: Sized + Send + 'static {
    fn line(&self) -> String;
    /// `None`: it is no such answer.
    fn parse(line: &str) -> Option<Self>;
    /// Is all done that was to be done?
    fn is_complete(&self) -> bool;
}

impl Answer for SweepReport {
    fn line(&self) -> String {
        format!("killed={} left={}", self.killed, self.left)
    }

    fn parse(line: &str) -> Option<Self> {
        let (killed, left) = line.strip_prefix("killed=")?.split_once(" left=")?;
        Some(Self { killed: killed.parse().ok()?, left: left.parse().ok()? })
    }

    fn is_complete(&self) -> bool {
        self.left == 0
    }
}

impl Answer for FreezeReport {
    fn line(&self) -> String {
        format!("stopped={} moving={} resting={}", self.stopped, self.moving, list(&self.resting))
    }

    fn parse(line: &str) -> Option<Self> {
        let (stopped, rest) = line.strip_prefix("stopped=")?.split_once(" moving=")?;
        let (moving, resting) = rest.split_once(" resting=")?;
        Some(Self { stopped: stopped.parse().ok()?, moving: moving.parse().ok()?, resting: parse_list(resting)? })
    }

    fn is_complete(&self) -> bool {
        self.moving == 0
    }
}

impl Answer for ThawReport {
    fn line(&self) -> String {
        format!("woken={}", self.woken)
    }

    fn parse(line: &str) -> Option<Self> {
        Some(Self { woken: line.strip_prefix("woken=")?.parse().ok()? })
    }

    fn is_complete(&self) -> bool {
        true
    }
}

/// `12:345,13:678`: numbers with start times.
fn list(processes: &[Identity]) -> String {
    let named = processes.iter().take(MOST_RESTING).map(|(pid, started)| format!("{pid}:{started}"));
    named.collect::<Vec<_>>().join(",")
}

fn parse_list(text: &str) -> Option<Vec<Identity>> {
    let parse_one = |item: &str| {
        let (pid, started) = item.split_once(':')?;
        Some((pid.parse().ok()?, started.parse().ok()?))
    };
    if text.is_empty() { Some(Vec::new()) } else { text.split(',').map(parse_one).collect() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn comes_back<T: Answer + PartialEq + std::fmt::Debug>(answer: &T) {
        assert_eq!(T::parse(&answer.line()).as_ref(), Some(answer));
    }

    #[test]
    fn what_is_written_is_read_again() {
        let resting = vec![(12, 345), (u32::MAX, u64::MAX)];
        for order in [Order::Kill, Order::Freeze, Order::Thaw(Vec::new()), Order::Thaw(resting.clone())] {
            assert_eq!(Order::parse(&order.word()), Some(order));
        }
        comes_back(&SweepReport { killed: 3, left: 1 });
        comes_back(&FreezeReport::default());
        comes_back(&FreezeReport { stopped: 7, moving: 1, resting });
        comes_back(&ThawReport { woken: 7 });
    }

    #[test]
    fn anything_else_is_no_order() {
        for word in ["", "thaw", "kill ", "thaw=1", "thaw=1:2,", "thaw=1:2:3", "CC_GATEWAY_SESSION=x"] {
            assert_eq!(Order::parse(word), None, "{word}");
        }
    }

    #[test]
    fn the_longest_answer_is_bounded() {
        let resting = vec![(u32::MAX, u64::MAX); MOST_RESTING + 1];
        let longest = FreezeReport { stopped: u64::MAX, moving: u64::MAX, resting };
        assert!(longest.line().len() < crate::process::sweep::helper::LONGEST_ANSWER);
    }
}
