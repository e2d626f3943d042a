// Official clients through TLS: over each transport, while the certificate changes, and with a client that does not trust it.

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { authority, noCertificates } from './harness/authority.mjs';
import { fence, fresh, Peer } from './harness/peer.mjs';
import { Server } from './harness/server.mjs';
import { TRANSPORTS } from './harness/transports.mjs';

const options = { timeout: 60_000, skip: noCertificates };

test('clients talk through TLS over each transport', options, async (t) => {
  const { ca, settings } = authority(t);
  const server = await Server.start(t, { settings });
  assert.match(server.url, /^https:/);
  const peers = [];
  for (const transport of Object.keys(TRANSPORTS)) {
    const extra = { ca, extraHeaders: { Origin: server.url } };
    peers.push(await Peer.connect(t, server, fresh(transport), { transport, options: extra }));
  }
  for (const peer of peers) {
    await fence(peer, peers);
  }
  // Attachments are frames of their own, and larger than one record of TLS.
  const bytes = Buffer.alloc(200_000, 7);
  await peers[1].ok('message', { message: 'bytes', context: { bytes } });
  for (const peer of peers) {
    const { context } = await peer.next('message', (data) => data.message === 'bytes');
    assert.ok(bytes.equals(context.bytes), peer.transport);
  }
});

test('a client that does not trust the certificate does not connect', options, async (t) => {
  const server = await Server.start(t, { settings: authority(t).settings });
  const peer = await Peer.open(t, server.url, await server.token('alice'));
  const error = await peer.next('connect_error');
  assert.match(String(error.description?.message ?? error.message), /self-signed|certificate|websocket error/i);
});

test('certificates change under load, and no connection ends', options, async (t) => {
  const { ca, issue, settings } = authority(t);
  const server = await Server.start(t, { settings: { ...settings, 'log.level': 'info', 'limits.message_rate': 0 } });
  const peers = [];
  for (const transport of ['websocket', 'polling', 'websocket']) {
    peers.push(await Peer.connect(t, server, fresh(transport), { transport, options: { ca } }));
  }
  const [sender, ...receivers] = peers;
  const stop = new AbortController();
  let sent = 0;
  const sending = (async () => {
    while (!stop.signal.aborted) {
      await sender.ok('message', { message: `load ${sent}` });
      sent += 1;
    }
  })();
  for (let round = 1; round <= 3; round += 1) {
    issue();
    server.signal('SIGHUP');
    await server.logged(/tls\.cert: the certificate in its file changed/g, round);
    const before = sent;
    const newcomer = await Peer.connect(t, server, fresh('newcomer'), { options: { ca } });
    await newcomer.next('message', (data) => data.message.startsWith('load'));
    assert.ok(sent >= before);
  }
  stop.abort();
  await sending;
  await fence(sender, peers);
  for (const receiver of receivers) {
    assert.deepEqual(receiver.seen('disconnect'), []);
    const got = receiver.seen('message', (data) => data.message.startsWith('load')).map((data) => data.message);
    assert.deepEqual(got, Array.from({ length: sent }, (_, n) => `load ${n}`));
  }
});
