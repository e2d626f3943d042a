// Run as a process: official clients of a herd. The arguments are a JSON object. Each line of standard input is a question,
// and its answer is a line of JSON on standard output:
//   since TIME   when every client has connected since then (ms since 1970) or has given up: what `Count` says
//   say TEXT     each client says it in a room; how many were told that it is stored

import { createInterface } from 'node:readline';

import { epoch, sign } from './token.mjs';
import { chatClient } from './transports.mjs';

/** How long to wait for the herd, in ms. */
const PATIENCE = 30_000;

/** How many clients begin to connect at once; as many again each time that these are there. */
const AT_ONCE = 50;

const { url, clients: number, first, origin, rooms } = JSON.parse(process.argv[2]);
const lines = { push() {} };
const clients = [];
let attempts = 0;
let refused = 0;
/** Called when a client has connected or given up. */
let look = () => {};

async function join(n) {
  const from = { one: '203.0.113.7', own: `10.64.${n >> 8}.${n & 255}` }[origin];
  const options = from === undefined ? {} : { extraHeaders: { 'X-Forwarded-For': from } };
  const ChatClient = await chatClient('upgrade', lines, options);
  const { socket } = new ChatClient(url, sign({ sub: `official-${n}`, exp: epoch(3600) }));
  const client = { socket, roomId: `herd-${n % rooms}`, connectedAt: 0, gaveUp: false };
  clients.push(client);
  socket.on('connect', () => {
    client.connectedAt = Date.now();
    look();
  });
  socket.on('disconnect', () => {
    client.connectedAt = 0;
  });
  socket.on('connect_error', () => {
    // A temporary refusal leaves the socket active; after CONNECT_ERROR it never comes back.
    refused += 1;
    client.gaveUp ||= !socket.active;
    look();
  });
  socket.io.on('reconnect_attempt', () => {
    attempts += 1;
  });
  socket.io.on('reconnect_failed', () => {
    client.gaveUp = true;
    look();
  });
  await new Promise((resolve) => socket.once('connect', resolve));
}

async function since(time) {
  const isBack = ({ connectedAt }) => connectedAt > time;
  await new Promise((resolve) => {
    const patience = setTimeout(resolve, PATIENCE);
    look = () => {
      if (clients.every((client) => client.gaveUp || isBack(client))) {
        clearTimeout(patience);
        resolve();
      }
    };
    look();
  });
  const times = clients.filter(isBack).map(({ connectedAt }) => connectedAt - time).sort((a, b) => a - b);
  const answer = {
    clients: clients.length,
    back: times.length,
    recovered: clients.filter(({ socket }) => socket.recovered).length,
    gave_up: clients.filter(({ gaveUp }) => gaveUp).length,
    refused,
    attempts,
    last: times.at(-1) ?? 0,
    p99: times[Math.floor(times.length * 0.99)] ?? 0,
  };
  [refused, attempts] = [0, 0];
  return answer;
}

async function say(text) {
  const answers = await Promise.all(clients.map(async ({ socket, roomId }, n) => {
    const message = `${text} ${first + n}`;
    const answer = await socket.timeout(PATIENCE).emitWithAck('message', { message, context: { roomId } });
    return answer.ok ? { id: answer.id, roomId, message } : undefined;
  }));
  return answers.filter((answer) => answer !== undefined);
}

for (let begun = 0; begun < number; begun += AT_ONCE) {
  const group = Array.from({ length: Math.min(AT_ONCE, number - begun) }, (_, n) => join(first + begun + n));
  await Promise.all(group);
}
for await (const question of createInterface({ input: process.stdin })) {
  const [what, argument] = question.split(' ');
  const answer = what === 'since' ? await since(Number(argument)) : await say(argument);
  process.stdout.write(`${JSON.stringify(answer)}\n`);
}
process.exit(0);
