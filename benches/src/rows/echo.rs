//! A message to a room whose only member is its sender: the cost of a request and its answer.

use clap::Args;
use serde::Serialize;

use crate::load::{Offer, Plan, Rooms};
use crate::row::{Bench, Row, fill};
use crate::subject::Setup;

/// CPU per message that only its sender receives
#[derive(Debug, Args, Serialize)]
pub struct Echo {
    /// Connections, each in its own room with one message in flight; several numbers as a list
    #[arg(long, value_delimiter = ',', default_value = "64,512")]
    clients: Vec<usize>,
}

impl Row for Echo {
    const NAME: &'static str = "echo";

    fn title(&self) -> String {
        "Echo: each connection alone in its room, one message in flight".to_owned()
    }

    fn shrink(&mut self) {
        self.clients = vec![64];
    }

    fn measure(&self, bench: &mut Bench<'_>) -> anyhow::Result<()> {
        for &clients in &self.clients {
            let plan = Plan { rooms: clients, ..Plan::default() };
            let running = bench.start(&Setup::default())?;
            let mut crowd = bench.crowd()?;
            fill(&mut crowd, running.address(), clients, Some(&plan))?;
            let mut rooms = Rooms::new(crowd, plan);
            let offer = Offer::InFlight(1);
            bench.warm_up(&mut rooms, offer)?;
            let case = format!("{clients} connections");
            let figures = bench.offer(&running, &mut rooms, offer)?;
            bench.record(&case, None, figures);
            bench.account(&case, &rooms);
        }
        Ok(())
    }
}
