// Rates, strikes (refusals that count towards a disconnect), idle connections, and the number of connections.

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { DEADLINE } from './harness/inbox.mjs';
import { fence, fresh, overEachTransport, Peer, withServer } from './harness/peer.mjs';
import { assertRefusal, http, PATH, PollingSession, RawWebSocket, refusedWebSocket } from './harness/raw.mjs';
import { Server } from './harness/server.mjs';
import { TRANSPORTS } from './harness/transports.mjs';

const HANDSHAKE = `${PATH}?EIO=4&transport=polling`;

/** Disconnected by the server's own packet: the client must stay away. */
async function sentAway(peer) {
  assert.equal(await peer.next('disconnect'), 'io server disconnect');
  assert.equal(peer.socket.active, false);
}

withServer('rates', { settings: { 'limits.message_rate': 1, 'limits.message_burst': 3, 'limits.typing_rate': 1 } }, (server) => {
  overEachTransport('messages over the rate are rate_limited, and no strikes', async (t, transport) => {
    const alice = await Peer.connect(t, server, fresh('alice'), { transport });
    const payload = { message: 'x', context: { roomId: fresh('room') } };
    const answers = await Promise.all(Array.from({ length: 20 }, () => alice.request('message', payload)));
    assert.deepEqual(answers.slice(0, 3).map(({ ok }) => ok), [true, true, true]);
    const refused = answers.filter(({ ok }) => !ok).map(({ error }) => error);
    assert.ok(refused.length >= 10, `${refused.length} of 20 were refused`);
    for (const { code, retryAfter } of refused) {
      assert.equal(code, 'rate_limited');
      assert.ok(Number.isInteger(retryAfter) && retryAfter > 0 && retryAfter <= 1_000, `retryAfter ${retryAfter}`);
    }
    alice.chat.sendMessage('x');
    alice.chat.sendMessage('x');
    const error = await alice.next('error');
    assert.equal(error.code, 'rate_limited');
    assert.equal(error.event, 'message');
    assert.ok(Number.isInteger(error.retryAfter) && error.retryAfter > 0);
    await alice.ok('presence', {});
    assert.deepEqual(alice.seen('disconnect'), []);
  });

  test('the message is accepted after retryAfter', { timeout: 20_000 }, async (t) => {
    const alice = await Peer.connect(t, server, fresh('alice'));
    const answers = await Promise.all(Array.from({ length: 5 }, () => alice.request('message', { message: 'x' })));
    const { retryAfter } = answers.find(({ ok }) => !ok).error;
    await new Promise((resolve) => {
      setTimeout(resolve, retryAfter + 20);
    });
    await alice.ok('message', { message: 'now' });
  });

  overEachTransport('the rate is the user\'s, not the socket\'s', async (t, transport) => {
    const user = fresh('alice');
    const [first, second] = [await Peer.connect(t, server, user, { transport }), await Peer.connect(t, server, user, { transport })];
    const bob = await Peer.connect(t, server, fresh('bob'), { transport });
    const answers = await Promise.all([first, second, first, second, first, second, first, second].map((peer) => peer.request('message', { message: 'x' })));
    assert.ok(answers.filter(({ ok }) => ok).length < 6, 'two sockets had two rates');
    await bob.ok('message', { message: 'another user has a rate of his own' });
  });

  overEachTransport('typing over the rate is rate_limited', async (t, transport) => {
    const alice = await Peer.connect(t, server, fresh('alice'), { transport });
    for (let n = 0; n < 10; n += 1) {
      alice.chat.setTyping(n % 2 === 0);
    }
    const error = await alice.next('error');
    assert.equal(error.code, 'rate_limited');
    assert.equal(error.event, 'typing');
    assert.ok(error.retryAfter > 0);
    await alice.ok('message', { message: 'messages have a rate of their own' });
    assert.deepEqual(alice.seen('disconnect'), []);
  });
});

withServer('strikes', { settings: { 'limits.strikes': 3 } }, (server) => {
  overEachTransport('what serialisers write for nothing is no strike', async (t, transport) => {
    const alice = await Peer.connect(t, server, fresh('alice'), { transport });
    for (let n = 0; n < 10; n += 1) {
      alice.socket.emit('message', { message: 'x', context: { replyTo: null } });
      alice.socket.emit('presence', null);
      // An empty object, as PHP writes it: refused, but no strike.
      alice.socket.emit('message', { message: 'x', context: [] });
      assert.equal((await alice.next('error')).code, 'invalid_payload');
    }
    await alice.ok('presence', {});
    assert.deepEqual(alice.seen('disconnect'), []);
  });

  for (const [what, args] of [
    ['invalid_payload', ['message', {}]],
    ['unknown_event', ['nope']],
    ['room_forbidden', ['leave', { roomId: 'never joined' }]],
  ]) {
    overEachTransport(`more strikes than limits.strikes disconnect: ${what}`, async (t, transport) => {
      const alice = await Peer.connect(t, server, fresh('alice'), { transport });
      for (let n = 0; n < 3; n += 1) {
        alice.socket.emit(...args);
        assert.equal((await alice.next('error')).code, what);
      }
      await alice.ok('presence', {});
      alice.socket.emit(...args);
      await sentAway(alice);
    });
  }
});

withServer('idle', { settings: { 'limits.idle_timeout': '1s', 'engine.ping_interval': '200ms' } }, (server) => {
  overEachTransport('no event for idle_timeout: error idle_timeout, then disconnect; heartbeats are no activity', async (t, transport) => {
    const bob = await Peer.connect(t, server, fresh('bob'), { transport });
    const busy = setInterval(() => bob.chat.setTyping(true), 300);
    t.after(() => clearInterval(busy));
    const alice = await Peer.connect(t, server, fresh('alice'), { transport });
    const since = performance.now();
    const { args: [error], at } = await alice.record('error');
    assert.equal(error.code, 'idle_timeout');
    assert.equal(typeof error.message, 'string');
    assert.ok(at - since > 500, `idle after ${at - since} ms`);
    await sentAway(alice);
    await bob.ok('presence', {});
    assert.deepEqual(bob.seen('disconnect'), [], 'who is active is not idle');
  });
});

withServer('connect timeout', { settings: { 'limits.connect_timeout': '500ms' } }, (server) => {
  test('a WebSocket without CONNECT is closed', { timeout: 20_000 }, async (t) => {
    const raw = await RawWebSocket.open(t, server);
    await raw.handshake();
    await raw.closed();
  });

  test('a WebSocket whose CONNECT was refused is closed', { timeout: 20_000 }, async (t) => {
    const raw = await RawWebSocket.open(t, server);
    await raw.handshake();
    raw.send('40{"token":"bad"}');
    await raw.packet('44');
    await raw.closed();
  });

  test('a polling session without CONNECT is closed', { timeout: 20_000 }, async () => {
    const session = await PollingSession.open(server);
    const response = await session.get();
    assert.ok(response.status === 200 || response.status === 400, response.text);
    await session.assertOver();
  });

  overEachTransport('a connected client is not', async (t, transport) => {
    const alice = await Peer.connect(t, server, fresh('alice'), { transport });
    const raw = await RawWebSocket.open(t, server);
    await raw.handshake();
    await raw.closed();
    await alice.ok('message', { message: 'still here' });
    assert.deepEqual(alice.seen('disconnect'), []);
  });
});

test('sockets_per_user: the socket that was heard of longest ago makes room', { timeout: 30_000 }, async (t) => {
  const server = await Server.start(t, { settings: { 'limits.sockets_per_user': 2 } });
  const [first, second] = [await Peer.connect(t, server, 'alice'), await Peer.connect(t, server, 'alice', { transport: 'polling' })];
  await first.ok('presence', {});
  const third = await Peer.connect(t, server, 'alice');
  const error = await second.next('error');
  assert.equal(error.code, 'replaced');
  await sentAway(second);
  await third.ok('presence', {});
  await first.ok('presence', {});
  assert.deepEqual([...first.seen('disconnect'), ...third.seen('disconnect')], []);
});

test('connect_user_rate: a refused CONNECT ends the transport, and the client is back by itself', { timeout: 60_000 }, async (t) => {
  const server = await Server.start(t, { settings: { 'limits.connect_user_rate': 1, 'limits.sockets_per_user': 5 } });
  const alice = await Peer.connect(t, server, 'alice');
  for (let n = 0; n < 13; n += 1) {
    alice.socket.disconnect();
    alice.socket.connect();
    await alice.connected(20_000);
  }
  assert.deepEqual(alice.seen('connect_error'), []);
  await alice.ok('message', { message: 'still here' });
});

withServer('questions', { settings: { 'limits.question_rate': 1 } }, (server) => {
  for (const [event, payload] of [['history', {}], ['presence', {}], ['join', { roomId: 'r' }], ['leave', { roomId: 'lobby' }]]) {
    test(`${event} over the rate is rate_limited, for this user and kind only`, { timeout: 20_000 }, async (t) => {
      const [alice, bob] = [await Peer.connect(t, server, fresh('alice')), await Peer.connect(t, server, fresh('bob'))];
      const answers = await Promise.all(Array.from({ length: 40 }, () => alice.request(event, payload)));
      const limited = answers.filter(({ ok, error }) => !ok && error.code === 'rate_limited');
      assert.ok(limited.length >= 15 && limited.every(({ error }) => error.retryAfter > 0), `${limited.length} of 40`);
      await bob.ok(event, payload);
      await alice.ok('message', { message: 'messages have a rate of their own' });
      assert.deepEqual(alice.seen('disconnect'), []);
    });
  }
});

test('pages with large attachments, asked for at once, all come, and nobody is cut', { timeout: 60_000 }, async (t) => {
  const server = await Server.start(t, { settings: { 'limits.message_rate': 0 } });
  const [alice, bob] = [await Peer.connect(t, server, 'alice'), await Peer.connect(t, server, 'bob')];
  for (let n = 0; n < 10; n += 1) {
    await alice.ok('message', { message: `${n}`, context: { roomId: 'r', file: Buffer.alloc(200_000, n) } });
  }
  const pages = await Promise.all(Array.from({ length: 20 }, () => bob.ok('history', { roomId: 'r' })));
  for (const { messages, more } of pages) {
    assert.deepEqual([messages.map(({ message }) => message), more], [['9'], true]);
    assert.ok(messages[0].context.file.equals(Buffer.alloc(200_000, 9)));
  }
  const { messages, more } = await bob.ok('join', { roomId: 'r', history: 10 });
  assert.deepEqual([messages.length, more], [1, true]);
  assert.deepEqual(bob.seen('disconnect'), []);
});

test('data that looks like a placeholder does not end a page beside attachments', { timeout: 30_000 }, async (t) => {
  const server = await Server.start(t, { settings: { 'limits.message_rate': 0 } });
  const alice = await Peer.connect(t, server, 'alice');
  const fake = { _placeholder: true, num: 0 };
  for (let n = 0; n < 35; n += 1) {
    await alice.ok('message', { message: `${n}`, context: n % 5 === 0 ? { file: Buffer.from([n]) } : { fake } });
  }
  const { messages, more } = await alice.ok('history', { limit: 35 });
  assert.deepEqual([messages.length, more], [35, false]);
  for (const [n, { context }] of messages.entries()) {
    if (n % 5 === 0) assert.ok(context.file.equals(Buffer.from([n])));
    else assert.deepEqual(context, { fake: { _placeholder: 'true', num: 0 } });
  }
  const page = await alice.ok('history', { after: messages[30].id });
  assert.ok(page.messages.length === 4 && page.messages.every(({ context }) => context.fake._placeholder === true));
});

test('sockets_per_user_policy = "refuse": the next is refused as too_many_connections', { timeout: 30_000 }, async (t) => {
  const server = await Server.start(t, { settings: { 'limits.sockets_per_user': 2, 'limits.sockets_per_user_policy': 'refuse' } });
  const [first] = [await Peer.connect(t, server, 'alice'), await Peer.connect(t, server, 'alice', { transport: 'polling' })];
  const third = await Peer.open(t, server.url, await server.token('alice'));
  const error = await third.next('connect_error');
  assert.equal(error.message, 'unauthorized');
  assert.deepEqual(error.data, { code: 'too_many_connections' });
  assert.equal(third.socket.active, false);
  await Peer.connect(t, server, 'bob');

  // The server has room again once it has seen the first one disconnect, which no packet shows.
  first.chat.disconnect();
  const until = performance.now() + DEADLINE;
  for (;;) {
    third.socket.connect();
    const { event } = await third.inbox.next((item) => item.event === 'connect' || item.event === 'connect_error', 'an answer');
    if (event === 'connect') break;
    assert.ok(performance.now() < until, 'the place was never free again');
  }
});

/** Tries a handshake until the server accepts it again. */
async function acceptedAgain(server) {
  const until = performance.now() + DEADLINE;
  for (;;) {
    const response = await http(server, HANDSHAKE);
    if (response.status === 200) return;
    assert.equal(response.status, 503);
    assert.ok(performance.now() < until, 'refused for ever');
  }
}

for (const limit of ['limits.sockets_per_ip', 'limits.connections']) {
  test(`${limit}: HTTP 503 with Retry-After before a session exists`, { timeout: 30_000 }, async (t) => {
    const server = await Server.start(t, { settings: { [limit]: 2, 'http.trusted_proxies': '[]' } });
    const [alice, bob] = [await Peer.connect(t, server, 'alice', { transport: 'polling' }), await Peer.connect(t, server, 'bob')];
    for (const response of [await http(server, HANDSHAKE), await refusedWebSocket(server, 'EIO=4&transport=websocket')]) {
      assert.equal(response.status, 503);
      assert.match(response.headers['retry-after'], /^\d+$/);
    }
    await fence(alice, [alice, bob]);

    // The document's client keeps trying by itself, and connects as soon as there is room.
    const carol = await Peer.open(t, server.url, await server.token('carol'), { transport: 'upgrade' });
    await carol.next('connect_error');
    assert.equal(carol.socket.active, true);
    alice.chat.disconnect();
    await carol.connected(15_000);
  });
}

test('connect_rate: after so many users a second, handshakes get HTTP 503 with Retry-After', { timeout: 30_000 }, async (t) => {
  // As many as an address may have may come at once: here only one.
  const limits = { 'limits.connect_rate': 0.2, 'limits.sockets_per_ip': 0 };
  const server = await Server.start(t, { settings: { ...limits, 'http.trusted_proxies': '[]' } });
  // What shows no token does not count.
  const responses = await Promise.all(Array.from({ length: 50 }, () => http(server, HANDSHAKE)));
  assert.deepEqual(responses.filter(({ status }) => status !== 200), []);
  const session = await PollingSession.open(server);
  await session.connect(await server.token('alice'));
  for (const response of [await http(server, HANDSHAKE), await refusedWebSocket(server, 'EIO=4&transport=websocket')]) {
    assert.equal(response.status, 503);
    assert.match(response.headers['retry-after'], /^\d+$/);
  }
  await acceptedAgain(server);
});

test('a flood of handshakes without a token keeps out none of its address', { timeout: 60_000 }, async (t) => {
  const server = await Server.start(t, { settings: { 'http.trusted_proxies': '[]', 'limits.question_rate': 0 } });
  let [flooding, count] = [true, 0];
  const flood = Array.from({ length: 8 }, async () => {
    for (; flooding; count += 1) {
      // Its connection may be closed for one that is newer.
      await http(server, HANDSHAKE).catch(() => {});
    }
  });
  try {
    const bystander = await Peer.connect(t, server, 'bystander');
    for (const transport of Object.keys(TRANSPORTS)) {
      const before = count;
      while (count < before + 500) {
        await bystander.ok('presence', {});
      }
      const peers = Array.from({ length: 10 }, () => server.token(fresh('alice')));
      await Promise.all(peers.map(async (token) => (await Peer.open(t, server.url, await token, { transport })).connected(15_000)));
    }
    await fence(bystander, [bystander]);
  } finally {
    flooding = false;
    await Promise.all(flood);
  }
});

test('messages over max_payload: polling gets 413 and lives on, a WebSocket is closed with 1009', { timeout: 30_000 }, async (t) => {
  const server = await Server.start(t, { settings: { 'engine.max_payload': 20_000 } });
  const session = await PollingSession.open(server);
  assert.equal(session.handshake.maxPayload, 20_000);
  await session.connect(await server.token('alice'));
  const response = await session.post(`4${'x'.repeat(20_000)}`);
  assert.equal(response.status, 413);
  await session.send('421["message",{"message":"still here"}]');
  assert.match(await session.packet('431'), /"ok":true/);

  const raw = await RawWebSocket.open(t, server);
  await raw.connect(await server.token('bob'));
  raw.send(`4${'x'.repeat(20_000)}`);
  assert.equal(await raw.closed(), 1009);
  assertRefusal(await http(server, `${HANDSHAKE}&sid=unknown`), 400, 1, 'Session ID unknown');
});
