// Behind real proxies, with a page's Origin: official clients over each transport, pages of others, limits for each client,
// `chat-server check`, and HAProxy's health check. A proxy that is not installed is skipped, with a line.

import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { request } from 'node:http';
import { test } from 'node:test';
import { promisify } from 'node:util';

import { fence, fresh, Peer } from './harness/peer.mjs';
import { missing, PROXIES, start } from './harness/proxies.mjs';
import { PATH } from './harness/raw.mjs';
import { BINARY, Server } from './harness/server.mjs';
import { TRANSPORTS } from './harness/transports.mjs';

const HANDSHAKE = `${PATH}?EIO=4&transport=polling`;
const LIMIT = { timeout: 60_000 };
const run = promisify(execFile);

/** A request from a loopback address. */
function ask(proxy, path, { headers = {}, from = '127.0.0.1', method = 'GET', body } = {}) {
  return new Promise((resolve, reject) => {
    const options = { host: '127.0.0.1', port: proxy.port, path, method, headers, localAddress: from, agent: false };
    request(options, (response) => {
      let text = '';
      response.setEncoding('utf8').on('data', (part) => { text += part; }).on('end', () => resolve({ status: response.statusCode, text }));
    }).on('error', reject).end(body);
  });
}

async function status(proxy, path, options) {
  return (await ask(proxy, path, options)).status;
}

/** Opens a session from a loopback address, and shows a token; returns the status of the handshake. */
async function enter(proxy, token, options) {
  const open = await ask(proxy, HANDSHAKE, options);
  if (open.status === 200) {
    const path = `${HANDSHAKE}&sid=${JSON.parse(open.text.slice(1)).sid}`;
    assert.equal(await status(proxy, path, { ...options, method: 'POST', body: `40${JSON.stringify({ token })}` }), 200);
  }
  return open.status;
}

for (const name of Object.keys(PROXIES)) {
  const settings = name.includes('send-proxy') ? { 'http.proxy_protocol': true } : {};
  const options = { ...LIMIT, skip: missing(name) };

  test(`${name}: the page's own clients talk over each transport`, options, async (t) => {
    const server = await Server.start(t, { settings });
    const proxy = await start(t, name, server);
    const peers = [];
    for (const transport of Object.keys(TRANSPORTS)) {
      const peer = await Peer.open(t, proxy.url, await server.token(fresh('alice')), {
        transport,
        options: { extraHeaders: { Origin: proxy.url } },
      });
      await peer.connected();
      peers.push(peer);
    }
    for (const peer of peers) {
      await fence(peer, peers);
    }
  });

  test(`${name}: \`chat-server check\` finds nothing wrong`, options, async (t) => {
    const server = await Server.start(t, { settings });
    const proxy = await start(t, name, server);
    const token = await server.token(fresh('operator'));
    const { stdout } = await run(BINARY, ['check', proxy.url, '--token', token, '--origin', proxy.url]);
    assert.match(stdout, /\n10 passed, 0 failed, 0 skipped; 0 warnings\n$/);
  });

  test(`${name}: pages of others are refused`, options, async (t) => {
    const server = await Server.start(t, { settings });
    const proxy = await start(t, name, server);
    for (const [origin, expected] of [[proxy.url, 200], ['https://evil.example', 403], ['http://localhost:1', 403]]) {
      assert.equal(await status(proxy, HANDSHAKE, { headers: { origin } }), expected, origin);
    }
  });

  test(`${name}: limits count each client, and nobody chooses his own address`, options, async (t) => {
    const limits = { 'limits.sockets_per_ip': 1, 'http.trusted_proxies': '127.0.0.1' };
    const server = await Server.start(t, { settings: { ...settings, ...limits } });
    const proxy = await start(t, name, server);
    const token = await server.token('alice');
    assert.equal(await enter(proxy, token, { from: '127.0.0.2' }), 200);
    assert.equal(await enter(proxy, token, { from: '127.0.0.3' }), 200);
    const headers = { 'x-forwarded-for': '192.0.2.1' };
    assert.equal(await status(proxy, HANDSHAKE, { from: '127.0.0.2' }), 503);
    assert.equal(await status(proxy, HANDSHAKE, { from: '127.0.0.2', headers }), 503);
  });
}

test('haproxy: its default health check passes', { ...LIMIT, skip: missing('haproxy') }, async (t) => {
  const server = await Server.start(t);
  const proxy = await start(t, 'haproxy', server);
  await proxy.says(/Health check for server chat\/app succeeded/);
  assert.equal(await status(proxy, '/healthz'), 200);
  assert.equal(await status(proxy, '/healthz', { method: 'HEAD' }), 200);
});
