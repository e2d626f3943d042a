//! The lines that `check` prints.

use std::{io::Write as _, time::Instant};

use anyhow::bail;

use super::{
    advice,
    finding::{Fault, Finding, milliseconds},
};
use crate::client::Target;

/// What was found so far.
#[derive(Debug)]
pub(super) struct Report {
    passed: usize,
    failed: Vec<&'static str>,
    skipped: usize,
    warned: usize,
    tls: bool,
    step: Instant,
}

impl Report {
    /// Begins with the URL.
    pub(super) fn new(target: &Target) -> std::io::Result<Self> {
        writeln!(std::io::stdout(), "checking {target}")?;
        Ok(Self { passed: 0, failed: Vec::new(), skipped: 0, warned: 0, tls: target.tls, step: Instant::now() })
    }

    /// Prints what came of a step; returns whether it passed.
    pub(super) fn add(&mut self, step: &'static str, outcome: Result<Finding, Fault>) -> std::io::Result<bool> {
        let time = self.step.elapsed();
        let passed = outcome.is_ok();
        let mut output = std::io::stdout().lock();
        match outcome {
            Ok(Finding { detail, warnings }) => {
                self.passed += 1;
                self.warned += warnings.len();
                let word = if warnings.is_empty() { "ok" } else { "warn" };
                writeln!(output, "{word:5} {step:10} {:>9}  {detail}", milliseconds(time))?;
                for warning in warnings {
                    writeln!(output, "      {:20}  -> {warning}", "")?;
                }
            }
            Err(fault) => {
                self.failed.push(step);
                writeln!(output, "FAIL  {step:10} {:>9}  {}", milliseconds(time), fault.reason())?;
                if let Some(advice) = advice::of(step, &fault, self.tls) {
                    writeln!(output, "      {:20}  -> {advice}", "")?;
                }
            }
        }
        output.flush()?;
        self.step = Instant::now();
        Ok(passed)
    }

    /// Prints why a step was not tried. Returns false: it did not pass.
    pub(super) fn skip(&mut self, step: &'static str, reason: &str) -> std::io::Result<bool> {
        self.skipped += 1;
        writeln!(std::io::stdout(), "skip  {step:10} {:>9}  {reason}", "")?;
        self.step = Instant::now();
        Ok(false)
    }

    /// Prints the sum.
    ///
    /// # Errors
    /// A step failed.
    pub(super) fn end(self) -> anyhow::Result<()> {
        let Self { passed, failed, skipped, warned, .. } = self;
        writeln!(std::io::stdout(), "{passed} passed, {} failed, {skipped} skipped; {warned} warnings", failed.len())?;
        if !failed.is_empty() {
            bail!("failed: {}", failed.join(", "));
        }
        Ok(())
    }
}
