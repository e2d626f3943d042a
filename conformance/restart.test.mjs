// The server ends and starts again: clients reconnect by themselves and go on.

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { fence, fresh, Peer } from './harness/peer.mjs';
import { http, PollingSession, RawWebSocket } from './harness/raw.mjs';
import { Server } from './harness/server.mjs';
import { TRANSPORTS } from './harness/transports.mjs';

/** The document's client gives up 12.5 s or more after a loss; every one must be back earlier than this. */
const BACK_WITHIN = 10_000;

/** One user per transport, all in one room. */
async function crowd(t, server, roomId) {
  const peers = [];
  for (const transport of Object.keys(TRANSPORTS)) {
    const peer = await Peer.connect(t, server, fresh(transport), { transport });
    await peer.ok('join', { roomId });
    peers.push(peer);
  }
  return peers;
}

/** After a restart: every client comes back with nothing but the document's options. */
async function allBack(peers) {
  for (const peer of peers) {
    await peer.connected(BACK_WITHIN);
    await peer.next('reconnect');
    assert.deepEqual(peer.seen('reconnect_failed'), [], peer.transport);
  }
}

/** Everybody says something in the room, by the document's method; everybody gets all of it, once. */
async function exchange(peers, roomId, stem) {
  for (const peer of peers) {
    await peer.ok('join', { roomId });
  }
  const texts = peers.map((peer) => `${stem} ${peer.transport}`);
  for (const [n, peer] of peers.entries()) {
    peer.chat.sendMessage(texts[n], { roomId });
  }
  for (const peer of peers) {
    for (const text of texts) {
      await peer.next('message', ({ message }) => message === text);
    }
  }
  await fence(peers[0], peers, { roomId });
  for (const peer of peers) {
    const got = peer.seen('message', ({ message }) => message.startsWith(stem)).map(({ message }) => message);
    assert.deepEqual(got.toSorted(), texts.toSorted(), peer.transport);
  }
}

test('SIGKILL and start again: every client reconnects by itself, and messages flow as before', { timeout: 60_000 }, async (t) => {
  const server = await Server.start(t);
  const peers = await crowd(t, server, 'salle');
  await exchange(peers, 'salle', 'before');

  for (const round of ['after', 'after the second']) {
    await server.end('SIGKILL');
    await server.launch();
    const started = performance.now();
    for (const peer of peers) {
      assert.notEqual(await peer.next('disconnect'), 'io server disconnect');
    }
    await allBack(peers);
    assert.ok(performance.now() - started < BACK_WITHIN);
    await exchange(peers, 'salle', `${round}:`);
  }
});

test('SIGKILL while everybody sends: every client reconnects by itself, and nothing comes twice', { timeout: 60_000 }, async (t) => {
  const server = await Server.start(t, { settings: { 'limits.message_rate': 0 } });
  const peers = await crowd(t, server, 'salle');
  for (const peer of peers) {
    let sent = 0;
    const pump = () => {
      if (peer.socket.connected) {
        peer.socket.emit('message', { message: `${peer.transport} ${sent}`, context: { roomId: 'salle' } }, pump);
        sent += 1;
      }
    };
    for (let parallel = 0; parallel < 8; parallel += 1) {
      pump();
    }
  }
  for (const peer of peers) {
    await peer.next('message', ({ message }) => message === `${peer.transport} 20`);
  }
  await server.end('SIGKILL');
  for (const peer of peers) {
    await peer.next('disconnect');
  }
  await server.launch();
  await allBack(peers);
  await exchange(peers, 'salle', 'after:');
  for (const peer of peers) {
    const ids = peer.seen('message').map(({ id }) => id);
    assert.equal(new Set(ids).size, ids.length, peer.transport);
  }
});

test('SIGTERM: every connection ends at the transport, exit code 0, and the clients reconnect', { timeout: 60_000 }, async (t) => {
  const server = await Server.start(t);
  const peers = await crowd(t, server, 'salle');
  const raw = await RawWebSocket.open(t, server);
  await raw.connect(await server.token('raw'));
  const session = await PollingSession.open(server);
  await session.connect(await server.token('poller'));
  await session.send('421["message",{"message":"last"}]');
  await session.packet('431');
  await session.packet('42["message"');
  for (const peer of peers) {
    await peer.next('message', ({ message }) => message === 'last');
  }
  // The server has nothing to send, so this poll waits until the end. The second request shows that the server has the
  // poll.
  const ended = session.get();
  assert.equal((await http(server, '/healthz')).status, 200);

  const { code } = await server.end('SIGTERM', 10_000);
  assert.equal(code, 0);
  assert.equal(await raw.closed(), 1001);
  assert.equal((await ended).text, '1');
  assert.ok(!raw.inbox.all.includes('41'), 'the disconnect packet would keep clients away');
  for (const peer of peers) {
    assert.equal(await peer.next('disconnect'), 'transport close', peer.transport);
    assert.equal(peer.socket.active, true);
  }
  await server.launch();
  await allBack(peers);
  await exchange(peers, 'salle', 'after:');
});

test('SIGINT ends as SIGTERM does', { timeout: 30_000 }, async (t) => {
  const server = await Server.start(t);
  const alice = await Peer.connect(t, server, 'alice');
  assert.equal((await server.end('SIGINT', 10_000)).code, 0);
  assert.equal(await alice.next('disconnect'), 'transport close');
});
