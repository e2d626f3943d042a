// Takes the pictures of the page that README shows: a conversation in the real server, seen in Chromium. Writes them into
// docs/images, or into the folder that is given. PAGE is the address of a server in development mode; without it one is started.

import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

import { Browser } from './harness/browsers.mjs';
import { Server } from './harness/server.mjs';

const FOLDER = process.argv[2] ?? fileURLToPath(new URL('../docs/images', import.meta.url));
const DESKTOP = { width: 1280, height: 800, deviceScaleFactor: 1, mobile: false };
const PHONE = { width: 390, height: 780, deviceScaleFactor: 1.5, mobile: true };

// What people do. These functions run in the page.

const signIn = (name) => {
  document.getElementById('name').value = name;
  document.getElementById('naming').requestSubmit();
};
const isReady = () => document.body.dataset.view === 'sign-in';
const isOpen = () => document.body.dataset.connection === 'open';
const shows = (text) => [...document.querySelectorAll('#messages .text')].some((node) => node.textContent.includes(text));
const isStored = (text) => [...document.querySelectorAll('.message:not([data-id=""]) .text')].some((node) => node.textContent === text);
const join_ = (id) => {
  document.getElementById('room').value = id;
  document.getElementById('joining').requestSubmit();
};
const isIn = (id) => document.getElementById('room-title').textContent === id;
const open = (id) => {
  [...document.querySelectorAll('.room-name')].find((node) => node.textContent === id).closest('button').click();
};
const write = (text) => {
  const field = document.getElementById('text');
  field.value = text;
  field.dispatchEvent(new Event('input'));
};
const send = () => document.getElementById('composer').requestSubmit();
const reply = (text) => {
  const messages = [...document.querySelectorAll('.message')];
  messages.findLast((node) => node.querySelector('.text').textContent.includes(text)).querySelector('.reply').click();
};
const hasChips = (count) => document.querySelectorAll('.chip').length === count;
const isTyping = (name) => document.getElementById('typing-text').textContent.startsWith(name);
const unread = (count) => [...document.querySelectorAll('.room-count:not([hidden])')].length === count;
const picturesAreDecoded = () => [...document.querySelectorAll('#messages img')].every((image) => image.complete);

/** Drops a picture of mountains in the morning, drawn here, and a file. */
const drop = async () => {
  const canvas = Object.assign(document.createElement('canvas'), { width: 960, height: 540 });
  const draw = canvas.getContext('2d');
  const sky = draw.createLinearGradient(0, 0, 0, 420);
  for (const [at, colour] of [[0, '#3f6fa3'], [0.55, '#f3b48b'], [1, '#fbe3c3']]) sky.addColorStop(at, colour);
  draw.fillStyle = sky;
  draw.fillRect(0, 0, 960, 540);
  draw.fillStyle = '#fff3d6';
  draw.beginPath();
  draw.arc(655, 250, 46, 0, 7);
  draw.fill();
  for (const [layer, colour] of ['#b98a92', '#80687f', '#4f5069', '#2c3a4d', '#182733'].entries()) {
    draw.fillStyle = colour;
    draw.beginPath();
    draw.moveTo(0, 540);
    for (let x = 0; x <= 960; x += 6) {
      const wave = Math.sin(x / (150 - layer * 14) + layer * 2.1) * (58 - layer * 7) + Math.sin(x / 37 + layer) * 13 + Math.sin(x / 13 + layer * 5) * 4;
      draw.lineTo(x, 265 + layer * 52 - wave);
    }
    draw.lineTo(960, 540);
    draw.fill();
  }
  const picture = await new Promise((resolve) => canvas.toBlob(resolve, 'image/jpeg', 0.85));
  const track = new File([new Uint8Array(38_400)], 'north-ridge.gpx', { type: 'application/gpx+xml' });
  const dataTransfer = new DataTransfer();
  for (const file of [new File([picture], 'sunrise.jpg', { type: 'image/jpeg' }), track]) dataTransfer.items.add(file);
  document.getElementById('conversation').dispatchEvent(new DragEvent('drop', { dataTransfer, bubbles: true, cancelable: true }));
};

async function person(browser, address, name) {
  const page = await browser.page({ after() {} }, address);
  await look(page, DESKTOP, 'light');
  await page.until(isReady);
  await page.evaluate(signIn, name);
  await page.until(isOpen);
  return page;
}

async function look(page, screen, scheme) {
  await page.command('Emulation.setDeviceMetricsOverride', screen);
  await page.command('Emulation.setTouchEmulationEnabled', { enabled: screen.mobile });
  await page.command('Emulation.setEmulatedMedia', { features: [{ name: 'prefers-color-scheme', value: scheme }] });
}

async function enter(page, room) {
  await page.evaluate(join_, room);
  await page.until(isIn, room);
}

async function say(page, text, to) {
  if (to) await page.evaluate(reply, to);
  await page.evaluate(write, text);
  await page.evaluate(send);
  await page.until(isStored, text);
}

async function take(page, name) {
  await page.until(picturesAreDecoded);
  // Two frames: what has changed is painted.
  await page.evaluate(() => new Promise((resolve) => requestAnimationFrame(() => requestAnimationFrame(resolve))));
  const { data } = await page.command('Page.captureScreenshot', { format: 'png', optimizeForSpeed: false });
  writeFileSync(join(FOLDER, `${name}.png`), Buffer.from(data, 'base64'));
}

async function converse(browser, address) {
  const people = {};
  for (const name of ['Mira Okafor', 'Jonas Berg', 'סיון לוי', 'Alice']) people[name.split(' ')[0]] = await person(browser, address, name);
  const { Mira, Jonas, סיון: Sivan, Alice } = people;
  for (const room of ['Weekend hike', 'Release 2.4', 'Support']) for (const page of Object.values(people)) await enter(page, room);
  for (const page of [Jonas, Alice]) await page.evaluate(open, 'Release 2.4');
  await say(Jonas, 'The changelog is ready for a second pair of eyes.');
  await Alice.until(shows, 'changelog');
  for (const page of Object.values(people)) await page.evaluate(open, 'Weekend hike');
  await say(Mira, 'Saturday looks perfect: 14°, no wind. North ridge?');
  await Alice.until(shows, 'North ridge?');
  await say(Alice, 'I am in! What time do we meet?');
  await Sivan.until(shows, 'What time');
  await say(Sivan, 'גם אני בא. אפשר לצאת ב-06:30?');
  await Jonas.until(shows, '06:30');
  await say(Jonas, '6:30 works. I can take three people in the car.', '06:30');
  await Mira.evaluate(drop);
  await Mira.until(hasChips, 2);
  await say(Mira, 'This is what we get up for. The track is attached, 11 km.');
  await Alice.until(shows, 'The track');
  await say(Alice, 'Wow. Coffee and cinnamon rolls are on me ☕');
  await Jonas.evaluate(open, 'Release 2.4');
  await say(Jonas, 'Tagged! The packages are building.');
  await Sivan.evaluate(open, 'Support');
  for (const text of ['A customer asks for the export again.', 'They need it by Monday.', 'I told them yes :)']) await say(Sivan, text);
  await Alice.until(unread, 2);
  await Mira.evaluate(write, 'On my way');
  await Alice.until(isTyping, 'Mira');
  return { Alice, Mira };
}

mkdirSync(FOLDER, { recursive: true });
const server = process.env.PAGE ? null : new Server({ development: true });
await server?.launch();
const browser = await Browser.start('chromium');
try {
  const address = process.env.PAGE ?? `${server.url}/`;
  const { Alice, Mira } = await converse(browser, address);
  await take(Alice, 'page-light');
  await look(Alice, DESKTOP, 'dark');
  await Mira.evaluate(write, 'On my way!');
  await take(Alice, 'page-dark');
  await look(Alice, PHONE, 'light');
  await take(Alice, 'page-phone');
} finally {
  await browser.remove();
  await server?.remove();
}
process.exit(0);
