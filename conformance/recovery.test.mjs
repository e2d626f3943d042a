// Connection state recovery: after a short break the missed messages come, once, in order, out of the history.

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { fence, fresh, overEachTransport, Peer, withServer } from './harness/peer.mjs';
import { Server } from './harness/server.mjs';

const FREE = { settings: { 'limits.message_rate': 0 } };

/** Messages of a peer whose text begins so, in the order of their coming. */
const texts = (peer, beginning) => peer.seen('message', ({ message }) => message.startsWith(beginning)).map(({ message }) => message);

withServer('recovery', FREE, (server) => {
  overEachTransport('brings what was missed in every room, once and in order', async (t, transport) => {
    const rooms = [fresh('room'), fresh('room'), fresh('room')];
    const [alice, bob] = [await Peer.connect(t, server, fresh('alice'), { transport }), await Peer.connect(t, server, fresh('bob'), { transport })];
    for (const roomId of rooms) {
      await alice.ok('join', { roomId });
      await bob.ok('message', { message: `${roomId} seen`, context: { roomId } });
    }
    await fence(bob, [alice], { roomId: rooms[0] });
    const id = alice.socket.id;

    await alice.cut();
    for (let n = 0; n < 5; n += 1) {
      for (const roomId of rooms) {
        await bob.ok('message', { message: `${roomId} missed ${n}`, context: { roomId } });
      }
    }
    alice.socket.connect();
    await alice.connected();
    assert.equal(alice.socket.recovered, true);
    assert.equal(alice.socket.id, id);
    for (const roomId of rooms) {
      await fence(bob, [alice], { roomId });
      assert.deepEqual(texts(alice, `${roomId} `), [`${roomId} seen`, ...Array.from({ length: 5 }, (_, n) => `${roomId} missed ${n}`)]);
    }
  });

  overEachTransport('works before the first message', async (t, transport) => {
    const roomId = fresh('room');
    const [alice, bob] = [await Peer.connect(t, server, fresh('alice'), { transport }), await Peer.connect(t, server, fresh('bob'), { transport })];
    await alice.ok('join', { roomId });
    await alice.cut();
    await bob.ok('message', { message: 'missed', context: { roomId } });
    alice.socket.connect();
    await alice.connected();
    assert.equal(alice.socket.recovered, true);
    await fence(bob, [alice], { roomId });
    assert.deepEqual(texts(alice, 'missed'), ['missed']);
  });

  overEachTransport('is not for those who left on purpose', async (t, transport) => {
    const roomId = fresh('room');
    const alice = await Peer.connect(t, server, fresh('alice'), { transport });
    await alice.ok('join', { roomId });
    const id = alice.socket.id;
    alice.chat.disconnect();
    await alice.next('disconnect');
    alice.socket.connect();
    await alice.connected();
    assert.equal(alice.socket.recovered, false);
    assert.notEqual(alice.socket.id, id);
  });

  test('needs a valid token all the same', { timeout: 20_000 }, async (t) => {
    const alice = await Peer.connect(t, server, fresh('alice'));
    await alice.cut();
    alice.socket.auth = { token: 'bad' };
    alice.socket.connect();
    assert.deepEqual((await alice.next('connect_error')).data, { code: 'token_invalid' });
  });

  test('is not for another user who knows the pid', { timeout: 20_000 }, async (t) => {
    const roomId = fresh('room');
    const [alice, bob] = [await Peer.connect(t, server, fresh('alice')), await Peer.connect(t, server, fresh('bob'))];
    await alice.ok('message', { message: 'secret', context: { roomId } });
    const id = alice.socket.id;
    await alice.cut();
    alice.socket.auth = { token: await server.token(fresh('mallory')) };
    alice.socket.connect();
    await alice.connected();
    assert.equal(alice.socket.recovered, false);
    assert.notEqual(alice.socket.id, id);
    await bob.ok('message', { message: 'for the room', context: { roomId } });
    await fence(bob, [alice]);
    assert.deepEqual(texts(alice, 'for the room'), []);
  });
});

test('also across a restart of the server', { timeout: 60_000 }, async (t) => {
  const server = await Server.start(t, FREE);
  const roomId = 'salle';
  const [alice, bob] = [await Peer.connect(t, server, 'alice'), await Peer.connect(t, server, 'bob')];
  await alice.ok('join', { roomId });
  await bob.ok('message', { message: 'seen', context: { roomId } });
  await fence(bob, [alice], { roomId });
  await alice.cut();
  const missed = ['missed 0', 'missed 1', 'missed 2'];
  for (const message of missed) {
    await bob.ok('message', { message, context: { roomId } });
  }
  assert.equal((await server.end('SIGTERM')).code, 0);
  await server.launch();
  alice.socket.connect();
  await alice.connected();
  assert.equal(alice.socket.recovered, true);
  await bob.connected();
  await fence(bob, [alice], { roomId });
  assert.deepEqual(texts(alice, 'missed'), missed);
  assert.deepEqual(texts(alice, 'seen'), ['seen']);
});
