// The store, as official clients see it: crashes, and clients that repeat what was not acknowledged.

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { killNine } from './harness/kill-nine.mjs';
import { Peer, fresh } from './harness/peer.mjs';
import { Server } from './harness/server.mjs';

/** With each number of workers; `conformance/kill-nine` runs more. */
const RUNS = 4;

test('SIGKILL under load: what was acknowledged or delivered is in the history, once and in order', { timeout: 60_000 }, async () => {
  const acked = await killNine(RUNS);
  assert.ok(acked > RUNS, `${acked} messages were acknowledged`);
});

test('the option `retries` gives each message once, although the server is killed again and again', { timeout: 60_000 }, async (t) => {
  const server = await Server.start(t, { settings: { 'limits.message_rate': 0 } });
  const options = { retries: 100, ackTimeout: 500, reconnectionDelay: 20, reconnectionDelayMax: 50 };
  const peer = await Peer.connect(t, server, fresh('alice'), { options });
  const [texts, answers] = [Array.from({ length: 300 }, (_, n) => `message ${n}`), []];
  const done = new Promise((resolve) => {
    for (const text of texts) {
      // With `retries` the client sends one message at a time, and repeats it until it is acknowledged.
      peer.socket.emit('message', { message: text, context: { clientId: text } }, (error, answer) => {
        answers.push(error ?? answer);
        if (answers.length === texts.length) resolve();
      });
    }
  });
  for (let restart = 0; restart < 3; restart += 1) {
    const seen = answers.length;
    while (answers.length < Math.min(seen + 20, texts.length)) {
      await new Promise((resolve) => setImmediate(resolve));
    }
    await server.end('SIGKILL');
    await server.launch();
  }
  await done;
  assert.ok(answers.every((answer) => answer.ok), JSON.stringify(answers.find((answer) => !answer.ok)));
  const reader = await Peer.connect(t, server, fresh('bob'));
  const history = [];
  for (let before; ;) {
    const page = await reader.ok('history', { before });
    history.unshift(...page.messages);
    if (!page.more) break;
    before = page.messages[0].id;
  }
  assert.deepEqual(history.map(({ message }) => message), texts);
  assert.deepEqual(history.map(({ id }) => id), answers.map(({ id }) => id));
});
