// Socket.IO on the wire: namespaces, order of packets, and what ends a connection.

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { fresh, withServer } from './harness/peer.mjs';
import { PollingSession, RawWebSocket } from './harness/raw.mjs';

withServer('protocol', {}, (server) => {
  test('CONNECT is answered with a sid before anything else', { timeout: 10_000 }, async (t) => {
    const raw = await RawWebSocket.open(t, server);
    const { sid: engine } = await raw.handshake();
    raw.send(`40${JSON.stringify({ token: await server.token(fresh('alice')) })}`);
    const answer = JSON.parse((await raw.packet('4')).slice(2));
    assert.equal(typeof answer.sid, 'string');
    assert.notEqual(answer.sid, engine, 'the engine\'s id is a secret');
  });

  test('an unknown namespace gets Invalid namespace, and the connection lives', { timeout: 10_000 }, async (t) => {
    const raw = await RawWebSocket.open(t, server);
    await raw.handshake();
    const auth = JSON.stringify({ token: await server.token(fresh('alice')) });
    for (const nsp of ['/admin', '/x?y=1', '/__proto__']) {
      raw.send(`40${nsp},${auth}`);
      assert.equal(await raw.packet('44'), `44${nsp},{"message":"Invalid namespace"}`);
    }
    raw.send(`40${auth}`);
    await raw.packet('40{');
  });

  const FATAL = {
    'an event before CONNECT': ['42["message",{"message":"x"}]'],
    'an acknowledgement before CONNECT': ['431[]'],
    'CONNECT with a list': ['40[]'],
    'CONNECT with a string': ['40"token"'],
    'CONNECT with null': ['40null'],
    'CONNECT with broken JSON': ['40{'],
    'an unknown packet type': ['49'],
    'no packet type': ['4'],
  };
  for (const [what, packets] of Object.entries(FATAL)) {
    test(`closes: ${what}`, { timeout: 10_000 }, async (t) => {
      const raw = await RawWebSocket.open(t, server);
      await raw.handshake();
      packets.forEach((packet) => raw.send(packet));
      await raw.closed();
    });
  }

  const FATAL_AFTER_CONNECT = {
    'a second CONNECT': ['40{}'],
    'an event to another namespace': ['42/admin,["message",{"message":"x"}]'],
    'an event without a name': ['42[]'],
    'an event that is no list': ['42{}'],
    'an event named null': ['42[null]'],
    'an event of broken JSON': ['42["message"'],
    'the reserved event connect': ['42["connect"]'],
    'the reserved event disconnect': ['42["disconnect"]'],
    'the reserved event disconnecting': ['42["disconnecting"]'],
    'the reserved event connect_error': ['42["connect_error"]'],
    'a negative acknowledgement id': ['42-1["message",{"message":"x"}]'],
    'a CONNECT_ERROR': ['44{"message":"x"}'],
    'a disconnect with a payload': ['41{}'],
    'text instead of an attachment': ['451-["message",{"_placeholder":true,"num":0}]', '42["message",{"message":"x"}]'],
    'an attachment nobody announced': [Buffer.from([1])],
    'a placeholder out of range': ['451-["message",{"_placeholder":true,"num":1}]', Buffer.from([1])],
    'a binary event without the number of attachments': ['45["message",{}]'],
    'text instead of an attachment that is skipped': ['4511-["message",{}]', '42["message",{"message":"x"}]'],
  };
  for (const [what, packets] of Object.entries(FATAL_AFTER_CONNECT)) {
    test(`closes: ${what}`, { timeout: 10_000 }, async (t) => {
      const raw = await RawWebSocket.open(t, server);
      await raw.connect(await server.token(fresh('alice')));
      packets.forEach((packet) => raw.send(packet));
      await raw.closed();
    });
  }

  test('closes: an event after disconnect', { timeout: 10_000 }, async (t) => {
    const raw = await RawWebSocket.open(t, server);
    await raw.connect(await server.token(fresh('alice')));
    raw.send('41');
    raw.send('40/nope,');
    await raw.packet('44/nope,');
    raw.send('42["message",{"message":"x"}]');
    await raw.closed();
  });

  test('polling: a second CONNECT ends the session', { timeout: 10_000 }, async () => {
    const session = await PollingSession.open(server);
    await session.connect(await server.token(fresh('alice')));
    await session.post('40{}');
    await session.assertOver();
  });

  test('the acknowledgement echoes the id, whatever its size', { timeout: 10_000 }, async (t) => {
    const raw = await RawWebSocket.open(t, server);
    await raw.connect(await server.token(fresh('alice')));
    for (const id of ['0', '7', '4294967296', '9007199254740993']) {
      raw.send(`42${id}["presence",{}]`);
      const [answer] = JSON.parse((await raw.packet(`43${id}[`)).slice(2 + id.length));
      assert.equal(answer.ok, true);
    }
  });

  test('disconnect and a new CONNECT on the same connection', { timeout: 10_000 }, async (t) => {
    const raw = await RawWebSocket.open(t, server);
    const token = await server.token(fresh('alice'));
    const first = await raw.connect(token);
    raw.send('41');
    raw.send('40/nope,');
    await raw.packet('44/nope,');
    raw.send(`40${JSON.stringify({ token })}`);
    const second = JSON.parse((await raw.packet('40')).slice(2));
    assert.notEqual(second.sid, first.sid);
  });

  test('a CONNECT after a refused one on the same connection', { timeout: 10_000 }, async (t) => {
    const raw = await RawWebSocket.open(t, server);
    await raw.handshake();
    raw.send('40{"token":"bad"}');
    assert.equal(await raw.packet('44'), '44{"message":"unauthorized","data":{"code":"token_invalid"}}');
    raw.send('40');
    assert.equal(await raw.packet('44'), '44{"message":"unauthorized","data":{"code":"token_missing"}}');
    raw.send(`40${JSON.stringify({ token: await server.token(fresh('alice')) })}`);
    await raw.packet('40');
  });

  test('unknown members of CONNECT change nothing', { timeout: 10_000 }, async (t) => {
    for (const more of [{ pid: 5, offset: 'x' }, { pid: 'unknown', offset: 'unknown' }, { pid: {}, offset: [] }, { user: 'root', ['__proto__']: 1 }]) {
      const raw = await RawWebSocket.open(t, server);
      await raw.handshake();
      raw.send(`40${JSON.stringify({ token: await server.token(fresh('alice')), ...more })}`);
      await raw.packet('40');
    }
  });
});
