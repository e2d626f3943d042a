// Connection state recovery with the official client: it gets its socket back, and each event that it missed once and in order.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Manager } from 'socket.io-client';

import { withFixture } from './harness/fixture.mjs';
import { Inbox, withDeadline } from './harness/inbox.mjs';

let rooms = 0;

/** A client, in a room of its own. `options` are the manager's. */
async function join(t, server, options = {}) {
  const manager = new Manager(server.url, { transports: ['websocket'], reconnectionDelay: 1, reconnectionDelayMax: 50, ...options });
  const socket = manager.socket('/');
  t.after(() => manager._close());
  const client = { socket, events: new Inbox(), connects: new Inbox(), room: `room ${(rooms += 1)}` };
  socket.on('sent', (...args) => client.events.push(args));
  socket.on('connect', () => client.connects.push(socket.recovered === true));
  assert.equal(await client.connects.next(() => true, 'a connect'), false);
  await socket.timeout(5_000).emitWithAck('join', client.room);
  return client;
}

/** Another client, which sends events to the rooms of others. */
async function sender(t, server) {
  const { socket } = await join(t, server);
  return (client, ...args) => socket.emit('send', client.room, { volatile: false }, ...args);
}

const connected = (client) => client.connects.next(() => true, 'a connect');

async function nextEvent(client, first) {
  const event = await client.events.next(() => true, `the event ${first}`);
  assert.deepEqual(event[0], first);
  const offset = event.at(-1);
  assert.match(offset, /^[0-9a-z]{8}(\.[0-9a-z]+)+$/);
  return event;
}

for (const transports of [['websocket'], ['polling'], ['polling', 'websocket']]) {
  withFixture(`recovery over ${transports.join(' and ')}`, 'recovery', {}, (server) => {
    test('missed events come once and in order, again and again', { timeout: 30_000 }, async (t) => {
      const client = await join(t, server, { transports });
      const send = await sender(t, server);
      const { id } = client.socket;
      let number = 0;
      for (let round = 0; round < 5; round += 1) {
        send(client, (number += 1));
        await nextEvent(client, number);
        client.socket.io.engine.close();
        const first = number + 1;
        for (let missed = 0; missed < 5; missed += 1) {
          send(client, (number += 1), Buffer.from([number]));
        }
        assert.equal(await connected(client), true);
        assert.equal(client.socket.id, id);
        for (let missed = first; missed <= number; missed += 1) {
          const [, bytes] = await nextEvent(client, missed);
          assert.deepEqual([...bytes], [missed]);
        }
      }
      send(client, 'last');
      await nextEvent(client, 'last');
      assert.equal(client.events.all.length, number + 1);
    });

    test('before the first event', { timeout: 20_000 }, async (t) => {
      const client = await join(t, server, { transports });
      const send = await sender(t, server);
      client.socket.io.engine.close();
      send(client, 'first');
      assert.equal(await connected(client), true);
      await nextEvent(client, 'first');
    });

    test('after a volatile event that ends with a string', { timeout: 20_000 }, async (t) => {
      const client = await join(t, server, { transports });
      const send = await sender(t, server);
      client.socket.emit('send', client.room, { volatile: true }, 'volatile');
      await nextEvent(client, 'volatile');
      client.socket.io.engine.close();
      send(client, 'missed');
      assert.equal(await connected(client), true);
      await nextEvent(client, 'missed');
      assert.equal(client.events.all.length, 2);
    });

    test('disconnect() is for good', { timeout: 20_000 }, async (t) => {
      const client = await join(t, server, { transports });
      const { id } = client.socket;
      client.socket.disconnect();
      client.socket.connect();
      assert.equal(await connected(client), false);
      assert.notEqual(client.socket.id, id);
    });
  });
}

withFixture('recovery while the old connection seems to live', 'recovery', {}, (server) => {
  test('the new connection takes over', { timeout: 20_000 }, async (t) => {
    const old = await join(t, server);
    const send = await sender(t, server);
    send(old, 1);
    await nextEvent(old, 1);
    // From here on it reads nothing, and nobody tells the server.
    const { ws } = old.socket.io.engine.transport;
    ws._socket.pause();
    // A WebSocket that is closed waits 30 s for the other side, which this one never hears.
    t.after(() => ws.terminate());
    send(old, 2);
    const manager = new Manager(server.url, { transports: ['websocket'], autoConnect: false });
    t.after(() => manager._close());
    const socket = manager.socket('/');
    const client = { socket, events: new Inbox() };
    socket.on('sent', (...args) => client.events.push(args));
    socket._pid = old.socket._pid;
    socket._lastOffset = old.socket._lastOffset;
    const connect = new Promise((resolve) => {
      socket.on('connect', resolve);
    });
    socket.connect();
    await withDeadline(connect, 'a connect');
    assert.equal(socket.recovered, true);
    assert.equal(socket.id, old.socket.id);
    await nextEvent(client, 2);
    send(old, 3);
    await nextEvent(client, 3);
  });
});

withFixture('recovery switched off', 'sio', {}, (server) => {
  test('there is neither a pid nor an offset', { timeout: 20_000 }, async (t) => {
    const manager = new Manager(server.url, { transports: ['websocket'], reconnectionDelay: 1, reconnectionDelayMax: 50 });
    t.after(() => manager._close());
    const socket = manager.socket('/');
    const [connects, echoes] = [new Inbox(), new Inbox()];
    socket.on('connect', () => connects.push(socket.recovered === true));
    socket.on('message-back', (...args) => echoes.push(args));
    assert.equal(await connects.next(() => true, 'a connect'), false);
    socket.emit('message', 'plain');
    assert.deepEqual(await echoes.next(() => true, 'the event'), ['plain']);
    assert.equal(socket._pid, undefined);
    socket.io.engine.close();
    assert.equal(await connects.next(() => true, 'another connect'), false);
  });
});
