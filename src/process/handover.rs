//! Low numbers for the descriptors that a new process gets.
//!
//! A new process needs three of the gateway's descriptors, which have hundreds when many sessions run. It copies its
//! table up to the highest that it needs: so those are given low numbers before, which are kept for that.
//!
//! Invariant: between two starts there is nothing behind the numbers, so that whoever reads the other end of a pipe sees
//! its end. It must not know what the three are for.

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;

use rustix::io::{DupFlags, dup3, retry_on_intr};

/// Three numbers, as low as they were free when this was made. Owned by the thread that starts processes.
#[derive(Debug)]
pub(super) struct Handover {
    numbers: [OwnedFd; 3],
    /// What is behind a number that is not used.
    nothing: OwnedFd,
}

/// A handover that holds descriptors, until this is dropped.
pub(super) struct Filled<'a>(&'a mut Handover);

impl Handover {
    /// Takes three numbers.
    pub(super) fn new() -> io::Result<Self> {
        let nothing = || Ok::<_, io::Error>(OwnedFd::from(File::open("/dev/null")?));
        Ok(Self { numbers: [nothing()?, nothing()?, nothing()?], nothing: nothing()? })
    }

    /// Gives the descriptors the numbers.
    pub(super) fn fill(&mut self, theirs: [OwnedFd; 3]) -> io::Result<Filled<'_>> {
        let filled = Filled(self);
        for (number, theirs) in filled.0.numbers.iter_mut().zip(theirs) {
            set(number, &theirs)?;
        }
        Ok(filled)
    }
}

impl Filled<'_> {
    /// The descriptors by their new numbers.
    pub(super) fn stdio(&self) -> &[OwnedFd; 3] {
        &self.0.numbers
    }
}

impl Drop for Filled<'_> {
    fn drop(&mut self) {
        let Handover { numbers, nothing } = &mut *self.0;
        for number in numbers {
            if let Err(error) = set(number, nothing) {
                // It is open and stays so: nothing that can fail.
                tracing::error!(%error, "a descriptor could not be given up");
            }
        }
    }
}

fn set(number: &mut OwnedFd, to: &OwnedFd) -> io::Result<()> {
    Ok(retry_on_intr(|| dup3(to, number, DupFlags::CLOEXEC))?)
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::os::fd::AsRawFd;

    use super::*;

    #[test]
    fn the_numbers_stay_and_the_ends_of_pipes_come_when_they_are_given_up() {
        let mut handover = Handover::new().unwrap();
        let numbers = handover.numbers.each_ref().map(AsRawFd::as_raw_fd);
        for _ in 0..3 {
            let (mut output, writes) = io::pipe().unwrap();
            let (_input, also) = io::pipe().unwrap();
            let theirs = [writes.into(), also.into(), File::open("/dev/null").unwrap().into()];
            let handed = handover.fill(theirs).unwrap();
            assert_eq!(handed.stdio().each_ref().map(AsRawFd::as_raw_fd), numbers);
            File::from(handed.stdio()[0].try_clone().unwrap()).write_all(b"said").unwrap();
            drop(handed);
            let mut heard = String::new();
            output.read_to_string(&mut heard).unwrap();
            assert_eq!(heard, "said");
        }
    }
}
