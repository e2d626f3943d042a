// A page in a real browser with the official bundle, against the fixture `client-sio`: each transport, binary as pages have it
// (`ArrayBuffer`, typed arrays, `Blob`), and the way back after a lost connection. A browser that is not installed is skipped,
// with a line.

import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';

import { Browser, BROWSERS, missing } from './harness/browsers.mjs';
import { Cable } from './harness/cable.mjs';
import { withFixture } from './harness/fixture.mjs';
import { Pages } from './harness/pages.mjs';
import { TRANSPORTS } from './harness/transports.mjs';

const LIMIT = { timeout: 60_000 };

// These functions run in the page.

/** Connects; `heard` keeps the events of the connection in the page's title, for `page.until`. */
const connect = (url, options) => {
  globalThis.socket = io(url, { forceNew: true, reconnectionDelay: 10, ...options });
  const heard = [];
  const tell = (text) => {
    heard.push(text);
    document.title = heard.join(' ');
  };
  socket.on('connect', () => tell('connect'));
  socket.on('disconnect', (reason) => tell(`disconnect:${reason}`));
  socket.on('connect_error', (error) => tell(`error:${error.message}`));
  socket.io.on('reconnect', () => tell('reconnect'));
};
const hasHeard = (text) => document.title === text;
const upgraded = () => {
  const { engine } = socket.io;
  return engine.transport.name === 'websocket' || new Promise((resolve) => engine.once('upgrade', () => resolve(true)));
};
const transport = () => socket.io.engine.transport.name;
const ids = async () => [socket.id, await socket.timeout(8_000).emitWithAck('getId')];
/** Loses the connection once the socket has an offset; whether it comes back as the same socket. */
const recovers = async () => {
  const once = (emitter, event) => new Promise((resolve) => emitter.once(event, resolve));
  const { id } = socket;
  socket.emit('hi');
  await once(socket, 'hi');
  socket.io.engine.close();
  await once(socket, 'connect');
  return socket.recovered && socket.id === id;
};
const disconnect = () => {
  socket.disconnect();
};

/** What comes back of binary data of each kind, as [constructor, bytes]. */
const binary = async () => {
  const bytes = new Uint8Array(70_000).map((_, index) => index);
  const describe = (buffer) => [buffer.constructor.name, buffer.byteLength, new Uint8Array(buffer).every((byte, i) => byte === bytes[i])];
  const echo = (value) => socket.timeout(8_000).emitWithAck('echo', value);
  const answer = (event, ...args) => new Promise((resolve) => {
    socket.once(event, (value) => resolve(value instanceof ArrayBuffer ? new TextDecoder().decode(value) : true));
    for (const [name, ...rest] of args) socket.emit(name, ...rest);
  });
  const blob = new Blob(['BLOB']);
  const mixed = (message) => ({ hello: 'lol', message, goodbye: 'gotcha' });
  return {
    buffer: describe(await echo(bytes.buffer)),
    array: describe((await echo({ deep: [bytes] })).deep[0]),
    blob: describe(await echo(new Blob([bytes]))),
    doge: await answer('doge', ['doge']),
    takebin: await answer('takebin', ['getbin']),
    acks: [
      await answer('buffack', ['buffa', bytes.buffer]),
      await answer('back', ['blob', blob]),
      await answer('jsonbuff-ack', ['jsonbuff', mixed(bytes)]),
      await answer('jsonblob-ack', ['jsonblob', mixed(blob)]),
      await answer('abuff2-ack', ['abuff1', bytes], ['abuff2', 'after it']),
      await answer('blob3-ack', ['blob1', blob], ['blob2', 'second'], ['blob3', blob]),
    ],
  };
};

for (const name of Object.keys(BROWSERS)) {
  describe(name, { skip: missing(name) }, () => {
    let browser;
    before(async () => {
      browser = await Browser.start(name);
    }, LIMIT);
    after(() => browser?.remove(), LIMIT);

    withFixture('a page with the official client', 'client-sio', { cors: true }, (server) => {
      for (const [kind, options] of Object.entries(TRANSPORTS)) {
        test(`over ${kind}`, LIMIT, async (t) => {
          const [pages, cable] = [await Pages.start(t), await Cable.lay(t, server.url)];
          const page = await browser.page(t, `${pages.origin}/page.html`);
          await page.evaluate(connect, cable.url, options);
          await page.until(hasHeard, 'connect');
          if (kind === 'upgrade') await page.evaluate(upgraded);
          assert.equal(await page.evaluate(transport), kind === 'polling' ? 'polling' : 'websocket');
          const [id, known] = await page.evaluate(ids);
          assert.equal(known, id);
          const whole = ['ArrayBuffer', 70_000, true];
          assert.deepEqual(await page.evaluate(binary), {
            buffer: whole, array: whole, blob: whole, doge: 'asdfasdf', takebin: 'asdfasdf', acks: Array(6).fill(true),
          });

          if (kind === 'polling') await cable.poll();
          cable.cut();
          const lost = `disconnect:transport ${kind === 'polling' ? 'error' : 'close'}`;
          await page.until(hasHeard, `connect ${lost} reconnect connect`);
          const [newId, newKnown] = await page.evaluate(ids);
          assert.equal(newKnown, newId);
          assert.equal(await page.evaluate(recovers), true);
          await page.evaluate(disconnect);
          const forced = 'disconnect:forced close reconnect connect disconnect:io client disconnect';
          await page.until(hasHeard, `connect ${lost} reconnect connect ${forced}`);
        });
      }
    });
  });
}
