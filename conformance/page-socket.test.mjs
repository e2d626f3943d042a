// The page's own client (server/src/page/socket.js), without a browser: packets with attachments, and connection state recovery as
// the official client has it. The fixture `recovery` stands for a chat server with recovery.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import WebSocket from 'ws';

import { Cable } from './harness/cable.mjs';
import { withFixture } from './harness/fixture.mjs';
import { Inbox } from './harness/inbox.mjs';

globalThis.WebSocket = WebSocket;
const { Decoder, encode } = await import('../server/src/page/protocol.js');
const { Socket } = await import('../server/src/page/socket.js');

const bytes = (...values) => new Uint8Array(values).buffer;

test('packets come out of the decoder as they went into the encoder', () => {
  for (const packet of [
    { type: 0, id: undefined, data: { token: 'x' } },
    { type: 1, id: undefined, data: undefined },
    { type: 2, id: undefined, data: ['message', { text: '5-[{"_placeholder":true,"num":0}]' }] },
    { type: 2, id: 12, data: ['message', { a: [bytes(1, 2), { b: bytes() }], none: null }] },
    { type: 3, id: 7, data: [{ ok: true, files: [bytes(9)] }] },
  ]) {
    const decoder = new Decoder();
    const [text, ...attachments] = encode(packet);
    let decoded = decoder.text(text);
    for (const attachment of attachments) {
      assert.equal(decoded, null);
      decoded = decoder.binary(attachment);
    }
    assert.deepEqual(decoded, packet);
  }
});

test('what is no packet is refused', () => {
  for (const text of ['', '7', '2', '2{}', '2/a,["x"]', '5["x"]', '51000-["x"]', '2["x"', '0[']) {
    assert.throws(() => new Decoder().text(text), text);
  }
  assert.throws(() => new Decoder().binary(bytes(1)));
  const decoder = new Decoder();
  assert.equal(decoder.text('51-["x",{"_placeholder":true,"num":0}]'), null);
  assert.throws(() => decoder.text('2["y"]'), 'a text among attachments');
});

let rooms = 0;

async function join(t, url) {
  const socket = new Socket(url, {});
  const client = { socket, events: new Inbox(), connects: new Inbox(), losses: new Inbox(), room: `room ${(rooms += 1)}` };
  socket
    .on('sent', (...args) => client.events.push(args))
    .on('connect', () => client.connects.push(socket.recovered))
    .on('disconnect', (reason) => client.losses.push(reason));
  t.after(() => socket.disconnect());
  socket.connect();
  assert.equal(await client.connects.next(() => true, 'a connect'), false);
  await socket.emitWithAck('join', client.room);
  return client;
}

withFixture('the page behind a server with recovery', 'recovery', {}, (server) => {
  const next = async (client) => (await client.events.next(() => true, 'an event'))[0];

  test('a socket that comes back gets what it missed, once and in order', { timeout: 30_000 }, async (t) => {
    const cable = await Cable.lay(t, server.url);
    const [client, sender] = [await join(t, cable.url), await join(t, server.url)];
    const send = (...args) => sender.socket.emit('send', client.room, { volatile: false }, ...args);
    send('first');
    assert.equal(await next(client), 'first');
    for (let round = 0; round < 3; round += 1) {
      cable.unplug();
      await client.losses.next(() => true, 'the loss');
      for (const text of ['a', 'b', 'c']) send(`${text}${round}`, bytes(round));
      await sender.socket.emitWithAck('join', sender.room); // what was sent before this is done
      cable.plug();
      client.socket.hurry();
      assert.equal(await client.connects.next(() => true, 'a connect'), true, 'recovered');
      for (const text of ['a', 'b', 'c']) {
        const [event, attachment] = await client.events.next(() => true, 'a missed event');
        assert.deepEqual([event, new Uint8Array(attachment)], [`${text}${round}`, new Uint8Array([round])]);
      }
    }
    send('last');
    assert.equal(await next(client), 'last');
  });

  test('after an end that it chose itself a socket is a new one', { timeout: 30_000 }, async (t) => {
    const client = await join(t, server.url);
    client.socket.disconnect();
    await client.losses.next((reason) => reason === 'io client disconnect', 'the end');
    client.socket.connect();
    assert.equal(await client.connects.next(() => true, 'a connect'), false);
  });
});
