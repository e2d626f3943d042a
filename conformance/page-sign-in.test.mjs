// How people get into the page at `/`, in real browsers, and what they are told when they may not: tokens in the address, tokens that
// end, bans. Nobody is connected by a link alone. A browser that is not installed is skipped, with a line.

import assert from 'node:assert/strict';
import { describe, test } from 'node:test';

import { BROWSERS, missing } from './harness/browsers.mjs';
import { ChatPage, forSuite } from './harness/chat-page.mjs';
import { withDeadline } from './harness/inbox.mjs';
import { Pages } from './harness/pages.mjs';
import { fresh, Peer } from './harness/peer.mjs';
import { Server } from './harness/server.mjs';

const LIMIT = { timeout: 60_000 };

// What a person sees. These functions run in the page.

const isConnected = () => document.body.dataset.connection === 'open';
const offeredUser = () => !document.getElementById('offer').hidden && document.getElementById('offer-user').textContent;
const isOfferGone = () => document.getElementById('offer').hidden;
const address = () => location.href;
const hasView = (name) => document.body.dataset.view === name;
const choose = (room) => {
  [...document.querySelectorAll('.room-name')].find((node) => node.textContent === room).closest('button').click();
};
const problem = () => !document.getElementById('problem').hidden && document.getElementById('problem-text').textContent;

for (const name of Object.keys(BROWSERS)) {
  describe(`signing in on the page in ${name}`, { skip: missing(name) }, () => {
    const running = forSuite(name);

    const enter = (t, user, url) => ChatPage.enter(t, running.browser, url, user);

    test('a token in the address connects nobody before the person agrees, and leaves the address', LIMIT, async (t) => {
      const keyed = await Server.start(t);
      const mallory = fresh('mallory');
      const token = await keyed.token(mallory, { name: 'Alice' });
      const chat = await ChatPage.open(t, running.browser, `${keyed.url}/#token=${token}`);
      assert.equal(await chat.until(offeredUser), `Alice (${mallory})`);
      assert.equal(await chat.evaluate(hasView, 'sign-in'), true);
      assert.equal(await chat.evaluate(() => document.getElementById('by-name').hidden), true, 'no names outside development mode');
      assert.equal(await chat.evaluate(address), `${keyed.url}/`);
      await chat.click('#offer-accept');
      await chat.connected('Alice');
      assert.equal(await chat.evaluate(isOfferGone), true);
    });

    test('a token in the address does not switch the account of a user who is connected', LIMIT, async (t) => {
      const keyed = await Server.start(t);
      const [alice, mallory] = [fresh('alice'), fresh('mallory')];
      const witness = await Peer.connect(t, keyed, fresh('witness'));
      const chat = await ChatPage.open(t, running.browser, `${keyed.url}/`);
      await chat.signIn(await keyed.token(alice), alice);
      const token = await keyed.token(mallory);
      const follow = (hash) => {
        document.getElementById('text').focus();
        location.hash = hash;
      };

      await chat.evaluate(follow, `#token=${token}`);
      assert.equal(await chat.until(offeredUser), mallory);
      assert.equal(await chat.evaluate(address), `${keyed.url}/`);
      await chat.connected(alice);
      // Enter belongs to the message that she writes.
      assert.equal(await chat.evaluate(() => document.activeElement.id), 'text');
      await chat.say('still me');
      assert.equal((await witness.next('message', ({ message }) => message === 'still me')).userId, alice);
      await chat.click('#offer-reject');
      assert.equal(await chat.evaluate(isOfferGone), true);
      assert.deepEqual(witness.seen('userStatus', ({ userId }) => userId === mallory), []);

      await chat.evaluate(follow, `#token=${token}`);
      assert.equal(await chat.until(offeredUser), mallory);
      await chat.click('#offer-accept');
      await chat.connected(mallory);
      await chat.shows('still me');
      await chat.say('as agreed');
      assert.equal((await witness.next('message', ({ message }) => message === 'as agreed')).userId, mallory);
    });

    test('a page of another origin gets no token for a name', LIMIT, async (t) => {
      const pages = await Pages.start(t);
      const page = await running.browser.page(t, `${pages.origin}/page.html`);
      const ask = async (url, options) => {
        const response = await fetch(`${url}/dev/token?name=alice`, { method: 'POST', ...options }).catch((error) => error.name);
        return response.type === 'opaque' ? 'opaque' : response;
      };
      assert.equal(await page.evaluate(ask, running.server.url, { headers: { 'x-chat-development': '1' } }), 'TypeError', 'the preflight');
      assert.equal(await page.evaluate(ask, running.server.url, {}), 'TypeError');
      assert.equal(await page.evaluate(ask, running.server.url, { mode: 'no-cors', headers: { 'x-chat-development': '1' } }), 'opaque');
    });

    test('who is disconnected for good is told why, and can connect again', LIMIT, async (t) => {
      const strict = await Server.start(t, { development: true, settings: { 'limits.idle_timeout': '2s' } });
      const alice = await enter(t, 'Alice', `${strict.url}/`);
      const reason = () => document.getElementById('banner').dataset.state === 'closed' && document.getElementById('banner-text').textContent;
      assert.match(await alice.until(reason), /^Disconnected: .*no event/i);
      assert.equal(await alice.evaluate(problem), false, 'once is enough');
      await alice.click('#reconnect');
      await alice.until(isConnected);
      await alice.say('back again');
    });

    test('who is banned is told so, once, and is not asked to connect again', LIMIT, async (t) => {
      const key = 'page-tests-0123456789-abcdefghijklmnopqrstuvwxyz';
      const keyed = await Server.start(t, { development: true, args: ['--api-key', `tests:${key}`] });
      const mallory = fresh('mallory');
      const chat = await enter(t, mallory, `${keyed.url}/`);
      const headers = { authorization: `Bearer ${key}`, 'content-type': 'application/json' };
      const { ok } = await fetch(`${keyed.url}/api/users/${mallory}/ban`, { method: 'PUT', headers, body: '{"reason":"spam"}' });
      assert.equal(ok, true);
      const closed = () => {
        const { banner, reconnect } = Object.fromEntries(['banner', 'reconnect'].map((id) => [id, document.getElementById(id)]));
        return banner.dataset.state === 'closed' && [document.getElementById('banner-text').textContent, reconnect.hidden];
      };
      const words = ['You are banned from this chat.', true];
      assert.deepEqual(await chat.until(closed), words);
      assert.equal(await chat.evaluate(problem), false, 'once is enough');
      // The refusal of a later CONNECT has the code alone.
      await chat.reload(`${keyed.url}/`);
      assert.deepEqual(await chat.until(closed), words);
    });

    test('who has too many connections is told what to do', LIMIT, async (t) => {
      const settings = { 'limits.sockets_per_user': 1, 'limits.sockets_per_user_policy': 'refuse' };
      const narrow = await Server.start(t, { development: true, settings });
      await enter(t, 'Alice', `${narrow.url}/`);
      const second = await ChatPage.open(t, running.browser, `${narrow.url}/`);
      await second.click('#names button');
      const words = () => document.getElementById('banner').dataset.state === 'closed' && document.getElementById('banner-text').textContent;
      assert.match(await second.until(words), /^You are connected too many times/);
      assert.equal(await second.evaluate(() => document.getElementById('reconnect').hidden), false);
    });

    test('a token opens its rooms, and leads back to signing in when it ends', LIMIT, async (t) => {
      const keyed = await Server.start(t, { settings: { 'auth.leeway': '0s' } });
      const chat = await ChatPage.open(t, running.browser, `${keyed.url}/`);
      await chat.signIn(await keyed.token('alice', { rooms: ['tea', 'coffee'], expires: '5s' }), 'alice');
      const rooms = () => [...document.querySelectorAll('.room-name')].map((node) => node.textContent);
      assert.deepEqual(await chat.evaluate(rooms), ['lobby', 'tea', 'coffee']);
      await chat.evaluate(choose, 'tea');
      await chat.say('hello');
      assert.equal(await chat.evaluate(problem), false);
      await chat.evaluate(() => {
        document.getElementById('room').value = 'beer';
        document.getElementById('joining').requestSubmit();
      });
      const refusal = () => document.getElementById('joining-problem').textContent;
      assert.equal(await chat.until(refusal), 'You may not enter this room.');
      assert.match(await chat.until(() => document.getElementById('sign-in-problem').textContent), /expired/);
      assert.equal(await chat.evaluate(hasView, 'sign-in'), true);
      assert.deepEqual(await chat.evaluate(rooms), [], 'nothing is left for the next user');
    });

    test('a token that is not accepted leads back to where one signs in', LIMIT, async (t) => {
      const keyed = await Server.start(t);
      const chat = await ChatPage.open(t, running.browser, `${keyed.url}/`);
      const focused = () => document.activeElement.id;
      assert.equal(await chat.evaluate(focused), 'token', 'the only field');
      await chat.evaluate(() => {
        document.getElementById('token').value = 'no token';
        document.getElementById('token-form').requestSubmit();
      });
      const reason = () => document.getElementById('sign-in-problem').textContent;
      assert.match(await withDeadline(chat.until(reason), 'a reason'), /not accepted/);
      assert.equal(await chat.evaluate(hasView, 'sign-in'), true);
    });
  });
}
