// Typing: the others are told, the typist is not, and it ends by itself.

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { fence, fresh, overEachTransport, Peer, withServer } from './harness/peer.mjs';
import { Server } from './harness/server.mjs';

const FREE = { 'limits.message_rate': 0, 'limits.typing_rate': 0 };

const of = (peer) => ({ userId }) => userId === peer.user;

withServer('typing', { settings: FREE }, (server) => {
  overEachTransport('the others see the beginning and the end', async (t, transport) => {
    const [alice, bob] = [await Peer.connect(t, server, fresh('alice'), { transport, name: 'Alice' }), await Peer.connect(t, server, fresh('bob'), { transport })];
    for (const isTyping of [true, false]) {
      alice.chat.setTyping(isTyping);
      assert.deepEqual(await bob.next('userTyping', of(alice)), { userId: alice.user, username: 'Alice', isTyping });
    }
    assert.deepEqual(await alice.ok('typing', true), { ok: true });
    await bob.next('userTyping', of(alice));
  });

  overEachTransport('never reaches a socket of the typist', async (t, transport) => {
    const user = fresh('alice');
    const [first, second] = [await Peer.connect(t, server, user, { transport }), await Peer.connect(t, server, user, { transport })];
    const bob = await Peer.connect(t, server, fresh('bob'), { transport });
    first.chat.setTyping(true);
    await bob.next('userTyping', of(first));
    first.chat.setTyping(false);
    await bob.next('userTyping', of(first));
    await fence(bob, [first, second]);
    assert.deepEqual([...first.seen('userTyping', of(first)), ...second.seen('userTyping', of(first))], []);
  });

  overEachTransport('named a room, it reaches that room only', async (t, transport) => {
    const roomId = fresh('room');
    const [alice, bob, carol] = await Promise.all(['alice', 'bob', 'carol'].map((name) => Peer.connect(t, server, fresh(name), { transport })));
    await alice.ok('join', { roomId });
    await bob.ok('join', { roomId });
    await alice.ok('typing', true, { roomId });
    assert.deepEqual(await bob.next('userTyping', of(alice)), { userId: alice.user, username: alice.user, isTyping: true, roomId });
    await alice.ok('typing', false, { roomId });
    assert.deepEqual(await bob.next('userTyping', of(alice)), { userId: alice.user, username: alice.user, isTyping: false, roomId });
    await fence(alice, [carol]);
    assert.deepEqual(carol.seen('userTyping', of(alice)), []);
  });

  overEachTransport('named no room, it reaches each recipient once, however many rooms they share', async (t, transport) => {
    const rooms = [fresh('room'), fresh('room')];
    const [alice, bob] = [await Peer.connect(t, server, fresh('alice'), { transport }), await Peer.connect(t, server, fresh('bob'), { transport })];
    for (const roomId of rooms) {
      await alice.ok('join', { roomId });
      await bob.ok('join', { roomId });
    }
    await alice.ok('typing', true);
    await bob.next('userTyping', of(alice));
    for (const context of [{}, ...rooms.map((roomId) => ({ roomId }))]) {
      await fence(bob, [bob], context);
    }
    assert.equal(bob.seen('userTyping', of(alice)).length, 1);
  });

  overEachTransport('ends when the typist\'s message is sent', async (t, transport) => {
    const roomId = fresh('room');
    const [alice, bob] = [await Peer.connect(t, server, fresh('alice'), { transport }), await Peer.connect(t, server, fresh('bob'), { transport })];
    await alice.ok('join', { roomId });
    await bob.ok('join', { roomId });
    await alice.ok('typing', true, { roomId });
    assert.equal((await bob.next('userTyping', of(alice))).isTyping, true);
    alice.chat.sendMessage('done', { roomId });
    assert.equal((await bob.next('userTyping', of(alice))).isTyping, false);
  });

  overEachTransport('ends with the connection', async (t, transport) => {
    const [alice, bob] = [await Peer.connect(t, server, fresh('alice'), { transport }), await Peer.connect(t, server, fresh('bob'), { transport })];
    alice.chat.setTyping(true);
    assert.equal((await bob.next('userTyping', of(alice))).isTyping, true);
    alice.chat.disconnect();
    assert.equal((await bob.next('userTyping', of(alice))).isTyping, false);
  });
});

withServer('held key', {}, (server) => {
  overEachTransport('a key held for a second: one beginning, one end, no error', async (t, transport) => {
    const [alice, bob] = [await Peer.connect(t, server, fresh('alice'), { transport }), await Peer.connect(t, server, fresh('bob'), { transport })];
    for (let n = 0; n < 40; n += 1) {
      alice.chat.setTyping(true);
    }
    alice.chat.setTyping(false);
    await fence(alice, [alice, bob]);
    assert.deepEqual(bob.seen('userTyping', of(alice)).map(({ isTyping }) => isTyping), [true, false]);
    assert.deepEqual(alice.seen('error'), []);
  });

  overEachTransport('beginnings over the rate: one error a second, and the end is never refused', async (t, transport) => {
    const [alice, bob] = [await Peer.connect(t, server, fresh('alice'), { transport }), await Peer.connect(t, server, fresh('bob'), { transport })];
    const begin = performance.now();
    for (let n = 0; n < 100; n += 1) {
      alice.chat.setTyping(true);
      alice.chat.setTyping(false);
    }
    await alice.ok('typing', false);
    await fence(alice, [alice, bob]);
    const errors = alice.seen('error');
    const seconds = Math.ceil((performance.now() - begin) / 1_000);
    assert.ok(errors.length >= 1 && errors.length <= seconds, `${errors.length} errors in ${seconds} s`);
    assert.ok(errors.every(({ code, event }) => code === 'rate_limited' && event === 'typing'), JSON.stringify(errors));
    assert.equal(bob.seen('userTyping', of(alice)).at(-1).isTyping, false);
  });
});

test('ends by itself after typing.timeout', { timeout: 30_000 }, async (t) => {
  const server = await Server.start(t, { settings: { ...FREE, 'typing.timeout': '400ms' } });
  const [alice, bob] = [await Peer.connect(t, server, 'alice'), await Peer.connect(t, server, 'bob')];
  alice.chat.setTyping(true);
  const started = await bob.record('userTyping');
  const ended = await bob.record('userTyping');
  assert.deepEqual([started.args[0].isTyping, ended.args[0].isTyping], [true, false]);
  const lasted = ended.at - started.at;
  assert.ok(lasted >= 350 && lasted < 2_000, `it lasted ${lasted} ms`);
});
