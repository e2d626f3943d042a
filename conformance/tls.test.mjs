// Official clients through TLS: over each transport, while the certificate changes, and with a client that does not trust it.

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';

import { fence, fresh, Peer } from './harness/peer.mjs';
import { find } from './harness/programs.mjs';
import { Server } from './harness/server.mjs';
import { TRANSPORTS } from './harness/transports.mjs';

const options = { timeout: 60_000, skip: find('openssl') ? false : 'openssl is not installed' };

const CURVE = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-days', '2'];
const openssl = (...args) => execFileSync('openssl', args, { stdio: 'ignore' });

/** An authority and a certificate of it for 127.0.0.1, with their keys, in a directory that is removed with the test. */
function authority(t) {
  const directory = mkdtempSync(join(tmpdir(), 'chat-tls-'));
  t.after(() => rmSync(directory, { recursive: true, force: true }));
  const file = (name) => join(directory, `${name}.pem`);
  openssl('req', '-x509', ...CURVE, '-keyout', file('ca-key'), '-out', file('ca'), '-subj', '/CN=authority of this test');
  const issue = () => {
    const names = ['-subj', '/CN=localhost', '-addext', 'subjectAltName=IP:127.0.0.1', '-addext', 'basicConstraints=critical,CA:FALSE'];
    openssl('req', '-x509', ...CURVE, '-CA', file('ca'), '-CAkey', file('ca-key'), '-keyout', file('key'), '-out', file('cert'), ...names);
  };
  issue();
  return { issue, ca: readFileSync(file('ca')), settings: { 'tls.cert': file('cert'), 'tls.key': file('key') } };
}

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
