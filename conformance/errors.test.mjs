// What is refused, with which code, and how the sender learns it: in the acknowledgement if it asked for one, else
// through the event `error`. The connection is never closed for it.

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { fence, fresh, overEachTransport, Peer, withServer } from './harness/peer.mjs';
import { RawWebSocket } from './harness/raw.mjs';

const FREE = { settings: { 'limits.message_rate': 0, 'limits.typing_rate': 0, 'limits.strikes': 0 } };

const message = (payload) => ['message', payload];
const nested = (depth) => JSON.parse(`${'{"a":'.repeat(depth)}1${'}'.repeat(depth)}`);
const inRoom = (roomId) => message({ message: 'x', context: { roomId } });

/** Arguments of `emit`, grouped by the code they must get. */
const REFUSED = {
  invalid_payload: [
    ['message'],
    message(null),
    message('just text'),
    message(5),
    message([]),
    message({}),
    message({ context: {} }),
    message({ message: null }),
    message({ message: 5 }),
    message({ message: ['x'] }),
    message({ message: { text: 'x' } }),
    message({ message: 'bell \u0007' }),
    message({ message: 'nul \u0000' }),
    message({ message: 'carriage return \r alone' }),
    message({ message: 'carriage return at the end \r' }),
    message({ message: 'carriage return twice \r\r\n' }),
    message({ message: 'escape \u001b[31m' }),
    message({ message: 'delete \u007f' }),
    message({ message: 'next line \u0085' }),
    message({ message: 'lone surrogate \ud800' }),
    message({ message: 'x', context: [] }),
    message({ message: 'x', context: 'room' }),
    message({ message: 'x', context: ['room'] }),
    message({ message: 'x', context: 5 }),
    message({ message: Buffer.from('binary') }),
    ['typing'],
    ['typing', null],
    ['typing', 'true'],
    ['typing', 1],
    ['typing', { isTyping: true }],
    ['join'],
    ['join', null],
    ['join', 'room'],
    ['leave'],
    ['leave', 'room'],
    ['history', 'room'],
    ['history', 5],
    ['history', { limit: 1.5 }],
    ['history', { limit: -1 }],
    ['history', { before: 'no id' }],
    ['presence', 'room'],
    ['presence', ['room']],
    ['refresh'],
    ['refresh', {}],
  ],
  message_empty: [
    message({ message: '' }),
    message({ message: ' ' }),
    message({ message: ' \n\t \n' }),
    message({ message: '\u2003\u00a0\u3000' }),
    message({ message: '\r\n' }),
    message({ message: '\u200b\u200d\u2060\ufeff' }),
    message({ message: '\u2800' }),
    message({ message: '\u3164\u115f\u1160\uffa0' }),
    message({ message: '\ufe0f\u{e0100}' }),
    message({ message: '\u{e0041}\u{e007f}' }),
    message({ message: '\u00ad\u034f\u061c\u17b4\u180e\u202e' }),
  ],
  message_too_long: [message({ message: 'x'.repeat(4_097) }), message({ message: '🙂'.repeat(4_097) })],
  context_too_large: [
    message({ message: 'x', context: { pad: 'x'.repeat(4_096) } }),
    message({ message: 'x', context: nested(9) }),
    message({ message: 'x', context: nested(1_000) }),
    message({ message: 'x', context: { files: Array.from({ length: 11 }, () => Buffer.from('x')) } }),
  ],
  room_invalid: [
    inRoom(''),
    inRoom('x'.repeat(129)),
    inRoom('é'.repeat(65)),
    inRoom('tab\t'),
    inRoom('nul\u0000'),
    inRoom(5),
    inRoom(true),
    inRoom(['room']),
    inRoom({ id: 'room' }),
    ['join', { roomId: '' }],
    ['join', { roomId: null }],
    ['join', { roomId: 5 }],
    ['join', { roomId: 'x'.repeat(129) }],
    ['join', { roomId: 'line\nbreak' }],
    ['leave', { roomId: '' }],
    ['typing', true, { roomId: '' }],
    ['typing', true, { roomId: 7 }],
  ],
  room_forbidden: [
    ['typing', true, { roomId: 'a room never joined' }],
    ['typing', false, { roomId: 'a room never joined' }],
    ['leave', { roomId: 'a room never joined' }],
  ],
  unknown_event: [['nope'], ['nope', { a: 1 }], ['userTyping', {}], ['userStatus', {}], ['error', { message: 'x' }], [''], ['__proto__'], ['toString']],
};

/** What serialisers write where an object has nothing: no fault, and certainly no strike. */
const TAKEN = [
  message({ message: 'x', context: null }),
  inRoom(null),
  message({ message: 'x', context: { roomId: null, replyTo: null, clientId: null } }),
  message({ message: 'x', context: { replyTo: null } }),
  message({ message: 'x', context: { clientId: '' } }),
  ['typing', true, null],
  ['typing', false, { roomId: null }],
  ['join', { roomId: 'lobby', history: null }],
  ['history'],
  ['history', null],
  ['history', []],
  ['history', { roomId: null, before: null, after: null, limit: null }],
  ['history', { before: '', after: '' }],
  ['presence'],
  ['presence', null],
  ['presence', []],
  ['presence', { roomId: null }],
];

const shown = (args) => {
  const text = JSON.stringify(args);
  return text.length > 70 ? `${text.slice(0, 70)}...` : text;
};

withServer('errors', FREE, (server) => {
  for (const [code, cases] of Object.entries(REFUSED)) {
    overEachTransport(`${code}: the acknowledgement says so, and nothing else does`, async (t, transport) => {
      const alice = await Peer.connect(t, server, fresh('alice'), { transport });
      for (const args of cases) {
        const error = await alice.refused(...args);
        assert.equal(error.code, code, shown(args));
      }
      await fence(alice, [alice]);
      assert.deepEqual(alice.seen('error'), []);
      assert.deepEqual(alice.seen('disconnect'), []);
    });

    overEachTransport(`${code}: without acknowledgement the event error says so`, async (t, transport) => {
      const alice = await Peer.connect(t, server, fresh('alice'), { transport });
      for (const args of cases) {
        alice.socket.emit(...args);
        const error = await alice.next('error');
        assert.equal(error.code, code, shown(args));
        assert.equal(error.event, args[0], shown(args));
        assert.equal(typeof error.message, 'string');
        assert.notEqual(error.message, '');
      }
      await fence(alice, [alice]);
      assert.equal(alice.seen('error').length, cases.length);
      assert.deepEqual(alice.seen('disconnect'), []);
    });
  }

  overEachTransport('null, where a member is optional, is the same as absent', async (t, transport) => {
    const alice = await Peer.connect(t, server, fresh('alice'), { transport });
    for (const args of TAKEN) {
      await alice.ok(...args);
      alice.socket.emit(...args);
    }
    await fence(alice, [alice]);
    assert.deepEqual(alice.seen('error'), []);
    const messages = alice.seen('message', ({ message: text }) => text === 'x');
    assert.equal(messages.length, 10);
    assert.ok(messages.slice(0, 2).every((sent) => !('context' in sent)), 'no context is delivered where it was null');
    assert.deepEqual(messages[2].context, { roomId: null }, 'the rest is delivered as it was sent');
    // No id of a message, so none of them is another's repetition.
    assert.equal(new Set(messages.map(({ id }) => id)).size, 10);
  });

  test('a whole number is one however it is written', { timeout: 20_000 }, async (t) => {
    const raw = await RawWebSocket.open(t, server);
    await raw.connect(await server.token(fresh('alice')));
    const roomId = fresh('room');
    for (let n = 0; n < 4; n += 1) {
      raw.send(`420["message",{"message":"x","context":{"roomId":"${roomId}"}}]`);
      await raw.packet('430');
    }
    for (const [written, count] of [['2', 2], ['2.0', 2], ['2e0', 2], ['0.3E1', 3], ['0', 0], ['-0.0', 0], ['1e300', 4], ['9223372036854775807', 4]]) {
      raw.send(`421["history",{"roomId":"${roomId}","limit":${written}}]`);
      assert.equal(JSON.parse((await raw.packet('431')).slice(3))[0].messages?.length, count, written);
      raw.send(`422["join",{"roomId":"${roomId}","history":${written}}]`);
      assert.equal(JSON.parse((await raw.packet('432')).slice(3))[0].messages?.length, count, written);
    }
  });

  test('the largest room id is 128 bytes', { timeout: 20_000 }, async (t) => {
    const alice = await Peer.connect(t, server, fresh('alice'));
    for (const roomId of ['r'.repeat(128), 'é'.repeat(64), '🙂'.repeat(32), ' ', '/', '__proto__', alice.socket.id]) {
      await alice.ok('message', { message: 'x', context: { roomId } });
      await alice.next('message', ({ context }) => context.roomId === roomId);
    }
  });

  test('no room id names a socket\'s own room', { timeout: 20_000 }, async (t) => {
    const [alice, bob] = [await Peer.connect(t, server, fresh('alice')), await Peer.connect(t, server, fresh('bob'))];
    for (const roomId of [bob.socket.id, `/${bob.socket.id}`, bob.user]) {
      await alice.ok('message', { message: 'private?', context: { roomId } });
    }
    await fence(alice, [bob]);
    assert.deepEqual(bob.seen('message', ({ message: text }) => text === 'private?'), []);
  });

  for (const [what, payload] of Object.entries({
    message: '{"message":"a","message":"b"}',
    context: '{"message":"a","context":{},"context":{}}',
    roomId: '{"message":"a","context":{"roomId":"a","roomId":"b"}}',
    'message, once with an escape': '{"message":"a","m\\u0065ssage":"b"}',
    'roomId, once with an escape': '{"message":"a","context":{"roomId":"a","room\\u0049d":"b"}}',
  })) {
    test(`given twice is invalid_payload: ${what}`, { timeout: 20_000 }, async (t) => {
      const raw = await RawWebSocket.open(t, server);
      await raw.connect(await server.token(fresh('alice')));
      raw.send(`427["message",${payload}]`);
      const [answer] = JSON.parse((await raw.packet('437')).slice(3));
      assert.equal(answer.ok, false);
      assert.equal(answer.error.code, 'invalid_payload');
      raw.send(`42["message",${payload}]`);
      const [, error] = JSON.parse((await raw.packet('42["error"')).slice(2));
      assert.equal(error.code, 'invalid_payload');
    });
  }

  const LARGE = 900_000;
  /** A string whose JSON makes the whole argument exactly 900,000 bytes. */
  const filling = (wrap) => wrap('x'.repeat(LARGE - JSON.stringify(wrap('')).length));
  for (const [what, args, code] of [
    ['as message', message(filling((text) => ({ message: text }))), 'message_too_long'],
    ['as context', message(filling((text) => ({ message: 'x', context: { text } }))), 'context_too_large'],
    ['as typing', ['typing', filling((text) => text)], 'invalid_payload'],
    ['of an unknown event', ['nope', filling((text) => text)], 'unknown_event'],
  ]) {
    assert.equal(JSON.stringify(args[1]).length, LARGE);
    overEachTransport(`an argument of 900,000 bytes ${what}: ${code}, and the connection lives`, async (t, transport) => {
      const [alice, bob] = [await Peer.connect(t, server, fresh('alice'), { transport }), await Peer.connect(t, server, fresh('bob'), { transport })];
      const id = alice.socket.id;
      alice.socket.emit(...args);
      const error = await alice.next('error');
      assert.equal(error.code, code);
      assert.equal((await alice.refused(...args)).code, code);
      await fence(alice, [alice, bob]);
      assert.equal(alice.socket.id, id);
      assert.deepEqual(alice.seen('disconnect'), []);
    });
  }

  overEachTransport('an attachment of 600,000 bytes is refused, and the connection lives', async (t, transport) => {
    const [alice, bob] = [await Peer.connect(t, server, fresh('alice'), { transport }), await Peer.connect(t, server, fresh('bob'), { transport })];
    const id = alice.socket.id;
    // On polling, base64 makes 800,000 bytes of them.
    alice.chat.sendMessage('x', { file: Buffer.alloc(600_000, 7) });
    assert.equal((await alice.next('error')).code, 'context_too_large');
    await fence(alice, [alice, bob]);
    assert.equal(alice.socket.id, id);
    assert.deepEqual(alice.seen('disconnect'), []);
  });
});
