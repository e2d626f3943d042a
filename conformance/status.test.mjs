// Presence: users are announced when their first socket connects, and, after a grace, when the last has disconnected.

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { fence, fresh, overEachTransport, Peer, withServer } from './harness/peer.mjs';

// Long enough for a reload on a busy machine.
const GRACE = 800;
const SETTINGS = { 'limits.message_rate': 0, 'presence.grace': `${GRACE}ms` };

const online = (user) => ({ userId, isOnline }) => userId === user && isOnline;
const offline = (user) => ({ userId, isOnline }) => userId === user && !isOnline;

/** Somebody comes and goes; when the watcher has seen both, everything older has reached it too. */
async function visit(t, server, watcher, transport) {
  const guest = await Peer.connect(t, server, fresh('guest'), { transport });
  guest.chat.disconnect();
  await watcher.next('userStatus', offline(guest.user));
}

withServer('status', { settings: SETTINGS }, (server) => {
  overEachTransport('online at the first socket, offline after the grace when the last is gone', async (t, transport) => {
    const user = fresh('alice');
    const bob = await Peer.connect(t, server, fresh('bob'), { transport });
    const first = await Peer.connect(t, server, user, { transport, name: 'Alice' });
    assert.deepEqual(await bob.next('userStatus', online(user)), { userId: user, username: 'Alice', isOnline: true });
    const second = await Peer.connect(t, server, user, { transport, name: 'Alice' });
    first.chat.disconnect();
    await visit(t, server, bob, transport);
    assert.equal(bob.seen('userStatus', online(user)).length, 1, 'a second tab is no news');
    assert.deepEqual(bob.seen('userStatus', offline(user)), [], 'the second tab is still there');

    const left = performance.now();
    second.chat.disconnect();
    const { args: [status], at } = await bob.record('userStatus', offline(user));
    assert.deepEqual(Object.keys(status).sort(), ['isOnline', 'lastSeen', 'userId', 'username']);
    assert.ok(Math.abs(Date.now() - Date.parse(status.lastSeen)) < 10_000, status.lastSeen);
    assert.ok(at - left >= GRACE - 50, `offline after ${at - left} ms`);
  });

  overEachTransport('a reload does not flap', async (t, transport) => {
    const user = fresh('alice');
    const bob = await Peer.connect(t, server, fresh('bob'), { transport });
    const before = await Peer.connect(t, server, user, { transport });
    await bob.next('userStatus', online(user));
    // The new page connects while the old one disconnects. A test that must not race the grace cannot come closer to a
    // reload.
    const token = await server.token(user);
    before.chat.disconnect();
    const after = await Peer.open(t, server.url, token, { transport });
    await after.connected();
    await visit(t, server, bob, transport);
    assert.equal(bob.seen('userStatus', ({ userId }) => userId === user).length, 1);
  });

  overEachTransport('a newcomer is told who is there, never of themselves', async (t, transport) => {
    const [alice, bob] = [await Peer.connect(t, server, fresh('alice'), { transport, name: 'Alice' }), await Peer.connect(t, server, fresh('bob'), { transport })];
    const token = await server.token(fresh('carol'));
    const carol = await Peer.open(t, server.url, token, { transport });
    assert.deepEqual(await carol.next('userStatus', online(alice.user)), { userId: alice.user, username: 'Alice', isOnline: true });
    await carol.next('userStatus', online(bob.user));
    await fence(carol, [carol, alice, bob]);
    for (const peer of [alice, bob, carol]) {
      const own = JSON.parse(Buffer.from(peer.socket.auth.token.split('.')[1], 'base64url')).sub;
      assert.deepEqual(peer.seen('userStatus', ({ userId }) => userId === own), []);
    }
  });

  overEachTransport('a second tab is told who is there, and its own tabs hear nothing', async (t, transport) => {
    const user = fresh('alice');
    const bob = await Peer.connect(t, server, fresh('bob'), { transport });
    const first = await Peer.connect(t, server, user, { transport });
    const second = await Peer.connect(t, server, user, { transport });
    await second.next('userStatus', online(bob.user));
    second.chat.disconnect();
    await visit(t, server, first, transport);
    assert.deepEqual([...first.seen('userStatus', ({ userId }) => userId === user), ...second.seen('userStatus', ({ userId }) => userId === user)], []);
  });

  overEachTransport('`presence` answers who is online', async (t, transport) => {
    const roomId = fresh('room');
    const [alice, bob] = [await Peer.connect(t, server, fresh('alice'), { transport, name: 'Alice' }), await Peer.connect(t, server, fresh('bob'), { transport })];
    await alice.ok('join', { roomId });
    await bob.ok('join', { roomId });
    const { users, total } = await bob.ok('presence', { roomId });
    assert.equal(total, 2);
    assert.deepEqual(users.map(({ userId }) => userId).sort(), [alice.user, bob.user].sort());
    const entry = users.find(({ userId }) => userId === alice.user);
    assert.equal(entry.username, 'Alice');
    assert.equal(entry.isOnline, true);
    const lobby = await bob.ok('presence', {});
    assert.ok(lobby.users.some(({ userId }) => userId === alice.user));
  });
});

withServer('status by room', { settings: { ...SETTINGS, 'rooms.lobby': 'false' } }, (server) => {
  overEachTransport('is told in rooms at join, to both sides, and not at leave', async (t, transport) => {
    const roomId = fresh('room');
    const [alice, bob] = [await Peer.connect(t, server, fresh('alice'), { transport }), await Peer.connect(t, server, fresh('bob'), { transport })];
    await bob.ok('join', { roomId });
    await fence(bob, [bob], { roomId });
    assert.deepEqual(bob.seen('userStatus', online(alice.user)), [], 'alice is in no room of his');
    await alice.ok('join', { roomId });
    await bob.next('userStatus', online(alice.user));
    await alice.next('userStatus', online(bob.user));

    await alice.ok('leave', { roomId });
    const carol = await Peer.connect(t, server, fresh('carol'), { transport });
    await carol.ok('join', { roomId });
    carol.chat.disconnect();
    await bob.next('userStatus', offline(carol.user));
    assert.deepEqual(bob.seen('userStatus', offline(alice.user)), [], 'leave is not announced');
  });

  test('the rooms of the token count as entered at connect', { timeout: 20_000 }, async (t) => {
    const roomId = fresh('room');
    const bob = await Peer.connect(t, server, fresh('bob'), { rooms: [roomId] });
    const alice = await Peer.connect(t, server, fresh('alice'), { rooms: [roomId] });
    await bob.next('userStatus', online(alice.user));
    await alice.next('userStatus', online(bob.user));
  });
});

withServer('status of crowds', { settings: { ...SETTINGS, 'presence.snapshot': 2, 'limits.typing_rate': 0 } }, (server) => {
  test('a new socket gets at most presence.snapshot users', { timeout: 20_000 }, async (t) => {
    const roomId = fresh('room');
    for (const name of ['alice', 'bob', 'carol']) {
      const peer = await Peer.connect(t, server, fresh(name));
      await peer.ok('join', { roomId });
    }
    const dave = await Peer.connect(t, server, fresh('dave'));
    await fence(dave, [dave]);
    const before = dave.seen('userStatus').length;
    assert.equal(before, 2, 'the lobby\'s snapshot');
    await dave.ok('join', { roomId });
    await fence(dave, [dave], { roomId });
    assert.equal(dave.seen('userStatus').length - before, 2);
  });
});

withServer('status in large rooms', { settings: { ...SETTINGS, 'presence.max_room': 2, 'rooms.lobby': 'false', 'limits.typing_rate': 0 } }, (server) => {
  test('over presence.max_room there are no announcements, and typing is shown only in a room that was named', { timeout: 20_000 }, async (t) => {
    const roomId = fresh('room');
    const peers = [];
    for (const name of ['alice', 'bob', 'carol', 'dave']) {
      const peer = await Peer.connect(t, server, fresh(name));
      await peer.ok('join', { roomId });
      peers.push(peer);
    }
    const [alice, bob, , dave] = peers;
    await fence(dave, peers, { roomId });
    assert.deepEqual(alice.seen('userStatus', online(dave.user)), []);
    assert.deepEqual(dave.seen('userStatus'), []);
    await alice.ok('typing', true);
    await fence(bob, peers, { roomId });
    assert.deepEqual(bob.seen('userTyping'), []);
    await alice.ok('typing', true, { roomId });
    assert.equal((await bob.next('userTyping')).roomId, roomId);
    const { total } = await dave.ok('presence', { roomId });
    assert.equal(total, 4);
  });
});
