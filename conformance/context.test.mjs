// The context of a message: relayed unchanged, limited in bytes and depth, with attachments.

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { fence, fresh, overEachTransport, Peer, withServer } from './harness/peer.mjs';
import { RawWebSocket } from './harness/raw.mjs';

const FREE = { settings: { 'limits.message_rate': 0, 'limits.strikes': 0 } };

/** A context of exactly so many bytes of JSON. */
function sized(bytes, roomId, filler = 'x') {
  const context = { roomId, pad: '' };
  const free = bytes - Buffer.byteLength(JSON.stringify(context));
  const width = Buffer.byteLength(filler);
  context.pad = filler.repeat(Math.floor(free / width)) + 'x'.repeat(free % width);
  assert.equal(Buffer.byteLength(JSON.stringify(context)), bytes);
  return context;
}

/** A context nested so deep; an object without nested values has depth 1. */
function nested(depth, wrap) {
  let value = 1;
  for (let level = 1; level < depth; level += 1) {
    value = wrap(value);
  }
  return { value };
}

/** Bytes that are neither text nor all the same. */
const bytes = (length) => Buffer.from(Uint8Array.from({ length }, (_, n) => (n * 31 + (n >> 8)) & 0xff));

/** Sends a context from one user to another and back to the sender; both must get it unchanged. */
async function relayed(t, server, transport, context) {
  const [alice, bob] = [await Peer.connect(t, server, fresh('alice'), { transport }), await Peer.connect(t, server, fresh('bob'), { transport })];
  await bob.ok('join', { roomId: context.roomId });
  const { id } = await alice.ok('message', { message: 'with context', context });
  for (const peer of [alice, bob]) {
    const got = await peer.next('message', (data) => data.id === id);
    assert.deepEqual(got.context, context);
    assert.deepEqual(Object.keys(got.context), Object.keys(context));
  }
  return { alice, bob, id };
}

/** Sends what must be refused with `context_too_large`, and shows that the connection lives and nobody saw it. */
async function tooLarge(t, server, transport, context) {
  const alice = await Peer.connect(t, server, fresh('alice'), { transport });
  const bob = await Peer.connect(t, server, fresh('bob'), { transport });
  await bob.ok('join', { roomId: context.roomId });
  const id = alice.socket.id;
  assert.equal((await alice.refused('message', { message: 'refused', context })).code, 'context_too_large');
  alice.chat.sendMessage('refused', context);
  const error = await alice.next('error');
  assert.equal(error.code, 'context_too_large');
  assert.equal(error.event, 'message');
  await fence(alice, [bob], { roomId: context.roomId });
  assert.deepEqual(bob.seen('message', ({ message }) => message === 'refused'), []);
  assert.equal(alice.socket.id, id);
  assert.deepEqual(alice.seen('disconnect'), []);
}

withServer('context', FREE, (server) => {
  overEachTransport('any JSON value arrives unchanged', async (t, transport) => {
    await relayed(t, server, transport, {
      zebra: 1, roomId: fresh('room'), apple: [], b: { y: null, x: [true, false, -0.5e-7, 1e21, 12345678901234567] }, '': 'empty key', 'clé 🔑': 'é\n"\\',
      constructor: 'plain', odd: '\ud800',
    });
  });

  test('the text of the JSON is the sender\'s: key order, number forms, escapes', { timeout: 20_000 }, async (t) => {
    const roomId = fresh('room');
    const raw = await RawWebSocket.open(t, server);
    await raw.connect(await server.token(fresh('alice')));
    const context = `{"b":1.0,"roomId":"${roomId}","a":1e2,"big":123456789012345678901234567890,"n":-0,"e":"\\u00e9\\ud83d\\ude42\\/","lone":"\\ud800","__proto__":{"x":1},"a0":[1.50,{}]}`;
    raw.send(`42["message",{"context":${context},"message":"caf\\u00e9"}]`);
    const frame = await raw.packet('42["message"');
    assert.ok(frame.includes(`"context":${context}`), frame);
    assert.equal(JSON.parse(frame.slice(2))[1].message, 'café');
    raw.send(`421["history",{"roomId":"${roomId}"}]`);
    const page = await raw.packet('431');
    assert.ok(page.includes(`"context":${context}`), page);
  });

  for (const [what, filler] of [['of one byte characters', 'x'], ['of four byte characters', '🦀']]) {
    overEachTransport(`4,096 bytes are a context (${what})`, async (t, transport) => {
      await relayed(t, server, transport, sized(4_096, fresh('room'), filler));
    });
    overEachTransport(`4,097 bytes are too many (${what})`, async (t, transport) => {
      await tooLarge(t, server, transport, sized(4_097, fresh('room'), filler));
    });
  }

  for (const [what, wrap] of [['objects', (value) => ({ value })], ['arrays', (value) => [value]]]) {
    overEachTransport(`depth 8 is a context (${what})`, async (t, transport) => {
      await relayed(t, server, transport, { roomId: fresh('room'), ...nested(8, wrap) });
    });
    overEachTransport(`depth 9 is too deep (${what})`, async (t, transport) => {
      await tooLarge(t, server, transport, { roomId: fresh('room'), ...nested(9, wrap) });
    });
  }

  overEachTransport('an attachment arrives byte for byte', async (t, transport) => {
    await relayed(t, server, transport, { roomId: fresh('room'), name: 'photo.png', file: bytes(5_000), type: 'image/png' });
  });

  overEachTransport('an empty attachment arrives', async (t, transport) => {
    await relayed(t, server, transport, { roomId: fresh('room'), file: Buffer.alloc(0) });
  });

  overEachTransport('four attachments of together 256 KiB arrive', async (t, transport) => {
    const part = bytes(65_536);
    await relayed(t, server, transport, { roomId: fresh('room'), files: [part, { thumbnail: part }], more: part, last: part });
  });

  overEachTransport('one attachment of 256 KiB arrives', async (t, transport) => {
    await relayed(t, server, transport, { roomId: fresh('room'), file: bytes(262_144) });
  });

  overEachTransport('the largest message with the largest context and attachments', async (t, transport) => {
    const roomId = fresh('room');
    const [alice, bob] = [await Peer.connect(t, server, fresh('alice'), { transport }), await Peer.connect(t, server, fresh('bob'), { transport })];
    await bob.ok('join', { roomId });
    // On the wire a placeholder represents the attachment, and counts.
    const context = { ...sized(4_096 - ',"file":{"_placeholder":true,"num":0}'.length, roomId), file: bytes(262_144) };
    const message = '🦀'.repeat(4_096);
    alice.chat.sendMessage(message, context);
    for (const peer of [alice, bob]) {
      const got = await peer.next('message', (data) => data.context?.roomId === roomId);
      assert.equal(got.message, message);
      assert.deepEqual(got.context, context);
    }
  });

  overEachTransport('attachments of together more than 256 KiB are too large', async (t, transport) => {
    await tooLarge(t, server, transport, { roomId: fresh('room'), a: bytes(262_144), b: bytes(1) });
  });

  overEachTransport('five attachments are too many', async (t, transport) => {
    await tooLarge(t, server, transport, { roomId: fresh('room'), files: Array.from({ length: 5 }, () => bytes(8)) });
  });

  overEachTransport('attachments reach the history and those who ask for it', async (t, transport) => {
    const context = { roomId: fresh('room'), files: [bytes(1_000), bytes(10)] };
    const { bob, id } = await relayed(t, server, transport, context);
    const { messages } = await bob.ok('history', { roomId: context.roomId });
    const found = messages.find((data) => data.id === id);
    assert.deepEqual(found.context, context);
    const carol = await Peer.connect(t, server, fresh('carol'), { transport });
    const joined = await carol.ok('join', { roomId: context.roomId, history: 1 });
    assert.deepEqual(joined.messages[0].context, context);
  });

  overEachTransport('messages with and without attachments keep their order', async (t, transport) => {
    const roomId = fresh('room');
    const [alice, bob] = [await Peer.connect(t, server, fresh('alice'), { transport }), await Peer.connect(t, server, fresh('bob'), { transport })];
    await bob.ok('join', { roomId });
    for (let n = 0; n < 20; n += 1) {
      alice.chat.sendMessage(`mixed ${n}`, n % 2 === 0 ? { roomId, file: bytes(n * 100) } : { roomId });
    }
    await fence(alice, [bob], { roomId });
    const got = bob.seen('message', ({ message }) => message.startsWith('mixed'));
    assert.deepEqual(got.map(({ message }) => message), Array.from({ length: 20 }, (_, n) => `mixed ${n}`));
    for (const [n, { context }] of got.entries()) {
      assert.deepEqual(context, n % 2 === 0 ? { roomId, file: bytes(n * 100) } : { roomId });
    }
  });

  test('plain JSON that looks like a placeholder stays plain JSON', { timeout: 20_000 }, async (t) => {
    const context = { roomId: fresh('room'), fake: { _placeholder: true, num: 0 } };
    const raw = await RawWebSocket.open(t, server);
    await raw.connect(await server.token(fresh('alice')));
    raw.send(`42${JSON.stringify(['message', { message: 'text only', context }])}`);
    assert.deepEqual(JSON.parse((await raw.packet('42["message"')).slice(2))[1].context, context);
  });
});
