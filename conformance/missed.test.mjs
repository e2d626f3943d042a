// Clients whose connections break, and a server that is killed: whoever comes back as a recovered socket has missed nothing.

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { behindCable } from './harness/cable.mjs';
import { cuts } from './harness/cuts.mjs';
import { fence, fresh, overEachTransport, Peer, withServer } from './harness/peer.mjs';
import { Server } from './harness/server.mjs';

/** What a peer got in a room, in order. */
const texts = (peer, stem) => peer.seen('message', ({ message }) => message.startsWith(stem)).map(({ message }) => message);

withServer('while the server runs', {}, (server) => {
  overEachTransport('what was said while a client was away comes once, in order, and before what is said now', async (t, transport) => {
    const roomId = fresh('salle');
    const alice = await Peer.connect(t, server, fresh('alice'));
    const { cable, peer } = await behindCable(t, server, roomId, transport);
    const { id } = peer.socket;
    const stem = fresh('m');
    // Before the first message there is no offset: the server knows where the client began.
    for (const round of [1, 2, 3]) {
      if (transport === 'polling') await cable.poll();
      cable.cut();
      await peer.next('disconnect');
      for (const n of [1, 2, 3]) {
        await alice.ok('message', { message: `${stem} ${round} ${n}`, context: { roomId } });
      }
      await peer.connected();
      assert.equal(peer.socket.recovered, true);
      assert.equal(peer.socket.id, id);
      await fence(alice, [peer], { roomId });
    }
    assert.deepEqual(texts(peer, stem), [1, 2, 3].flatMap((round) => [1, 2, 3].map((n) => `${stem} ${round} ${n}`)));
  });

  test('what reached the client before the cut does not come again, and what did not does', { timeout: 30_000 }, async (t) => {
    const roomId = fresh('salle');
    const alice = await Peer.connect(t, server, fresh('alice'));
    const { cable, peer } = await behindCable(t, server, roomId);
    const stem = fresh('m');
    await alice.ok('message', { message: `${stem} reaches`, context: { roomId } });
    await peer.next('message', ({ message }) => message === `${stem} reaches`);
    const lost = cable.lose(`${stem} is lost`);
    await alice.ok('message', { message: `${stem} is lost`, context: { roomId, data: Buffer.from('binary') } });
    await lost;
    cable.cut();
    await peer.connected();
    assert.equal(peer.socket.recovered, true);
    const missed = await peer.next('message', ({ message }) => message === `${stem} is lost`);
    assert.deepEqual(Buffer.from(missed.context.data), Buffer.from('binary'));
    await fence(alice, [peer], { roomId });
    assert.deepEqual(texts(peer, stem), [`${stem} reaches`, `${stem} is lost`]);
  });

  test('a client that comes back while its old connection seems to live has one socket', { timeout: 30_000 }, async (t) => {
    const roomId = fresh('salle');
    const alice = await Peer.connect(t, server, fresh('alice'));
    const peer = await Peer.connect(t, server, fresh('user'));
    await peer.ok('join', { roomId });
    const { id } = peer.socket;
    // The network is another one, and the old connection does not hear of it.
    const engine = peer.socket.io.engine;
    engine.transport.ws.removeAllListeners();
    engine.transport.ws.on('error', () => {});
    const stem = fresh('m');
    await alice.ok('message', { message: `${stem} 1`, context: { roomId } });
    engine._onClose('transport error');
    await peer.connected();
    assert.equal(peer.socket.recovered, true);
    assert.equal(peer.socket.id, id);
    await fence(alice, [peer], { roomId });
    assert.deepEqual(texts(peer, stem), [`${stem} 1`]);
    const { users } = await alice.ok('presence', { roomId });
    assert.equal(users.filter(({ userId }) => userId === peer.user).length, 1);
  });

  test('who left a room, or the chat, gets nothing of it back', { timeout: 30_000 }, async (t) => {
    const [stays, left] = [fresh('reste'), fresh('quitte')];
    const alice = await Peer.connect(t, server, fresh('alice'));
    const { cable, peer } = await behindCable(t, server, left);
    await peer.ok('join', { roomId: stays });
    await peer.ok('leave', { roomId: left });
    cable.cut();
    await peer.next('disconnect');
    const stem = fresh('m');
    await alice.ok('message', { message: `${stem} left`, context: { roomId: left } });
    await alice.ok('message', { message: `${stem} stays`, context: { roomId: stays } });
    await peer.connected();
    assert.equal(peer.socket.recovered, true);
    await peer.next('message', ({ message }) => message === `${stem} stays`);
    assert.deepEqual(texts(peer, stem), [`${stem} stays`]);
    // It leaves by its own wish, and comes as another socket.
    const { id } = peer.socket;
    peer.socket.disconnect();
    peer.socket.connect();
    await peer.connected();
    assert.equal(peer.socket.recovered, false);
    assert.notEqual(peer.socket.id, id);
  });

  test('another user, a wrong pid and a wrong offset get a new socket', { timeout: 30_000 }, async (t) => {
    const { cable, peer } = await behindCable(t, server, fresh('salle'));
    const pid = peer.socket._pid;
    for (const [user, change] of [
      ['another', () => {}],
      ['same', (socket) => (socket._pid = `${pid.slice(0, -1)}${pid.endsWith('A') ? 'B' : 'A'}`)],
      ['same', (socket) => (socket._lastOffset = 'é')],
    ]) {
      const name = user === 'same' ? peer.user : fresh(user);
      const thief = await Peer.open(t, server.url, await server.token(name ?? fresh('x')));
      await thief.connected();
      thief.socket._pid = pid;
      change(thief.socket);
      thief.socket.io.engine.close();
      await thief.connected();
      assert.equal(thief.socket.recovered, false);
    }
    cable.cut();
    await peer.connected();
    assert.equal(peer.socket.recovered, true);
  });
});

test('recovery.max_disconnection 0s: no pid, no offset, a new socket', { timeout: 30_000 }, async (t) => {
  const server = await Server.start(t, { settings: { 'recovery.max_disconnection': '0s' } });
  const { cable, peer } = await behindCable(t, server, 'salle');
  assert.equal(peer.socket._pid, undefined);
  await peer.ok('message', { message: 'alone', context: { roomId: 'salle' } });
  const { args } = await peer.record('message');
  assert.equal(args.length, 1);
  cable.cut();
  await peer.connected();
  assert.ok(!peer.socket.recovered);
});

for (const signal of ['SIGKILL', 'SIGTERM']) {
  test(`${signal} and start again: everybody is recovered and has everything once, in order`, { timeout: 60_000 }, async (t) => {
    const server = await Server.start(t);
    const alice = await Peer.connect(t, server, 'alice');
    const peers = [];
    for (const transport of ['websocket', 'polling', 'upgrade']) {
      const peer = await Peer.connect(t, server, fresh(transport), { transport });
      await peer.ok('join', { roomId: 'salle' });
      peers.push(peer);
    }
    for (const round of ['first', 'second']) {
      for (const n of [1, 2, 3]) {
        await alice.ok('message', { message: `m ${round} ${n}`, context: { roomId: 'salle' } });
      }
      await server.end(signal);
      for (const peer of [alice, ...peers]) await peer.next('disconnect');
      await server.launch();
      await Promise.all([alice, ...peers].map((peer) => peer.connected()));
      for (const peer of [alice, ...peers]) assert.equal(peer.socket.recovered, true, peer.transport);
      await fence(alice, peers, { roomId: 'salle' });
    }
    const { messages } = await alice.ok('history', { roomId: 'salle', limit: 200 });
    const history = messages.map(({ id }) => id);
    for (const peer of peers) {
      assert.deepEqual(peer.seen('message').map(({ id }) => id), history, peer.transport);
    }
  });
}

test('50 clients whose connections are cut for 30 s have 100 % of what was said, once and in order', { timeout: 90_000 }, async () => {
  const { cuts: cut } = await cuts();
  assert.ok(cut > 100, `${cut} cuts`);
});
