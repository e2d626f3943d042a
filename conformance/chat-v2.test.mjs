// The chat with the official client of version 2, where `engine.allow_eio3` admits it. Its token is in the query.

import assert from 'node:assert/strict';
import { createRequire } from 'node:module';
import { test } from 'node:test';

import { Inbox } from './harness/inbox.mjs';
import { fresh, Peer, withServer } from './harness/peer.mjs';
import { Server } from './harness/server.mjs';

const connectV2 = createRequire(import.meta.url)('socket.io-client-v2');
const EVENTS = ['connect', 'disconnect', 'connect_error', 'error', 'reconnect', 'message', 'userTyping', 'userStatus'];

/** A client, and everything it hears. */
class ClientV2 {
  inbox = new Inbox();

  constructor(t, server, options) {
    this.socket = connectV2(server.url, { forceNew: true, reconnection: false, ...options });
    t.after(() => this.socket.close());
    for (const event of EVENTS) {
      this.socket.on(event, (...args) => this.inbox.push({ event, args }));
    }
  }

  static async connect(t, server, user, { rooms, ...options } = {}) {
    const client = new ClientV2(t, server, { query: { token: await server.token(user, { rooms }) }, ...options });
    await client.next('connect');
    return client;
  }

  /** The first argument of the next such event. */
  async next(event, matches = () => true) {
    return (await this.inbox.next((item) => item.event === event && matches(item.args[0]), event)).args[0];
  }

  request(...args) {
    const answers = new Inbox();
    this.socket.emit(...args, (answer) => answers.push(answer));
    return answers.next(() => true, `an answer to ${args[0]}`);
  }
}

withServer('chat of version 2', { settings: { 'engine.allow_eio3': 'true' } }, (server) => {
  for (const transports of [['polling'], ['websocket'], ['polling', 'websocket']]) {
    test(`${transports}: both versions chat with each other`, async (t) => {
      const [room, old, recent] = ['room', 'old', 'recent'].map(fresh);
      const other = await Peer.connect(t, server, recent, { rooms: [room] });
      const client = await ClientV2.connect(t, server, old, { rooms: [room], transports });
      assert.equal((await client.next('userStatus', ({ userId }) => userId === recent)).isOnline, true);

      const context = { roomId: room, file: Buffer.from([0, 1, 255]), list: [1.5, null, 'é漢😀'] };
      const sent = await client.request('message', { message: 'from version 2', context });
      assert.equal(sent.ok, true);
      const heard = await other.next('message', ({ userId }) => userId === old);
      assert.deepEqual([heard.id, heard.message, heard.context], [sent.id, 'from version 2', context]);
      assert.deepEqual((await client.next('message')).context, context);

      other.chat.socket.emit('message', { message: 'from version 4', context });
      const answer = await client.next('message');
      assert.deepEqual([answer.userId, answer.message, answer.context], [recent, 'from version 4', context]);

      other.chat.socket.emit('typing', true, { roomId: room });
      assert.equal((await client.next('userTyping')).userId, recent);
      const { messages } = await client.request('history', { roomId: room });
      assert.deepEqual(messages.map(({ id }) => id), [sent.id, answer.id]);
      client.socket.emit('message', { message: '' });
      assert.equal((await client.next('error')).code, 'message_empty');
    });

    test(`${transports}: a wrong token is an error with its code`, async (t) => {
      const refused = (query) => new ClientV2(t, server, { transports, query }).next('error');
      assert.deepEqual(await refused({ token: 'wrong' }), { code: 'token_invalid' });
      assert.deepEqual(await refused({}), { code: 'token_missing' });
    });
  }

  test('a client of version 4 has no token in its query', async (t) => {
    const token = await server.token(fresh('recent'));
    const peer = await Peer.open(t, server.url, undefined, { options: { query: { token }, auth: {} } });
    assert.deepEqual((await peer.next('connect_error')).data, { code: 'token_missing' });
  });

  test('comes back after a restart', async (t) => {
    const [room, old] = ['room', 'old'].map(fresh);
    const client = await ClientV2.connect(t, server, old, { rooms: [room], reconnection: true, reconnectionDelay: 100 });
    await server.end('SIGTERM');
    await client.next('disconnect');
    await server.launch();
    await client.next('reconnect');
    assert.equal((await client.request('message', { message: 'back', context: { roomId: room } })).ok, true);
    assert.equal((await client.next('message')).message, 'back');
  });
});

test('version 2 is off by default', async (t) => {
  const server = await Server.start(t);
  const client = new ClientV2(t, server, { transports: ['polling'], query: { token: await server.token('old') } });
  assert.equal((await client.next('connect_error')).description, 400);
});
