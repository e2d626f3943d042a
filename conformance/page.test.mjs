// The demo page in real browsers: people chat, what they write stays text, and a token in the address connects nobody by itself.
// A browser that is not installed is skipped, with a line.

import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';

import { Browser, BROWSERS, missing } from './harness/browsers.mjs';
import { fresh, Peer } from './harness/peer.mjs';
import { Server } from './harness/server.mjs';

const LIMIT = { timeout: 60_000 };

// What a person does and sees. These functions run in the page.

const click = (id) => document.getElementById(id).click();
const fill = (id, text) => {
  document.getElementById(id).value = text;
};
const isConnectedAs = (name) => document.getElementById('state').textContent === `Connected as ${name}`;
const state = () => document.getElementById('state').textContent;
const offeredUser = () => !document.getElementById('offer').hidden && document.getElementById('offer-user').textContent;
const isOfferGone = () => document.getElementById('offer').hidden;
const texts = () => [...document.querySelectorAll('#messages .text')].map((node) => node.textContent);
const shows = (text) => [...document.querySelectorAll('#messages .text')].some((node) => node.textContent === text);
const address = () => location.href;

/** The person pastes a token into the field, and connects. */
async function signIn(page, server, user) {
  await page.evaluate(fill, 'token', await server.token(user));
  await page.evaluate(click, 'connect');
  await page.until(isConnectedAs, user);
}

async function say(page, text) {
  await page.evaluate(fill, 'text', text);
  await page.evaluate(click, 'send');
}

for (const name of Object.keys(BROWSERS)) {
  describe(`the demo page in ${name}`, { skip: missing(name) }, () => {
    let browser;
    let server;
    before(async () => {
      browser = await Browser.start(name);
      server = new Server();
      await server.launch();
    }, LIMIT);
    after(async () => {
      await browser?.remove();
      await server?.remove();
    }, LIMIT);

    test('two pages chat, and what looks like markup stays text', LIMIT, async (t) => {
      const [alice, bob] = [await browser.page(t, `${server.url}/`), await browser.page(t, `${server.url}/`)];
      await signIn(alice, server, fresh('alice'));
      await signIn(bob, server, fresh('bob'));
      const markup = '<script>document.title = "run"</script><img src="x" onerror="document.title = \'run\'"><b>bold</b>';
      await say(alice, markup);
      await bob.until(shows, markup);
      await say(bob, 'Hello, Alice');
      for (const page of [alice, bob]) {
        await page.until(shows, 'Hello, Alice');
        assert.deepEqual(await page.evaluate(texts), [markup, 'Hello, Alice']);
        assert.equal(await page.evaluate(() => document.querySelectorAll('#messages :is(script, img, b)').length), 0);
        assert.equal(await page.evaluate(() => document.title), 'Chat');
      }
    });

    test('the browser runs no script that stands in the document', LIMIT, async (t) => {
      const page = await browser.page(t, `${server.url}/`);
      const blocked = await page.evaluate(async () => {
        const violation = new Promise((resolve) => {
          document.addEventListener('securitypolicyviolation', ({ effectiveDirective }) => resolve(effectiveDirective));
        });
        const script = document.createElement('script');
        script.textContent = 'document.title = "run"';
        document.body.append(script);
        return [await violation, document.title];
      });
      assert.deepEqual(blocked, ['script-src-elem', 'Chat']);
    });

    test('a token in the address connects nobody before the person agrees, and leaves the address', LIMIT, async (t) => {
      const mallory = fresh('mallory');
      const token = await server.token(mallory, { name: 'Alice' });
      const page = await browser.page(t, `${server.url}/#token=${token}`);
      assert.equal(await page.until(offeredUser), `Alice (${mallory})`);
      assert.equal(await page.evaluate(state), 'Disconnected');
      assert.equal(await page.evaluate(address), `${server.url}/`);
      await page.evaluate(click, 'offer-accept');
      await page.until(isConnectedAs, 'Alice');
      assert.equal(await page.evaluate(isOfferGone), true);
    });

    test('a token in the address does not switch the account of a user who is connected', LIMIT, async (t) => {
      const [alice, mallory] = [fresh('alice'), fresh('mallory')];
      const witness = await Peer.connect(t, server, fresh('witness'));
      const page = await browser.page(t, `${server.url}/`);
      await signIn(page, server, alice);
      const token = await server.token(mallory);
      const follow = (hash) => {
        document.getElementById('text').focus();
        location.hash = hash;
      };

      await page.evaluate(follow, `#token=${token}`);
      assert.equal(await page.until(offeredUser), mallory);
      assert.equal(await page.evaluate(address), `${server.url}/`);
      assert.equal(await page.evaluate(state), `Connected as ${alice}`);
      // Enter belongs to the message that she writes.
      assert.equal(await page.evaluate(() => document.activeElement.id), 'text');
      await say(page, 'still me');
      assert.equal((await witness.next('message', ({ message }) => message === 'still me')).userId, alice);
      await page.evaluate(click, 'offer-reject');
      assert.equal(await page.evaluate(isOfferGone), true);
      assert.equal(await page.evaluate(state), `Connected as ${alice}`);
      assert.deepEqual(witness.seen('userStatus', ({ userId }) => userId === mallory), []);

      await page.evaluate(follow, `#token=${token}`);
      assert.equal(await page.until(offeredUser), mallory);
      await page.evaluate(click, 'offer-accept');
      await page.until(isConnectedAs, mallory);
      await say(page, 'as agreed');
      assert.equal((await witness.next('message', ({ message }) => message === 'as agreed')).userId, mallory);
    });
  });
}
