// Rooms: join and leave, what a token allows, how many, and their history.

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { fence, fresh, overEachTransport, Peer, withServer } from './harness/peer.mjs';
import { Server } from './harness/server.mjs';
import { epoch, sign } from './harness/token.mjs';

const FREE = { 'limits.message_rate': 0, 'limits.strikes': 0 };

withServer('rooms', { settings: FREE }, (server) => {
  overEachTransport('join and leave', async (t, transport) => {
    const roomId = fresh('room');
    const [alice, bob] = [await Peer.connect(t, server, fresh('alice'), { transport }), await Peer.connect(t, server, fresh('bob'), { transport })];
    const alone = await alice.ok('join', { roomId });
    assert.equal(alone.roomId, roomId);
    assert.equal(alone.members, 1);
    assert.ok(!('messages' in alone), 'no history was asked for');
    assert.equal((await bob.ok('join', { roomId })).members, 2);
    assert.equal((await bob.ok('join', { roomId })).members, 2, 'joining twice is joining once');

    assert.deepEqual(await bob.ok('leave', { roomId }), { ok: true });
    await alice.ok('message', { message: 'after he left', context: { roomId } });
    await fence(alice, [alice, bob]);
    assert.equal(alice.seen('message', ({ message }) => message === 'after he left').length, 1);
    assert.deepEqual(bob.seen('message', ({ message }) => message === 'after he left'), []);
    assert.equal((await bob.refused('leave', { roomId })).code, 'room_forbidden');
    assert.equal((await alice.ok('join', { roomId })).members, 1);
  });

  overEachTransport('a member of two sockets gets each message at both', async (t, transport) => {
    const [roomId, user] = [fresh('room'), fresh('alice')];
    const [first, second] = [await Peer.connect(t, server, user, { transport }), await Peer.connect(t, server, user, { transport })];
    await first.ok('join', { roomId });
    await second.ok('join', { roomId });
    await fence(first, [first, second], { roomId });
    await second.ok('leave', { roomId });
    await first.ok('message', { message: 'to one tab', context: { roomId } });
    await fence(first, [first, second]);
    assert.deepEqual(second.seen('message', ({ message }) => message === 'to one tab'), []);
  });

  overEachTransport('the token\'s rooms are joined at connect, and no others can be', async (t, transport) => {
    const [mine, other] = [fresh('mine'), fresh('other')];
    const bob = await Peer.connect(t, server, fresh('bob'), { transport });
    const alice = await Peer.connect(t, server, fresh('alice'), { transport, rooms: [mine] });
    await bob.ok('message', { message: 'in hers', context: { roomId: mine } });
    await alice.next('message', ({ message }) => message === 'in hers');

    await bob.ok('message', { message: 'elsewhere', context: { roomId: other } });
    for (const [event, payload] of [
      ['message', { message: 'x', context: { roomId: other } }],
      ['join', { roomId: other }],
      ['history', { roomId: other }],
      ['presence', { roomId: other }],
    ]) {
      assert.equal((await alice.refused(event, payload)).code, 'room_forbidden', event);
    }
    alice.chat.sendMessage('x', { roomId: other });
    assert.equal((await alice.next('error')).code, 'room_forbidden');
    await fence(bob, [alice]);
    assert.deepEqual(alice.seen('message', ({ context }) => context?.roomId === other), []);
  });

  overEachTransport('"*" in the token\'s rooms allows any', async (t, transport) => {
    const [mine, any] = [fresh('mine'), fresh('any')];
    const alice = await Peer.connect(t, server, fresh('alice'), { transport, rooms: [mine, '*'] });
    await alice.ok('typing', true, { roomId: mine });
    await alice.ok('join', { roomId: any });
    await alice.ok('message', { message: 'x', context: { roomId: fresh('any') } });
  });

  test('an empty list of rooms allows the lobby only', { timeout: 20_000 }, async (t) => {
    const alice = await Peer.open(t, server.url, sign({ sub: fresh('alice'), exp: epoch(600), rooms: [] }));
    await alice.connected();
    await alice.ok('message', { message: 'in the lobby' });
    assert.equal((await alice.refused('join', { roomId: fresh('room') })).code, 'room_forbidden');
  });

  overEachTransport('join brings the last messages, oldest first', async (t, transport) => {
    const roomId = fresh('room');
    const [alice, bob] = [await Peer.connect(t, server, fresh('alice'), { transport }), await Peer.connect(t, server, fresh('bob'), { transport })];
    const sent = [];
    for (let n = 1; n <= 5; n += 1) {
      const { id } = await alice.ok('message', { message: `message ${n}`, context: { roomId, n } });
      sent.push(await alice.next('message', (data) => data.id === id));
    }
    assert.deepEqual((await bob.ok('join', { roomId, history: 3 })).messages, sent.slice(2));
    assert.deepEqual((await bob.ok('join', { roomId, history: 100 })).messages, sent);
  });

  overEachTransport('history comes in pages', async (t, transport) => {
    const roomId = fresh('room');
    const alice = await Peer.connect(t, server, fresh('alice'), { transport });
    const ids = [];
    for (let n = 0; n < 10; n += 1) {
      ids.push((await alice.ok('message', { message: `message ${n}`, context: { roomId } })).id);
    }
    const page = async (query) => {
      const { messages, more } = await alice.ok('history', { roomId, ...query });
      return [messages.map(({ id }) => ids.indexOf(id)), more];
    };
    assert.deepEqual(await page({}), [[0, 1, 2, 3, 4, 5, 6, 7, 8, 9], false]);
    assert.deepEqual(await page({ limit: 4 }), [[6, 7, 8, 9], true]);
    assert.deepEqual(await page({ limit: 4, before: ids[6] }), [[2, 3, 4, 5], true]);
    assert.deepEqual(await page({ limit: 4, before: ids[2] }), [[0, 1], false]);
    assert.deepEqual(await page({ limit: 4, after: ids[3] }), [[4, 5, 6, 7], true]);
    assert.deepEqual(await page({ limit: 4, after: ids[7] }), [[8, 9], false]);
    assert.deepEqual(await page({ after: ids[9] }), [[], false]);
  });

  test('a page of history is at most 200 messages', { timeout: 30_000 }, async (t) => {
    const roomId = fresh('room');
    const alice = await Peer.connect(t, server, fresh('alice'));
    const answers = await Promise.all(Array.from({ length: 210 }, (_, n) => alice.ok('message', { message: `${n}`, context: { roomId } })));
    const ids = answers.map(({ id }) => id);
    const last = await alice.ok('history', { roomId, limit: 1_000 });
    assert.deepEqual(last.messages.map(({ id }) => id), ids.slice(10));
    assert.equal(last.more, true);
    const first = await alice.ok('history', { roomId, before: ids[10] });
    assert.deepEqual(first.messages.map(({ id }) => id), ids.slice(0, 10));
    assert.equal(first.more, false);
  });

  test('a page of history is at most 256 KiB', { timeout: 30_000 }, async (t) => {
    const roomId = fresh('room');
    const alice = await Peer.connect(t, server, fresh('alice'));
    const count = 24;
    await Promise.all(Array.from({ length: count }, () => alice.ok('message', { message: '🦀'.repeat(4_096), context: { roomId } })));
    const { messages, more } = await alice.ok('history', { roomId });
    assert.ok(messages.length > 0 && messages.length < count, `${messages.length} messages`);
    assert.ok(Buffer.byteLength(JSON.stringify(messages)) <= 262_144);
    assert.equal(more, true);
  });
});

test('without a rooms claim default_access none allows the lobby only', { timeout: 20_000 }, async (t) => {
  const server = await Server.start(t, { settings: { 'rooms.default_access': 'none' } });
  const alice = await Peer.connect(t, server, 'alice');
  await alice.ok('message', { message: 'in the lobby' });
  assert.equal((await alice.refused('message', { message: 'x', context: { roomId: 'r' } })).code, 'room_forbidden');
  const bob = await Peer.connect(t, server, 'bob', { rooms: ['r'] });
  await bob.ok('message', { message: 'x', context: { roomId: 'r' } });
});

test('a socket has at most rooms_per_socket rooms', { timeout: 20_000 }, async (t) => {
  const server = await Server.start(t, { settings: { 'rooms.lobby': 'false', 'limits.rooms_per_socket': 2 } });
  const alice = await Peer.connect(t, server, 'alice');
  await alice.ok('join', { roomId: 'a' });
  await alice.ok('message', { message: 'x', context: { roomId: 'b' } });
  assert.equal((await alice.refused('join', { roomId: 'c' })).code, 'too_many_rooms');
  assert.equal((await alice.refused('message', { message: 'x', context: { roomId: 'c' } })).code, 'too_many_rooms');
  await alice.ok('join', { roomId: 'a' });
  await alice.ok('leave', { roomId: 'a' });
  await alice.ok('join', { roomId: 'c' });
});
