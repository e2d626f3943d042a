//! An attachment in `context`, sent to a room: what the server uses to pass on large frames.

use clap::{Args, ValueEnum};
use serde::Serialize;

use crate::load::{Offer, Plan, Rooms};
use crate::row::{Bench, Row, fill, fill_polling};
use crate::subject::{Ability, Setup};

/// How the receivers are connected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Transport {
    /// In binary frames.
    #[value(name = "websocket")]
    WebSocket,
    /// In base64.
    Polling,
}

/// CPU per delivery of an attachment
#[derive(Debug, Args, Serialize)]
pub struct Binary {
    /// Receivers
    #[arg(long, default_value_t = 100)]
    clients: usize,
    /// Bytes of the attachment, at least 4
    #[arg(long, default_value_t = 65_536)]
    bytes: usize,
    /// Messages in flight
    #[arg(long, default_value_t = 4)]
    in_flight: usize,
    /// How the receivers are connected; the sender, who receives too, is always on a WebSocket
    #[arg(long, value_enum, default_value = "websocket")]
    transport: Transport,
}

impl Row for Binary {
    const NAME: &'static str = "binary";

    fn title(&self) -> String {
        format!("Binary: an attachment of {} bytes to {} receivers", self.bytes, self.clients)
    }

    fn needs(&self) -> &'static [Ability] {
        match self.transport {
            Transport::WebSocket => &[],
            Transport::Polling => &[Ability::Polling],
        }
    }

    fn shrink(&mut self) {
        self.clients = 20;
    }

    fn measure(&self, bench: &mut Bench<'_>) -> anyhow::Result<()> {
        anyhow::ensure!(self.bytes >= 4, "--bytes must be at least 4: an attachment starts with its number");
        let plan = Plan { members: self.clients + 1, attachment: self.bytes, ..Plan::default() };
        let running = bench.start(&Setup::default())?;
        let mut crowd = bench.crowd()?;
        fill(&mut crowd, running.address(), 1, Some(&plan))?;
        match self.transport {
            Transport::WebSocket => fill(&mut crowd, running.address(), plan.members, Some(&plan))?,
            Transport::Polling => fill_polling(&mut crowd, running.address(), plan.members, &plan)?,
        }
        let mut rooms = Rooms::new(crowd, plan);
        let offer = Offer::InFlight(self.in_flight);
        bench.warm_up(&mut rooms, offer)?;
        let case = format!("{} in flight", self.in_flight);
        let figures = bench.offer(&running, &mut rooms, offer)?;
        bench.record(&case, None, figures);
        bench.account(&case, &rooms);
        Ok(())
    }
}
