// The server goes away and comes back: clients return by themselves, and nothing acknowledged is lost.

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

test('SIGKILL and start again: every client is back by itself, every acknowledged message in the history', { timeout: 60_000 }, async (t) => {
  const server = await Server.start(t);
  const roomId = 'salle';
  const peers = await crowd(t, server, roomId);
  const [alice] = peers;
  const before = [];
  for (let n = 0; n < 20; n += 1) {
    before.push((await alice.ok('message', { message: `before ${n}`, context: { roomId, clientId: `before ${n}` } })).id);
  }

  await server.end('SIGKILL');
  await server.launch();
  const started = performance.now();
  for (const peer of peers) {
    assert.notEqual(await peer.next('disconnect'), 'io server disconnect');
    await peer.connected(BACK_WITHIN);
    await peer.next('reconnect');
    assert.deepEqual(peer.seen('reconnect_failed'), []);
  }
  assert.ok(performance.now() - started < BACK_WITHIN);

  for (const peer of peers) {
    const { messages } = await peer.ok('join', { roomId, history: 100 });
    assert.deepEqual(messages.map(({ id }) => id), before);
  }
  const again = await alice.ok('message', { message: 'before 19', context: { roomId, clientId: 'before 19' } });
  assert.equal(again.id, before.at(-1), 'the retry of an acknowledged message is that message');
  const [message] = await fence(alice, peers, { roomId });
  assert.ok(message.id > before.at(-1));
});

test('messages on their way when the server is killed: the acknowledged ones are there, each once', { timeout: 60_000 }, async (t) => {
  const server = await Server.start(t, { settings: { 'limits.message_rate': 0 } });
  const roomId = 'salle';
  const [alice] = await crowd(t, server, roomId);
  const acknowledged = [];
  let sent = 0;
  const pump = () => {
    if (alice.socket.connected && sent < 5_000) {
      alice.socket.emit('message', { message: `${sent}`, context: { roomId } }, ({ ok, id }) => {
        if (ok) acknowledged.push(id);
        pump();
      });
      sent += 1;
    }
  };
  for (let parallel = 0; parallel < 8; parallel += 1) {
    pump();
  }
  await alice.next('message', ({ message }) => Number(message) >= 50);
  await server.end('SIGKILL');
  await alice.next('disconnect');
  assert.ok(acknowledged.length > 0);
  await server.launch();
  await alice.connected(BACK_WITHIN);

  const stored = [];
  for (let before, more = true; more;) {
    const page = await alice.ok('history', { roomId, before });
    stored.unshift(...page.messages.map(({ id }) => id));
    [before] = stored;
    more = page.more;
  }
  assert.deepEqual(stored.toSorted(), stored);
  assert.equal(new Set(stored).size, stored.length);
  const missing = acknowledged.filter((id) => !stored.includes(id));
  assert.deepEqual(missing, []);
});

test('SIGTERM: every connection ends at the transport, exit code 0, and the clients come back', { timeout: 60_000 }, async (t) => {
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
  // Nothing is left to be sent: this poll waits until the end. The other request shows that it has reached the server.
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
  for (const peer of peers) {
    await peer.connected(BACK_WITHIN);
  }
  await fence(peers[0], peers);
});

test('SIGINT ends as SIGTERM does', { timeout: 30_000 }, async (t) => {
  const server = await Server.start(t);
  const alice = await Peer.connect(t, server, 'alice');
  assert.equal((await server.end('SIGINT', 10_000)).code, 0);
  assert.equal(await alice.next('disconnect'), 'transport close');
});
