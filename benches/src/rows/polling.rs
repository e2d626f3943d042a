//! Receivers on HTTP long-polling: saturated, where the answer to a poll holds several messages, and with one message
//! per poll.

use clap::Args;
use serde::Serialize;

use crate::load::{Offer, Plan, Rooms};
use crate::row::{Bench, Row, fill, fill_polling};
use crate::subject::{Ability, Setup};

/// CPU per delivery to long-polling receivers
#[derive(Debug, Args, Serialize)]
pub struct Polling {
    /// Receivers on long-polling; the sender is on a WebSocket in addition to them, and receives its messages too
    #[arg(long, default_value_t = 100)]
    clients: usize,
    /// Messages in flight when saturated
    #[arg(long, default_value_t = 16)]
    in_flight: usize,
}

impl Row for Polling {
    const NAME: &'static str = "polling";

    fn title(&self) -> String {
        format!("Long-polling: {} receivers, and a sender on a WebSocket", self.clients)
    }

    fn needs(&self) -> &'static [Ability] {
        &[Ability::Polling]
    }

    fn shrink(&mut self) {
        self.clients = 50;
    }

    fn measure(&self, bench: &mut Bench<'_>) -> anyhow::Result<()> {
        // The sender is the room's first member.
        let plan = Plan { members: self.clients + 1, ..Plan::default() };
        let running = bench.start(&Setup::default())?;
        let mut crowd = bench.crowd()?;
        fill(&mut crowd, running.address(), 1, Some(&plan))?;
        fill_polling(&mut crowd, running.address(), plan.members, &plan)?;
        let mut rooms = Rooms::new(crowd, plan);
        bench.warm_up(&mut rooms, Offer::InFlight(self.in_flight))?;
        // One in flight: the next message is sent when every receiver has the last one, so it meets a new poll.
        for (case, in_flight) in [("saturated", self.in_flight), ("one message per poll", 1)] {
            let figures = bench.offer(&running, &mut rooms, Offer::InFlight(in_flight))?;
            bench.record(case, None, figures);
        }
        bench.account("all", &rooms);
        Ok(())
    }
}
