// Who may connect: good and bad tokens, what a refused client is told, and that it does not reconnect by itself.

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { fence, fresh, overEachTransport, Peer, withServer } from './harness/peer.mjs';
import { Server } from './harness/server.mjs';
import { epoch, sign, signText, unsigned } from './harness/token.mjs';
import { TRANSPORTS } from './harness/transports.mjs';

const good = () => ({ sub: 'mallory', exp: epoch(600) });

const REFUSED = [
  ['no token', () => undefined, 'token_missing'],
  ['no JWT', () => 'votre-token-jwt', 'token_invalid'],
  ['a foreign key', () => sign(good(), { secret: 'another-secret-0123456789-abcdefghijklmnop' }), 'token_invalid'],
  ['changed claims', () => {
    const [header, , signature] = sign(good()).split('.');
    return [header, Buffer.from(JSON.stringify({ ...good(), sub: 'root' })).toString('base64url'), signature].join('.');
  }, 'token_invalid'],
  ['algorithm none', () => unsigned(good()), 'token_invalid'],
  ['an algorithm that was not configured', () => sign(good(), { header: { alg: 'HS512', typ: 'JWT' }, hash: 'sha512' }), 'token_invalid'],
  ['an expired token', () => sign({ ...good(), exp: epoch(-3600) }), 'token_expired'],
  ['a token for later', () => sign({ ...good(), nbf: epoch(3600), exp: epoch(7200) }), 'token_not_yet_valid'],
  ['no expiry', () => sign({ sub: 'mallory' }), 'claims_invalid'],
  ['an end that is no number', () => sign({ ...good(), exp: `${epoch(600)}` }), 'claims_invalid'],
  ['no user', () => sign({ exp: epoch(600) }), 'claims_invalid'],
  ['an expired token whose end has a fraction', () => sign({ ...good(), exp: epoch(-3600) + 0.5 }), 'token_expired'],
  ['an expired token whose end has an exponent', () => signText(`{"sub":"mallory","exp":1.7e9}`), 'token_expired'],
  ['a token for later, with a fraction', () => sign({ ...good(), nbf: epoch(3600) + 0.5 }), 'token_not_yet_valid'],
  // Far more than this ends the connection before it is a CONNECT: who has shown no token may send little.
  ['a token far above auth.max_token_bytes', () => sign({ ...good(), roles: 'x'.repeat(200_000) }), 'token_invalid'],
  ['a token that almost fills a payload', () => sign({ ...good(), roles: 'x'.repeat(740_000) }), 'token_invalid'],
  ['a token just above auth.max_token_bytes', () => sign({ ...good(), roles: 'x'.repeat(49_100) }), 'token_invalid'],
];

/** Claims as other people's issuers write them, as JSON without `sub`, and the user's id and name where they say so. */
const WELCOME = [
  ['an end with a fraction', () => `"exp":${epoch(600)}.5`],
  ['an end with a point', () => `"exp":${epoch(600)}.0`],
  ['an end with an exponent', () => '"exp":4.1e9'],
  ['an end beyond any calendar', () => '"exp":1e400'],
  ['a beginning before 1970', () => `"exp":${epoch(600)},"nbf":-1.5`],
  ['issued by a clock that is ahead', () => `"exp":${epoch(600)},"iat":${epoch(3600)}`],
  ['claims that are null', () => `"exp":${epoch(600)},"name":null,"username":null,"rooms":null,"nbf":null,"iat":null,"iss":null,"aud":null`],
  ['many roles', () => `"exp":${epoch(600)},"roles":["${'organisation/role,'.repeat(600)}"]`],
  ['almost auth.max_token_bytes', () => `"exp":${epoch(600)},"roles":"${'x'.repeat(48_000)}"`],
];

withServer('connect', {}, (server) => {
  overEachTransport('a token of `chat-server token` connects', async (t, transport) => {
    const alice = await Peer.connect(t, server, fresh('alice'), { transport, name: 'Алиса 🙂' });
    assert.ok(alice.socket.connected);
    assert.equal(alice.socket.io.engine.transport.name, transport === 'polling' ? 'polling' : 'websocket');
    assert.notEqual(alice.socket.id, alice.socket.io.engine.id, 'the engine\'s id is a secret');
    await alice.ok('message', { message: 'hello' });
    assert.equal((await alice.next('message', ({ userId }) => userId === alice.user)).username, 'Алиса 🙂');
  });

  for (const [what, token, code] of REFUSED) {
    overEachTransport(`refused: ${what} (${code})`, async (t, transport) => {
      const peer = await Peer.open(t, server.url, token(), { transport });
      const error = await peer.next('connect_error');
      assert.equal(error.message, 'unauthorized');
      assert.deepEqual(error.data, { code });
      assert.equal(peer.socket.connected, false);
      assert.equal(peer.socket.active, false, 'the client would try again');
      assert.deepEqual(peer.seen('reconnect_attempt'), []);
    });
  }

  for (const [what, claims] of WELCOME) {
    overEachTransport(`welcome: ${what}`, async (t, transport) => {
      const sub = fresh('alice');
      const peer = await Peer.open(t, server.url, signText(`{"sub":"${sub}",${claims()}}`), { transport });
      await peer.connected();
      await peer.ok('message', { message: 'hello' });
      assert.equal((await peer.next('message', ({ userId }) => userId === sub)).username, sub);
    });
  }

  test('a user\'s id that is a whole number is its digits', { timeout: 20_000 }, async (t) => {
    for (const [sub, user] of [['42', '42'], ['42.0', '42'], ['4.2e1', '42'], ['9007199254740993', '9007199254740993']]) {
      const peer = await Peer.open(t, server.url, signText(`{"sub":${sub},"exp":${epoch(600)}}`));
      await peer.connected();
      await peer.ok('message', { message: sub });
      const { userId, username } = await peer.next('message', ({ message }) => message === sub);
      assert.deepEqual([userId, username], [user, user]);
      peer.chat.disconnect();
    }
  });

  for (const token of [5, {}, [], true, '', null]) {
    test(`refused: the token ${JSON.stringify(token)}`, { timeout: 10_000 }, async (t) => {
      const peer = await Peer.open(t, server.url, token);
      const error = await peer.next('connect_error');
      assert.equal(error.message, 'unauthorized');
      assert.match(error.data.code, /^token_(missing|invalid)$/);
      assert.equal(peer.socket.active, false);
    });
  }

  test('the reason contains no secret', { timeout: 10_000 }, async (t) => {
    const token = sign(good(), { secret: 'another-secret-0123456789-abcdefghijklmnop' });
    const peer = await Peer.open(t, server.url, token);
    const error = await peer.next('connect_error');
    assert.deepEqual(Object.keys(error.data), ['code']);
    assert.ok(!JSON.stringify({ message: error.message, data: error.data }).includes(token.split('.')[2]));
  });

  test('a refused client connects with a good token when the page asks', { timeout: 10_000 }, async (t) => {
    const peer = await Peer.open(t, server.url, 'bad');
    await peer.next('connect_error');
    peer.socket.auth = { token: await server.token(fresh('alice')) };
    peer.socket.connect();
    await peer.connected();
  });

  test('the display name comes from `name`, else `username`, else the user\'s id', { timeout: 20_000 }, async (t) => {
    for (const [claims, expected] of [[{ name: 'N' }, 'N'], [{ username: 'U' }, 'U'], [{}, undefined]]) {
      const sub = fresh('alice');
      const peer = await Peer.open(t, server.url, sign({ sub, exp: epoch(600), ...claims }));
      await peer.connected();
      await peer.ok('message', { message: 'hello' });
      const message = await peer.next('message', ({ userId }) => userId === sub);
      assert.equal(message.username, expected ?? sub);
    }
  });
});

test('issuer and audience must match if configured', { timeout: 20_000 }, async (t) => {
  const server = await Server.start(t, { settings: { 'auth.issuer': 'https://issuer.example', 'auth.audience': 'chat' } });
  const claims = { ...good(), iss: 'https://issuer.example', aud: 'chat' };
  const welcome = await Peer.open(t, server.url, sign(claims));
  await welcome.connected();
  for (const wrong of [{ iss: 'https://other.example' }, { aud: 'mail' }]) {
    const peer = await Peer.open(t, server.url, sign({ ...claims, ...wrong }));
    const error = await peer.next('connect_error');
    assert.equal(error.message, 'unauthorized');
    assert.match(error.data.code, /^(claims_invalid|token_invalid)$/);
  }
});

test('a token without expiry connects if the configuration allows it', { timeout: 20_000 }, async (t) => {
  const server = await Server.start(t, { settings: { 'auth.require_exp': 'false' } });
  const peer = await Peer.open(t, server.url, sign({ sub: 'alice' }));
  await peer.connected();
});

test('the previous secret is still accepted after a change of keys', { timeout: 20_000 }, async (t) => {
  const previous = 'previous-secret-0123456789-abcdefghijklmnop';
  const server = await Server.start(t, { settings: { 'auth.jwt_previous_secret': previous } });
  for (const token of [sign(good()), sign(good(), { secret: previous })]) {
    const peer = await Peer.open(t, server.url, token);
    await peer.connected();
  }
});

test('development mode: where it listens, then tokens ready to use; `token` uses its secret', { timeout: 60_000 }, async (t) => {
  // The harness accepts only `listening on http://127.0.0.1:PORT` as the first line.
  const server = await Server.start(t, { development: true });
  const [first, second] = [await server.line(/^token /), await server.line(/^token /)]
    .map((line) => /^token (\S+) ([\w-]+\.[\w-]+\.[\w-]+)$/.exec(line).slice(1));
  assert.notEqual(first[0], second[0]);
  for (const transport of Object.keys(TRANSPORTS)) {
    const peers = [];
    for (const [name, token] of [first, second]) {
      const peer = await Peer.open(t, server.url, token, { transport });
      await peer.connected();
      peers.push(peer);
      peer.user = name;
    }
    peers.push(await Peer.connect(t, server, 'dave', { transport }));
    for (const peer of peers) {
      const [message] = await fence(peer, peers);
      assert.equal(message.userId, peer.user);
    }
    peers.forEach((peer) => peer.chat.disconnect());
  }

  // The secret is kept: a token stays valid when the process ends.
  await server.end('SIGKILL');
  await server.launch();
  const again = await Peer.open(t, server.url, first[1]);
  await again.connected();
});

test('development mode serves loopback only', { timeout: 20_000 }, async (t) => {
  const server = new Server({ development: true, host: '0.0.0.0' });
  t.after(() => server.remove());
  await assert.rejects(server.launch(), /the server ended \([1-9]\d*\) instead of listening/);
});
