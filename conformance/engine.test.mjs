// Engine.IO v4, case by case from its protocol document (sections in quotes), against an echo server. Ping interval 300 ms,
// ping timeout 200 ms, payload limit 1,000,000 bytes.

import assert from 'node:assert/strict';
import { request } from 'node:http';
import { connect } from 'node:net';
import { test } from 'node:test';
import { gunzipSync } from 'node:zlib';
import { Socket } from 'engine.io-client';

import { withFixture } from './harness/fixture.mjs';
import { Inbox, withDeadline } from './harness/inbox.mjs';
import { assertRefusal, http, PollingSession, RawWebSocket, refusedWebSocket } from './harness/raw.mjs';

const INTERVAL = 300;
const TIMEOUT = 200;
const LIMIT = 1_000_000;
const SEPARATOR = '\x1e';
const POLLING = '/engine.io/?EIO=4&transport=polling';
const WEBSOCKET = 'EIO=4&transport=websocket';

/** Asks for a poll and says when the server has got it: a request behind it on the same connection would wait for it. */
function pendingPoll(session) {
  const url = new URL(session.path, session.server.url);
  const socket = connect(Number(url.port), url.hostname);
  let text = '';
  const ended = new Promise((resolve, reject) => {
    socket.setEncoding('utf8').on('data', (chunk) => {
      text += chunk;
    });
    socket.once('error', reject);
    socket.once('close', () => resolve({ status: Number(text.split(' ')[1]), text: text.split('\r\n\r\n')[1] }));
  });
  const sent = new Promise((resolve) => {
    socket.write(`GET ${url.pathname}${url.search} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n`, resolve);
  });
  return { socket, sent, answer: () => withDeadline(ended, 'an answer to the poll') };
}

/** Probes with a WebSocket until the server has answered it. */
async function probe(t, server, session) {
  const raw = await RawWebSocket.open(t, server, { sid: session.handshake.sid });
  raw.send('2probe');
  await raw.packet('3probe');
  return raw;
}

/** The official client on these transports, closed with the test. */
function client(t, server, options) {
  const socket = new Socket(server.url, options);
  const inbox = new Inbox();
  for (const event of ['open', 'upgrade', 'ping', 'close', 'error']) {
    socket.on(event, (value) => inbox.push([event, value]));
  }
  socket.on('message', (data) => inbox.push(['message', data]));
  t.after(() => socket.close());
  const next = async (event) => (await inbox.next(([name]) => name === event, `${event} at the client`))[1];
  return { socket, next };
}

withFixture('engine.io v4', 'eio', {}, (server) => {
  test('"Handshake": polling', async () => {
    const { handshake, response } = await PollingSession.open(server);
    assert.deepEqual(handshake, {
      sid: handshake.sid, upgrades: ['websocket'], pingInterval: INTERVAL, pingTimeout: TIMEOUT, maxPayload: LIMIT,
    });
    assert.match(response.headers['content-type'], /^text\/plain; charset=UTF-8$/i);
    assert.equal(response.headers['cache-control'], 'no-store');
    assert.equal(response.headers['set-cookie'], undefined);
  });

  test('"Handshake": WebSocket, with nothing to upgrade to', async (t) => {
    const handshake = await (await RawWebSocket.open(t, server)).handshake();
    assert.deepEqual(handshake, {
      sid: handshake.sid, upgrades: [], pingInterval: INTERVAL, pingTimeout: TIMEOUT, maxPayload: LIMIT,
    });
  });

  for (const [code, message, method, queries] of [
    [0, 'Transport unknown', 'GET', ['', '?EIO=4', '?EIO=4&transport=', '?EIO=4&transport=webtransport', '?EIO=4&transport=constructor']],
    [1, 'Session ID unknown', 'GET', ['?EIO=4&transport=polling&sid=none', '?EIO=4&transport=websocket&sid=none']],
    [1, 'Session ID unknown', 'POST', ['?EIO=4&transport=polling&sid=none']],
    [2, 'Bad handshake method', 'POST', ['?EIO=4&transport=polling', '?transport=polling']],
    [2, 'Bad handshake method', 'PUT', ['?EIO=4&transport=polling']],
    [3, 'Bad request', 'GET', ['?EIO=4&transport=websocket', '?EIO=3&transport=websocket']],
    [5, 'Unsupported protocol version', 'GET', ['?EIO=3&transport=polling', '?transport=polling', '?EIO=abc&transport=polling', '?EIO=04&transport=polling']],
  ]) {
    test(`"Handshake": ${method} is refused with ${code} ${message}`, async () => {
      for (const query of queries) {
        assertRefusal(await http(server, `/engine.io/${query}`, { method }), 400, code, message);
      }
    });
  }

  test('"Handshake": WebSockets are refused before the 101', async () => {
    for (const query of ['EIO=3&transport=websocket', 'transport=websocket', 'EIO=4&transport=abc', 'EIO=4', `${WEBSOCKET}&sid=none`]) {
      assert.equal((await refusedWebSocket(server, query)).status, 400, query);
    }
  });

  test('the path: paths below it belong to the engine, other paths do not', async () => {
    assert.equal((await http(server, '/engine.io/default/?EIO=4&transport=polling')).status, 200);
    for (const path of ['/', '/engine.io?EIO=4&transport=polling', '/engine/?EIO=4&transport=polling', '/socket.io/?EIO=4&transport=polling']) {
      assert.equal((await http(server, path)).status, 404, path);
    }
  });

  test('CORS: every answer, refusals included, may be read by any origin', async () => {
    const headers = { origin: 'http://example.com' };
    for (const [path, status] of [[POLLING, 200], ['/engine.io/?EIO=4', 400]]) {
      const response = await http(server, path, { headers });
      assert.deepEqual([response.status, response.headers['access-control-allow-origin']], [status, '*'], path);
    }
    const preflight = await http(server, POLLING, {
      method: 'OPTIONS', headers: { ...headers, 'access-control-request-method': 'POST', 'access-control-request-headers': 'x-one,x-two' },
    });
    assert.deepEqual([preflight.status, preflight.text], [204, '']);
    assert.equal(preflight.headers['access-control-allow-origin'], '*');
    assert.equal(preflight.headers['access-control-allow-methods'], 'GET,HEAD,PUT,PATCH,POST,DELETE');
    assert.equal(preflight.headers['access-control-allow-headers'], 'x-one,x-two');
  });

  test('"Packet encoding": text, binary and empty messages come back over polling, in order', async () => {
    const session = await PollingSession.open(server);
    const packets = ['4hello', '4', 'bAQIDBA==', 'b', '4€ 😀 \u2028', '4{"a":[1]}', 'b/+8='];
    await session.send(...packets);
    assert.equal((await session.get()).text, packets.join(SEPARATOR));
  });

  test('"Packet encoding": text, binary and empty messages come back over WebSocket, in order', async (t) => {
    const raw = await RawWebSocket.open(t, server);
    await raw.handshake();
    for (const message of ['4hello', '4', '4€ 😀 \u2028']) {
      raw.send(message);
      assert.equal(await raw.packet('4'), message);
    }
    for (const message of [Buffer.from([1, 2, 3, 4]), Buffer.alloc(0), Buffer.alloc(70_000, 7)]) {
      raw.send(message);
      assert.deepEqual(await raw.binary(), message);
    }
    raw.send('bAQIDBA==');
    assert.deepEqual(await raw.binary(), Buffer.from([1, 2, 3, 4]));
  });

  for (const body of ['abc', '', '7', '4a\x1e', '\x1e4a', 'b!', 'bAQ', '4a\x1e\x1e4b']) {
    test(`"Packet encoding": ${JSON.stringify(body)} in a POST ends the session`, async () => {
      const session = await PollingSession.open(server);
      assert.equal((await session.post(body)).status, 400);
      assertRefusal(await session.get(), 400, 1, 'Session ID unknown');
    });
  }

  for (const text of ['abc', '', '7', 'b!']) {
    test(`"Packet encoding": ${JSON.stringify(text)} in a WebSocket frame ends the session`, async (t) => {
      const raw = await RawWebSocket.open(t, server);
      const { sid } = await raw.handshake();
      raw.send(text);
      assert.equal(await raw.closed(), 1005);
      assertRefusal(await http(server, `${POLLING}&sid=${sid}`), 400, 1, 'Session ID unknown');
    });
  }

  test('packets before a broken one are handled, but their sender can no longer poll for the answers', async () => {
    const session = await PollingSession.open(server);
    const poll = pendingPoll(session);
    await poll.sent;
    await session.post('4a\x1eabc');
    const { status, text } = await poll.answer();
    assert.ok([200, 400].includes(status), text);
    await session.assertOver();
  });

  test('"maxPayload": a body of exactly that many bytes is accepted, one more is 413 and the session lives', async () => {
    const session = await PollingSession.open(server);
    assert.equal((await session.post(`4${'x'.repeat(LIMIT)}`)).status, 413);
    const largest = `4${'x'.repeat(LIMIT - 1)}`;
    await session.send(largest);
    assert.equal((await session.get()).text, largest);
  });

  test('"maxPayload": a WebSocket message of one byte more is closed with 1009', async (t) => {
    const raw = await RawWebSocket.open(t, server);
    await raw.handshake();
    const largest = `4${'x'.repeat(LIMIT - 1)}`;
    raw.send(largest);
    assert.equal(await raw.packet('4'), largest);
    raw.send(`4${'x'.repeat(LIMIT)}`);
    assert.equal(await raw.closed(), 1009);
  });

  test('answers of 1024 bytes and more are compressed for clients that accept it', async () => {
    const session = await PollingSession.open(server);
    const raw = (headers) => new Promise((resolve, reject) => {
      request(`${server.url}${session.path}`, { headers, agent: false }, (response) => {
        const chunks = [];
        response.on('data', (chunk) => chunks.push(chunk));
        response.on('end', () => resolve([response.headers['content-encoding'], Buffer.concat(chunks)]));
      }).on('error', reject).end();
    });
    const long = `4${'x'.repeat(1_023)}`;
    await session.send(long);
    const [encoding, body] = await raw({ 'accept-encoding': 'gzip, deflate' });
    assert.equal(encoding, 'gzip');
    assert.equal(gunzipSync(body).toString(), long);
    await session.send(long.slice(1).replace('x', '4'));
    assert.equal((await raw({ 'accept-encoding': 'gzip' }))[0], undefined);
    await session.send(long);
    assert.deepEqual(await raw({}), [undefined, Buffer.from(long)]);
  });

  test('a body is text: application/octet-stream is refused, and ends the session', async () => {
    const session = await PollingSession.open(server);
    assert.equal((await session.post('4a', { 'content-type': 'application/octet-stream' })).status, 400);
    await session.assertOver();
  });

  test('other methods are refused, and the session lives', async () => {
    const session = await PollingSession.open(server);
    for (const method of ['PUT', 'DELETE', 'PATCH']) {
      assert.equal((await http(server, session.path, { method })).status, 400, method);
    }
    await session.send('4a');
    assert.equal((await session.get()).text, '4a');
  });

  test('"HTTP long-polling": two polls at a time end the session, the first with packet 1', async () => {
    const session = await PollingSession.open(server);
    const answers = await Promise.all([session.get(), session.get()]);
    answers.sort((a, b) => a.status - b.status);
    assert.deepEqual(answers.map(({ status, text }) => [status, text]), [[200, '1'], [400, '']]);
    await session.assertOver();
  });

  test('"HTTP long-polling": two POSTs at a time end the session', async () => {
    const session = await PollingSession.open(server);
    const first = request(`${server.url}${session.path}`, { method: 'POST', agent: false, headers: { 'content-length': 9, expect: '100-continue' } });
    first.on('error', () => {});
    // When the server asks for the body, it has received the first POST.
    await withDeadline(new Promise((resolve) => {
      first.once('continue', resolve);
      first.flushHeaders();
    }), '100 Continue');
    assert.equal((await session.post('4b')).status, 400);
    first.destroy();
    await session.assertOver();
  });

  test('"HTTP long-polling": a poll whose client disconnects ends the session', async () => {
    const session = await PollingSession.open(server);
    const poll = pendingPoll(session);
    await poll.sent;
    poll.socket.destroy();
    // The server may see the end before or after this poll. Only one of the two can be the session's last.
    const { status, text } = await session.get();
    assert.ok(status === 400 || (status === 200 && text === '1'), `${status} ${text}`);
    await session.assertOver();
  });

  test('"Heartbeat": the server pings after each interval, and the client answers', async () => {
    const session = await PollingSession.open(server);
    for (let beat = 0; beat < 2; beat += 1) {
      const since = performance.now();
      assert.equal((await session.get()).text, '2');
      assert.ok(performance.now() - since > INTERVAL / 2, 'not at once');
      await session.send('3');
    }
  });

  test('"Heartbeat": a client that does not answer is closed', async (t) => {
    const raw = await RawWebSocket.open(t, server);
    const { sid } = await raw.handshake();
    const since = performance.now();
    await raw.packet('2');
    assert.equal(await raw.closed(), 1005);
    assert.ok(performance.now() - since > INTERVAL, 'not before the timeout');
    assertRefusal(await http(server, `${POLLING}&sid=${sid}`), 400, 1, 'Session ID unknown');
  });

  test('"Heartbeat": an unsolicited pong changes nothing, and neither do 0, 5 and 6', async (t) => {
    const raw = await RawWebSocket.open(t, server);
    await raw.handshake();
    for (const packet of ['3', '0', '5', '6', '3probe', '4still here']) {
      raw.send(packet);
    }
    assert.equal(await raw.packet('4'), '4still here');
  });

  test('"Heartbeat": a client that pings is of another revision, and is closed', async (t) => {
    const raw = await RawWebSocket.open(t, server);
    await raw.handshake();
    raw.send('2');
    assert.equal(await raw.closed(), 1005);
    const session = await PollingSession.open(server);
    await session.post('2');
    await session.assertOver();
  });

  test('"close": the waiting poll gets a noop, and the session is over', async () => {
    const session = await PollingSession.open(server);
    const [poll] = await Promise.all([session.get(), session.send('1')]);
    assert.deepEqual([poll.status, poll.text], [200, '6']);
    assertRefusal(await session.get(), 400, 1, 'Session ID unknown');
  });

  test('"close": over WebSocket the connection ends', async (t) => {
    const raw = await RawWebSocket.open(t, server);
    await raw.handshake();
    raw.send('1');
    assert.equal(await raw.closed(), 1005);
  });

  test('"Upgrade": a waiting poll is answered with a noop, and nothing is lost or out of order', async (t) => {
    const session = await PollingSession.open(server);
    const raw = await probe(t, server, session);
    const poll = await session.get();
    assert.deepEqual([poll.status, poll.text], [200, '6']);
    // Messages that are posted before the upgrade is complete are answered over the WebSocket, first.
    await session.send('4one', '4two');
    raw.send('5');
    raw.send('4three');
    for (const message of ['4one', '4two', '4three']) {
      assert.equal(await raw.packet('4'), message);
    }
  });

  test('"Upgrade": when it is complete, HTTP requests are refused and the session lives', async (t) => {
    const session = await PollingSession.open(server);
    const raw = await probe(t, server, session);
    raw.send('5');
    raw.send('4a');
    await raw.packet('4a');
    assertRefusal(await session.get(), 400, 3, 'Bad request');
    assertRefusal(await session.post('4b'), 400, 3, 'Bad request');
    raw.send('4c');
    assert.equal(await raw.packet('4'), '4c');
  });

  for (const when of ['while the first probes', 'after the upgrade']) {
    test(`"Upgrade": a second WebSocket ${when} is closed, the first goes on`, async (t) => {
      const session = await PollingSession.open(server);
      const raw = await probe(t, server, session);
      if (when === 'after the upgrade') {
        raw.send('5');
        raw.send('4a');
        await raw.packet('4a');
      }
      const second = await RawWebSocket.open(t, server, { sid: session.handshake.sid });
      assert.equal(await second.closed(), 1005);
      raw.send('5');
      raw.send('4b');
      assert.equal(await raw.packet('4'), '4b');
    });
  }

  for (const first of ['5', '4hello', '2', '2other', 'abc']) {
    test(`"Upgrade": a WebSocket that begins with ${first} fails, and polling goes on`, async (t) => {
      const session = await PollingSession.open(server);
      const raw = await RawWebSocket.open(t, server, { sid: session.handshake.sid });
      raw.send(first);
      await raw.closed();
      await session.send('4a');
      assert.equal((await session.get()).text, '4a');
    });
  }

  test('"Upgrade": a WebSocket that disconnects while it probes leaves polling as it was', async (t) => {
    const session = await PollingSession.open(server);
    const raw = await probe(t, server, session);
    raw.ws.close();
    await raw.closed();
    await session.send('4a');
    await session.packet('4a');
  });

  for (const [name, options] of Object.entries({
    polling: { transports: ['polling'] },
    websocket: { transports: ['websocket'] },
    upgrade: { transports: ['polling', 'websocket'] },
  })) {
    test(`engine.io-client: ${name}: 500 messages, text and binary, come back in order`, async (t) => {
      const { socket, next } = client(t, server, options);
      await next('open');
      // Half of them before or during the upgrade.
      const sent = Array.from({ length: 500 }, (_, index) => (index % 3 === 2 ? Buffer.from([index & 0xff, 0, 0xff]) : `message ${index} €`));
      sent.slice(0, 250).forEach((message) => socket.send(message));
      if (name === 'upgrade') {
        await next('upgrade');
      }
      sent.slice(250).forEach((message) => socket.send(message));
      for (const message of sent) {
        assert.deepEqual(await next('message'), message);
      }
      assert.equal(socket.transport.name, name === 'polling' ? 'polling' : 'websocket');
    });

    test(`engine.io-client: ${name}: lives through heartbeats, and closes`, async (t) => {
      const { socket, next } = client(t, server, options);
      await next('open');
      await next('ping');
      await next('ping');
      socket.send('alive');
      assert.equal(await next('message'), 'alive');
      socket.close();
      assert.equal(await next('close'), 'forced close');
    });
  }
});
