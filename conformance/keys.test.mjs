// Keys of tokens, with official clients: they rotate at the issuer while clients connect, and secrets change under load.

import assert from 'node:assert/strict';
import { createSign, generateKeyPairSync } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { join } from 'node:path';
import { test } from 'node:test';

import { fence, fresh, Peer } from './harness/peer.mjs';
import { Server } from './harness/server.mjs';

const LIMIT = { timeout: 60_000 };

/** A key pair of an issuer, under a name. */
function keyPair(kid) {
  const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const jwk = { ...publicKey.export({ format: 'jwk' }), kid, use: 'sig', alg: 'ES256' };
  const token = (sub) => {
    const part = (value) => Buffer.from(JSON.stringify(value)).toString('base64url');
    const exp = Math.floor(Date.now() / 1000) + 600;
    const message = `${part({ alg: 'ES256', kid })}.${part({ sub, exp, iss: 'test', aud: ['chat'] })}`;
    const signature = createSign('sha256').update(message).sign({ key: privateKey, dsaEncoding: 'ieee-p1363' });
    return `${message}.${signature.toString('base64url')}`;
  };
  return { jwk, token };
}

/** An issuer that publishes what `keys` holds. */
async function issuer(t, keys) {
  let asked = 0;
  const http = createServer((_, response) => {
    asked += 1;
    response.setHeader('content-type', 'application/json').end(JSON.stringify({ keys: keys.map(({ jwk }) => jwk) }));
  });
  t.after(() => http.close());
  await new Promise((resolve) => http.listen(0, '127.0.0.1', resolve));
  return { url: `http://127.0.0.1:${http.address().port}/jwks`, asked: () => asked };
}

test('a client with a new key of the issuer gets in by itself, and others stay', LIMIT, async (t) => {
  const [old, next] = [keyPair('old'), keyPair('next')];
  const keys = [old];
  const { url, asked } = await issuer(t, keys);
  const settings = { 'auth.jwks': url, 'auth.issuer': 'test', 'auth.audience': 'chat' };
  // Without a secret of its own.
  const server = await Server.start(t, { settings, development: true });
  const alice = await Peer.open(t, server.url, old.token('alice'));
  await alice.connected();
  const refused = await Peer.open(t, server.url, await server.token('mallory', { secret: 'a secret that this server does not know' }));
  assert.equal((await refused.next('connect_error')).data.code, 'token_invalid');
  keys.splice(0, 1, next);
  const before = asked();
  // The first transport ends, for the key is being fetched; the client comes back on its own.
  const bob = await Peer.open(t, server.url, next.token('bob'), { options: { reconnectionDelay: 100 } });
  await bob.connected();
  assert.equal(asked(), before + 1);
  await fence(bob, [alice, bob]);
  assert.deepEqual(alice.seen('disconnect'), []);
  const late = await Peer.open(t, server.url, old.token('carol'));
  assert.equal((await late.next('connect_error')).data.code, 'token_invalid', 'the old key was withdrawn');
  assert.equal(asked(), before + 1, 'an unknown key has the issuer asked at most once in 30 s');
});

test('secrets change under load, and no connection ends', LIMIT, async (t) => {
  const secrets = ['first', 'second', 'third'].map((name) => `the ${name} secret of this test, long enough for anybody`);
  const server = new Server({ development: true, settings: { 'limits.message_rate': 0 } });
  t.after(() => server.remove());
  const file = join(server.dataDir, 'chat.toml');
  const configure = (now, before) => {
    const previous = before ? `jwt_previous_secret = "${before}"\n` : '';
    writeFileSync(file, `[auth]\njwt_secret = "${now}"\n${previous}[log]\nlevel = "info"\n`);
  };
  configure(secrets[0]);
  server.args = ['--config', file];
  await server.launch();
  const connect = (secret, user) => server.token(user, { secret }).then((token) => Peer.open(t, server.url, token));
  const peers = [await connect(secrets[0], fresh('a')), await connect(secrets[0], fresh('b'))];
  await Promise.all(peers.map((peer) => peer.connected()));
  const stop = new AbortController();
  const sending = (async () => {
    let sent = 0;
    for (; !stop.signal.aborted; sent += 1) {
      await peers[0].ok('message', { message: `load ${sent}` });
    }
    return sent;
  })();
  for (let round = 1; round < secrets.length; round += 1) {
    configure(secrets[round], secrets[round - 1]);
    server.signal('SIGHUP');
    await server.logged(/reloaded/g, round);
    for (const secret of [secrets[round], secrets[round - 1]]) {
      const peer = await connect(secret, fresh('newcomer'));
      await peer.connected();
    }
  }
  const outdated = await connect(secrets[0], fresh('outdated'));
  assert.equal((await outdated.next('connect_error')).data.code, 'token_invalid');
  stop.abort();
  const sent = await sending;
  await fence(peers[0], peers);
  for (const peer of peers) {
    assert.deepEqual(peer.seen('disconnect'), []);
    assert.equal(peer.seen('message', (data) => data.message.startsWith('load')).length, sent);
  }
  assert.ok(!secrets.some((secret) => server.stderr.includes(secret)), 'a secret is in the log');
});
