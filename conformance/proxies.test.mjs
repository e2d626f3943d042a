// Behind real proxies, plain and with TLS, with a page's Origin: official clients over each transport, pages of others, limits for
// each client, `chat-server check`, HTTP/2, and HAProxy's health check. A proxy that is not installed is skipped, with a line.

import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { request as plainRequest } from 'node:http';
import { connect as connectHttp2 } from 'node:http2';
import { request as tlsRequest } from 'node:https';
import { test } from 'node:test';
import { promisify } from 'node:util';

import { withDeadline } from './harness/inbox.mjs';
import { fence, fresh, Peer } from './harness/peer.mjs';
import { freePort, missing, PROXIES, start } from './harness/proxies.mjs';
import { PATH } from './harness/raw.mjs';
import { BINARY, Server } from './harness/server.mjs';
import * as tls from './harness/tls-proxies.mjs';
import { TRANSPORTS } from './harness/transports.mjs';

const HANDSHAKE = `${PATH}?EIO=4&transport=polling`;
const LIMIT = { timeout: 60_000 };
const run = promisify(execFile);

/** A request from a loopback address. */
function ask(proxy, path, { headers = {}, from = '127.0.0.1', method = 'GET', body } = {}) {
  return new Promise((resolve, reject) => {
    const options = { host: '127.0.0.1', port: proxy.port, path, method, headers, localAddress: from, agent: false };
    const encrypted = { ca: proxy.ca, servername: tls.NAME };
    const request = proxy.ca ? tlsRequest({ ...options, ...encrypted }) : plainRequest(options);
    request.on('response', (response) => {
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

/** A server, and a proxy in front of it without TLS; and origins with the status that pages of theirs get. */
async function plain(t, name, settings = {}) {
  const own = name.includes('send-proxy') ? { 'http.proxy_protocol': true } : {};
  const server = await Server.start(t, { settings: { ...own, ...settings } });
  const proxy = await start(t, name, server);
  return { server, proxy, headers: {}, origins: [[proxy.url, 200]] };
}

/** The same with TLS. The requests name the proxy as the public does, on the default port; some proxies say X-Forwarded-Proto. */
async function encrypted(t, name, settings = {}) {
  const { files, ...certificates } = tls.prepare(t, name);
  const server = await Server.start(t, { settings: { ...certificates.settings, ...settings } });
  const proxy = await tls.start(t, name, server, { ...certificates, files });
  const origins = [[`https://${tls.NAME}`, 200], [`https://${tls.NAME}.example`, 403]];
  return { server, proxy, files, headers: { host: tls.NAME }, origins };
}

const CASES = [
  ...Object.keys(PROXIES).map((name) => ({ title: name, skip: missing(name), both: (t, settings) => plain(t, name, settings) })),
  ...Object.keys(tls.TLS_PROXIES).map((name) => (
    { title: `TLS, ${name}`, skip: tls.missing(name), both: (t, settings) => encrypted(t, name, settings) }
  )),
];

for (const { title, skip, both } of CASES) {
  const options = { ...LIMIT, skip };

  test(`${title}: the page's own clients talk over each transport`, options, async (t) => {
    const { server, proxy } = await both(t);
    const peers = [];
    for (const transport of Object.keys(TRANSPORTS)) {
      const peer = await Peer.open(t, proxy.url, await server.token(fresh('alice')), {
        transport,
        options: { ca: proxy.ca, extraHeaders: { Origin: proxy.url } },
      });
      await peer.connected();
      peers.push(peer);
    }
    for (const peer of peers) {
      await fence(peer, peers);
    }
  });

  test(`${title}: \`chat-server check\` finds nothing wrong`, options, async (t) => {
    const { server, proxy, files } = await both(t);
    const token = await server.token(fresh('operator'));
    const trust = files ? ['--ca', files.ca] : [];
    const { stdout } = await run(BINARY, ['check', proxy.url, '--token', token, '--origin', proxy.url, ...trust]);
    assert.match(stdout, /\n10 passed, 0 failed, 0 skipped; 0 warnings\n$/);
  });

  test(`${title}: pages of others are refused`, options, async (t) => {
    const { proxy, headers, origins } = await both(t);
    for (const [origin, expected] of [...origins, ['https://evil.example', 403], ['http://localhost:1', 403]]) {
      assert.equal(await status(proxy, HANDSHAKE, { headers: { ...headers, origin } }), expected, origin);
    }
  });

  test(`${title}: limits count each client, and nobody chooses his own address`, options, async (t) => {
    const { server, proxy, headers } = await both(t, { 'limits.sockets_per_ip': 1, 'http.trusted_proxies': '127.0.0.1' });
    const token = await server.token('alice');
    assert.equal(await enter(proxy, token, { from: '127.0.0.2', headers }), 200);
    assert.equal(await enter(proxy, token, { from: '127.0.0.3', headers }), 200);
    const invented = { ...headers, 'x-forwarded-for': '192.0.2.1' };
    assert.equal(await status(proxy, HANDSHAKE, { from: '127.0.0.2', headers }), 503);
    assert.equal(await status(proxy, HANDSHAKE, { from: '127.0.0.2', headers: invented }), 503);
  });
}

/** A connection with HTTP/2 to a proxy; `ask` returns `{ status, text }`. */
function http2(t, proxy) {
  const session = connectHttp2(proxy.url, { ca: proxy.ca });
  t.after(() => session.destroy());
  const answer = (path, { headers, body, method = body === undefined ? 'GET' : 'POST' } = {}) => new Promise((resolve, reject) => {
    session.once('error', reject);
    const stream = session.request({ ':path': path, ':method': method, ...headers });
    let [code, text] = [0, ''];
    stream.on('response', ({ ':status': status }) => { code = status; });
    stream.setEncoding('utf8').on('data', (part) => { text += part; }).on('end', () => resolve({ status: code, text })).on('error', reject);
    stream.end(body);
  });
  return { session, ask: (path, options) => withDeadline(answer(path, options), `an answer to ${path}`) };
}

for (const [name, { http2: offered }] of Object.entries(tls.TLS_PROXIES)) {
  const options = { ...LIMIT, skip: tls.missing(name) };

  test(`TLS, ${name}: long-polling by HTTP/2, ${offered ? 'many requests in one connection' : 'is not offered'}`, options, async (t) => {
    const { server, proxy } = await encrypted(t, name);
    const { session, ask: askHttp2 } = http2(t, proxy);
    if (!offered) {
      await assert.rejects(askHttp2(HANDSHAKE), ({ cause }) => cause.code === 'ERR_SSL_TLSV1_ALERT_NO_APPLICATION_PROTOCOL');
      return;
    }
    const headers = { origin: proxy.url };
    assert.equal((await askHttp2(HANDSHAKE, { headers: { origin: 'https://evil.example' } })).status, 403);
    const open = await askHttp2(HANDSHAKE, { headers });
    assert.equal(session.alpnProtocol, 'h2');
    const path = `${HANDSHAKE}&sid=${JSON.parse(open.text.slice(1)).sid}`;
    const post = async (body) => assert.deepEqual(await askHttp2(path, { headers, body }), { status: 200, text: 'ok' });
    await post(`40${JSON.stringify({ token: await server.token('alice') })}`);
    // The poll waits in the same connection in which its answer is asked for.
    for (let received = ''; !received.includes('437['); ) {
      const poll = askHttp2(path, { headers });
      if (received === '') await post('427["message",{"message":"by HTTP/2"}]');
      const { status: code, text } = await poll;
      assert.equal(code, 200);
      received += text;
    }
  });
}

for (const name of ['nginx', 'haproxy', 'apache', 'caddy']) {
  test(`TLS, ${name}: /metrics is for the operator alone`, { ...LIMIT, skip: tls.missing(name) }, async (t) => {
    const { proxy, headers } = await encrypted(t, name);
    assert.equal(await status(proxy, '/metrics', { headers }), name === 'caddy' ? 404 : 403);
    assert.equal(await status(proxy, '/healthz', { headers }), 200);
  });
}

test('haproxy: its default health check passes', { ...LIMIT, skip: missing('haproxy') }, async (t) => {
  const server = await Server.start(t);
  const proxy = await start(t, 'haproxy', server);
  await proxy.says(/Health check for server chat\/app succeeded/);
  assert.equal(await status(proxy, '/healthz'), 200);
  assert.equal(await status(proxy, '/healthz', { method: 'HEAD' }), 200);
});

for (const name of ['haproxy', 'haproxy to a server with TLS, by send-proxy-v2']) {
  test(`TLS, ${name}: its health check passes`, { ...LIMIT, skip: tls.missing(name) }, async (t) => {
    const { proxy } = await encrypted(t, name);
    await proxy.says(/Health check for server chat\/app succeeded/);
  });
}

test('TLS, haproxy: its health check passes with http.admin_listen', { ...LIMIT, skip: tls.missing('haproxy') }, async (t) => {
  const certificates = tls.prepare(t, 'haproxy');
  const checkPort = await freePort();
  const server = await Server.start(t, { settings: { 'http.admin_listen': `127.0.0.1:${checkPort}` } });
  const proxy = await tls.start(t, 'haproxy', server, { ...certificates, checkPort });
  await proxy.says(/Health check for server chat\/app succeeded/);
  assert.equal(await status(proxy, '/readyz'), 404);
});

test('TLS, haproxy: a WebSocket is a stream of HTTP/2 (RFC 8441)', { ...LIMIT, skip: tls.missing('haproxy') }, async (t) => {
  const { proxy } = await encrypted(t, 'haproxy');
  const { session } = http2(t, proxy);
  await withDeadline(new Promise((resolve) => session.once('remoteSettings', resolve)), 'the settings of HAProxy');
  assert.equal(session.remoteSettings.enableConnectProtocol, true);
  const connect = (origin) => new Promise((resolve, reject) => {
    const path = `${PATH}?EIO=4&transport=websocket`;
    const method = { ':method': 'CONNECT', ':protocol': 'websocket', ':scheme': 'https' };
    const stream = session.request({ ...method, ':path': path, ':authority': tls.NAME, 'sec-websocket-version': '13', origin });
    stream.on('response', ({ ':status': code }) => (code === 200 ? stream.once('data', resolve) : resolve(code))).on('error', reject);
  });
  assert.equal(await withDeadline(connect('https://evil.example'), 'a refusal'), 403);
  assert.match(String(await withDeadline(connect(`https://${tls.NAME}`), 'the handshake')), /0\{"sid":/);
});
