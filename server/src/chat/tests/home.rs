//! [`Homes`] by itself: what it sends where, when sockets it does not know ask it for something.

use socketio::RoomHandle;

use super::{
    super::{
        request::OwnedMessage,
        shard_message::{Asker, Delivery, Entry, HomeRequest, RoomQuery, UserBroadcast},
        *,
    },
    bench::config,
    part::Part,
};
use crate::{
    room::Room,
    store::{SavedSession, StoreError},
};

/// Sockets that do nothing but remember what they are sent.
#[derive(Default)]
struct Recorded {
    to_socket: Vec<ToSocket>,
    to_all: Vec<ToAll>,
    delivered: Vec<String>,
}

impl shard_message::LocalSockets for Recorded {
    fn receive(&mut self, _: &mut Io<'_>, message: ToSocket) {
        self.to_socket.push(message);
    }

    fn receive_all(&mut self, _: &mut Io<'_>, message: &ToAll) {
        self.to_all.push(message.clone());
    }

    fn receive_session(&mut self, _: &mut Io<'_>, _: u64, session: Result<Option<SavedSession>, StoreError>) {
        panic!("nobody asked for {session:?}");
    }

    fn deliver_message(&mut self, _: &mut Io<'_>, delivery: Delivery<'_>, _: Option<&RoomHandle>) {
        self.delivered.push(delivery.json.to_owned());
    }
}

const ENTRY: Entry = Entry { number: 1, session: None, connects: false };

/// The homes of the first of three shards.
struct Home {
    part: Part<(Homes, Recorded)>,
    socket: SocketKey,
    accounts: Arc<Accounts>,
}

impl Home {
    fn new(keys: &[(&str, &str)]) -> Self {
        let shared = Shared::new(Arc::new(config(keys)), 3, None);
        let mut part = Part::new(3, (Homes::new(shared.config.load_full(), 3, None), Recorded::default()));
        Self { socket: part.socket(), part, accounts: shared.accounts }
    }

    /// A socket of a user on a shard. All have the same key, which the home only passes on.
    fn asker(&self, shard: u16, sub: &str) -> Asker {
        let now = Instant::now();
        let (account, _) =
            self.accounts.reserve(sub, now, false).unwrap().take(users::Slot { shard, index: 0 }, now).unwrap();
        account.rename(sub);
        Asker { shard, socket: self.socket, account, ack: Some(AckId(u64::from(shard))) }
    }

    /// Has the home deal with a request; what this shard's sockets are sent for it.
    fn request(&mut self, room: &str, request: HomeRequest) -> Recorded {
        let message = ToHome { room: Room::new(room), request };
        self.part.with(move |(homes, sockets), io| {
            homes.receive(io, sockets, message);
            std::mem::take(sockets)
        })
    }

    /// What was sent to other shards for sockets, as text.
    fn sent(&mut self) -> Vec<(u16, String)> {
        let text = |message: ShardMessage| match message.downcast::<ToSocket>() {
            Ok(message) => format!("{message:?}"),
            Err(message) => format!("{:?}", message.downcast::<ToAll>().unwrap()),
        };
        self.part.sent().into_iter().map(|(shard, message)| (shard, text(message))).collect()
    }

    fn enter(&mut self, asker: &Asker, room: &str) -> Recorded {
        self.request(room, HomeRequest::Enter { asker: asker.clone(), entry: ENTRY, join: None })
    }

    fn publish(&mut self, asker: &Asker, room: &str, client_id: Option<&str>) -> Recorded {
        let request = request::MessageRequest {
            message: "\"hi\"",
            context: None,
            room: None,
            client_id: client_id.map(Into::into),
            attachments: &[],
        };
        self.request(room, HomeRequest::Publish { asker: asker.clone(), message: OwnedMessage::of(&request) })
    }
}

/// The members of the only answer.
fn answer(messages: &[ToSocket]) -> String {
    match messages {
        [ToSocket::Answer { outcome: Ok(reply), .. }] => reply.members.clone(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_socket_hears_from_its_home_on_its_own_shard() {
    let mut home = Home::new(&[]);
    let [here, there] = [home.asker(0, "here"), home.asker(2, "there")];
    let at_once = home.enter(&here, "r").to_socket;
    assert!(matches!(&*at_once, [ToSocket::Entered { present, .. }] if present.is_empty()), "{at_once:?}");
    let at_once = home.enter(&there, "r");
    assert_eq!(at_once.to_socket.len(), 0);
    assert!(matches!(&*at_once.to_all, [ToAll::UserBroadcast(about)] if about.account == there.account));
    // The newcomer hears who is there, and the others hear of the newcomer.
    let messages = home.sent();
    let [(2, entered), (2, announced)] = &*messages else { panic!("{messages:?}") };
    assert!(entered.contains(r#"present: [Account { id: "here""#), "{entered}");
    assert!(announced.starts_with("UserBroadcast"), "{announced}");
}

#[test]
fn a_message_goes_to_the_shards_with_members_and_its_receipt_to_the_sender() {
    let mut home = Home::new(&[]);
    let [here, there] = [home.asker(0, "here"), home.asker(2, "there")];
    home.enter(&here, "r");
    home.enter(&there, "r");
    home.sent();
    let recorded = home.publish(&here, "r", None);
    assert_eq!((recorded.delivered.len(), recorded.to_all.len()), (1, 0));
    assert!(answer(&recorded.to_socket).starts_with(r#","id":""#));
    let mut sent = home.part.sent();
    let (Some((2, message)), 0) = (sent.pop(), sent.len()) else { panic!("{sent:?}") };
    let Ok(ToAll::Message { account, home: 0, stored, .. }) = message.downcast() else { panic!("no message") };
    assert_eq!((account, &*stored.json), (here.account, &*recorded.delivered[0]));
}

#[test]
fn a_client_id_is_delivered_once_and_acknowledged_alike() {
    let mut home = Home::new(&[]);
    let alice = home.asker(0, "alice");
    home.enter(&alice, "r");
    let first = home.publish(&alice, "r", Some("x"));
    let second = home.publish(&alice, "r", Some("x"));
    assert_eq!(answer(&first.to_socket), answer(&second.to_socket));
    assert_eq!((first.delivered.len(), second.delivered.len()), (1, 0));
    let other = home.publish(&alice, "r", Some("y"));
    assert_ne!(answer(&first.to_socket), answer(&other.to_socket));
    let query = HomeRequest::Query { asker: alice, query: RoomQuery::Join { history: Some(10), max_bytes: 1 << 20 } };
    let history = answer(&home.request("r", query).to_socket);
    assert_eq!(history.matches(r#""message":"hi""#).count(), 2, "{history}");
}

#[test]
fn a_message_to_a_room_that_everybody_has_left_is_kept() {
    let mut home = Home::new(&[]);
    let alice = home.asker(0, "alice");
    let recorded = home.publish(&alice, "r", None);
    assert_eq!((recorded.delivered.len(), recorded.to_socket.len()), (0, 1));
    let query = HomeRequest::Query { asker: alice, query: RoomQuery::Join { history: Some(10), max_bytes: 1 << 20 } };
    let history = answer(&home.request("r", query).to_socket);
    assert!(history.contains(r#""members":0"#) && history.contains(r#""message":"hi""#), "{history}");
}

#[test]
fn every_shard_hears_when_a_room_becomes_too_large_for_presence_and_when_it_is_small_again() {
    let mut home = Home::new(&[("presence.max_room", "1")]);
    let [alice, bob, carol] = ["alice", "bob", "carol"].map(|sub| home.asker(0, sub));
    let said = |recorded: &Recorded| {
        let quiet: Vec<bool> = recorded
            .to_all
            .iter()
            .filter_map(|message| match message {
                ToAll::Quiet { quiet, .. } => Some(*quiet),
                _ => None,
            })
            .collect();
        assert!(quiet.len() <= 1, "{quiet:?}");
        quiet.first().copied()
    };
    assert_eq!(said(&home.enter(&alice, "r")), None);
    assert_eq!(said(&home.enter(&bob, "r")), Some(true));
    assert_eq!(said(&home.enter(&carol, "r")), None);
    let shards: Vec<u16> = home.sent().into_iter().map(|(shard, _)| shard).collect();
    assert_eq!(shards, [1, 2]);
    let leave = |asker: &Asker| {
        let account = Arc::clone(&asker.account);
        HomeRequest::Leave { shard: 0, account, left: None, session: None }
    };
    assert_eq!(said(&home.request("r", leave(&carol))), None);
    assert_eq!(said(&home.request("r", leave(&bob))), Some(false));
}

#[test]
fn a_broadcast_about_a_user_goes_to_the_members_of_one_room_or_to_all_shards() {
    let mut home = Home::new(&[]);
    let alice = home.asker(1, "alice");
    home.enter(&alice, "r");
    home.sent();
    for (named, expected) in [(true, &[1][..]), (false, &[1, 2])] {
        let rooms = [Room::new("r")].as_slice().into();
        let frame = socketio::parser::encode::event("/", None, "userTyping", "{}", &[]);
        let broadcast = UserBroadcast { account: Arc::clone(&alice.account), rooms, named, frame };
        let here = home.request("r", HomeRequest::Broadcast(broadcast)).to_all.len();
        assert_eq!(here, usize::from(!named), "nobody of the room is here");
        let shards: Vec<u16> = home.sent().into_iter().map(|(shard, _)| shard).collect();
        assert_eq!(shards, expected);
    }
}
