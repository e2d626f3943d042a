// The official client in the versions that applications have today, against the fixture `client-sio`: the newest, the first
// of version 4, the last of version 3, and the last of version 2, for which the server must allow its protocol.

import assert from 'node:assert/strict';
import { createRequire } from 'node:module';
import { describe } from 'node:test';
import { io } from 'socket.io-client';

import { Cable } from './harness/cable.mjs';
import { withFixture } from './harness/fixture.mjs';
import { Inbox } from './harness/inbox.mjs';
import { overEachTransport } from './harness/peer.mjs';
import { TRANSPORTS } from './harness/transports.mjs';

const require = createRequire(import.meta.url);
const CLIENTS = [
  { version: '4.8', connect: io, recovers: true },
  { version: '4.0', connect: require('socket.io-client-v4.0') },
  { version: '3', connect: require('socket.io-client-v3') },
  { version: '2', connect: require('socket.io-client-v2'), isV2: true },
];
const EVENTS = [
  'connect', 'disconnect', 'connect_error', 'error', 'reconnect', 'ack', 'hi', 'got it', 'takeUtf8', 'takeDate', 'takeDateObj', 'false', 'doge',
  'takebin', 'buffack', 'jsonbuff-ack', 'abuff2-ack', 'handshake',
];
const VALUES = ['é漢😀\u2028"\\\n', 0, -1.5, 1e21, false, null, [], {}, { deep: [{ a: [[1]] }] }];
const BINARY = [Buffer.from([0, 1, 255]), { a: [Buffer.alloc(0), 'x', { b: Buffer.from('é') }], c: null }, [Buffer.alloc(50_000, 7)]];

/** Collects what a socket hears, `reconnect` wherever this version says it. */
function listen(socket, { isV2 }) {
  const inbox = new Inbox();
  for (const event of EVENTS) {
    const emitter = event === 'reconnect' && !isV2 ? socket.io : socket;
    emitter.on(event, (...args) => inbox.push({ event, args }));
  }
  return {
    socket,
    inbox,
    /** The first argument of the next event of a name. */
    next: async (event) => (await inbox.next((item) => item.event === event, event)).args[0],
    request: async (...args) => {
      const answers = new Inbox();
      socket.emit(...args, (...answer) => answers.push(answer));
      return answers.next(() => true, `an answer to ${args[0]}`);
    },
  };
}

/** A socket that connects; closed with the test. */
function open(t, client, url, transport, options = {}) {
  const given = { forceNew: true, reconnection: false, reconnectionDelay: 10, ...TRANSPORTS[transport], ...options };
  const socket = client.connect(url, given);
  t.after(() => {
    // Sockets of other namespaces would keep the connection.
    socket.io.reconnection(false);
    socket.close();
    socket.io.engine.close();
  });
  return listen(socket, client);
}

/** Waits until a socket is connected, and its connection upgraded where it is to be. */
async function connected({ socket, next }, transport) {
  await next('connect');
  const { engine } = socket.io;
  if (transport === 'upgrade' && engine.transport.name !== 'websocket') {
    const upgraded = new Inbox();
    engine.once('upgrade', () => upgraded.push(true));
    await upgraded.next(() => true, 'the upgrade');
  }
  assert.equal(engine.transport.name, transport === 'polling' ? 'polling' : 'websocket');
}

async function start(t, client, url, transport, options) {
  const peer = open(t, client, url, transport, options);
  await connected(peer, transport);
  return peer;
}

for (const client of CLIENTS) {
  const { isV2 = false, recovers = false } = client;
  const refusedBy = isV2 ? 'error' : 'connect_error';

  withFixture(`socket.io-client ${client.version}`, 'client-sio', { eio3: isV2 }, (server) => {
    overEachTransport('connects, and both sides know the socket by one id', async (t, transport) => {
      const { socket, request } = await start(t, client, server.url, transport);
      assert.deepEqual(await request('getId'), [socket.id]);
    });

    overEachTransport('namespaces share a connection, and are left one by one', async (t, transport) => {
      const main = await start(t, client, server.url, transport);
      const foo = listen(main.socket.io.socket('/foo'), client);
      await foo.next('connect');
      assert.deepEqual(await foo.request('getId'), [foo.socket.id]);
      assert.notEqual(foo.socket.id, main.socket.id);
      foo.socket.disconnect();
      assert.equal(await foo.next('disconnect'), 'io client disconnect');
      assert.deepEqual(await main.request('echo', 'still here'), ['still here']);
      foo.socket.connect();
      await foo.next('connect');
      assert.deepEqual(await foo.request('getId'), [foo.socket.id]);
    });

    overEachTransport('the handshake has the query and what the client says for the namespace', async (t, transport) => {
      const options = isV2 ? {} : { query: { 'q&': '=?é' }, auth: { token: 'a b&c', list: [1] } };
      const { next } = open(t, client, `${server.url}/abc${isV2 ? '?token=a%20b%26c' : ''}`, transport, options);
      const { query, auth, headers, address, xdomain, secure, issued, time, url } = await next('handshake');
      assert.equal(query.EIO, isV2 ? '3' : '4');
      assert.equal(query.transport, transport === 'websocket' ? 'websocket' : 'polling');
      if (isV2) {
        assert.deepEqual(auth, { token: 'a b&c' });
      } else {
        assert.equal(query['q&'], '=?é');
        assert.deepEqual(auth, { token: 'a b&c', list: [1] });
      }
      assert.equal(headers.host, new URL(server.url).host);
      assert.match(address, /^(::ffff:)?127\.0\.0\.1$/);
      assert.equal(xdomain, false);
      assert.equal(secure, false);
      assert.ok(Math.abs(issued - Date.now()) < 60_000 && Math.abs(new Date(time) - issued) < 2_000, `${time}, ${issued}`);
      assert.match(url, /^\/socket\.io\/\?/);
    });

    overEachTransport('refusals say why, and are of one namespace', async (t, transport) => {
      // To version 2 an application's refusal is the text alone.
      const message = (refusal) => (typeof refusal === 'string' ? refusal : refusal.message);
      const refusal = async (peer) => message(await peer.next(refusedBy));
      assert.equal(await refusal(open(t, client, `${server.url}/?fail=true`, transport)), 'Auth failed (main namespace)');
      const main = await start(t, client, server.url, transport);
      for (const [nsp, reason] of [['/no', 'Auth failed (custom namespace)'], ['/nothing', 'Invalid namespace']]) {
        const other = listen(main.socket.io.socket(nsp), client);
        const given = await other.next(refusedBy);
        assert.equal(message(given), reason);
        if (isV2) assert.equal(typeof given, nsp === '/no' ? 'string' : 'object');
        assert.equal(other.socket.connected, false);
      }
      assert.deepEqual(await main.request('echo', 'still here'), ['still here']);
    });

    overEachTransport('events and acknowledgements, both ways and in order', async (t, transport) => {
      const peer = open(t, client, server.url, transport);
      const { socket, inbox, next, request } = peer;
      // Sent before the answer to CONNECT, so the client keeps it back.
      socket.emit('hi');
      await next('hi');
      await connected(peer, transport);
      assert.deepEqual(await Promise.all(VALUES.map((value) => request('echo', value))), VALUES.map((value) => [value]));
      socket.emit('false');
      assert.equal(await next('false'), false);
      socket.emit('getUtf8');
      for (const text of ['てすと', 'Я Б Г Д Ж Й', 'Ä ä Ü ü ß', 'utf8 — string', 'utf8 — string']) {
        assert.equal(await next('takeUtf8'), text);
      }
      socket.emit('getDate');
      socket.emit('getDateObj');
      const dates = [await next('takeDate'), (await next('takeDateObj')).date, (await request('getAckDate', {}))[0]];
      for (const date of dates) {
        assert.equal(new Date(date).toISOString(), date);
      }
      socket.emit('ack');
      (await next('ack'))(5, { test: true });
      await next('got it');
      assert.equal(inbox.all.filter(({ event }) => event === 'hi').length, 1);
    });

    overEachTransport('binary, both ways, alone and inside of what it belongs to', async (t, transport) => {
      const { socket, next, request } = await start(t, client, server.url, transport);
      assert.deepEqual(await Promise.all(BINARY.map((value) => request('echo', value))), BINARY.map((value) => [value]));
      socket.emit('doge');
      assert.deepEqual(await next('doge'), Buffer.from('asdfasdf'));
      socket.emit('getbin');
      assert.deepEqual(await next('takebin'), Buffer.from('asdfasdf'));
      socket.emit('buffa', Buffer.from([1]));
      await next('buffack');
      socket.emit('jsonbuff', { hello: 'lol', message: Buffer.from([2]), goodbye: 'gotcha' });
      await next('jsonbuff-ack');
      socket.emit('abuff1', Buffer.from([3]));
      socket.emit('abuff2', 'after it');
      await next('abuff2-ack');
    });

    overEachTransport('a lost connection has its reason, and the client comes back', async (t, transport) => {
      const cable = await Cable.lay(t, server.url);
      const { socket, next, request } = await start(t, client, cable.url, transport, { reconnection: true });
      const { id } = socket;
      if (transport === 'polling') await cable.poll();
      cable.cut();
      assert.equal(await next('disconnect'), transport === 'polling' ? 'transport error' : 'transport close');
      await next('reconnect');
      await next('connect');
      assert.deepEqual(await request('getId'), [socket.id]);
      if (!recovers) assert.notEqual(socket.id, id);
      socket.io.engine.close();
      assert.equal(await next('disconnect'), 'forced close');
      await next('reconnect');
      await next('connect');
      socket.disconnect();
      assert.equal(await next('disconnect'), 'io client disconnect');
    });

    if (recovers) {
      overEachTransport('a lost connection costs neither the socket nor an event', async (t, transport) => {
        const cable = await Cable.lay(t, server.url);
        const { socket, next } = await start(t, client, cable.url, transport, { reconnection: true });
        const { id } = socket;
        socket.emit('hi');
        await next('hi');
        if (transport === 'polling') {
          // A cable that is cut would not tell the server: it would wait for the next poll.
          socket.io.engine.close();
        } else {
          const lost = cable.lose('42["hi",');
          socket.emit('hi');
          await lost;
          cable.cut();
          await next('hi');
        }
        await next('reconnect');
        await next('connect');
        assert.equal(socket.recovered, true);
        assert.equal(socket.id, id);
      });
    }
  });

  withFixture(`socket.io-client ${client.version} and a server that ends it`, 'clients', { eio3: isV2 }, (server) => {
    overEachTransport('a socket that the server put out of a namespace does not come back', async (t, transport) => {
      const main = await start(t, client, server.url, transport, { reconnection: true });
      const custom = listen(main.socket.io.socket('/custom'), client);
      await custom.next('connect');
      main.socket.emit('bye');
      assert.equal(await main.next('disconnect'), 'io server disconnect');
      assert.deepEqual(await custom.request('back', 5), [5]);
      assert.equal(main.socket.connected, false);
    });
  });
}

describe('clients of version 2 where they are not allowed', () => {
  withFixture('client-sio', 'client-sio', {}, (server) => {
    overEachTransport('are refused', async (t, transport) => {
      const refused = open(t, CLIENTS.at(-1), server.url, transport);
      await refused.next('connect_error');
    });
  });
});
