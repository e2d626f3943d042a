// Kills the server again and again while official clients send, and checks what is left: every message that was acknowledged or
// delivered is in the history, once, in the order in which every member got it. A client that was recovered has missed nothing.

import assert from 'node:assert/strict';
import { io } from 'socket.io-client';

import { withDeadline } from './inbox.mjs';
import { Server } from './server.mjs';

const ROOMS = ['north', 'south', 'east', 'west'];
const CLIENTS = 8;

/** How many messages of one client are under way at a time. */
const UNDER_WAY = 4;

/** The server lives between these times in each run, in ms. */
const LIFE = [50, 600];

/** Rates would hide what is tested. */
const SETTINGS = {
  'limits.message_rate': 0,
  'limits.message_bytes_rate': 0,
  'limits.question_rate': 0,
  'limits.connect_user_rate': 0,
  'limits.connect_rate': 0,
};

class Client {
  /** What was acknowledged: text to id. */
  acked = new Map();
  /** What was received without a gap: a map of rooms to lists. A recovered client goes on with its last one. */
  connections = [];
  /** Rooms whose `join` was acknowledged. Others may have to be joined again. */
  joined = new Set();
  recovered = 0;
  sent = 0;
  running = true;

  constructor(number, url, token) {
    this.number = number;
    // In the first two all messages are repeated until they are acknowledged.
    this.repeats = number < CLIENTS / 2;
    this.rooms = [ROOMS[number % ROOMS.length], ROOMS[(number + 1) % ROOMS.length]];
    this.socket = io(url, { auth: { token }, transports: ['websocket'], reconnectionDelay: 20, reconnectionDelayMax: 50 });
    this.socket.on('connect', () => this.#connected());
    this.socket.on('message', ({ id, message, context }) => this.connections.at(-1).get(context.roomId).push({ id, message }));
    this.senders = Array.from({ length: UNDER_WAY }, () => this.#send());
  }

  #connected() {
    if (this.socket.recovered) {
      this.recovered += 1;
    } else {
      this.joined.clear();
    }
    const others = this.rooms.filter((room) => !this.joined.has(room));
    const last = this.connections.at(-1);
    this.connections.push(new Map(this.rooms.map((room) => [room, others.includes(room) ? [] : last.get(room)])));
    for (const room of others) {
      this.socket.emit('join', { roomId: room }, ({ ok }) => ok && this.joined.add(room));
    }
  }

  async #send() {
    while (this.running) {
      const text = `${this.number}/${this.sent}`;
      const roomId = this.rooms[this.sent % this.rooms.length];
      this.sent += 1;
      const context = this.repeats ? { roomId, clientId: text } : { roomId };
      do {
        await new Promise((resolve) => (this.socket.connected ? resolve() : this.socket.once('connect', resolve)));
        try {
          // `timeout` fails at once when the connection ends.
          const answer = await this.socket.timeout(5_000).emitWithAck('message', { message: text, context });
          if (answer.ok) {
            this.acked.set(text, { id: answer.id, roomId });
          }
        } catch {
          // Nobody knows what became of it.
        }
      } while (this.repeats && !this.acked.has(text) && this.running);
    }
  }

  async end() {
    this.running = false;
    this.socket.disconnect();
    // Those that wait for a connection wait for ever.
  }
}

/** The part of a room's history behind what is known; added to it. */
async function extend(socket, roomId, known) {
  for (;;) {
    const after = known.at(-1)?.id;
    const page = await socket.timeout(8_000).emitWithAck('history', { roomId, limit: 200, after: after ?? '00000000-0000-0000-0000-000000000000' });
    assert.equal(page.ok, true, JSON.stringify(page));
    known.push(...page.messages.map(({ id, message }) => ({ id, message })));
    if (!page.more) {
      return;
    }
  }
}

/** Whether every acknowledged message is in the history, and every member's sequence is a part of it without gaps. */
function check(histories, clients) {
  const places = new Map();
  for (const [room, history] of histories) {
    const texts = new Map();
    history.forEach(({ id, message }, place) => {
      assert.ok(place === 0 || history[place - 1].id < id, `the ids of ${room} grow`);
      assert.ok(!texts.has(message), `${message} is twice in the history of ${room}`);
      texts.set(message, place);
      places.set(`${room} ${id}`, place);
    });
  }
  let acked = 0;
  for (const client of clients) {
    for (const [text, { id, roomId }] of client.acked) {
      acked += 1;
      const place = places.get(`${roomId} ${id}`);
      assert.ok(place !== undefined, `${text} was acknowledged, and is not in the history of ${roomId}`);
      assert.equal(histories.get(roomId)[place].message, text);
    }
    for (const connection of client.connections) {
      for (const [room, received] of connection) {
        const first = received.length > 0 ? places.get(`${room} ${received[0].id}`) : 0;
        assert.ok(first !== undefined, `client ${client.number} got ${received[0]?.message}, which is not in the history`);
        assert.deepEqual(received, histories.get(room).slice(first, first + received.length), `client ${client.number} in ${room}`);
      }
    }
  }
  return acked;
}

/** Kills the server `runs` times; returns what was checked. `say` is told of each run. */
export async function killNine(runs, say = () => {}) {
  const server = new Server({ settings: SETTINGS });
  const clients = [];
  const histories = new Map(ROOMS.map((room) => [room, []]));
  try {
    await server.launch();
    for (let number = 0; number < CLIENTS; number += 1) {
      clients.push(new Client(number, server.url, await server.token(`user-${number}`)));
    }
    const checker = io(server.url, { auth: { token: await server.token('checker') }, transports: ['websocket'], reconnectionDelay: 20, reconnectionDelayMax: 50 });
    clients.push({ end: () => checker.disconnect(), acked: new Map(), connections: [] });
    for (let run = 1; run <= runs; run += 1) {
      const life = LIFE[0] + Math.random() * (LIFE[1] - LIFE[0]);
      await new Promise((resolve) => setTimeout(resolve, life));
      await server.end('SIGKILL');
      const known = clients.map(snapshot);
      const down = performance.now();
      await server.launch();
      const back = Math.round(performance.now() - down);
      await withDeadline(new Promise((resolve) => (checker.connected ? resolve() : checker.once('connect', resolve))), 'the checker is back');
      for (const [room, history] of histories) {
        await extend(checker, room, history);
      }
      const acked = check(histories, known);
      say(`run ${run}: killed after ${Math.round(life)} ms, listening again after ${back} ms, ${acked} acknowledged messages are there`);
    }
    await Promise.all(clients.map((client) => client.end()));
    const acked = check(await whole(server, histories), clients);
    const recovered = clients.reduce((sum, client) => sum + (client.recovered ?? 0), 0);
    // A client that was not there for long enough to have a session begins anew.
    assert.ok(recovered > (runs * CLIENTS) / 2, `${recovered} of ${runs * CLIENTS} clients were recovered`);
    say(`${recovered} of ${runs * CLIENTS} clients that came back were recovered`);
    return acked;
  } finally {
    await Promise.all(clients.map((client) => client.end()));
    await server.remove();
  }
}

/** What a client knows now. */
function snapshot({ number, acked, connections }) {
  const copies = connections.map((connection) => new Map([...connection].map(([room, received]) => [room, [...received]])));
  return { number, acked: new Map(acked), connections: copies };
}

/** All histories, read from their beginnings after one more restart. */
async function whole(server, read) {
  await server.end('SIGKILL');
  await server.launch();
  const socket = io(server.url, { auth: { token: await server.token('checker') }, transports: ['websocket'], forceNew: true });
  const histories = new Map();
  for (const [room, known] of read) {
    const history = [];
    await extend(socket, room, history);
    assert.deepEqual(history.slice(0, known.length), known, `the history of ${room} is what it was`);
    histories.set(room, history);
  }
  socket.disconnect();
  return histories;
}
