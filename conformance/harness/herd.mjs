// A herd: thousands of clients of one server, official and raw ones. The server ends and starts again, and all come back by
// themselves; what was acknowledged before is in the history.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { io } from 'socket.io-client';

import { Inbox } from './inbox.mjs';
import { SECRET, Server } from './server.mjs';

/** The document's client gives up 12.5 s or more after a loss; every one must be back earlier than this. */
export const BACK_WITHIN = 10_000;

/** How many official clients one process has. */
const PER_PROCESS = 1000;

/** Official clients each say something in a room of about so many. */
const PER_ROOM = 20;

const RAW = process.env.HERD_CLIENTS ?? fileURLToPath(new URL('../../target/release/herd', import.meta.url));

/** A process with clients: it is asked by lines, and answers by lines. */
class Clients {
  #lines = new Inbox();

  constructor(kind, command, args) {
    this.kind = kind;
    this.child = spawn(command, args, { stdio: ['pipe', 'pipe', 'inherit'] });
    this.child.on('exit', (code, signal) => this.#lines.push(JSON.stringify({ ended: code ?? signal })));
    createInterface({ input: this.child.stdout }).on('line', (line) => this.#lines.push(line));
  }

  async ask(question) {
    this.child.stdin.write(`${question}\n`);
    const answer = JSON.parse(await this.#lines.next(() => true, `${this.kind} clients: ${question}`, 90_000));
    assert.equal(answer.ended, undefined, `the process with ${this.kind} clients ended`);
    return answer;
  }

  end() {
    this.child.kill('SIGKILL');
  }
}

function spawnClients(server, { official, raw, origin, recover }) {
  const processes = [];
  const rooms = Math.max(1, Math.round(official / PER_ROOM));
  for (let first = 0; first < official; first += PER_PROCESS) {
    const clients = Math.min(PER_PROCESS, official - first);
    const script = fileURLToPath(new URL('herd-clients.mjs', import.meta.url));
    processes.push(new Clients('official', process.execPath, [script, JSON.stringify({ url: server.url, clients, first, origin, rooms })]));
  }
  if (raw > 0) {
    const args = ['--address', `127.0.0.1:${server.port}`, '--secret', SECRET, '--clients', raw, '--origin', origin, '--recover', recover];
    processes.push(new Clients('raw', RAW, args.map(String)));
  }
  return processes;
}

/** All have connected since `time` and none has given up; a line about each kind. */
async function allBack(processes, time, within) {
  const counts = await Promise.all(processes.map(async (clients) => ({ kind: clients.kind, ...(await clients.ask(`since ${time}`)) })));
  for (const { kind, clients, back, gave_up: gaveUp, last } of counts) {
    assert.deepEqual({ kind, back, gaveUp }, { kind, back: clients, gaveUp: 0 });
    assert.ok(last <= within, `the last of the ${kind} clients was back after ${last} ms`);
  }
  return counts;
}

/** Every acknowledged message is in the history of its room, once. */
async function checkHistory(server, acked) {
  const socket = io(server.url, { auth: { token: await server.token('checker') }, transports: ['websocket'] });
  try {
    const expected = group(acked);
    for (const [roomId, messages] of expected) {
      const found = await read(socket, roomId);
      for (const { id, message } of messages) {
        assert.deepEqual(found.filter((other) => other.id === id).map((other) => other.message), [message], `in ${roomId}`);
      }
      assert.equal(found.length, messages.length, `messages in ${roomId}`);
    }
  } finally {
    socket.disconnect();
  }
}

/** The whole history of a room. */
async function read(socket, roomId) {
  const messages = [];
  for (;;) {
    const after = messages.at(-1)?.id ?? '00000000-0000-0000-0000-000000000000';
    const page = await socket.timeout(10_000).emitWithAck('history', { roomId, limit: 200, after });
    assert.equal(page.ok, true, JSON.stringify(page));
    messages.push(...page.messages);
    if (!page.more) {
      return messages;
    }
  }
}

function group(acked) {
  const rooms = new Map();
  for (const message of acked) {
    rooms.set(message.roomId, [...(rooms.get(message.roomId) ?? []), message]);
  }
  return rooms;
}

/**
 * Ends the server by each signal, `rounds` times, and starts it again. `origin` is whom `X-Forwarded-For` names: `loopback`
 * nobody, `own` an address of each client's own, `one` the same address for all. `recover`: whether raw clients ask for their sockets, as
 * official ones do. `say` is told of each round.
 */
export async function herd({ official = 0, raw = 0, origin = 'loopback', recover = true, rounds = 1, settings = {} }, say = () => {}) {
  // The checker reads many pages at once.
  const server = new Server({ settings: { 'limits.question_rate': 0, ...settings } });
  let processes = [];
  try {
    await server.launch();
    processes = spawnClients(server, { official, raw, origin, recover });
    await allBack(processes, 0, Infinity);
    const acked = [];
    for (let round = 1; round <= rounds; round += 1) {
      for (const signal of ['SIGTERM', 'SIGKILL']) {
        for (const clients of processes.filter(({ kind }) => kind === 'official')) {
          acked.push(...await clients.ask(`say ${round}-${signal}`));
        }
        const ended = Date.now();
        await server.end(signal);
        const gone = Date.now() - ended;
        await server.launch();
        const listening = Date.now() - ended;
        const counts = await allBack(processes, ended, BACK_WITHIN);
        say(`${signal}: the process had ended after ${gone} ms, the next one listened after ${listening} ms`);
        for (const { kind, back, recovered, p99, last, attempts, refused } of counts) {
          const how = recovered === undefined ? '' : `, ${recovered} of them recovered`;
          say(`  ${back} ${kind} clients are back${how}: 99 of 100 after ${p99} ms, the last after ${last} ms; ${attempts} attempts, ${refused} refused`);
        }
      }
    }
    assert.equal(acked.length, official * 2 * rounds, 'acknowledged messages');
    await checkHistory(server, acked);
    say(`${acked.length} acknowledged messages are in the history, each once`);
  } finally {
    for (const clients of processes) {
      clients.end();
    }
    await server.remove();
  }
}
