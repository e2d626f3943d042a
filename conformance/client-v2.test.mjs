// The official client of version 2 (protocol v4 of Socket.IO, over Engine.IO v3) against a server that allows it.

import assert from 'node:assert/strict';
import { createRequire } from 'node:module';
import { test } from 'node:test';
import { io as connectV4 } from 'socket.io-client';

import { withFixture } from './harness/fixture.mjs';
import { Inbox } from './harness/inbox.mjs';

const connectV2 = createRequire(import.meta.url)('socket.io-client-v2');
const EVENTS = ['connect', 'disconnect', 'error', 'auth', 'echo', 'all', 'to', 'reconnecting'];

/** A client, and everything it hears: `next(event)` is the first argument of the next one. */
function open(t, connect, url, options) {
  const socket = connect(url, { forceNew: true, reconnection: false, ...options });
  const inbox = new Inbox();
  t.after(() => socket.close());
  for (const event of EVENTS) {
    socket.on(event, (...args) => inbox.push({ event, args }));
  }
  const next = async (event) => (await inbox.next((item) => item.event === event, event)).args[0];
  const request = (...args) => {
    const answers = new Inbox();
    socket.emit(...args, (...answer) => answers.push(answer));
    return answers.next(() => true, `an answer to ${args[0]}`);
  };
  return { socket, inbox, next, request };
}

const VALUES = ['a', 1, -1.5, null, true, [], {}, 'é漢😀\u2028"\\\n', { deep: [{ a: [[1]] }] }];

withFixture('socket.io-client 2', 'clients', { eio3: true }, (server) => {
  for (const transports of [['polling'], ['websocket'], ['polling', 'websocket']]) {
    const start = (t, nsp = '/', options = {}) => open(t, connectV2, `${server.url}${nsp}`, { transports, ...options });

    test(`${transports}: is connected to / at once, without auth`, async (t) => {
      const { next } = start(t);
      await next('connect');
      assert.equal(await next('auth'), null);
    });

    test(`${transports}: events and acknowledgements in both directions`, async (t) => {
      const { socket, next, request, inbox } = start(t);
      // Sent before the answer to CONNECT, so the client keeps it back.
      socket.emit('echo', 'early');
      assert.equal(await next('echo'), 'early');
      socket.emit('echo', ...VALUES);
      assert.deepEqual((await inbox.next(({ event }) => event === 'echo', 'echo')).args, VALUES);
      assert.deepEqual(await request('back', ...VALUES), VALUES);
      socket.on('asked', (...args) => args.pop()(...args, 'answered'));
      assert.deepEqual(await request('ask', ...VALUES), [...VALUES, 'answered']);
    });

    test(`${transports}: binary`, async (t) => {
      const { socket, inbox, request } = start(t);
      const values = [Buffer.from([1, 2, 3]), { a: [Buffer.from([0, 255]), 'x'] }, Buffer.alloc(5000, 7)];
      socket.emit('echo', ...values);
      assert.deepEqual((await inbox.next(({ event }) => event === 'echo', 'echo')).args, values);
      assert.deepEqual(await request('back', ...values), values);
      socket.on('asked', (...args) => args.pop()(...args));
      assert.deepEqual(await request('ask', ...values), values);
    });

    test(`${transports}: the query of a namespace is its auth payload`, async (t) => {
      const custom = start(t, '/custom?token=a%20b%26c&n=1');
      await custom.next('connect');
      assert.deepEqual(await custom.next('auth'), { token: 'a b&c', n: '1' });
      assert.deepEqual(await custom.request('back', 1), [1]);
      custom.socket.emit('echo', Buffer.from([9]));
      assert.deepEqual(await custom.next('echo'), Buffer.from([9]));
      const options = start(t, '/custom', { query: { token: 'x'.repeat(1000) } });
      assert.deepEqual((await options.next('auth')).token, 'x'.repeat(1000));
    });

    test(`${transports}: refusals are a message, or data`, async (t) => {
      assert.equal(await start(t, '/?refuse=Auth%20failed').next('error'), 'Auth failed');
      assert.deepEqual(await start(t, '/?refuse=data').next('error'), { code: 7, list: [1.5, null, 'é'] });
      assert.deepEqual(await start(t, '/nope').next('error'), { message: 'Invalid namespace' });
      // In a namespace the refusal is of the namespace alone, if the query is in its name alone.
      const main = start(t);
      await main.next('connect');
      const custom = main.socket.io.socket('/custom', { query: 'refuse=no entry' });
      const errors = new Inbox();
      custom.on('error', (error) => errors.push(error));
      assert.equal(await errors.next(() => true, 'the refusal'), 'no entry');
      assert.deepEqual(await main.request('back', 1), [1]);
    });

    test(`${transports}: the ids of both sides are the same, and reach the socket`, async (t) => {
      const [main, custom, other] = [start(t), start(t, '/custom'), start(t, '/custom')];
      for (const client of [main, custom, other]) {
        await client.next('connect');
        assert.deepEqual(await client.request('id'), [client.socket.id]);
      }
      assert.match(custom.socket.id, /^\/custom#/);
      other.socket.emit('to', custom.socket.id, 'for you');
      assert.equal(await custom.next('to'), 'for you');
      main.socket.emit('to', main.socket.id, 'myself');
      assert.equal(await main.next('to'), 'myself');
      await other.request('back');
      assert.equal(other.inbox.all.filter(({ event }) => event === 'to').length, 0);
    });

    test(`${transports}: beside clients of version 4`, async (t) => {
      const [old, current] = [start(t), open(t, connectV4, server.url, { transports })];
      await Promise.all([old.next('connect'), current.next('connect')]);
      old.socket.emit('all', 'from v2', Buffer.from([1]));
      for (const client of [old, current]) {
        assert.equal(await client.next('all'), 'from v2');
      }
      current.socket.emit('to', old.socket.id, 'to v2');
      assert.equal(await old.next('to'), 'to v2');
      old.socket.emit('to', current.socket.id, 'to v4');
      assert.equal(await current.next('to'), 'to v4');
    });

    test(`${transports}: leaving, being put out, and staying`, async (t) => {
      const { socket, next } = start(t);
      await next('connect');
      const custom = socket.io.socket('/custom');
      const heard = new Inbox();
      for (const event of ['connect', 'disconnect']) {
        custom.on(event, (reason) => heard.push({ event, reason }));
      }
      await heard.next(({ event }) => event === 'connect', 'connect');
      socket.emit('bye');
      assert.equal(await next('disconnect'), 'io server disconnect');
      // The session lives on for the other namespace.
      const echo = new Inbox();
      custom.emit('back', 5, (value) => echo.push(value));
      assert.equal(await echo.next(() => true, 'an answer'), 5);
      custom.disconnect();
      assert.equal((await heard.next(({ event }) => event === 'disconnect', 'disconnect')).reason, 'io client disconnect');
    });
  }
});

withFixture('socket.io-client 2 where it is not allowed', 'clients', {}, (server) => {
  test('is refused', async (t) => {
    const socket = connectV2(server.url, { forceNew: true, reconnection: false, transports: ['polling'] });
    const errors = new Inbox();
    t.after(() => socket.close());
    socket.on('connect_error', (error) => errors.push(error));
    await errors.next(() => true, 'an error');
  });
});
