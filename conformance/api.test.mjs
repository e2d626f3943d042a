// The HTTP API and webhooks beside official clients: what their users notice of them (docs/api.md).

import assert from 'node:assert/strict';
import { createHmac, timingSafeEqual } from 'node:crypto';
import { createServer } from 'node:http';
import { after, before, describe, test } from 'node:test';

import { behindCable } from './harness/cable.mjs';
import { Inbox } from './harness/inbox.mjs';
import { fence, fresh, overEachTransport, Peer, withServer } from './harness/peer.mjs';
import { http } from './harness/raw.mjs';
import { Server } from './harness/server.mjs';

const KEY = 'conformance-key-0123456789abcdef0123456789';
const OPTIONS = { args: ['--api-key', `tests:${KEY}`] };

/** A call that succeeds; its answer. */
async function call(server, method, path, body) {
  const headers = { authorization: `Bearer ${KEY}`, 'content-type': 'application/json' };
  const answer = await http(server, `/api${path}`, { method, headers, body: body && JSON.stringify(body) });
  assert.equal(answer.status, 200, `${method} ${path}: ${answer.text}`);
  return JSON.parse(answer.text);
}

for (const [kept, settings] of [['in a file', {}], ['in memory', { 'store.kind': 'memory' }]]) {
  test(`a deletion of which a client did not hear comes again, with messages ${kept}`, { timeout: 60_000 }, async (t) => {
    const server = await Server.start(t, { ...OPTIONS, settings });
    const roomId = fresh('room');
    const { cable, peer } = await behindCable(t, server, roomId);
    const { id } = await peer.ok('message', { message: 'to be deleted', context: { roomId } });
    const lost = cable.lose('messageDeleted');
    await call(server, 'DELETE', `/messages/${id}`);
    await lost;
    if (kept === 'in a file') {
      await server.end('SIGKILL');
      await server.launch();
    }
    cable.cut();
    await peer.connected();
    assert.equal(peer.socket.recovered, true);
    assert.deepEqual(await peer.next('messageDeleted'), { id, roomId });
  });
}

withServer('the API', OPTIONS, (server) => {
  overEachTransport('sends what clients receive, and deletes what they then do not find', async (t, transport) => {
    const roomId = fresh('room');
    const [alice, bob] = await Promise.all(['alice', 'bob'].map((name) => Peer.connect(t, server, fresh(name), { transport })));
    await alice.ok('join', { roomId });
    const sent = { userId: 'shop', username: 'The shop', message: 'hello', context: { roomId, clientId: 'once' } };
    const first = await call(server, 'POST', '/messages', sent);
    assert.deepEqual(await call(server, 'POST', '/messages', sent), first);
    const { ok, ...receipt } = first;
    assert.equal(ok, true);
    assert.deepEqual(await alice.next('message', ({ userId }) => userId === 'shop'), { ...sent, ...receipt });
    assert.deepEqual((await alice.ok('history', { roomId })).messages.map(({ id }) => id), [first.id]);
    await call(server, 'DELETE', `/messages/${first.id}`);
    assert.deepEqual(await alice.next('messageDeleted'), { id: first.id, roomId });
    assert.deepEqual((await alice.ok('history', { roomId })).messages, []);
    await fence(bob, [alice, bob]);
    assert.equal(alice.seen('message', ({ userId }) => userId === 'shop').length, 1, 'once');
    assert.deepEqual(bob.seen('messageDeleted'), [], 'bob is not in the room');
  });

  overEachTransport('tells clients that were away what was deleted meanwhile', async (t, transport) => {
    const roomId = fresh('room');
    const alice = await Peer.connect(t, server, fresh('alice'));
    const { cable, peer } = await behindCable(t, server, roomId, transport);
    const ids = [];
    for (const n of [1, 2, 3]) {
      ids.push((await alice.ok('message', { message: `m ${n}`, context: { roomId } })).id);
    }
    await peer.next('message', ({ message }) => message === 'm 3');
    if (transport === 'polling') await cable.poll();
    cable.cut();
    await peer.next('disconnect');
    await call(server, 'DELETE', `/messages/${ids[0]}`);
    const { id: missed } = await alice.ok('message', { message: 'm 4', context: { roomId } });
    await call(server, 'DELETE', `/messages/${ids[1]}`);
    await peer.connected();
    assert.equal(peer.socket.recovered, true);
    await fence(alice, [peer], { roomId });
    assert.deepEqual(peer.seen('messageDeleted'), [{ id: ids[0], roomId }, { id: ids[1], roomId }]);
    assert.ok(peer.seen('message', ({ id }) => id === missed).length === 1);
  });

  overEachTransport('disconnects for good, and bans', async (t, transport) => {
    const user = fresh('eve');
    const eve = await Peer.connect(t, server, user, { transport });
    await call(server, 'POST', `/users/${user}/disconnect`);
    assert.equal((await eve.next('error')).code, 'disconnected');
    assert.equal(await eve.next('disconnect'), 'io server disconnect');
    eve.socket.connect();
    await eve.connected();
    assert.equal((await call(server, 'PUT', `/users/${user}/ban`, { reason: 'spam' })).disconnected, 1);
    assert.equal((await eve.next('error')).code, 'banned');
    assert.equal(await eve.next('disconnect'), 'io server disconnect');
    eve.socket.connect();
    const refusal = await eve.next('connect_error');
    assert.deepEqual([refusal.message, refusal.data], ['unauthorized', { code: 'banned' }]);
    assert.ok((await call(server, 'GET', '/bans')).bans.some(({ userId }) => userId === user));
    await call(server, 'DELETE', `/users/${user}/ban`);
    eve.socket.connect();
    await eve.connected();
  });

  test('says who is where', { timeout: 20_000 }, async (t) => {
    const roomId = fresh('room/ä');
    const alice = await Peer.connect(t, server, fresh('alice'), { name: 'Alice' });
    await alice.ok('join', { roomId });
    await alice.ok('message', { message: 'x', context: { roomId } });
    const users = [{ userId: alice.user, username: 'Alice', isOnline: true }];
    assert.deepEqual(await call(server, 'GET', `/rooms/${encodeURIComponent(roomId)}/presence`), { users, total: 1 });
    const { rooms } = await call(server, 'GET', '/rooms');
    assert.deepEqual(rooms.find((room) => room.roomId === roomId), { roomId, users: 1, messages: 1 });
  });
});

/** The receiver's check, as docs/api.md has it. */
function isGenuine(secret, headers, body) {
  const key = secret.startsWith('whsec_') ? Buffer.from(secret.slice('whsec_'.length), 'base64') : secret;
  const signed = `${headers['webhook-id']}.${headers['webhook-timestamp']}.`;
  const expected = createHmac('sha256', key).update(signed).update(body).digest();
  const isFresh = Math.abs(Date.now() / 1000 - Number(headers['webhook-timestamp'])) < 300;
  return isFresh && headers['webhook-signature'].split(' ').some((value) => {
    const shown = Buffer.from(value.slice('v1,'.length), 'base64');
    return shown.length === expected.length && timingSafeEqual(shown, expected);
  });
}

describe('webhooks', () => {
  const secret = 'a secret of the receiver, thirty-two bytes';
  const events = new Inbox();
  let server;
  const receiver = createServer(async (request, response) => {
    const body = Buffer.concat(await request.toArray());
    const genuine = isGenuine(secret, request.headers, body) && !isGenuine(`${secret}!`, request.headers, body);
    JSON.parse(body).events.forEach((event) => events.push({ ...event, genuine }));
    response.writeHead(204).end();
  });
  before(async () => {
    await new Promise((resolve) => receiver.listen(0, '127.0.0.1', resolve));
    const url = `http://127.0.0.1:${receiver.address().port}/hook`;
    server = new Server({ settings: { 'webhooks.url': url, 'webhooks.secret': secret, 'presence.grace': '100ms' } });
    await server.launch();
  });
  after(async () => {
    await server.remove();
    receiver.closeAllConnections();
    receiver.close();
  });

  test('tell of users and messages, signed', { timeout: 20_000 }, async (t) => {
    const alice = await Peer.connect(t, server, fresh('alice'), { name: 'Alice' });
    const { id } = await alice.ok('message', { message: 'hi' });
    const [message] = alice.seen('message', (got) => got.id === id);
    alice.chat.disconnect();
    const user = { userId: alice.user, username: 'Alice' };
    for (const [type, data] of [
      ['user.connected', user],
      ['message.stored', { roomId: 'lobby', message }],
      ['user.disconnected', user],
    ]) {
      const event = await events.next((item) => item.type === type, type);
      assert.deepEqual([event.genuine, event.data], [true, data]);
      assert.ok(Math.abs(Date.parse(event.timestamp) - Date.now()) < 20_000, event.timestamp);
    }
  });
});
