// The expiry of a token during a connection, and its renewal.

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { fence, fresh, overEachTransport, Peer, withServer } from './harness/peer.mjs';
import { epoch, sign, signText } from './harness/token.mjs';

withServer('token', { settings: { 'auth.leeway': '0s' } }, (server) => {
  overEachTransport('expires while connected: error token_expired, then disconnect', async (t, transport) => {
    const alice = await Peer.connect(t, server, fresh('alice'), { transport, expires: '2s' });
    await alice.ok('message', { message: 'still valid' });
    const error = await alice.next('error');
    assert.equal(error.code, 'token_expired');
    assert.equal(typeof error.message, 'string');
    assert.equal(await alice.next('disconnect'), 'io server disconnect');
    assert.equal(alice.socket.active, false);
  });

  overEachTransport('refreshed in time it stays', async (t, transport) => {
    const user = fresh('alice');
    const refreshed = await Peer.connect(t, server, user, { transport, expires: '3s' });
    const token = await server.token(user, { expires: '1h' });
    const { exp } = await refreshed.ok('refresh', { token });
    assert.equal(exp, JSON.parse(Buffer.from(token.split('.')[1], 'base64url')).exp);
    // A connection whose token expires later than the old one did: when it has ended, the old expiry has passed.
    const other = await Peer.connect(t, server, fresh('bob'), { transport, expires: '4s' });
    await other.next('disconnect');
    await fence(refreshed, [refreshed]);
    assert.deepEqual(refreshed.seen('disconnect'), []);
    assert.deepEqual(refreshed.seen('error'), []);
  });

  test('a refresh says the end as the token has it', { timeout: 20_000 }, async (t) => {
    const user = fresh('alice');
    const alice = await Peer.connect(t, server, user);
    // Later than that of the first token: without iat, a token that ends earlier counts as older.
    const exp = epoch(7200);
    for (const [written, expected] of [[`${exp}`, exp], [`${exp}.0`, exp], [`${exp}.5`, exp + 0.5]]) {
      const answer = await alice.ok('refresh', { token: signText(`{"sub":"${user}","exp":${written}}`) });
      assert.equal(answer.exp, expected);
    }
    const error = await alice.refused('refresh', { token: signText(`{"sub":"${user}","exp":1.7e9}`) });
    assert.equal(error.code, 'token_expired');
  });

  overEachTransport('a refresh with a bad, expired or foreign token fails, and the connection keeps its token', async (t, transport) => {
    const user = fresh('alice');
    const alice = await Peer.connect(t, server, user, { transport });
    for (const token of ['bad', sign({ sub: user, exp: epoch(-10) }), await server.token(fresh('bob')), sign({ sub: user, exp: epoch(600) }, { secret: 'another-secret-0123456789-abcdefghijklmnop' })]) {
      await alice.refused('refresh', { token });
    }
    await alice.ok('message', { message: 'still connected' });
  });

  test('a refresh brings the new token\'s rooms', { timeout: 20_000 }, async (t) => {
    const [user, roomId] = [fresh('alice'), fresh('room')];
    const alice = await Peer.connect(t, server, user, { rooms: [fresh('mine')] });
    assert.equal((await alice.refused('join', { roomId })).code, 'room_forbidden');
    await alice.ok('refresh', { token: await server.token(user, { rooms: [roomId] }) });
    await alice.ok('join', { roomId });
  });
});

const LEEWAY = 4;

withServer('leeway', { settings: { 'auth.leeway': `${LEEWAY}s` } }, (server) => {
  overEachTransport('a token within auth.leeway after its end connects, and the connection ends with the leeway', async (t, transport) => {
    const exp = epoch(-1);
    const alice = await Peer.open(t, server.url, sign({ sub: fresh('alice'), exp }), { transport });
    await alice.connected();
    await alice.ok('message', { message: 'clocks differ' });
    const error = await alice.next('error');
    const ended = Date.now() / 1_000;
    assert.equal(error.code, 'token_expired');
    assert.equal(await alice.next('disconnect'), 'io server disconnect');
    // The clocks of timers and of dates may differ a little.
    assert.ok(ended > exp + LEEWAY - 0.05, `${exp + LEEWAY - ended} s early`);
    assert.ok(ended < exp + LEEWAY + 3, `${ended - exp - LEEWAY} s late`);
  });

  test('a token beyond auth.leeway is refused', { timeout: 10_000 }, async (t) => {
    const late = await Peer.open(t, server.url, sign({ sub: fresh('alice'), exp: epoch(-LEEWAY - 1) }));
    assert.deepEqual((await late.next('connect_error')).data, { code: 'token_expired' });
    const early = { sub: fresh('alice'), exp: epoch(600) };
    const refused = await Peer.open(t, server.url, sign({ ...early, nbf: epoch(LEEWAY + 10) }));
    assert.deepEqual((await refused.next('connect_error')).data, { code: 'token_not_yet_valid' });
    const soon = await Peer.open(t, server.url, sign({ ...early, nbf: epoch(LEEWAY - 1) }));
    await soon.connected();
  });
});
