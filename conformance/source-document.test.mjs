// The document from which this server was specified: the client that runs here is the document's, and its examples
// work.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';

import { fence, fresh, overEachTransport, Peer, withServer } from './harness/peer.mjs';

const read = (name) => readFileSync(new URL(`source-document/${name}`, import.meta.url), 'utf8');

test('the client that runs here is the document\'s, byte for byte', { timeout: 5_000 }, () => {
  const chapter = read('chat-protocol.md').split('## Exemple d\'utilisation complet\n')[1];
  const block = chapter.split('```javascript\n')[1].split('```')[0];
  const printed = block.slice(0, block.indexOf('\n// Utilisation\n'));
  const file = read('chat-client.mjs');
  const added = '\nexport { ChatClient };\n';
  assert.ok(file.endsWith(added));
  assert.ok(printed.startsWith('import { io } from \'socket.io-client\';\n\nclass ChatClient {\n'));
  assert.equal(file.slice(0, -added.length), printed);
});

/** What the class printed with this label, the values only. */
const printed = (peer, label) => peer.lines.filter(([first]) => first === label).map(([, value]) => value);

withServer('the document\'s example', {}, (server) => {
  overEachTransport('two users do everything the document shows', async (t, transport) => {
    const [roomId, aliceId, bobId] = [fresh('123-'), fresh('alice'), fresh('bob')];
    const bob = await Peer.connect(t, server, bobId, { transport, name: 'Bob' });
    const alice = await Peer.connect(t, server, aliceId, { transport, name: 'Alice' });
    assert.deepEqual(alice.lines[0], ['Connecté au serveur']);

    const online = await bob.next('userStatus', ({ userId }) => userId === aliceId);
    assert.equal(online.username, 'Alice');
    assert.equal(online.isOnline, true);

    bob.chat.sendMessage('Bonjour, c\'est Bob', { roomId });
    const first = await bob.next('message', ({ message }) => message === 'Bonjour, c\'est Bob');
    assert.equal(typeof first.id, 'string');
    assert.equal(typeof first.timestamp, 'string');
    assert.deepEqual(first.context, { roomId });

    alice.chat.sendMessage('Bonjour !', { roomId, replyTo: first.id });
    for (const peer of [alice, bob]) {
      const message = await peer.next('message', (data) => data.message === 'Bonjour !');
      assert.deepEqual(message.context, { roomId, replyTo: first.id });
      assert.equal(message.userId, aliceId);
      assert.equal(message.username, 'Alice');
    }

    alice.chat.setTyping(true);
    const typing = await bob.next('userTyping', ({ userId }) => userId === aliceId);
    assert.equal(typing.username, 'Alice');
    assert.equal(typing.isTyping, true);
    alice.chat.setTyping(false);
    assert.equal((await bob.next('userTyping', ({ userId }) => userId === aliceId)).isTyping, false);

    alice.chat.sendMessage('');
    const error = await alice.next('error');
    assert.equal(typeof error.message, 'string');
    assert.notEqual(error.message, '');

    alice.chat.disconnect();
    const reason = await alice.next('disconnect');
    assert.equal(reason, 'io client disconnect');
    const offline = await bob.next('userStatus', ({ userId, isOnline }) => userId === aliceId && !isOnline);
    assert.ok(!Number.isNaN(Date.parse(offline.lastSeen)), offline.lastSeen);

    assert.deepEqual(printed(bob, 'Nouveau message:').map(({ message }) => message), ['Bonjour, c\'est Bob', 'Bonjour !']);
    assert.equal(printed(bob, 'Utilisateur en train d\'écrire:').length, 2);
    assert.ok(printed(bob, 'Statut utilisateur:').length >= 2);
    assert.deepEqual(printed(alice, 'Erreur:'), [error]);
  });

  overEachTransport('a message without context goes to the lobby', async (t, transport) => {
    const bob = await Peer.connect(t, server, fresh('bob'), { transport });
    const alice = await Peer.connect(t, server, fresh('alice'), { transport });
    const text = fresh('Votre message');
    alice.chat.sendMessage(text);
    for (const peer of [alice, bob]) {
      const { context } = await peer.next('message', ({ message }) => message === text);
      assert.deepEqual(context, {});
    }
  });

  overEachTransport('too many messages are answered with error, and the connection lives', async (t, transport) => {
    const alice = await Peer.connect(t, server, fresh('alice'), { transport });
    const id = alice.socket.id;
    const context = { roomId: fresh('room') };
    const sent = 80;
    for (let n = 0; n < sent; n += 1) {
      alice.chat.sendMessage(`message ${n}`, context);
    }
    const outcomes = [];
    for (let n = 0; n < sent; n += 1) {
      outcomes.push(await alice.inbox.next(({ event }) => event === 'message' || event === 'error', `outcome ${n}`));
    }
    const errors = outcomes.filter(({ event }) => event === 'error').map(({ args }) => args[0]);
    const delivered = outcomes.filter(({ event }) => event === 'message').map(({ args }) => Number(args[0].message.split(' ')[1]));
    assert.ok(delivered.length >= 40, `a burst of 40 is allowed, ${delivered.length} came`);
    assert.ok(errors.length > 0, 'none was refused');
    for (const error of errors) {
      assert.equal(error.code, 'rate_limited');
      assert.equal(error.event, 'message');
    }
    assert.deepEqual(delivered, delivered.toSorted((a, b) => a - b));
    await alice.ok('presence', {});
    assert.equal(alice.socket.id, id);
    assert.deepEqual(alice.seen('disconnect'), []);
  });

  overEachTransport('messages sent while the transport changes are all delivered, once and in order', async (t, transport) => {
    const roomId = fresh('room');
    const bob = await Peer.connect(t, server, fresh('bob'));
    await bob.ok('join', { roomId });
    const alice = await Peer.open(t, server.url, await server.token(fresh('alice')), { transport });
    const texts = Array.from({ length: 30 }, (_, n) => `number ${n}`);
    for (const text of texts) {
      alice.chat.sendMessage(text, { roomId });
    }
    await alice.connected();
    for (const peer of [alice, bob]) {
      await peer.next('message', ({ message }) => message === texts.at(-1));
    }
    await fence(alice, [alice, bob], { roomId });
    for (const peer of [alice, bob]) {
      const got = peer.seen('message', ({ message }) => message.startsWith('number')).map(({ message }) => message);
      assert.deepEqual(got, texts);
    }
  });
});
