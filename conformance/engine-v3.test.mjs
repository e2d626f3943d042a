// Engine.IO v3, which version 2 clients of Socket.IO speak, case by case from its protocol document, against an echo
// server that allows it. Ping interval 300 ms, ping timeout 200 ms.

import assert from 'node:assert/strict';
import { request } from 'node:http';
import { createRequire } from 'node:module';
import { test } from 'node:test';
import { Socket as ClientV4 } from 'engine.io-client';

import { withFixture } from './harness/fixture.mjs';
import { Inbox, withDeadline } from './harness/inbox.mjs';
import { assertRefusal, http, PollingSession, RawWebSocket } from './harness/raw.mjs';
import WebSocket from 'ws';

const clientV3 = createRequire(import.meta.url)('engine.io-client-v3');
const PATH = '/engine.io/?EIO=3&transport=polling&b64=1';

/** Packets as a text payload: each behind its length in UTF-16 units. */
const encode = (...packets) => packets.map((packet) => `${packet.length}:${packet}`).join('');

function decode(payload) {
  const packets = [];
  for (let rest = payload; rest !== '';) {
    const [length] = rest.split(':', 1);
    const start = length.length + 1;
    packets.push(rest.slice(start, start + Number(length)));
    rest = rest.slice(start + Number(length));
  }
  return packets;
}

async function open(server, query = '') {
  const response = await http(server, `${PATH}${query}`);
  assert.equal(response.status, 200, response.text);
  const [packet, ...others] = decode(response.text);
  assert.deepEqual(others, []);
  assert.equal(packet[0], '0');
  const handshake = JSON.parse(packet.slice(1));
  const path = `${PATH}&sid=${handshake.sid}`;
  return {
    handshake,
    path,
    post: (body) => http(server, path, { method: 'POST', body, headers: { 'content-type': 'text/plain;charset=UTF-8' } }),
    get: async () => decode((await http(server, path)).text),
  };
}

/** A WebSocket of v3: every frame in an inbox. */
async function webSocket(t, server, query = '') {
  const ws = new WebSocket(`${server.url.replace('http', 'ws')}/engine.io/?EIO=3&transport=websocket${query}`);
  const inbox = new Inbox();
  t.after(() => ws.terminate());
  ws.on('error', () => {});
  ws.on('message', (data, binary) => inbox.push(binary ? data : data.toString()));
  ws.on('close', (code) => inbox.push({ code }));
  await withDeadline(new Promise((resolve, reject) => {
    ws.once('open', resolve);
    ws.once('error', reject);
  }), 'the WebSocket handshake');
  const next = () => inbox.next(() => true, 'a frame');
  return { ws, next };
}

withFixture('engine.io v3', 'eio', { eio3: true }, (server) => {
  test('the handshake over polling, also without EIO', async () => {
    const { handshake } = await open(server);
    assert.deepEqual(handshake, { sid: handshake.sid, upgrades: ['websocket'], pingInterval: 300, pingTimeout: 200, maxPayload: 1_000_000 });
    for (const query of ['transport=polling&b64=1', 'EIO=abc&transport=polling&b64=1']) {
      assert.match((await http(server, `/engine.io/?${query}`)).text, /^\d+:0\{/, query);
    }
  });

  test('the handshake over WebSocket', async (t) => {
    const { next } = await webSocket(t, server);
    assert.deepEqual(JSON.parse((await next()).slice(1)).upgrades, []);
  });

  test('v4 is served as before', async () => {
    const session = await PollingSession.open(server);
    await session.send('4a', '4b');
    assert.equal((await session.get()).text, '4a\x1e4b');
  });

  test('transports and ids are refused as in v4', async () => {
    assertRefusal(await http(server, '/engine.io/?EIO=3&transport=abc'), 400, 0, 'Transport unknown');
    assertRefusal(await http(server, `${PATH}&sid=none`), 400, 1, 'Session ID unknown');
    assertRefusal(await http(server, PATH, { method: 'POST' }), 400, 2, 'Bad handshake method');
  });

  test('a payload of text: lengths are of UTF-16 units, binary is base64', async () => {
    const session = await open(server);
    const packets = ['4hello', '4€ 😀', '4', 'b4AQIDBA=='];
    assert.equal((await session.post(encode(...packets))).text, 'ok');
    assert.deepEqual(await session.get(), packets);
  });

  test('a payload of bytes, for clients that accept binary', async () => {
    // Without b64 in the handshake. A payload without binary is text all the same.
    const [packet] = decode((await http(server, '/engine.io/?EIO=3&transport=polling')).text);
    const path = `/engine.io/?EIO=3&transport=polling&sid=${JSON.parse(packet.slice(1)).sid}`;
    const bytes = (method, body, headers) => new Promise((resolve, reject) => {
      request(`${server.url}${path}`, { method, headers, agent: false }, (response) => {
        const chunks = [];
        response.on('data', (chunk) => chunks.push(chunk));
        response.on('end', () => resolve([response.headers['content-type'], Buffer.concat(chunks)]));
      }).on('error', reject).end(body);
    });
    // Text `4a`, then the message 01 02: kind, the digits of the length, 255.
    const payload = Buffer.from([0, 2, 255, 0x34, 0x61, 1, 3, 255, 4, 1, 2]);
    assert.equal((await bytes('POST', payload, { 'content-type': 'application/octet-stream' }))[1].toString(), 'ok');
    assert.deepEqual(await bytes('GET'), ['application/octet-stream', payload]);
  });

  for (const body of ['abc', '3:4a', ':4a', '1:9', '-1:4']) {
    test(`the payload ${body} ends the session`, async () => {
      const session = await open(server);
      assert.equal((await session.post(body)).status, 400);
      assertRefusal(await http(server, session.path), 400, 1, 'Session ID unknown');
    });
  }

  test('JSONP: answers call a function, POSTs are forms', async () => {
    const first = await http(server, '/engine.io/?EIO=3&transport=polling&j=7');
    // As in Node: a script in spite of its content type.
    assert.match(first.headers['content-type'], /^text\/plain; charset=UTF-8$/i);
    const [, text] = /^___eio\[7\]\((".*")\);$/.exec(first.text);
    const { sid } = JSON.parse(decode(JSON.parse(text))[0].slice(1));
    const path = `/engine.io/?EIO=3&transport=polling&j=7&sid=${sid}`;
    const body = `d=${encodeURIComponent(encode('4a\\nb'.replace('\\n', '\n')).replaceAll('\n', '\\n'))}`;
    const posted = await http(server, path, { method: 'POST', body, headers: { 'content-type': 'application/x-www-form-urlencoded' } });
    assert.equal(posted.text, 'ok');
    assert.equal((await http(server, path)).text, `___eio[7](${JSON.stringify(encode('4a\nb'))});`);
  });

  test('over WebSocket: text as it is, binary after its type', async (t) => {
    const { ws, next } = await webSocket(t, server);
    await next();
    ws.send('4hello');
    assert.equal(await next(), '4hello');
    ws.send(Buffer.from([4, 1, 2, 3]));
    assert.deepEqual(await next(), Buffer.from([4, 1, 2, 3]));
  });

  test('over WebSocket with b64=1 binary is text', async (t) => {
    const { ws, next } = await webSocket(t, server, '&b64=1');
    await next();
    ws.send('b4AQID');
    assert.equal(await next(), 'b4AQID');
  });

  test('the client pings, the server answers with what was sent', async (t) => {
    const session = await open(server);
    await session.post(encode('2'));
    assert.deepEqual(await session.get(), ['3']);
    const { ws, next } = await webSocket(t, server);
    await next();
    ws.send('2hello');
    assert.equal(await next(), '3hello');
  });

  test('a client that does not ping is closed after interval and timeout, and the server never pings', async (t) => {
    const since = performance.now();
    const { next } = await webSocket(t, server);
    await next();
    assert.deepEqual(await next(), { code: 1005 });
    assert.ok(performance.now() - since >= 500);
  });

  test('close: the waiting poll gets a noop', async () => {
    const session = await open(server);
    const [poll] = await Promise.all([session.get(), session.post(encode('1'))]);
    assert.deepEqual(poll, ['6']);
  });

  test('the upgrade, with queued packets in order', async (t) => {
    const session = await open(server);
    const { ws, next } = await webSocket(t, server, `&sid=${session.handshake.sid}`);
    ws.send('2probe');
    assert.equal(await next(), '3probe');
    assert.deepEqual(await session.get(), ['6']);
    await session.post(encode('4one'));
    ws.send('5');
    ws.send('4two');
    assert.equal(await next(), '4one');
    assert.equal(await next(), '4two');
  });

  for (const [version, Client, options] of [[3, clientV3, {}], [4, ClientV4, {}]]) {
    for (const transports of [['polling'], ['websocket'], ['polling', 'websocket']]) {
      test(`engine.io-client of v${version}: ${transports}: text, binary and heartbeats`, async (t) => {
        const socket = new Client(server.url, { ...options, transports });
        const inbox = new Inbox();
        t.after(() => socket.close());
        socket.on('message', (data) => inbox.push(['message', data]));
        for (const event of ['open', 'upgrade', 'ping', 'close']) {
          socket.on(event, (value) => inbox.push([event, value]));
        }
        const next = async (event) => (await inbox.next(([name]) => name === event, event))[1];
        await next('open');
        const sent = Array.from({ length: 200 }, (_, index) => (index % 3 === 2 ? Buffer.from([index, 0, 255]) : `message ${index} €`));
        sent.slice(0, 100).forEach((message) => socket.send(message));
        if (transports.length > 1) {
          await next('upgrade');
        }
        sent.slice(100).forEach((message) => socket.send(message));
        for (const message of sent) {
          assert.deepEqual(Buffer.from(await next('message')), Buffer.from(message));
        }
        await next('ping');
        await next('ping');
        socket.send('alive');
        assert.equal(await next('message'), 'alive');
      });
    }
  }
});

withFixture('engine.io v3 where it is not allowed', 'eio', {}, (server) => {
  test('is refused with code 5, and a client of v3 is told', async (t) => {
    assertRefusal(await http(server, PATH), 400, 5, 'Unsupported protocol version');
    const socket = new clientV3(server.url, { transports: ['polling'] });
    t.after(() => socket.close());
    await withDeadline(new Promise((resolve) => socket.once('error', resolve)), 'an error at the client');
    const raw = await RawWebSocket.open(t, server);
    await raw.handshake();
  });
});
