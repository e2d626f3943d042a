// Clients whose networks fail again and again, while somebody goes on talking: in the end each has everything, once and in order.

import assert from 'node:assert/strict';
import { io } from 'socket.io-client';

import { Cable } from './cable.mjs';
import { Inbox } from './inbox.mjs';
import { Server } from './server.mjs';
import { epoch, sign } from './token.mjs';

/** The source document's, which also say how long a client is away. */
const RECONNECTION = { reconnection: true, reconnectionDelay: 1000, reconnectionDelayMax: 5000, reconnectionAttempts: 5 };

/** Messages a second. */
const RATE = 20;

/** What a client may wait after the last message until it has it: its own back-off, and 100 ms. */
const BACK_OFF = 1500;

class Client {
  received = [];
  waits = [];
  unrecovered = 0;
  came = new Inbox();

  constructor(cable, number) {
    this.cable = cable;
    const token = sign({ sub: `user-${number}`, exp: epoch(3600) });
    this.socket = io(cable.url, { auth: { token }, transports: ['websocket'], forceNew: true, ...RECONNECTION });
    this.socket.on('message', ({ id, message }) => {
      this.received.push(id);
      this.came.push(message);
    });
    this.socket.on('connect', () => {
      if (this.cutAt !== undefined) {
        this.waits.push(performance.now() - this.cutAt);
        this.unrecovered += this.socket.recovered ? 0 : 1;
      }
      this.came.push('connected');
    });
    this.socket.io.on('reconnect_failed', () => this.came.push('gave up'));
  }

  cut() {
    this.cutAt = performance.now();
    this.cable.cut();
  }
}

/** `clients` are cut every `every` ms on average, for `seconds`. Returns what was seen. */
export async function cuts({ clients: count = 50, seconds = 30, every = 4_000 } = {}) {
  const ends = [];
  const server = new Server({ settings: { 'limits.message_rate': 0, 'limits.question_rate': 0, 'limits.connect_user_rate': 0 } });
  try {
    await server.launch();
    const clients = [];
    for (let number = 0; number < count; number += 1) {
      const cable = await Cable.lay({ after: (end) => ends.push(end) }, server.url);
      clients.push(new Client(cable, number));
    }
    ends.push(...clients.map(({ socket }) => () => socket.disconnect()));
    await Promise.all(clients.map(({ came }) => came.next((item) => item === 'connected', 'a connection')));
    const token = sign({ sub: 'speaker', exp: epoch(3600) });
    const speaker = io(server.url, { auth: { token }, transports: ['websocket'], forceNew: true });
    ends.push(() => speaker.disconnect());
    const until = performance.now() + seconds * 1000;
    const sent = [];
    let cut = 0;
    while (performance.now() < until) {
      const { ok, id } = await speaker.timeout(8_000).emitWithAck('message', { message: 'said' });
      assert.ok(ok);
      sent.push(id);
      for (const client of clients) {
        if (client.socket.connected && Math.random() < 1000 / RATE / every) {
          client.cut();
          cut += 1;
        }
      }
      await new Promise((resolve) => setTimeout(resolve, 1000 / RATE));
    }
    const { ok, id } = await speaker.timeout(8_000).emitWithAck('message', { message: 'last' });
    assert.ok(ok);
    sent.push(id);
    await Promise.all(clients.map(({ came }) => came.next((item) => item === 'last', 'the last message')));
    for (const { received, unrecovered } of clients) {
      assert.deepEqual(received, sent);
      assert.equal(unrecovered, 0);
    }
    const waits = clients.flatMap((client) => client.waits).toSorted((a, b) => a - b);
    const quantile = (q) => Math.round(waits[Math.min(waits.length - 1, Math.floor(waits.length * q))]);
    return { clients: count, messages: sent.length, cuts: cut, median: quantile(0.5), p99: quantile(0.99), backOff: BACK_OFF };
  } finally {
    for (const end of ends) await end();
    await server.remove();
  }
}
