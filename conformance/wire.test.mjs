// Engine.IO on the wire: handshakes and their refusals, polling, WebSocket, upgrade, heartbeat.

import assert from 'node:assert/strict';
import { request } from 'node:http';
import { test } from 'node:test';

import { DEADLINE } from './harness/inbox.mjs';
import { fresh, withServer } from './harness/peer.mjs';
import { assertRefusal, http, PATH, PollingSession, RawWebSocket, refusedWebSocket } from './harness/raw.mjs';

const POLLING = 'EIO=4&transport=polling';
const WEBSOCKET = 'EIO=4&transport=websocket';

const REFUSALS = [
  [0, 'Transport unknown', ['EIO=4', 'EIO=4&transport=', 'EIO=4&transport=carrier-pigeon', 'EIO=4&transport=__proto__', '']],
  [1, 'Session ID unknown', [`${POLLING}&sid=unknown`, `${POLLING}&sid=__proto__`, `${POLLING}&sid=${'A'.repeat(20)}`, `${POLLING}&sid=%00`, `${POLLING}&sid=${'A'.repeat(4_000)}`]],
  [3, 'Bad request', [WEBSOCKET]],
  [5, 'Unsupported protocol version', ['transport=polling', 'EIO=3&transport=polling', 'EIO=5&transport=polling', 'EIO=&transport=polling']],
];

withServer('wire', { settings: { 'limits.connect_rate': 0 } }, (server) => {
  for (const [code, message, queries] of REFUSALS) {
    test(`a handshake is refused with ${code} ${message}`, { timeout: 20_000 }, async () => {
      for (const query of queries) {
        assertRefusal(await http(server, `${PATH}?${query}`), 400, code, message);
      }
    });
  }

  test('a handshake that is not a GET is refused with 2 Bad handshake method', { timeout: 10_000 }, async () => {
    for (const method of ['POST', 'PUT', 'DELETE', 'PATCH']) {
      assertRefusal(await http(server, `${PATH}?${POLLING}`, { method }), 400, 2, 'Bad handshake method');
    }
  });

  test('any OPTIONS is a preflight, and opens nothing', { timeout: 10_000 }, async () => {
    for (const query of [`?${POLLING}`, '', '?transport=nope']) {
      const response = await http(server, `${PATH}${query}`, { method: 'OPTIONS' });
      assert.equal(response.status, 204);
      assert.equal(response.text, '');
    }
  });

  test('a WebSocket handshake is refused with an HTTP status, before the 101', { timeout: 20_000 }, async (t) => {
    for (const query of ['EIO=3&transport=websocket', 'transport=websocket', `${WEBSOCKET}&sid=unknown`, 'EIO=4&transport=carrier-pigeon']) {
      assert.equal((await refusedWebSocket(server, query)).status, 400, query);
    }
    const raw = await RawWebSocket.open(t, server);
    await raw.handshake();
  });

  test('the polling handshake', { timeout: 10_000 }, async () => {
    const { handshake, response } = await PollingSession.open(server);
    assert.deepEqual(Object.keys(handshake), ['sid', 'upgrades', 'pingInterval', 'pingTimeout', 'maxPayload']);
    assert.deepEqual(handshake, { sid: handshake.sid, upgrades: ['websocket'], pingInterval: 25_000, pingTimeout: 20_000, maxPayload: 1_000_000 });
    assert.match(handshake.sid, /^[A-Za-z0-9_-]{20,}$/);
    assert.match(response.headers['content-type'], /^text\/plain; charset=UTF-8$/i);
    assert.equal(response.headers['cache-control'], 'no-store');
    const { handshake: other } = await PollingSession.open(server);
    assert.notEqual(other.sid, handshake.sid);
  });

  test('the WebSocket handshake', { timeout: 10_000 }, async (t) => {
    const raw = await RawWebSocket.open(t, server);
    const handshake = await raw.handshake();
    assert.deepEqual(Object.keys(handshake), ['sid', 'upgrades', 'pingInterval', 'pingTimeout', 'maxPayload']);
    assert.deepEqual(handshake.upgrades, []);
    assertRefusal(await http(server, `${PATH}?${POLLING}&sid=${handshake.sid}`), 400, 3, 'Bad request');
    assertRefusal(await http(server, `${PATH}?${POLLING}&sid=${handshake.sid}`, { method: 'POST', body: '3' }), 400, 3, 'Bad request');
  });

  test('an empty sid is a new handshake; the last of repeated keys counts', { timeout: 10_000 }, async () => {
    for (const query of [`${POLLING}&sid=`, 'EIO=3&EIO=4&transport=nope&transport=polling', `EIO=%34&transport=%70olling&t=${Date.now()}`]) {
      assert.equal((await http(server, `${PATH}?${query}`)).status, 200, query);
    }
  });

  test('POST is answered ok', { timeout: 10_000 }, async () => {
    const session = await PollingSession.open(server);
    const response = await session.post(`40{"token":"bad"}`);
    assert.equal(response.status, 200);
    assert.equal(response.text, 'ok');
    assert.match(response.headers['content-type'], /^text\/html/);
    assert.match(await session.packet('44'), /"unauthorized"/);
  });

  test('several packets in one body are several packets', { timeout: 10_000 }, async () => {
    const session = await PollingSession.open(server);
    await session.connect(await server.token(fresh('alice')));
    await session.send('421["presence",{}]', '422["presence",{}]', '423["presence",{}]');
    for (const id of [1, 2, 3]) {
      await session.packet(`43${id}[`);
    }
  });

  test('413 leaves the session alive', { timeout: 20_000 }, async () => {
    const session = await PollingSession.open(server);
    await session.connect(await server.token(fresh('alice')));
    const response = await session.post(`4${'x'.repeat(1_000_000)}`);
    assert.equal(response.status, 413);
    await session.send('421["presence",{}]');
    await session.packet('431[');
  });

  test('a body of exactly max_payload is accepted', { timeout: 20_000 }, async () => {
    const session = await PollingSession.open(server);
    await session.connect(await server.token(fresh('alice')));
    const [head, tail] = ['421["nope","', '"]'];
    await session.send(`${head}${'x'.repeat(1_000_000 - head.length - tail.length)}${tail}`);
    assert.match(await session.packet('431['), /"unknown_event"/);
  });

  test('a second poll: the first is answered 1, the second 400, and the session is over', { timeout: 10_000 }, async () => {
    const session = await PollingSession.open(server);
    const responses = await Promise.all([session.get(), session.get()]);
    responses.sort((a, b) => a.status - b.status);
    assert.deepEqual(responses.map(({ status, text }) => [status, text]), [[200, '1'], [400, '']]);
    await session.assertOver();
  });

  test('a close packet: the waiting poll is answered with a noop, and the session is over', { timeout: 10_000 }, async () => {
    const session = await PollingSession.open(server);
    const poll = session.get();
    assert.equal((await http(server, '/healthz')).status, 200, 'by then the poll is waiting');
    await session.send('1');
    assert.equal((await poll).text, '6');
    await session.assertOver();
  });

  test('a poll whose client disconnects ends the session', { timeout: 20_000 }, async () => {
    const session = await PollingSession.open(server);
    const poll = request(`${server.url}${session.path}`, { agent: false });
    poll.on('error', () => {});
    poll.end();
    assert.equal((await http(server, '/healthz')).status, 200, 'by then the poll is waiting');
    poll.destroy();
    const until = performance.now() + DEADLINE;
    for (;;) {
      const response = await session.post('3');
      if (response.status === 400) break;
      assert.equal(response.status, 200);
      assert.ok(performance.now() < until, 'the session lives on');
    }
    await session.assertOver();
  });

  for (const [what, body, headers] of [
    ['an unknown packet type', 'abc'],
    ['an empty packet at the end', '3\x1e'],
    ['an empty body', ''],
    ['application/octet-stream', '3', { 'content-type': 'application/octet-stream' }],
    ['a ping of the client', '2'],
  ]) {
    test(`a POST with ${what} ends the session`, { timeout: 10_000 }, async () => {
      const session = await PollingSession.open(server);
      await session.post(body, headers ?? {});
      await session.assertOver();
    });
  }

  test('an invalid packet gets 400', { timeout: 10_000 }, async () => {
    const session = await PollingSession.open(server);
    assert.equal((await session.post('abc')).status, 400);
  });

  test('other methods on a session get 400, and it lives on', { timeout: 10_000 }, async () => {
    const session = await PollingSession.open(server);
    for (const method of ['PUT', 'DELETE', 'PATCH']) {
      assert.equal((await http(server, session.path, { method })).status, 400);
    }
    await session.connect(await server.token(fresh('alice')));
  });

  test('binary arrives as base64 by polling, as a binary frame by WebSocket', { timeout: 20_000 }, async (t) => {
    const roomId = fresh('room');
    const session = await PollingSession.open(server);
    await session.connect(await server.token(fresh('alice')));
    const raw = await RawWebSocket.open(t, server);
    await raw.connect(await server.token(fresh('bob')));
    raw.send(`421["join",{"roomId":"${roomId}"}]`);
    await raw.packet('431');
    const packet = `451-["message",{"message":"x","context":{"roomId":"${roomId}","file":{"_placeholder":true,"num":0}}}]`;
    await session.send(packet, 'bAAECAw==');
    await raw.packet('451-["message"');
    assert.deepEqual(await raw.binary(), Buffer.from([0, 1, 2, 3]));
    await session.packet('451-["message"');
    assert.equal(await session.packet('b'), 'bAAECAw==');
  });

  test('an upgrade: probe, noop for the waiting poll, then the WebSocket', { timeout: 20_000 }, async (t) => {
    const session = await PollingSession.open(server);
    await session.connect(await server.token(fresh('alice')));
    await session.send('421["presence",{}]');
    await session.packet('431[');
    const poll = session.get();
    const raw = await RawWebSocket.open(t, server, { sid: session.handshake.sid });
    raw.send('2probe');
    assert.equal(await raw.packet('3'), '3probe');
    assert.equal((await poll).text, '6');
    await session.send('422["presence",{}]');
    raw.send('5');
    await raw.packet('432[');
    raw.send('423["presence",{}]');
    await raw.packet('433[');
    assertRefusal(await session.post('3'), 400, 3, 'Bad request');
  });

  test('a failed probe leaves polling alone', { timeout: 20_000 }, async (t) => {
    const session = await PollingSession.open(server);
    await session.connect(await server.token(fresh('alice')));
    for (const spoil of [(raw) => raw.send('2nonsense'), (raw) => raw.send('421["presence",{}]'), (raw) => raw.ws.close()]) {
      const raw = await RawWebSocket.open(t, server, { sid: session.handshake.sid });
      spoil(raw);
      await raw.closed();
      await session.send('421["presence",{}]');
      await session.packet('431[');
    }
  });

  test('a second WebSocket on a session is closed and does not disturb the first', { timeout: 20_000 }, async (t) => {
    const first = await RawWebSocket.open(t, server);
    const { sid } = await first.handshake();
    first.send(`40${JSON.stringify({ token: await server.token(fresh('alice')) })}`);
    await first.packet('40');
    const second = await RawWebSocket.open(t, server, { sid });
    await second.closed();
    first.send('421["presence",{}]');
    await first.packet('431[');
  });

  test('a second WebSocket while the first upgrades, or after, is closed and does not disturb the first', { timeout: 20_000 }, async (t) => {
    const session = await PollingSession.open(server);
    await session.connect(await server.token(fresh('alice')));
    const { sid } = session.handshake;
    const first = await RawWebSocket.open(t, server, { sid });
    first.send('2probe');
    await first.packet('3probe');
    const during = await RawWebSocket.open(t, server, { sid });
    await during.closed();
    first.send('5');
    first.send('421["presence",{}]');
    await first.packet('431[');
    const after = await RawWebSocket.open(t, server, { sid });
    await after.closed();
    first.send('422["presence",{}]');
    await first.packet('432[');
  });

  for (const [what, frame] of [['an unknown packet type', 'abc'], ['an empty frame', ''], ['a ping of the client', '2'], ['a close packet', '1']]) {
    test(`a WebSocket frame with ${what} closes`, { timeout: 10_000 }, async (t) => {
      const raw = await RawWebSocket.open(t, server);
      await raw.handshake();
      raw.send(frame);
      await raw.closed();
    });
  }
});

withServer('heartbeat', { settings: { 'engine.ping_interval': '300ms', 'engine.ping_timeout': '200ms' } }, (server) => {
  test('the first ping comes after one interval; without a pong the connection is closed', { timeout: 10_000 }, async (t) => {
    const raw = await RawWebSocket.open(t, server);
    const handshake = await raw.handshake();
    assert.equal(handshake.pingInterval, 300);
    assert.equal(handshake.pingTimeout, 200);
    const opened = performance.now();
    await raw.packet('2');
    const pinged = performance.now();
    assert.ok(pinged - opened >= 250, `the ping came after ${pinged - opened} ms`);
    raw.send('3');
    await raw.packet('2');
    const again = performance.now();
    assert.ok(again - pinged >= 250, `the second ping came after ${again - pinged} ms`);
    await raw.closed();
    const lasted = performance.now() - again;
    assert.ok(lasted >= 150 && lasted < 1_500, `closed ${lasted} ms after the ping`);
  });

  test('a polling session without a pong is over', { timeout: 10_000 }, async () => {
    const session = await PollingSession.open(server);
    assert.equal(await session.packet('2'), '2');
    const response = await session.get();
    assert.ok(response.status === 400 || response.text === '1', `${response.status} ${response.text}`);
    await session.assertOver();
  });
});
