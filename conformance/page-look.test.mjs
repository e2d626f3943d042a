// The page at `/` where only Chromium can be asked: dark and light, narrow screens, contrast, keyboard, names for screen readers,
// a browser that knows that it is offline, and a room of 10,000 messages.

import assert from 'node:assert/strict';
import { describe, test } from 'node:test';

import { missing } from './harness/browsers.mjs';
import { ChatPage, forSuite } from './harness/chat-page.mjs';
import { fresh, Peer } from './harness/peer.mjs';

const LIMIT = { timeout: 60_000 };
const MANY = 10_000; // messages
const IN_DOCUMENT = 300; // messages and dividers that may be in the document at once
const AA = 4.5; // contrast of text (WCAG 2.2, 1.4.3)

const PHONE = { width: 360, height: 640, deviceScaleFactor: 1, mobile: true };
const DESKTOP = { width: 1280, height: 800, deviceScaleFactor: 1, mobile: false };

// These functions run in the page.

const overflow = () => {
  const { clientWidth } = document.documentElement;
  const isShown = (node) => node.checkVisibility({ visibilityProperty: true }) && !node.closest('.visually-hidden');
  const clips = (node) => node && (getComputedStyle(node).overflowX !== 'visible' || clips(node.parentElement));
  const wide = [...document.body.querySelectorAll('*')].filter((node) => {
    const { left, right } = node.getBoundingClientRect();
    return isShown(node) && (right > clientWidth + 1 || left < -1) && !clips(node.parentElement);
  });
  return { page: document.documentElement.scrollWidth - clientWidth, log: document.getElementById('log').scrollWidth - document.getElementById('log').clientWidth, wide: wide.map((node) => node.outerHTML.slice(0, 80)) };
};

/** Texts whose contrast with what is behind them is below `least`. */
const faint = (least) => {
  const canvas = Object.assign(document.createElement('canvas'), { width: 1, height: 1 });
  const context = canvas.getContext('2d', { willReadFrequently: true });
  const paint = (layers) => {
    context.clearRect(0, 0, 1, 1);
    for (const layer of layers) {
      context.fillStyle = layer;
      context.fillRect(0, 0, 1, 1);
    }
    return [...context.getImageData(0, 0, 1, 1).data].slice(0, 3);
  };
  const luminance = (colour) => {
    const [r, g, b] = colour.map((value) => (value / 255 <= 0.04045 ? value / 255 / 12.92 : ((value / 255 + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const grounds = (node) => (node ? [...grounds(node.parentElement), getComputedStyle(node).backgroundColor] : ['#fff']);
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  const found = [];
  while (walker.nextNode()) {
    const node = walker.currentNode.parentElement;
    if (!walker.currentNode.data.trim() || node.closest('template, script, noscript, .visually-hidden, .tip')) continue;
    if (!node.checkVisibility({ visibilityProperty: true, opacityProperty: true })) continue;
    const ground = grounds(node);
    const [back, front] = [luminance(paint(ground)), luminance(paint([...ground, getComputedStyle(node).color]))];
    const contrast = (Math.max(back, front) + 0.05) / (Math.min(back, front) + 0.05);
    if (contrast < least) found.push(`${node.className || node.id}: ${walker.currentNode.data.slice(0, 30)} ${contrast.toFixed(2)}`);
  }
  return found;
};
const brightness = () => {
  const canvas = document.createElement('canvas').getContext('2d');
  canvas.fillStyle = getComputedStyle(document.body).backgroundColor;
  canvas.fillRect(0, 0, 1, 1);
  return canvas.getImageData(0, 0, 1, 1).data[0];
};
const focused = () => {
  const node = document.activeElement;
  const { outlineStyle, outlineWidth, boxShadow } = getComputedStyle(node.id === 'text' ? document.getElementById('composer') : node);
  const isVisible = (outlineStyle !== 'none' && parseFloat(outlineWidth) >= 2) || boxShadow !== 'none';
  return { id: node.id || node.className.split(' ')[0], isVisible, message: node.querySelector?.('.text')?.textContent };
};

/** Begins to look at the messages: `scrollOn` goes on. */
const beginScrolling = () => {
  globalThis.scrolling = { seen: [], known: new Set(), steps: [], most: 0, jumps: 0 };
};

/** Scrolls up by some screens; returns whether the message with the text `first` has been reached. */
const scrollOn = async (first, screens) => {
  const [log, list] = [document.getElementById('log'), document.getElementById('messages')];
  const frame = () => new Promise((resolve) => requestAnimationFrame(resolve));
  const look = () => {
    scrolling.most = Math.max(scrolling.most, list.childElementCount);
    const ids = [...list.querySelectorAll('.message')].map((node) => node.dataset.id).filter((id) => !scrolling.known.has(id));
    for (const id of ids) scrolling.known.add(id);
    scrolling.seen.unshift(...ids);
  };
  look();
  for (let screen = 0; screen < screens; screen += 1) {
    const anchor = [...list.querySelectorAll('.message')].find((node) => node.getBoundingClientRect().bottom > log.getBoundingClientRect().top);
    const before = anchor.getBoundingClientRect().bottom;
    const start = performance.now();
    log.scrollTop -= log.clientHeight;
    const moved = anchor.getBoundingClientRect().bottom - before;
    await frame();
    scrolling.steps.push(performance.now() - start);
    // What was added above must not move what is being read.
    if (anchor.isConnected && Math.abs(anchor.getBoundingClientRect().bottom - before - moved) > 1) scrolling.jumps += 1;
    look();
  }
  return [...list.querySelectorAll('.text')].some((node) => node.textContent === first);
};

// It is the same however many shards there are.
const skip = missing('chromium') || (process.env.CHAT_WORKERS > 1 && 'it is looked at with one worker');

describe('the look of the page', { skip }, () => {
  const running = forSuite('chromium', { settings: { 'limits.message_rate': 0 } });

  const enter = async (t, screen = DESKTOP) => {
    const name = fresh('Maximiliane-Alexandra von Wolfeschlegelsteinhausen');
    const chat = await ChatPage.open(t, running.browser, `${running.server.url}/`);
    await look(chat, screen);
    await chat.evaluate((user) => {
      document.getElementById('name').value = user;
      document.getElementById('naming').requestSubmit();
    }, name);
    await chat.connected(name);
    await chat.join(fresh(`a-room-with-a-name-that-is-much-too-long-for-any-list-${'x'.repeat(40)}`));
    return chat;
  };

  async function look({ page }, screen, scheme = 'light') {
    await page.command('Emulation.setDeviceMetricsOverride', screen);
    await page.command('Emulation.setTouchEmulationEnabled', { enabled: screen.mobile });
    await page.command('Emulation.setEmulatedMedia', { features: [{ name: 'prefers-color-scheme', value: scheme }] });
  }

  test('nothing is wider than a phone, whatever people write', LIMIT, async (t) => {
    const chat = await enter(t, PHONE);
    await chat.say('Donaudampfschifffahrtselektrizitätenhauptbetriebswerkbauunterbeamtengesellschaft'.repeat(4));
    await chat.say(`https://example.com/${'a'.repeat(300)}`);
    await chat.say('مرحبا بالجميع، هذا نص طويل بما يكفي ليلتف على أكثر من سطر واحد');
    await chat.say('g̷̢̛͔̲͖̝̰̘̭̱̬͔̏̄̊̀̋̈́̉̃͘͝͠'.repeat(40));
    await chat.click('.message .reply');
    assert.deepEqual(await chat.evaluate(overflow), { page: 0, log: 0, wide: [] });
    await chat.click('#menu');
    assert.deepEqual(await chat.evaluate(overflow), { page: 0, log: 0, wide: [] });
    assert.equal(await chat.evaluate(() => document.getElementById('sidebar').checkVisibility({ visibilityProperty: true })), true);
    await chat.click('#backdrop');
    assert.equal(await chat.evaluate(() => document.getElementById('sidebar').checkVisibility({ visibilityProperty: true })), false);
    assert.equal(await chat.evaluate(() => document.activeElement.id), 'menu', 'the focus goes back');
    await chat.click('#sign-out');
    const { page, wide } = await chat.evaluate(overflow);
    assert.deepEqual([page, wide], [0, []]);
  });

  test('on a phone a refused room says why beside its field', LIMIT, async (t) => {
    const chat = await enter(t, PHONE);
    await chat.click('#menu');
    const join = (id) => {
      document.getElementById('room').value = id;
      document.getElementById('joining').requestSubmit();
    };
    await chat.evaluate(join, 'x'.repeat(129));
    await chat.until(() => document.getElementById('joining-problem').textContent !== '');
    // Whatever covers a text is what a finger there would meet.
    const look = () => {
      const node = document.getElementById('joining-problem');
      const { left, top, width, height } = node.getBoundingClientRect();
      return [node.textContent, node.getAttribute('role'), document.elementFromPoint(left + width / 2, top + height / 2)?.id];
    };
    const [text, ...seen] = await chat.evaluate(look);
    assert.equal(text, "A room's name has 1 to 128 bytes, and no control characters.");
    assert.deepEqual(seen, ['alert', 'joining-problem']);
    assert.equal(await chat.evaluate(() => document.getElementById('problem').hidden), true, 'once is enough');
    assert.deepEqual(await chat.evaluate(overflow), { page: 0, log: 0, wide: [] });
    await chat.join(fresh('tea'));
    assert.equal(await chat.evaluate(() => document.getElementById('joining-problem').textContent), '');
  });

  test('dark follows the system, and a choice outlives a reload', LIMIT, async (t) => {
    const chat = await enter(t);
    assert.ok((await chat.evaluate(brightness)) > 240);
    await look(chat, DESKTOP, 'dark');
    assert.ok((await chat.evaluate(brightness)) < 40);
    await chat.click('#theme'); // light
    assert.ok((await chat.evaluate(brightness)) > 240);
    await chat.reload(`${running.server.url}/`);
    assert.ok((await chat.evaluate(brightness)) > 240);
    await chat.click('#theme'); // dark
    await look(chat, DESKTOP, 'light');
    assert.ok((await chat.evaluate(brightness)) < 40);
    await chat.click('#theme'); // as the system
  });

  test('everything can be read, light and dark', LIMIT, async (t) => {
    const chat = await enter(t);
    const room = await chat.evaluate(() => document.getElementById('room-title').textContent);
    // Each tone of names and avatars.
    for (const name of ['Ann', 'Ben', 'Cleo', 'Dan', 'Eve', 'Finn', 'Gus', 'Hal', 'Ida', 'Jon', 'Kim', 'Lou']) {
      const peer = await Peer.connect(t, running.server, fresh(name));
      await peer.ok('message', { message: 'hello', context: { roomId: room } });
    }
    await chat.until(() => document.querySelectorAll('.message').length === 12);
    await chat.click('.message .reply');
    await chat.say('a reply');
    await chat.send('\u200b');
    await chat.until(() => document.querySelector('[data-state="failed"]') !== null);
    const tones = () => new Set([...document.querySelectorAll('.avatar')].map(({ dataset }) => dataset.tone)).size;
    assert.ok((await chat.evaluate(tones)) >= 6);
    for (const scheme of ['light', 'dark']) {
      await look(chat, DESKTOP, scheme);
      assert.deepEqual(await chat.evaluate(faint, AA), [], scheme);
    }
    await chat.click('#sign-out');
    for (const scheme of ['light', 'dark']) {
      await look(chat, DESKTOP, scheme);
      assert.deepEqual(await chat.evaluate(faint, AA), [], scheme);
    }
  });

  test('the keyboard reaches everything, and the focus can be seen', LIMIT, async (t) => {
    const chat = await enter(t);
    const { page } = chat;
    for (const text of ['one', 'two', 'three']) {
      await chat.evaluate(() => document.getElementById('text').focus());
      await page.press(...text, 'Enter');
      await chat.shows(text);
    }
    // Only what is stored can be replied to.
    await chat.until(() => document.querySelector('[data-state="sending"]') === null);
    await page.press('ArrowUp');
    assert.equal((await chat.evaluate(focused)).message, 'three');
    await page.press('ArrowUp');
    assert.deepEqual(await chat.evaluate(focused), { id: 'message', isVisible: true, message: 'two' });
    await page.press('r');
    assert.equal(await chat.evaluate(() => document.getElementById('reply-text').textContent), 'two');
    assert.equal(await chat.evaluate(() => document.activeElement.id), 'text');
    assert.equal(await chat.evaluate(() => document.getElementById('text').value), '', 'the key is no text');
    await page.press('Escape');
    assert.equal(await chat.evaluate(() => document.getElementById('reply').hidden), true);

    const order = [];
    await chat.evaluate(() => document.querySelector('.skip').focus());
    for (let at = 0; at < 20; at += 1) {
      const { id, isVisible } = await chat.evaluate(focused);
      assert.equal(isVisible, true, id);
      if (order.at(-1) !== id) order.push(id);
      if (id === 'text') break;
      await page.press('Tab');
    }
    assert.deepEqual(order, ['skip', 'room-button', 'room', 'join', 'theme', 'sign-out', 'leave', 'people-toggle', 'log', 'icon-button', 'attach', 'text']);
  });

  test('a screen reader has a name for everything, and hears of new messages', LIMIT, async (t) => {
    const chat = await enter(t);
    const room = await chat.evaluate(() => document.getElementById('room-title').textContent);
    const peer = await Peer.connect(t, running.server, fresh('peer'));
    await peer.ok('message', { message: 'can you hear me?', context: { roomId: room } });
    await chat.shows('can you hear me?');
    const { nodes } = await chat.page.command('Accessibility.getFullAXTree');
    const of = (...roles) => nodes.filter(({ ignored, role }) => !ignored && roles.includes(role.value));
    const controls = of('button', 'textbox', 'link', 'image', 'region', 'log', 'navigation', 'complementary', 'main');
    assert.ok(controls.length > 15, `${controls.length}`);
    assert.deepEqual(controls.filter(({ name }) => !name?.value).map(({ role, properties }) => [role.value, JSON.stringify(properties)]), []);
    const announced = () => [document.getElementById('announcer').getAttribute('role'), document.getElementById('announcer').textContent];
    assert.deepEqual(await chat.evaluate(announced), ['log', `${peer.user}: can you hear me?`]);
  });

  test('a browser that knows that it is offline says so at once, and comes back at once', LIMIT, async (t) => {
    const chat = await enter(t);
    const room = await chat.evaluate(() => document.getElementById('room-title').textContent);
    await chat.say('before');
    const network = (offline) =>
      chat.page.command('Network.emulateNetworkConditions', { offline, latency: 0, downloadThroughput: -1, uploadThroughput: -1 });
    await chat.page.command('Network.enable');
    await network(true);
    await chat.until(() => document.getElementById('banner-text').textContent === 'You are offline.');
    const peer = await Peer.connect(t, running.server, fresh('peer'));
    await peer.ok('message', { message: 'missed', context: { roomId: room } });
    await chat.send('written offline');
    await network(false);
    await chat.until(() => document.getElementById('banner').hidden);
    for (const text of ['missed', 'written offline']) await chat.shows(text);
    await chat.until(() => document.querySelectorAll('.message:not([data-id=""])').length === 3);
    assert.deepEqual(await chat.texts(), ['before', 'missed', 'written offline']);
  });

  test('a room of 10,000 messages scrolls', { timeout: 240_000 }, async (t) => {
    const room = fresh('large');
    const peer = await Peer.connect(t, running.server, fresh('writer'));
    const ids = [];
    for (let at = 0; at < MANY; at += 500) {
      const batch = Array.from({ length: 500 }, (_, index) => peer.ok('message', { message: `number ${at + index}`, context: { roomId: room } }));
      ids.push(...(await Promise.all(batch)).map(({ id }) => id));
    }
    const chat = await enter(t);
    await chat.join(room);
    await chat.shows(`number ${MANY - 1}`);
    await chat.evaluate(beginScrolling);
    while (!(await chat.evaluate(scrollOn, 'number 0', 50)));
    const { seen, most, jumps, steps } = await chat.evaluate(() => ({ ...scrolling, known: null }));
    assert.deepEqual(seen, ids, 'each message once, in order');
    assert.ok(most <= IN_DOCUMENT, `${most} nodes at once`);
    assert.equal(jumps, 0, 'what is read stays where it is');
    // The thousandth screen is as quick as the first: the cost does not grow with what was read.
    const median = (list) => list.toSorted((a, b) => a - b)[list.length >> 1];
    const part = Math.floor(steps.length / 5);
    const [first, last] = [median(steps.slice(0, part)), median(steps.slice(-part))];
    t.diagnostic(`${steps.length} steps; ${most} nodes at most; ${first.toFixed(1)} ms a step in the first fifth, ${last.toFixed(1)} ms in the last`);
    assert.ok(last < 3 * first, `${first} ms a step at first, ${last} ms at last`);
    await chat.click('#to-end');
    await chat.shows(`number ${MANY - 1}`);
  });
});
