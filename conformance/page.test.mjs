// The page at `/` in real browsers: people chat, what they write stays text, and whoever reloads or loses the network misses nothing.
// A browser that is not installed is skipped, with a line. How people get in is in page-sign-in.test.mjs; what only Chromium can be
// asked for is in page-look.test.mjs.

import assert from 'node:assert/strict';
import { describe, test } from 'node:test';

import { BROWSERS, missing } from './harness/browsers.mjs';
import { Cable } from './harness/cable.mjs';
import { ChatPage, forSuite } from './harness/chat-page.mjs';
import { fresh, Peer } from './harness/peer.mjs';
import { Server } from './harness/server.mjs';

const LIMIT = { timeout: 60_000 };
const OFFLINE = { chromium: 20_000, firefox: 2_000 }; // ms

// What a person sees. These functions run in the page.

const isConnected = () => document.body.dataset.connection === 'open';
const isLost = () => document.body.dataset.connection === 'waiting' && !document.getElementById('banner').hidden;
const address = () => location.href;
const hasView = (name) => document.body.dataset.view === name;
const person = (name, note) =>
  [...document.querySelectorAll('.person')].some(
    (node) => node.querySelector('.person-name').textContent === name && node.querySelector('.person-note').textContent.startsWith(note),
  );
const typing = (text) => document.getElementById('typing-text').textContent === text;
const hasUnread = (room, count) => {
  const node = [...document.querySelectorAll('#rooms li')].find((item) => item.querySelector('.room-name').textContent === room);
  const badge = node.querySelector('.room-count');
  return (badge.hidden ? '' : badge.querySelector('.room-number').textContent) === count;
};
const choose = (room) => {
  [...document.querySelectorAll('.room-name')].find((node) => node.textContent === room).closest('button').click();
};
const replyTo = (text) => {
  const node = [...document.querySelectorAll('.message')].find((item) => item.querySelector('.text').textContent === text);
  node.querySelector('.reply').click();
};
const quoted = (sender, text) =>
  [...document.querySelectorAll('.quote:not([hidden])')].some(
    (node) => node.querySelector('.quote-sender').textContent === sender && node.querySelector('.quote-text').textContent === text,
  );
const state = (text) => {
  const node = [...document.querySelectorAll('.message')].find((item) => item.querySelector('.text').textContent === text);
  return node?.dataset.state;
};
const hasState = (text, wanted) => {
  const node = [...document.querySelectorAll('.message')].find((item) => item.querySelector('.text').textContent === text);
  return node?.dataset.state === wanted && node.querySelector('.state-text').textContent;
};

/** Drops files: pictures that are drawn here, each `{ picture: [width, height], noise }`, or bytes, `{ name, bytes }`. */
const drop = async (files) => {
  const dataTransfer = new DataTransfer();
  for (const { name, picture, noise, bytes } of files) {
    if (!picture) {
      dataTransfer.items.add(new File([new Uint8Array(bytes).fill(65)], name));
      continue;
    }
    const canvas = Object.assign(document.createElement('canvas'), { width: picture[0], height: picture[1] });
    const context = canvas.getContext('2d');
    const pixels = context.createImageData(...picture);
    for (let at = 0; at < pixels.data.length; at += 4) {
      const value = noise ? Math.random() * 255 : (at / 4) % 255;
      pixels.data.set([value, noise ? Math.random() * 255 : 90, 120, 255], at);
    }
    context.putImageData(pixels, 0, 0);
    const blob = await new Promise((resolve) => canvas.toBlob(resolve, 'image/png'));
    dataTransfer.items.add(new File([blob], name, { type: 'image/png' }));
  }
  document.getElementById('conversation').dispatchEvent(new DragEvent('drop', { dataTransfer, bubbles: true, cancelable: true }));
};
const hasChips = (count) => document.querySelectorAll('.chip').length === count;
const pictures = () => {
  const images = [...document.querySelectorAll('#messages .picture img')];
  return images.length > 0 && images.every((image) => image.naturalWidth) && images.map(({ alt, src, naturalWidth }) => [alt, new URL(src).protocol, naturalWidth]);
};
/** How many px lie between the text of a node and the node's right edge, line by line. */
const fromRight = (selector) => {
  const node = document.querySelector(selector);
  const range = document.createRange();
  range.selectNodeContents(node);
  const lines = [...range.getClientRects()].filter(({ width }) => width > 1);
  return lines.map(({ right }) => Math.abs(Math.round(node.getBoundingClientRect().right - right)));
};
const documents = () => [...document.querySelectorAll('#messages .document')].map((node) => node.textContent);
const problem = () => !document.getElementById('problem').hidden && document.getElementById('problem-text').textContent;

for (const name of Object.keys(BROWSERS)) {
  describe(`the page in ${name}`, { skip: missing(name) }, () => {
    const running = forSuite(name);

    const enter = (t, user, url = `${running.server.url}/`) => ChatPage.enter(t, running.browser, url, user);

    /** A room of their own, with a page of each of these users in it. */
    async function together(t, ...stems) {
      const room = fresh('room');
      const pages = [];
      for (const stem of stems) {
        const page = await enter(t, fresh(stem));
        await page.join(room);
        pages.push(page);
      }
      return [room, ...pages];
    }

    test('one click signs in, and nothing of it stands in the address', LIMIT, async (t) => {
      const chat = await ChatPage.open(t, running.browser, `${running.server.url}/`);
      await chat.click('#names button');
      await chat.connected('Alice');
      assert.equal(await chat.evaluate(address), `${running.server.url}/`);
      const other = await enter(t, 'Zoë <b>');
      await other.say('it is me');
      await chat.shows('it is me');
      await other.click('#sign-out');
      await other.until(hasView, 'sign-in');
      await other.reload(`${running.server.url}/`);
      assert.equal(await other.evaluate(hasView, 'sign-in'), true, 'nothing is remembered');
    });

    test('two people chat, and what looks like markup stays text', LIMIT, async (t) => {
      const [, alice, bob] = await together(t, 'alice', 'bob');
      const markup = '<script>document.title = "run"</script><img src="x" onerror="document.title = \'run\'"><b>bold</b>';
      const hebrew = 'שלום, מה שלומך?';
      await alice.say(markup);
      await bob.shows(markup);
      await bob.say(hebrew);
      for (const page of [alice, bob]) {
        await page.shows(hebrew);
        assert.deepEqual(await page.texts(), [markup, hebrew]);
        assert.equal(await page.evaluate(() => document.querySelectorAll('#messages :is(script, img, b)').length), 0);
        assert.match(await page.evaluate(() => document.title), /^(\(\d+\) )?Chat$/);
        const directions = () => [...document.querySelectorAll('#messages .text')].map((node) => getComputedStyle(node).direction);
        assert.deepEqual(await page.evaluate(directions), ['ltr', 'rtl']);
      }
    });

    test('text from right to left stands at the right, in a message and where it is quoted', LIMIT, async (t) => {
      const [, alice] = await together(t, 'alice');
      const text = 'مرحبا بالجميع\nقصير';
      await alice.say(text);
      assert.deepEqual(await alice.evaluate(fromRight, '.text'), [0, 0]);
      await alice.evaluate(replyTo, text);
      await alice.say('a reply that is longer than what it replies to');
      await alice.until(() => document.querySelector('.quote:not([hidden]) .quote-text')?.textContent);
      assert.deepEqual(await alice.evaluate(fromRight, '.quote:not([hidden]) .quote-text'), [0]);
    });

    test('nothing runs but the scripts of the page', LIMIT, async (t) => {
      const page = await running.browser.page(t, `${running.server.url}/`);
      const blocked = await page.evaluate(async () => {
        const violations = [];
        let look = () => {};
        document.addEventListener('securitypolicyviolation', ({ effectiveDirective }) => {
          violations.push(effectiveDirective);
          look();
        });
        const until = (count) => new Promise((resolve) => {
          look = () => violations.length >= count && resolve();
          look();
        });
        const script = document.createElement('script');
        script.append('document.title = "run"');
        document.body.append(script);
        await until(1);
        // A style, and a connection to elsewhere.
        const own = Object.assign(document.createElement('div'), { className: 'x' });
        own.setAttribute('style', 'color: red');
        await until(2);
        await fetch('http://127.0.0.1:9/').catch(() => {});
        await until(3);
        let sink = 'open';
        try {
          own.innerHTML = '<b>markup</b>';
        } catch (error) {
          sink = error.name;
        }
        return { violations: violations.slice(0, 3), title: document.title, sink, trusted: 'trustedTypes' in globalThis };
      });
      assert.equal(blocked.title, 'Chat');
      assert.deepEqual(blocked.violations, ['require-trusted-types-for', 'style-src-attr', 'connect-src']);
      assert.deepEqual([blocked.trusted, blocked.sink], [true, 'TypeError'], 'Trusted Types');
    });

    test('people, typing and unread messages are shown', LIMIT, async (t) => {
      const [room, alice, bob] = await together(t, 'alice', 'bob');
      const names = await Promise.all([alice, bob].map((page) => page.evaluate(() => document.getElementById('me-name').textContent)));
      await alice.until(person, names[1], 'Online');
      await bob.until(person, names[0], 'Online');
      await bob.write('h');
      await alice.until(typing, `${names[1]} is typing…`);
      await bob.write('');
      await alice.until(typing, '');
      const other = fresh('other');
      await alice.join(other);
      await bob.say('one');
      await bob.say('two');
      await alice.until(hasUnread, room, '2');
      assert.equal(await alice.evaluate(() => document.title), '(2) Chat');
      await alice.page.activate();
      await alice.evaluate(choose, room);
      await alice.until(hasUnread, room, '');
      assert.equal(await alice.until(() => document.title), 'Chat');
      assert.deepEqual(await alice.evaluate(() => [...document.querySelectorAll('.divider.unread')].map((node) => node.textContent)), ['New']);
      await bob.click('#sign-out');
      await alice.until(person, names[1], 'Offline');
    });

    test('a reply shows what it replies to, also after a reload', LIMIT, async (t) => {
      const [, alice, bob] = await together(t, 'alice', 'bob');
      await alice.say('Who has the <key>?');
      await bob.shows('Who has the <key>?');
      await bob.evaluate(replyTo, 'Who has the <key>?');
      await bob.say('I have');
      const sender = await alice.evaluate(() => document.getElementById('me-name').textContent);
      for (const page of [alice, bob]) await page.until(quoted, sender, 'Who has the <key>?');
      await alice.reload(`${running.server.url}/`);
      await alice.until(quoted, sender, 'Who has the <key>?');
    });

    test('pictures and files go with a message', LIMIT, async (t) => {
      const [, alice, bob] = await together(t, 'alice', 'bob');
      // The picture of noise has some 3 MB as PNG: it is made smaller, so that it fits beside the others.
      await alice.evaluate(drop, [
        { name: 'small.png', picture: [60, 40] },
        { name: 'large.png', picture: [1200, 900], noise: true },
        { name: 'notes <b>.txt', bytes: 5_000 },
      ]);
      await alice.until(hasChips, 3);
      await alice.say('Look');
      for (const page of [alice, bob]) {
        await page.shows('Look');
        const shown = await page.until(pictures);
        assert.deepEqual(shown.map(([, protocol]) => protocol), ['blob:', 'blob:']);
        assert.deepEqual([shown[0][0], shown[0][2]], ['small.png', 60]);
        assert.match(shown[1][0], /^large\.(webp|jpeg)$/);
        assert.ok(shown[1][2] < 1200, shown[1]);
        assert.deepEqual(await page.evaluate(documents), ['notes <b>.txt5 KB']);
      }
      await alice.evaluate(drop, [{ name: 'huge.bin', bytes: 300_000 }, ...Array.from({ length: 4 }, (_, i) => ({ name: `${i}`, bytes: 10 }))]);
      assert.match(await alice.until(problem), /“huge\.bin” is too large: there is room for 256 KB/);
      await alice.reload(`${running.server.url}/`);
      await alice.shows('Look');
      assert.equal((await alice.until(pictures)).length, 2);
    });

    test('the message field has no scrollbar, however long the name of the room', LIMIT, async (t) => {
      const alice = await enter(t, fresh('alice'));
      await alice.join(fresh('x'.repeat(100)));
      const overflow = () => getComputedStyle(document.getElementById('text')).overflowX;
      assert.equal(await alice.evaluate(overflow), 'hidden');
    });

    test('what was refused in one room is not shown in the next', LIMIT, async (t) => {
      const [, alice] = await together(t, 'alice');
      await alice.evaluate(drop, [{ name: 'large.bin', bytes: 8 * 1024 * 1024 }]);
      assert.match(await alice.until(problem), /too large/);
      await alice.join(fresh('room'));
      assert.equal(await alice.evaluate(problem), false);
    });

    test('a picture to be sent keeps its size beside a long name', LIMIT, async (t) => {
      const [, alice] = await together(t, 'alice');
      await alice.evaluate(drop, [{ name: `${'a-long-name-'.repeat(6)}.png`, picture: [64, 64] }]);
      await alice.until(hasChips, 1);
      const size = () => (({ clientWidth, clientHeight }) => [clientWidth, clientHeight])(document.querySelector('.chip img'));
      assert.deepEqual(await alice.evaluate(size), [40, 40]);
    });

    test('a context that another client made up does no harm', LIMIT, async (t) => {
      const [room, alice] = await together(t, 'mallory', 'alice').then(([id, , page]) => [id, page]);
      const { token } = await alice.evaluate(() => JSON.parse(sessionStorage.getItem('chat')));
      const peer = await Peer.open(t, running.server.url, token);
      await peer.connected();
      const svg = Buffer.from('<svg xmlns="http://www.w3.org/2000/svg" onload="document.title = 1"><script>document.title = 2</script></svg>');
      const odd = [
        { files: [{ name: 'run.svg', type: 'image/svg+xml', data: svg, width: 10, height: 10 }, { name: 'page.html', type: 'text/html', data: svg }] },
        { files: [null, 5, { data: 'text' }, { name: { a: 1 }, width: -1, height: 'x', data: Buffer.from('\x89PNG\r\n\x1a\n', 'latin1') }] },
        { files: { length: 3 }, replyTo: null },
        { files: 'no', replyTo: 'no id', clientId: 'x' },
        { replyTo: '00000000-0000-0000-0000-000000000000' },
      ];
      for (const [number, context] of odd.entries()) await peer.ok('message', { message: `odd ${number}`, context: { ...context, roomId: room } });
      await alice.shows(`odd ${odd.length - 1}`);
      assert.deepEqual(await alice.texts(), odd.map((_, number) => `odd ${number}`));
      assert.deepEqual(await alice.evaluate(documents), [`run.svg${svg.length} B`, `page.html${svg.length} B`]);
      assert.match(await alice.evaluate(() => document.title), /^(\(\d+\) )?Chat$/);
      await alice.reload(`${running.server.url}/`);
      await alice.shows(`odd ${odd.length - 1}`);
    });

    test('who reloads misses nothing, and sees nothing twice', LIMIT, async (t) => {
      const [room, alice, bob] = await together(t, 'alice', 'bob');
      const said = [];
      const say = async (count) => {
        for (let at = 0; at < count; at += 1) {
          said.push(`message ${said.length}`);
          await alice.say(said.at(-1));
        }
      };
      await say(3);
      await bob.shows(said.at(-1));
      const talking = say(10);
      await bob.reload(`${running.server.url}/`);
      await talking;
      await bob.until((id) => document.getElementById('room-title').textContent === id, room);
      await bob.shows(said.at(-1));
      assert.deepEqual(await bob.texts(), said);
    });

    // Within the time that the server recovers a socket, and where it recovers none.
    for (const [away, settings] of [[OFFLINE[name], {}], [1_000, { 'recovery.max_disconnection': '0s' }]]) {
      const title = `who is offline for ${away / 1000} s misses nothing, and what was written meanwhile is sent once ${JSON.stringify(settings)}`;
      test(title, { timeout: 90_000 }, async (t) => {
        const other = await Server.start(t, { development: true, settings });
        const cable = await Cable.lay(t, other.url);
        const room = fresh('room');
        const [alice, bob] = [await enter(t, fresh('alice'), `${other.url}/`), await enter(t, fresh('bob'), `${cable.url}/`)];
        for (const page of [alice, bob]) await page.join(room);
        await alice.say('before');
        await bob.shows('before');
        const start = performance.now();
        cable.unplug();
        await bob.until(isLost);
        for (let number = 0; number < 5; number += 1) await alice.say(`missed ${number}`);
        await bob.send('written offline');
        assert.equal(await bob.until(hasState, 'written offline', 'sending'), 'Waiting for the connection');
        await new Promise((resolve) => setTimeout(resolve, away - (performance.now() - start)));
        assert.equal(await bob.evaluate(isLost), true);
        cable.plug();
        await bob.until(isConnected);
        await alice.say('after');
        for (const page of [alice, bob]) {
          await page.shows('after');
          await page.shows('written offline');
          await page.until((count) => document.querySelectorAll('#messages .message:not([data-id=""])').length === count, 8);
        }
        const texts = await alice.texts();
        assert.deepEqual(await bob.texts(), texts, 'both see one order');
        assert.deepEqual(texts.toSorted(), ['after', 'before', ...[0, 1, 2, 3, 4].map((number) => `missed ${number}`), 'written offline'].toSorted());
      });
    }

    test('a message whose answer is lost is sent again and stored once', LIMIT, async (t) => {
      const cable = await Cable.lay(t, running.server.url);
      const room = fresh('room');
      const [alice, bob] = [await enter(t, fresh('alice'), `${cable.url}/`), await enter(t, fresh('bob'))];
      for (const page of [alice, bob]) await page.join(room);
      const lost = cable.lose('43');
      await alice.send('only once');
      await lost;
      assert.equal(await alice.until(hasState, 'only once', 'sending'), 'Sending…');
      await bob.shows('only once');
      cable.unplug();
      await alice.until((text) => document.querySelector('.mine .state-text').textContent === text, 'Waiting for the connection');
      cable.plug();
      await alice.until(hasState, 'only once', 'stored');
      await alice.say('the next one');
      for (const page of [alice, bob]) {
        await page.shows('the next one');
        assert.deepEqual(await page.texts(), ['only once', 'the next one']);
      }
    });

    test('a message that is refused says why, and can be tried again or given up', LIMIT, async (t) => {
      const [, alice] = await together(t, 'alice');
      const unseen = '\u200b';
      await alice.send(unseen);
      assert.match(await alice.until(hasState, unseen, 'failed'), /^Not sent: .*nothing that can be seen/);
      await alice.click('.retry');
      // It is refused again: the state passes `sending` on the way.
      await alice.until(hasState, unseen, 'failed');
      await alice.click('.discard');
      await alice.until((text) => ![...document.querySelectorAll('.text')].some((node) => node.textContent === text), unseen);
      assert.equal(await alice.evaluate(state, unseen), null);
    });

    test('without a lobby one begins in no room', LIMIT, async (t) => {
      const bare = await Server.start(t, { development: true, settings: { 'rooms.lobby': false } });
      const alice = await enter(t, 'Alice', `${bare.url}/`);
      assert.equal(await alice.evaluate(() => document.getElementById('no-room').hidden), false);
      assert.equal(await alice.evaluate(() => document.getElementById('text').disabled), true);
      await alice.join('tea');
      await alice.say('hello');
      await alice.click('#leave');
      await alice.until(() => !document.getElementById('no-room').hidden);
    });
  });
}
