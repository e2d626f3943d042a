//! One user of the load.

use std::{cell::RefCell, collections::VecDeque, pin::pin, rc::Rc, time::Duration};

use futures_util::future::{Either, select};
use serde_json::{Value, json};
use tokio::{sync::mpsc, time::timeout};

use super::figures::Figures;
use crate::client::{ClientError, Connector, Socket};

/// The longest that a connect may take.
const CONNECT: Duration = Duration::from_secs(20);

/// Messages of one user that may wait for their acknowledgements.
const IN_FLIGHT: usize = 256;

/// A message to be sent.
#[derive(Debug, Clone, Copy)]
pub(super) struct Order {
    /// Its number among all messages.
    pub(super) number: usize,
    /// When it was due, since the first message.
    pub(super) due: Duration,
    /// Characters of its text.
    pub(super) size: usize,
}

/// A user that is connected.
pub(super) struct User {
    room: u32,
    socket: Socket,
}

enum Next {
    Order(Option<Order>),
    Packet(Result<String, ClientError>),
}

impl User {
    /// Connects, and enters the room, which the token opens.
    pub(super) async fn connect(connector: &Connector, room: u32, token: &str) -> Result<Self, ClientError> {
        let connecting = async {
            let (mut socket, _) = Socket::open(connector).await?;
            socket.connect(token).await?;
            Ok(Self { room, socket })
        };
        timeout(CONNECT, connecting).await.unwrap_or(Err(ClientError::Timeout(CONNECT)))
    }

    /// Sends what it is told to, and counts what comes, until there are no more orders.
    pub(super) async fn run(mut self, mut orders: mpsc::Receiver<Order>, figures: Rc<RefCell<Figures>>) {
        let mut in_flight = VecDeque::new();
        loop {
            let next = {
                let (order, packet) = (pin!(orders.recv()), pin!(self.socket.receive()));
                match select(order, packet).await {
                    Either::Left((order, _)) => Next::Order(order),
                    Either::Right((packet, _)) => Next::Packet(packet.map(|text| text.as_str().to_owned())),
                }
            };
            let done = match next {
                Next::Order(None) => break,
                Next::Order(Some(order)) if in_flight.len() < IN_FLIGHT => {
                    in_flight.push_back(order);
                    self.socket.send(message(self.room, order)).await
                }
                Next::Order(Some(_)) => {
                    figures.borrow_mut().withhold();
                    Ok(())
                }
                Next::Packet(Ok(packet)) if packet == "2" => self.socket.send("3".to_owned()).await,
                Next::Packet(Ok(packet)) => {
                    take(&packet, &mut in_flight, self.room, &figures);
                    Ok(())
                }
                Next::Packet(Err(error)) => Err(error),
            };
            if let Err(error) = done {
                figures.borrow_mut().ended(&error);
                return;
            }
        }
        self.socket.close().await;
    }
}

/// The id of a room.
pub(super) fn room_name(room: u32) -> String {
    format!("bench-{room}")
}

/// The packet of a message, whose text begins with its number and when it was due.
fn message(room: u32, order: Order) -> String {
    let Order { number, due, size } = order;
    let mut text = format!("{number} {} ", due.as_nanos());
    text.extend(std::iter::repeat_n('x', size.saturating_sub(text.len())));
    format!("42{number}{}", json!(["message", { "message": text, "context": { "roomId": room_name(room) } }]))
}

/// When the message was due that this packet delivers.
fn due_of_delivery(packet: &str) -> Option<Duration> {
    let event = packet.strip_prefix(r#"42["message","#)?;
    let (_, text) = event.split_once(r#""message":""#)?;
    let due = text.split(' ').nth(1)?;
    Some(Duration::from_nanos(due.parse().ok()?))
}

fn take(packet: &str, in_flight: &mut VecDeque<Order>, room: u32, figures: &RefCell<Figures>) {
    let mut figures = figures.borrow_mut();
    if let Some(due) = due_of_delivery(packet) {
        figures.delivered(due);
    } else if let Some((id, answer)) = acknowledgement(packet)
        && let Some(place) = in_flight.iter().position(|order| order.number == id)
        && let Some(order) = in_flight.remove(place)
    {
        let code = (answer["ok"] != true).then(|| answer["error"]["code"].as_str().unwrap_or("unknown"));
        figures.acknowledged(order.due, code, room);
    } else {
        figures.others += 1;
    }
}

fn acknowledgement(packet: &str) -> Option<(usize, Value)> {
    let (id, arguments) = packet.strip_prefix("43")?.split_once('[')?;
    let answer = serde_json::from_str(arguments.strip_suffix(']')?).ok()?;
    Some((id.parse().ok()?, answer))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_tells_when_it_was_due() {
        let order = Order { number: 7, due: Duration::from_nanos(12_345), size: 40 };
        let sent = message(3, order);
        let payload: Value = serde_json::from_str(sent.strip_prefix("427").unwrap()).unwrap();
        let text = payload[1]["message"].as_str().unwrap();
        assert_eq!((text.len(), payload[1]["context"]["roomId"].as_str()), (40, Some("bench-3")));
        let delivered = format!(r#"42["message",{{"id":"0","message":"{text}","timestamp":"t"}},"offset"]"#);
        assert_eq!(due_of_delivery(&delivered), Some(order.due));
        for other in [r#"42["userStatus",{"message":"1 2 "}]"#, r#"42["message",{"message":"hello"}]"#, "430[]"] {
            assert_eq!(due_of_delivery(other), None, "{other}");
        }
    }

    #[test]
    fn acknowledgements_are_told_apart() {
        assert_eq!(acknowledgement(r#"4312[{"ok":true}]"#), Some((12, json!({ "ok": true }))));
        for other in ["43", "43[]", "43a[1]", "42[1]"] {
            assert_eq!(acknowledgement(other), None, "{other}");
        }
    }
}
