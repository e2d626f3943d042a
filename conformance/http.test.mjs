// What the server answers outside the chat: health, the page, unknown paths, and foreign origins.

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { fresh, Peer, withServer } from './harness/peer.mjs';
import { assertRefusal, http, PATH, PollingSession, RawWebSocket, refusedWebSocket } from './harness/raw.mjs';
import { Server } from './harness/server.mjs';

const HANDSHAKE = `${PATH}?EIO=4&transport=polling`;

withServer('http', {}, (server) => {
  for (const path of ['/healthz', '/readyz']) {
    test(`${path} answers 200`, { timeout: 10_000 }, async () => {
      assert.equal((await http(server, path)).status, 200);
    });
  }

  test('the page brings its own script and allows no other', { timeout: 10_000 }, async () => {
    const page = await http(server, '/');
    assert.equal(page.status, 200);
    assert.match(page.headers['content-type'], /^text\/html/);
    assert.equal(page.headers['x-content-type-options'], 'nosniff');
    const policy = page.headers['content-security-policy'];
    assert.match(policy, /default-src '(none|self)'/);
    assert.doesNotMatch(policy, /unsafe-eval|script-src[^;]*unsafe-inline|script-src[^;]*\*/);
    const scripts = [...page.text.matchAll(/<script[^>]*\ssrc="([^"]+)"/g)].map(([, source]) => source);
    assert.ok(scripts.length > 0, 'no script');
    for (const source of [...page.text.matchAll(/\s(?:src|href)="([^"]+)"/g)].map(([, address]) => address)) {
      assert.doesNotMatch(source, /^(?:[a-z]+:)?\/\//i, 'an external address');
    }
    for (const source of scripts) {
      const script = await http(server, new URL(source, server.url).pathname);
      assert.equal(script.status, 200, source);
      assert.match(script.headers['content-type'], /javascript/);
      assert.equal(script.headers['x-content-type-options'], 'nosniff');
    }
  });

  test('without development mode a name gets no token', { timeout: 10_000 }, async () => {
    const headers = { 'x-chat-development': '1' };
    assert.equal((await http(server, '/dev/token?name=alice', { method: 'POST', headers })).status, 405);
    assert.equal(JSON.parse((await http(server, '/page/settings.json')).text).development, false);
  });

  for (const path of ['/nope', '/api/nope', '/socket.i', '/index.html/../../etc/passwd', '/engine.io/?EIO=4&transport=polling']) {
    test(`404: ${path}`, { timeout: 10_000 }, async () => {
      assert.equal((await http(server, path)).status, 404);
    });
  }

  test('a foreign Origin is refused on polling and on WebSocket', { timeout: 10_000 }, async () => {
    for (const origin of ['https://evil.example', 'http://127.0.0.1:1', 'http://localhost:5173', 'null']) {
      const headers = { origin };
      assert.equal((await http(server, HANDSHAKE, { headers })).status, 403, origin);
      assert.equal((await refusedWebSocket(server, 'EIO=4&transport=websocket', { headers })).status, 403, origin);
    }
  });

  test('a foreign Origin is refused on an open session too, and the session lives on', { timeout: 10_000 }, async () => {
    const session = await PollingSession.open(server);
    const headers = { origin: 'https://evil.example' };
    assert.equal((await http(server, session.path, { headers })).status, 403);
    assert.equal((await http(server, session.path, { method: 'POST', body: '1', headers })).status, 403);
    await session.connect(await server.token(fresh('alice')));
  });

  test('its own origin and a missing Origin are accepted', { timeout: 10_000 }, async (t) => {
    const headers = { origin: server.url };
    assert.equal((await http(server, HANDSHAKE, { headers })).status, 200);
    const raw = await RawWebSocket.open(t, server, { headers });
    await raw.handshake();
    assert.equal((await http(server, HANDSHAKE)).status, 200);
  });

  test('the server sets no cookie', { timeout: 10_000 }, async () => {
    const { response } = await PollingSession.open(server);
    assert.equal(response.headers['set-cookie'], undefined);
  });
});

withServer('allowed origins', { settings: { 'http.allow_origin': 'https://app.example,https://other.example' } }, (server) => {
  for (const origin of ['https://app.example', 'https://other.example']) {
    test(`${origin} is answered with the CORS header`, { timeout: 10_000 }, async (t) => {
      const headers = { origin };
      const { response } = await PollingSession.open(server, { headers });
      assert.equal(response.headers['access-control-allow-origin'], origin);
      assert.match(response.headers.vary ?? '', /origin/i);
      const raw = await RawWebSocket.open(t, server, { headers });
      await raw.handshake();
      const refusal = await http(server, `${HANDSHAKE}&sid=unknown`, { headers });
      assertRefusal(refusal, 400, 1, 'Session ID unknown');
      assert.equal(refusal.headers['access-control-allow-origin'], origin);
    });
  }

  test('a preflight is answered', { timeout: 10_000 }, async () => {
    const headers = { origin: 'https://app.example', 'access-control-request-method': 'POST', 'access-control-request-headers': 'content-type,x-mine' };
    const response = await http(server, HANDSHAKE, { method: 'OPTIONS', headers });
    assert.equal(response.status, 204);
    assert.equal(response.text, '');
    assert.equal(response.headers['access-control-allow-origin'], 'https://app.example');
    assert.match(response.headers['access-control-allow-methods'], /GET.*POST/);
    assert.match(response.headers['access-control-allow-headers'], /content-type/i);
  });

  test('others are refused, and their preflight with them', { timeout: 10_000 }, async () => {
    for (const origin of ['https://evil.example', 'https://app.example.evil.example', 'http://app.example', 'https://app.example:444']) {
      const response = await http(server, HANDSHAKE, { headers: { origin } });
      assert.equal(response.status, 403, origin);
      assert.equal(response.headers['access-control-allow-origin'], undefined);
      const preflight = await http(server, HANDSHAKE, { method: 'OPTIONS', headers: { origin, 'access-control-request-method': 'POST' } });
      assert.equal(preflight.headers['access-control-allow-origin'], undefined);
    }
  });
});

for (const credentials of [true, false]) {
  const settings = { 'http.allow_origin': 'https://app.example,null,file://', 'http.cors_credentials': credentials };
  withServer(`http.cors_credentials = ${credentials}`, { settings }, (server) => {
    const told = credentials ? 'true' : undefined;

    for (const origin of ['https://app.example', 'null', 'file://']) {
      test(`${origin}: polling, WebSocket, preflight and refusals name it`, { timeout: 10_000 }, async (t) => {
        const headers = { origin };
        const asking = { ...headers, 'access-control-request-method': 'POST', 'access-control-request-headers': 'x-mine' };
        const session = await PollingSession.open(server, { headers });
        for (const response of [
          session.response,
          await http(server, session.path, { method: 'POST', body: `40${JSON.stringify({ token: await server.token(fresh('alice')) })}`, headers }),
          await http(server, HANDSHAKE, { method: 'OPTIONS', headers: asking }),
          await http(server, `${HANDSHAKE}&sid=unknown`, { headers }),
        ]) {
          assert.equal(response.headers['access-control-allow-origin'], origin);
          assert.equal(response.headers['access-control-allow-credentials'], told);
          assert.match(response.headers.vary ?? '', /\borigin\b/i);
        }
        const raw = await RawWebSocket.open(t, server, { headers });
        await raw.connect(await server.token(fresh('bob')));
      });
    }

    test('its own origin too', { timeout: 10_000 }, async () => {
      const { response } = await PollingSession.open(server, { headers: { origin: server.url } });
      assert.equal(response.headers['access-control-allow-origin'], server.url);
      assert.equal(response.headers['access-control-allow-credentials'], told);
    });

    test('an origin that is not allowed is told nothing', { timeout: 10_000 }, async () => {
      const headers = { origin: 'https://evil.example', 'access-control-request-method': 'POST' };
      for (const method of ['GET', 'OPTIONS']) {
        const response = await http(server, HANDSHAKE, { method, headers });
        assert.equal(response.status, 403);
        assert.equal(response.headers['access-control-allow-origin'], undefined);
        assert.equal(response.headers['access-control-allow-credentials'], undefined);
      }
    });
  });
}

test('"*" with http.cors_credentials is refused at the start', { timeout: 20_000 }, async (t) => {
  const server = new Server({ settings: { 'http.allow_origin': '*', 'http.cors_credentials': true } });
  t.after(() => server.remove());
  await assert.rejects(server.launch(), /http\.cors_credentials .*list the origins/s);
});

test('"*" allows every origin', { timeout: 20_000 }, async (t) => {
  const server = await Server.start(t, { settings: { 'http.allow_origin': '*' } });
  const response = await http(server, HANDSHAKE, { headers: { origin: 'https://any.example' } });
  assert.equal(response.status, 200);
  assert.match(response.headers['access-control-allow-origin'], /^(\*|https:\/\/any\.example)$/);
});

test('in development mode loopback origins are accepted, others are not', { timeout: 20_000 }, async (t) => {
  const server = await Server.start(t, { development: true });
  for (const origin of ['http://localhost:5173', 'http://127.0.0.1:8080', 'http://[::1]:3000']) {
    assert.equal((await http(server, HANDSHAKE, { headers: { origin } })).status, 200, origin);
  }
  for (const origin of ['https://evil.example', 'http://localhost.evil.example']) {
    assert.equal((await http(server, HANDSHAKE, { headers: { origin } })).status, 403, origin);
  }
});

withServer('http in development mode', { development: true }, (server) => {
  const ask = (name, headers) => http(server, `/dev/token?name=${encodeURIComponent(name)}`, { method: 'POST', headers });
  const mark = { 'x-chat-development': '1' };

  test('a name gets a token that the server accepts', { timeout: 10_000 }, async (t) => {
    const answer = await ask('Zoë Müller', { ...mark, origin: server.url });
    assert.equal(answer.status, 200, answer.text);
    assert.equal(answer.headers['cache-control'], 'no-store');
    assert.equal(answer.headers['access-control-allow-origin'], undefined);
    const peer = await Peer.open(t, server.url, JSON.parse(answer.text).token);
    await peer.connected();
    const { users } = await peer.ok('presence', {});
    assert.deepEqual(users.map(({ userId, username }) => [userId, username]), [['zoë müller', 'Zoë Müller']]);
  });

  test('a request that may come from elsewhere gets none', { timeout: 10_000 }, async () => {
    for (const headers of [
      {},
      { ...mark, origin: 'http://evil.example' },
      { ...mark, origin: `http://127.0.0.1:${server.port + 1}` },
      { ...mark, origin: 'null' },
      { ...mark, host: 'evil.example', origin: 'http://evil.example' },
      { ...mark, 'x-forwarded-for': '192.0.2.1' },
      { ...mark, forwarded: 'for=192.0.2.1' },
    ]) {
      const answer = await ask('alice', headers);
      assert.equal(answer.status, 403, JSON.stringify(headers));
      assert.equal(JSON.parse(answer.text).error.code, 'forbidden');
    }
    const preflight = { origin: 'http://evil.example', 'access-control-request-method': 'POST', 'access-control-request-headers': 'x-chat-development' };
    const answer = await http(server, '/dev/token?name=alice', { method: 'OPTIONS', headers: preflight });
    assert.equal(answer.headers['access-control-allow-origin'], undefined);
    assert.ok(answer.status >= 400, `${answer.status}`);
  });

  test('what is no name gets none', { timeout: 10_000 }, async () => {
    for (const name of ['', ' ', 'a\nb', 'x'.repeat(200)]) {
      const answer = await ask(name, mark);
      assert.equal(answer.status, 400, JSON.stringify(name));
      assert.equal(JSON.parse(answer.text).error.code, 'invalid_name');
    }
  });
});
