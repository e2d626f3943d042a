// A herd: 120 of the document's clients behind one nginx. The server ends and starts again; all of them come back by themselves.

import assert from 'node:assert/strict';
import { Agent } from 'node:http';
import { describe, test } from 'node:test';

import { fresh, Peer } from './harness/peer.mjs';
import { missing, start } from './harness/proxies.mjs';
import { Server } from './harness/server.mjs';
import { epoch, sign } from './harness/token.mjs';

const CLIENTS = 120;

/** The document's client gives up 12.5 s or more after a loss; every one must be back earlier than this. */
const BACK_WITHIN = 10_000;

/** Whom nginx names as the client, and what one client may do. */
const HERDS = {
  'each from an address of its own': {
    from: (n) => `127.0.1.${n + 1}`,
    settings: { 'http.trusted_proxies': '127.0.0.1' },
  },
  // By the rate alone the last would be back after two minutes.
  'all from one address, as many as it may have': {
    forwardedFor: '203.0.113.7',
    settings: { 'limits.sockets_per_ip': CLIENTS, 'limits.connect_rate': 1 },
  },
  // Without `sockets_per_ip`, 100 may come at once. The herd is larger, so it must come back in spite of refusals.
  'all from one address, which may have any number': { forwardedFor: '203.0.113.7', settings: { 'limits.sockets_per_ip': 0 } },
  'all from loopback, which is trusted and so has no limit': {},
};

/** All are connected, by WebSocket, within so many ms. */
async function allConnected(peers, within) {
  const until = performance.now() + within;
  for (const peer of peers) {
    await peer.connected(until - performance.now());
    assert.deepEqual(peer.seen('reconnect_failed'), []);
  }
  // The client takes itself for upgraded one packet before the server does. An answer shows that the server does too.
  await Promise.all(peers.map((peer) => peer.ok('presence', {})));
}

// Side by side: the clients mostly wait.
describe(`${CLIENTS} clients behind one nginx`, { concurrency: true, skip: missing('nginx') }, () => {
  for (const [herd, { from = () => '127.0.0.1', settings = {}, forwardedFor }] of Object.entries(HERDS)) {
    test(`${herd}: after SIGTERM, and after SIGKILL, all are back, and none gives up`, { timeout: 60_000 }, async (t) => {
      const server = await Server.start(t, { settings });
      const proxy = await start(t, 'nginx', server, { forwardedFor });
      const peers = await Promise.all(Array.from({ length: CLIENTS }, (_, n) => {
        const agent = new Agent({ localAddress: from(n) });
        const token = sign({ sub: fresh('user'), exp: epoch(600) });
        return Peer.open(t, proxy.url, token, { transport: 'upgrade', options: { agent } });
      }));
      await allConnected(peers, BACK_WITHIN);
      for (const signal of ['SIGTERM', 'SIGKILL']) {
        const ended = performance.now();
        await server.end(signal);
        await server.launch();
        await allConnected(peers, BACK_WITHIN - (performance.now() - ended));
      }
    });
  }
});
