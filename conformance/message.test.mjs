// Messages: who receives them, what receivers and sender are told, their id, time, order and text.

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { fence, fresh, overEachTransport, Peer, withServer } from './harness/peer.mjs';
import { Server } from './harness/server.mjs';

const UUID_V7 = /^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/;
const RFC_3339_MS = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/;

const FREE = { settings: { 'limits.message_rate': 0 } };

/** Milliseconds since the epoch out of a UUIDv7. */
const millisOf = (id) => Number.parseInt(id.replaceAll('-', '').slice(0, 12), 16);

withServer('message', FREE, (server) => {
  overEachTransport('reaches the room, its sender included, and nobody else', async (t, transport) => {
    const roomId = fresh('room');
    const [alice, bob, carol] = await Promise.all(['alice', 'bob', 'carol'].map((name) => Peer.connect(t, server, fresh(name), { transport })));
    await bob.ok('join', { roomId });
    const before = Date.now();
    const answer = await alice.ok('message', { message: 'for the room', context: { roomId } });
    const after = Date.now();
    assert.deepEqual(Object.keys(answer).sort(), ['id', 'ok', 'timestamp']);
    for (const peer of [alice, bob]) {
      const got = await peer.next('message', ({ id }) => id === answer.id);
      assert.deepEqual(got, {
        id: answer.id,
        message: 'for the room',
        timestamp: answer.timestamp,
        context: { roomId },
        userId: alice.user,
        username: alice.user,
      });
    }
    assert.match(answer.id, UUID_V7);
    assert.match(answer.timestamp, RFC_3339_MS);
    const stamped = Date.parse(answer.timestamp);
    assert.ok(before - 5 <= stamped && stamped <= after + 5, `${before} ${stamped} ${after}`);
    assert.ok(Math.abs(millisOf(answer.id) - stamped) <= 5, `id ${answer.id} and ${answer.timestamp}`);
    await fence(alice, [carol]);
    assert.deepEqual(carol.seen('message', ({ id }) => id === answer.id), []);
  });

  overEachTransport('without a room goes to the lobby, where everybody is', async (t, transport) => {
    const [alice, bob] = [await Peer.connect(t, server, fresh('alice'), { transport }), await Peer.connect(t, server, fresh('bob'), { transport })];
    const { id } = await alice.ok('message', { message: 'for all' });
    for (const peer of [alice, bob]) {
      const got = await peer.next('message', (data) => data.id === id);
      assert.ok(!('context' in got), 'no context was sent');
    }
    const named = await alice.ok('message', { message: 'by its name', context: { roomId: 'lobby' } });
    await bob.next('message', (data) => data.id === named.id);
  });

  overEachTransport('joins the room it names', async (t, transport) => {
    const roomId = fresh('room');
    const [alice, bob] = [await Peer.connect(t, server, fresh('alice'), { transport }), await Peer.connect(t, server, fresh('bob'), { transport })];
    await alice.ok('message', { message: 'first', context: { roomId } });
    const second = await bob.ok('message', { message: 'second', context: { roomId } });
    for (const peer of [alice, bob]) {
      await peer.next('message', ({ id }) => id === second.id);
    }
    assert.deepEqual(bob.seen('message', ({ message }) => message === 'first'), []);
  });

  overEachTransport('carries replyTo as it came', async (t, transport) => {
    const roomId = fresh('room');
    const alice = await Peer.connect(t, server, fresh('alice'), { transport });
    const first = await alice.ok('message', { message: 'question', context: { roomId } });
    const second = await alice.ok('message', { message: 'answer', context: { roomId, replyTo: first.id } });
    const got = await alice.next('message', ({ id }) => id === second.id);
    assert.deepEqual(got.context, { roomId, replyTo: first.id });
    await alice.ok('message', { message: 'of no message', context: { roomId, replyTo: 'message-id' } });
  });

  overEachTransport('order: every member gets every message, in one order, which is that of the ids', async (t, transport) => {
    const roomId = fresh('room');
    const peers = await Promise.all(['alice', 'bob', 'carol'].map((name) => Peer.connect(t, server, fresh(name), { transport })));
    for (const peer of peers) {
      await peer.ok('join', { roomId });
    }
    const each = 40;
    const answers = await Promise.all(peers.flatMap((peer, sender) => Array.from({ length: each }, (_, n) => (
      peer.ok('message', { message: `${sender} ${n}`, context: { roomId } })
    ))));
    await fence(peers[0], peers, { roomId });
    const views = peers.map((peer) => peer.seen('message', ({ message }) => /^\d \d+$/.test(message)));
    const ids = views[0].map(({ id }) => id);
    assert.equal(ids.length, peers.length * each);
    assert.deepEqual(ids.toSorted(), ids, 'ids grow');
    assert.deepEqual(answers.map(({ id }) => id).toSorted(), ids, 'what was acknowledged is what came');
    assert.equal(new Set(ids).size, ids.length);
    for (const view of views) {
      assert.deepEqual(view.map(({ id }) => id), ids);
    }
    for (const sender of peers.keys()) {
      const own = views[0].filter(({ message }) => message.startsWith(`${sender} `)).map(({ message }) => Number(message.split(' ')[1]));
      assert.deepEqual(own, own.toSorted((a, b) => a - b), 'one sender\'s messages keep their order');
    }
    const { messages } = await peers[0].ok('history', { roomId, limit: 200 });
    assert.deepEqual(messages.map(({ id }) => id).slice(0, ids.length), ids, 'the history\'s order is the same');
  });

  const TEXTS = {
    'accents and Cyrillic': 'Ça va, Žofie? Привет, мир',
    'right to left': 'مرحبا بالعالم שלום',
    'ideographs': '漢字かな交じり文 한국어',
    'emoji with joiners and flags': '👩‍👩‍👧‍👦 🇫🇷 👍🏽 🏳️‍🌈',
    'combining marks': 'Z\u0351\u036ba\u0300\u0301\u0302lgo e\u0301',
    'line breaks and tabs': 'first\n\tsecond\n\nthird',
    'JSON and HTML characters': '"\\/\u2028\u2029 <script>alert(1)</script> &amp; \'',
    'the record separator\'s escape and placeholders': '\\u001e {"_placeholder":true,"num":0}',
    'noncharacters and private use': '\ufeff\uffff\u{10ffff}\ue000',
    'packet look-alikes': '42["message",{"message":"x"}]',
  };
  for (const [what, text] of Object.entries(TEXTS)) {
    overEachTransport(`text: ${what}`, async (t, transport) => {
      const roomId = fresh('salle-é🙂');
      const [alice, bob] = [await Peer.connect(t, server, fresh('alice'), { transport }), await Peer.connect(t, server, fresh('bob'), { transport })];
      await bob.ok('join', { roomId });
      alice.chat.sendMessage(text, { roomId, note: text });
      for (const peer of [alice, bob]) {
        const got = await peer.next('message', ({ context }) => context?.roomId === roomId);
        assert.equal(got.message, text);
        assert.deepEqual(got.context, { roomId, note: text });
      }
      const { messages } = await bob.ok('history', { roomId });
      assert.equal(messages.at(-1).message, text);
    });
  }

  overEachTransport('line breaks arrive as they were typed', async (t, transport) => {
    const [alice, bob] = [await Peer.connect(t, server, fresh('alice'), { transport }), await Peer.connect(t, server, fresh('bob'), { transport })];
    for (const text of ['a\r\nb', 'a\nb', '\r\n\r\nlast\r\n', 'tab\tand \u200b joiner']) {
      const { id } = await alice.ok('message', { message: text });
      assert.equal((await bob.next('message', (data) => data.id === id)).message, text);
      const { messages } = await bob.ok('history', { limit: 1 });
      assert.equal(messages[0].message, text);
    }
  });

  overEachTransport('4,096 characters of four bytes each are a message, 4,097 are not', async (t, transport) => {
    const [alice, bob] = [await Peer.connect(t, server, fresh('alice'), { transport }), await Peer.connect(t, server, fresh('bob'), { transport })];
    const largest = '🦀'.repeat(4_096);
    alice.chat.sendMessage(largest);
    await bob.next('message', ({ message, userId }) => userId === alice.user && message === largest);
    assert.equal((await alice.refused('message', { message: `${largest}🦀` })).code, 'message_too_long');
    await alice.ok('message', { message: 'x'.repeat(4_096) });
    assert.equal((await alice.refused('message', { message: 'x'.repeat(4_097) })).code, 'message_too_long');
  });

  overEachTransport('a clientId makes a repeated message one message', async (t, transport) => {
    const roomId = fresh('room');
    const clientId = fresh('client-id');
    const [alice, bob] = [await Peer.connect(t, server, fresh('alice'), { transport }), await Peer.connect(t, server, fresh('bob'), { transport })];
    await bob.ok('join', { roomId });
    const payload = { message: 'once', context: { roomId, clientId } };
    const answers = await Promise.all([alice.ok('message', payload), alice.ok('message', payload)]);
    answers.push(await alice.ok('message', payload));
    assert.equal(new Set(answers.map(({ id }) => id)).size, 1);
    assert.equal(new Set(answers.map(({ timestamp }) => timestamp)).size, 1);
    await fence(alice, [alice, bob], { roomId });
    for (const peer of [alice, bob]) {
      assert.equal(peer.seen('message', ({ message }) => message === 'once').length, 1);
    }
    const { messages } = await bob.ok('history', { roomId });
    assert.equal(messages.filter(({ message }) => message === 'once').length, 1);
    const other = await bob.ok('message', payload);
    assert.notEqual(other.id, answers[0].id, 'another user\'s clientId is another message');
    await alice.next('message', ({ id }) => id === other.id);
  });

  overEachTransport('the client\'s own option `retries` works', async (t, transport) => {
    const roomId = fresh('room');
    const alice = await Peer.connect(t, server, fresh('alice'), { transport, options: { retries: 3, ackTimeout: 5_000 } });
    const bob = await Peer.connect(t, server, fresh('bob'), { transport });
    await bob.ok('join', { roomId });
    for (const n of [1, 2, 3]) {
      alice.chat.sendMessage(`retried ${n}`, { roomId, clientId: `retried ${n}` });
    }
    alice.chat.setTyping(true);
    await bob.next('message', ({ message }) => message === 'retried 3');
    await fence(bob, [bob], { roomId });
    assert.deepEqual(bob.seen('message', ({ message }) => message.startsWith('retried')).map(({ message }) => message), ['retried 1', 'retried 2', 'retried 3']);
  });
});

test('without a lobby a message needs a room', { timeout: 20_000 }, async (t) => {
  const server = await Server.start(t, { settings: { 'rooms.lobby': 'false' } });
  const alice = await Peer.connect(t, server, 'alice');
  assert.equal((await alice.refused('message', { message: 'to whom?' })).code, 'invalid_payload');
  await alice.ok('message', { message: 'here', context: { roomId: 'r' } });
});
