// One chat user's connection: the document's ChatClient, with an inbox that keeps everything it receives.

import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';

import { DEADLINE, Inbox } from './inbox.mjs';
import { Server } from './server.mjs';
import { chatClient, TRANSPORTS } from './transports.mjs';

let counter = 0;

/** A name nobody else in this process has, so that tests of one file cannot meet each other. */
export function fresh(stem) {
  counter += 1;
  return `${stem}-${counter}`;
}

/** A suite around one server, started before its first test and removed after its last. */
export function withServer(name, options, body) {
  describe(name, () => {
    const server = new Server(options);
    before(() => server.launch(), { timeout: 30_000 });
    after(() => server.remove(), { timeout: 30_000 });
    body(server);
  });
}

/** One subtest per transport. */
export function overEachTransport(name, body, { timeout = 30_000 } = {}) {
  test(name, { timeout: timeout * 3 }, async (t) => {
    for (const transport of Object.keys(TRANSPORTS)) {
      await t.test(transport, { timeout }, (subtest) => body(subtest, transport));
    }
  });
}

export class Peer {
  inbox = new Inbox();
  /** What the class wrote to its console. */
  lines = [];

  /** Opens a connection with a token as it is; it may well be refused. Closed with the test `t`. */
  static async open(t, url, token, { transport = 'websocket', options = {} } = {}) {
    const peer = new Peer();
    const ChatClient = await chatClient(transport, peer.lines, options);
    peer.transport = transport;
    peer.chat = new ChatClient(url, token);
    peer.socket = peer.chat.socket;
    peer.#listen();
    t.after(() => peer.chat.disconnect());
    return peer;
  }

  /** Connects as a user with a token from `chat-server token`, and returns when connected (and upgraded). */
  static async connect(t, server, user, { transport = 'websocket', options = {}, ...claims } = {}) {
    const peer = await Peer.open(t, server.url, await server.token(user, claims), { transport, options });
    peer.user = user;
    await peer.connected();
    return peer;
  }

  #listen() {
    const { socket, inbox } = this;
    socket.onAny((event, ...args) => inbox.push({ event, args, at: performance.now() }));
    for (const event of ['connect', 'disconnect', 'connect_error']) {
      socket.on(event, (...args) => inbox.push({ event, args, at: performance.now() }));
    }
    for (const event of ['reconnect_attempt', 'reconnect', 'reconnect_error', 'reconnect_failed']) {
      socket.io.on(event, (...args) => inbox.push({ event, args, at: performance.now() }));
    }
  }

  async connected(within = DEADLINE) {
    await this.record('connect', () => true, within);
    if (this.transport === 'upgrade') {
      await this.upgraded(within);
    }
  }

  /** Waits until the connection travels by WebSocket. */
  async upgraded(within = DEADLINE) {
    const { engine } = this.socket.io;
    if (engine.transport.name !== 'websocket') {
      const done = new Inbox();
      engine.once('upgrade', () => done.push('upgrade'));
      await done.next(() => true, 'the upgrade', within);
    }
  }

  /** The next unread event of a name whose first argument matches: its record `{ event, args, at }`. */
  record(event, matches = () => true, within = DEADLINE) {
    return this.inbox.next((item) => item.event === event && matches(item.args[0]), `${event} at ${this.user ?? 'a peer'}`, within);
  }

  /** The next unread event of a name whose first argument matches: that argument. */
  async next(event, matches = () => true, within = DEADLINE) {
    return (await this.record(event, matches, within)).args[0];
  }

  /** First arguments of all events of a name that ever came, read or not. */
  seen(event, matches = () => true) {
    return this.inbox.all.filter((item) => item.event === event && matches(item.args[0])).map((item) => item.args[0]);
  }

  /** Emits with an acknowledgement and returns the answer. */
  request(event, ...args) {
    return this.socket.timeout(DEADLINE).emitWithAck(event, ...args);
  }

  /** As `request`, for what must succeed. */
  async ok(event, ...args) {
    const answer = await this.request(event, ...args);
    assert.equal(answer?.ok, true, `${event}: ${JSON.stringify(answer)}`);
    return answer;
  }

  /** As `request`, for what must fail: the answer's `error`. */
  async refused(event, ...args) {
    const answer = await this.request(event, ...args);
    assert.equal(answer?.ok, false, `${event}: ${JSON.stringify(answer)}`);
    assert.equal(typeof answer.error?.code, 'string', JSON.stringify(answer));
    assert.equal(typeof answer.error.message, 'string', JSON.stringify(answer));
    assert.notEqual(answer.error.message, '');
    return answer.error;
  }

  /** Cuts the connection as a lost network would, and keeps the client from coming back by itself. */
  async cut() {
    this.socket.io.reconnection(false);
    this.socket.io.engine.close();
    await this.record('disconnect');
  }
}

/**
 * A message that everybody named must have got: whatever was to reach them before it has reached them.
 * Returns what they received.
 */
export async function fence(sender, receivers, context = {}) {
  const text = fresh('fence');
  await sender.ok('message', { message: text, context });
  return Promise.all(receivers.map((peer) => peer.next('message', (data) => data.message === text)));
}
