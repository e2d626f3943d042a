// The page at `/` as a person uses it: what one does there, and what one sees. Whatever a test does, the page's policy must not
// have been violated, and no script may have failed.

import assert from 'node:assert/strict';
import { after, before } from 'node:test';

import { Browser } from './browsers.mjs';
import { Server } from './server.mjs';

// These functions run in the page.

const listen = () => {
  globalThis.faults = [];
  addEventListener('securitypolicyviolation', ({ effectiveDirective, blockedURI }) => faults.push(`${effectiveDirective}: ${blockedURI}`));
  addEventListener('error', ({ message }) => faults.push(message));
  addEventListener('unhandledrejection', ({ reason }) => faults.push(String(reason?.stack ?? reason)));
};
const view = (name) => document.body.dataset.view === name;
const nameIn = (name) => {
  document.getElementById('name').value = name;
  document.getElementById('naming').requestSubmit();
};
const tokenIn = (token) => {
  document.getElementById('token').value = token;
  document.getElementById('token-form').requestSubmit();
};
const connectedAs = (name) => document.body.dataset.connection === 'open' && document.getElementById('me-name').textContent === name;
const click = (selector) => document.querySelector(selector).click();
const join = (id) => {
  document.getElementById('room').value = id;
  document.getElementById('joining').requestSubmit();
};
const isIn = (id) => document.getElementById('room-title').textContent === id;
const write = (text) => {
  const field = document.getElementById('text');
  field.value = text;
  field.dispatchEvent(new Event('input', { bubbles: true }));
};
const send = () => document.getElementById('composer').requestSubmit();
const texts = () => [...document.querySelectorAll('#messages .text')].map((node) => node.textContent);
const shows = (text) => [...document.querySelectorAll('#messages .text')].some((node) => node.textContent === text);
const hasSent = (text) =>
  [...document.querySelectorAll('.message:not([data-id=""]) .text')].some((node) => node.textContent === text);

/** A browser, and a server in development mode, for the tests of the suite around this call. They are there when a test begins. */
export function forSuite(browser, { settings } = {}) {
  const running = {};
  before(async () => {
    running.browser = await Browser.start(browser);
    running.server = new Server({ development: true, settings });
    await running.server.launch();
  }, { timeout: 60_000 });
  after(async () => {
    await running.browser?.remove();
    await running.server?.remove();
  }, { timeout: 60_000 });
  return running;
}

export class ChatPage {
  /** Opens the page; at the end of the test nothing may have gone wrong in it. */
  static async open(t, browser, url) {
    const chat = new ChatPage();
    t.after(async () => assert.deepEqual(await chat.faults(), []));
    chat.page = await browser.page(t, url, { prepare: listen });
    await chat.page.until(() => document.body.dataset.view !== undefined);
    return chat;
  }

  /** Opens the page of a server in development mode, and signs in by a name. */
  static async enter(t, browser, url, name) {
    const chat = await ChatPage.open(t, browser, url);
    await chat.until(view, 'sign-in');
    await chat.evaluate(nameIn, name);
    await chat.connected(name);
    return chat;
  }

  faults() {
    return this.evaluate(() => faults);
  }

  evaluate(body, ...args) {
    return this.page.evaluate(body, ...args);
  }

  until(body, ...args) {
    return this.page.until(body, ...args);
  }

  click(selector) {
    return this.evaluate(click, selector);
  }

  async signIn(token, name) {
    await this.evaluate(tokenIn, token);
    await this.connected(name);
  }

  connected(name) {
    return this.until(connectedAs, name);
  }

  async join(room) {
    await this.evaluate(join, room);
    await this.until(isIn, room);
  }

  write(text) {
    return this.evaluate(write, text);
  }

  /** Writes a message and sends it; what becomes of it is another matter. */
  async send(text) {
    await this.write(text);
    await this.evaluate(send);
  }

  /** Sends a message, which is stored then. */
  async say(text) {
    await this.send(text);
    await this.until(hasSent, text);
  }

  shows(text) {
    return this.until(shows, text);
  }

  /** The texts of all messages in the document, in their order. */
  texts() {
    return this.evaluate(texts);
  }

  /** Loads the page anew. */
  async reload(url) {
    assert.deepEqual(await this.faults(), []);
    await this.page.load(url);
    await this.until(() => document.body.dataset.view !== undefined);
  }
}
