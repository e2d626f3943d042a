//! Namespaces, and who may connect to them: `/orders-{id}` stands for one namespace per order, and only the order's owner gets in.
//!
//! `cargo run --release -p socketio --example namespaces`, then with `socket.io-client`:
//!
//! ```js
//! const order = io('http://127.0.0.1:3000/orders-7', { auth: { token: 'ada-secret' } });
//! order.on('connect_error', (error) => console.log(error.message, error.data));
//! order.emit('status', (status) => console.log(status));
//! ```

use std::{collections::HashMap, error::Error, sync::Arc};

use serde::Deserialize;
use serde_json::json;
use socketio::{
    ConnectError,
    router::{Ack, Auth, Extension, Params, Router, Socket, State},
};

#[derive(Deserialize)]
struct Credentials {
    token: String,
}

/// Who a socket belongs to.
struct User {
    name: &'static str,
}

/// Stands for a database.
#[derive(Clone)]
struct Store {
    users: Arc<HashMap<&'static str, &'static str>>,
    owners: Arc<HashMap<&'static str, &'static str>>,
}

impl Store {
    fn example() -> Self {
        let users = HashMap::from([("ada-secret", "ada"), ("ben-secret", "ben")]);
        Self { users: Arc::new(users), owners: Arc::new(HashMap::from([("7", "ada")])) }
    }

    async fn user(&self, token: &str) -> Option<User> {
        self.users.get(token).map(|name| User { name })
    }

    async fn owner(&self, order: &str) -> Option<&'static str> {
        self.owners.get(order).copied()
    }
}

/// The CONNECT is answered when this returns. What it returns is there for the other handlers.
async fn sign_in(
    Auth(credentials): Auth<Credentials>,
    params: Params,
    State(store): State<Store>,
) -> Result<User, ConnectError> {
    let user = store.user(&credentials.token).await.ok_or_else(|| ConnectError::new("not signed in"))?;
    let order = params.get("id").unwrap_or_default();
    if store.owner(order).await == Some(user.name) {
        return Ok(user);
    }
    Err(ConnectError::new("not your order").with_data(&json!({ "order": order })))
}

fn app() -> Router {
    let mut app = Router::new();
    app.state(Store::example());
    let orders = app.of("/orders-{id}");
    orders.authorize(sign_in);
    orders.on("status", |socket: Socket, params: Params, user: Extension<User>, ack: Ack| {
        ack.send(&json!({ "namespace": socket.nsp(), "order": params.get("id"), "owner": user.name }))
    });
    app
}

fn main() -> Result<(), Box<dyn Error>> {
    app().serve("127.0.0.1:3000")?.join()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use socketio::engineio::testing::Shard;

    #[test]
    fn only_the_owner_of_an_order_gets_in() {
        let (server, _) = super::app().test().unwrap();
        let mut shard = Shard::new(server);
        let client = shard.open();
        for (packet, answer) in [
            (r#"0/orders-7,{"token":"x"}"#, r#"44/orders-7,{"message":"not signed in"}"#),
            (
                r#"0/orders-7,{"token":"ben-secret"}"#,
                r#"44/orders-7,{"message":"not your order","data":{"order":"7"}}"#,
            ),
            (r#"0/other,{"token":"ada-secret"}"#, r#"44/other,{"message":"Invalid namespace"}"#),
        ] {
            shard.text(client, packet);
            assert_eq!(shard.sent(client), [answer]);
        }
        shard.text(client, r#"0/orders-7,{"token":"ada-secret"}"#);
        assert!(shard.sent(client)[0].starts_with(r#"40/orders-7,{"sid":"#));
        shard.text(client, r#"2/orders-7,0["status"]"#);
        let status = r#"43/orders-7,0[{"namespace":"/orders-7","order":"7","owner":"ada"}]"#;
        assert_eq!(shard.sent(client), [status]);
    }
}
