// The official client with `socket.io-msgpack-parser` against a server whose packets are MessagePack.

import assert from 'node:assert/strict';
import { createRequire } from 'node:module';
import { test } from 'node:test';
import { io } from 'socket.io-client';

import { withFixture } from './harness/fixture.mjs';
import { DEADLINE, Inbox } from './harness/inbox.mjs';
import { RawWebSocket } from './harness/raw.mjs';

const require = createRequire(import.meta.url);
const parser = require('socket.io-msgpack-parser');
const notepack = require('notepack.io');
const EVENTS = ['connect', 'disconnect', 'connect_error', 'auth', 'echo', 'all', 'to'];

/** A client, and everything it hears. */
function open(t, url, options) {
  const socket = io(url, { forceNew: true, reconnection: false, parser, ...options });
  const inbox = new Inbox();
  t.after(() => socket.close());
  for (const event of EVENTS) {
    socket.on(event, (...args) => inbox.push({ event, args }));
  }
  const all = async (event) => (await inbox.next((item) => item.event === event, event)).args;
  const request = async (...args) => {
    const answers = new Inbox();
    socket.timeout(DEADLINE).emit(...args, (error, ...answer) => answers.push({ error, answer }));
    const { error, answer } = await answers.next(() => true, `an answer to ${args[0]}`);
    assert.equal(error, null);
    return answer;
  };
  return { socket, all, request };
}

/** Every length has several formats, and so has every number. (Whole numbers from 2^63 on are broken by notepack.io itself.) */
const VALUES = [
  null, true, false, '', 'a', 'é漢😀\u2028"\\\n\u0001', 'x'.repeat(31), 'x'.repeat(32), 'x'.repeat(255), 'x'.repeat(256), 'é'.repeat(40_000),
  0, 127, 128, 255, 256, 65_535, 65_536, 2 ** 32 - 1, 2 ** 32, Number.MAX_SAFE_INTEGER, -1, -32, -33, -128, -129, -32_768, -32_769,
  -(2 ** 31), -(2 ** 31) - 1, -Number.MAX_SAFE_INTEGER, 0.1, -1.5, 1e-7, Number.MIN_VALUE,
  [], {}, Array.from({ length: 15 }, (_, index) => index), Array.from({ length: 70_000 }, () => 0),
  Object.fromEntries(Array.from({ length: 100 }, (_, index) => [`key ${index}`, { index, list: [[index]] }])),
  { _placeholder: true, num: 0 }, { 'é"': { '': [{}] } },
];

withFixture('socket.io-msgpack-parser', 'clients', { parser: 'msgpack' }, (server) => {
  for (const transports of [['polling'], ['websocket'], ['polling', 'websocket']]) {
    const start = (t, nsp = '/', options = {}) => open(t, `${server.url}${nsp}`, { transports, ...options });

    test(`${transports}: connects with auth, and gets the id`, async (t) => {
      const client = start(t, '/custom', { auth: { token: 'é', list: [1, { a: null }] } });
      await client.all('connect');
      assert.deepEqual(await client.all('auth'), [{ token: 'é', list: [1, { a: null }] }]);
      assert.deepEqual(await client.request('id'), [client.socket.id]);
      assert.deepEqual(await start(t).all('auth'), [null]);
    });

    test(`${transports}: events and acknowledgements in both directions`, async (t) => {
      const client = start(t);
      client.socket.emit('echo', ...VALUES);
      assert.deepEqual(await client.all('echo'), VALUES);
      assert.deepEqual(await client.request('back', ...VALUES), VALUES);
      assert.deepEqual(await client.request('back'), []);
      client.socket.on('asked', (...args) => args.pop()(...args, 'answered'));
      assert.deepEqual(await client.request('ask', 1, 'é'), [1, 'é', 'answered']);
    });

    test(`${transports}: binary, in its place`, async (t) => {
      const client = start(t, '/custom');
      const values = [Buffer.from([1, 2, 3]), { a: [Buffer.from([0, 255]), 'x', { b: Buffer.alloc(0) }] }, Buffer.alloc(300, 7), Buffer.alloc(70_000, 8)];
      client.socket.emit('echo', ...values);
      assert.deepEqual(await client.all('echo'), values);
      assert.deepEqual(await client.request('back', ...values), values);
      client.socket.on('asked', (...args) => args.pop()(...args));
      assert.deepEqual(await client.request('ask', ...values), values);
      // What browsers have instead of a Buffer.
      assert.deepEqual(await client.request('back', new Uint8Array([1, 2]).buffer), [Buffer.from([1, 2])]);
    });

    test(`${transports}: values that JSON does not have`, async (t) => {
      const client = start(t);
      const date = new Date(1_700_000_000_123);
      const sent = [undefined, NaN, Infinity, date, { a: undefined, b: [undefined], c: date, d: -0 }];
      assert.deepEqual(await client.request('back', ...sent), JSON.parse(JSON.stringify(sent)));
    });

    test(`${transports}: a refusal has a message and data`, async (t) => {
      for (const [nsp, auth, message, data] of [
        ['/', { refuse: 'no "entry" é' }, 'no "entry" é', undefined],
        ['/custom', { refuse: 'data' }, 'data', { code: 7, list: [1.5, null, 'é'] }],
        ['/nope', {}, 'Invalid namespace', undefined],
      ]) {
        const [error] = await start(t, nsp, { auth }).all('connect_error');
        assert.deepEqual([error.message, error.data], [message, data]);
      }
    });

    test(`${transports}: broadcasts, ids, and being put out`, async (t) => {
      const [one, two] = [start(t), start(t)];
      await Promise.all([one.all('connect'), two.all('connect')]);
      one.socket.emit('all', 1, Buffer.from([2]));
      for (const client of [one, two]) {
        assert.deepEqual(await client.all('all'), [1, Buffer.from([2])]);
      }
      one.socket.emit('to', two.socket.id, 'for you');
      assert.deepEqual(await two.all('to'), ['for you']);
      one.socket.emit('bye');
      assert.deepEqual((await one.all('disconnect')).slice(0, 1), ['io server disconnect']);
      two.socket.disconnect();
      assert.deepEqual((await two.all('disconnect')).slice(0, 1), ['io client disconnect']);
    });
  }

  const FATAL = {
    'text': '40',
    'no MessagePack': Buffer.from([0xc1]),
    'a value that is no map': notepack.encode([0, '/']),
    'a packet without a namespace': notepack.encode({ type: 0 }),
    'an unknown type': notepack.encode({ type: 5, nsp: '/', data: ['a'] }),
    'CONNECT_ERROR': notepack.encode({ type: 4, nsp: '/', data: { message: 'x' } }),
    'an event before CONNECT': notepack.encode({ type: 2, nsp: '/', data: ['a'] }),
    'CONNECT with a list': notepack.encode({ type: 0, nsp: '/', data: [] }),
  };
  for (const [what, message] of Object.entries(FATAL)) {
    test(`closes: ${what}`, async (t) => {
      const raw = await RawWebSocket.open(t, { url: server.url, path: '/socket.io/' });
      await raw.handshake();
      raw.send(message);
      await raw.closed();
    });
  }
});

withFixture('socket.io-msgpack-parser where packets are JSON', 'clients', {}, (server) => {
  test('is closed', async (t) => {
    const client = open(t, server.url, { transports: ['websocket'] });
    const closed = new Inbox();
    client.socket.io.on('close', () => closed.push('close'));
    await closed.next(() => true, 'the end');
  });
});

// The parser's version 2, for clients of version 2, sends CONNECT as text, which Node's server does not take either. So these
// clients have no other namespace than `/`.
withFixture('socket.io-msgpack-parser 2 and socket.io-client 2', 'clients', { parser: 'msgpack', eio3: true }, (server) => {
  for (const transport of ['polling', 'websocket']) {
    test(`${transport}: both versions are served`, async (t) => {
      const connectV2 = require('socket.io-client-v2');
      const options = { forceNew: true, reconnection: false, transports: [transport], parser: require('socket.io-msgpack-parser-v2') };
      const heard = new Inbox();
      const listen = (url) => {
        const socket = connectV2(url, options);
        t.after(() => socket.close());
        for (const event of ['auth', 'all', 'error']) {
          socket.on(event, (...args) => heard.push({ event, args }));
        }
      };
      const next = async (event) => (await heard.next((item) => item.event === event, event)).args;
      listen(server.url);
      assert.deepEqual(await next('auth'), [null]);
      const client = open(t, server.url, {});
      await client.all('connect');
      client.socket.emit('all', Buffer.from([1]), 'x');
      assert.deepEqual(await next('all'), [Buffer.from([1]), 'x']);
      listen(`${server.url}/?refuse=no`);
      assert.deepEqual(await next('error'), ['no']);
    });
  }
});
