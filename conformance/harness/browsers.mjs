// Real browsers without a window: Chromium and Firefox, driven by what each understands by itself (the DevTools protocol and
// WebDriver BiDi, both over a WebSocket).

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import WebSocket from 'ws';

import { withDeadline } from './inbox.mjs';
import { end, find } from './programs.mjs';

/** A name that the browsers resolve to loopback. To them it is a site like any other: no secure origin, no Sec-Fetch-Site. */
export const SITE = 'chat.test';

/** How long a browser may take to start, in ms: much is read from disk the first time. */
const STARTED_WITHIN = 40_000;

/** Calls over one WebSocket: each has an id, and its answer has the same. */
class Calls {
  #last = 0;
  #open = new Map();

  static async connect(url) {
    const calls = new Calls();
    calls.ws = new WebSocket(url, { perMessageDeflate: false });
    calls.ws.on('message', (data) => calls.#receive(JSON.parse(data)));
    await new Promise((resolve, reject) => calls.ws.once('open', resolve).once('error', reject));
    return calls;
  }

  #receive({ id, result, error, message }) {
    const call = this.#open.get(id);
    this.#open.delete(id);
    // What has no id is an event, and nobody here asked for one.
    if (error) call?.reject(new Error(`${call.method}: ${message ?? error.message}`));
    else call?.resolve(result);
  }

  send(method, params = {}, rest = {}) {
    const id = (this.#last += 1);
    const answer = new Promise((resolve, reject) => this.#open.set(id, { method, resolve, reject }));
    this.ws.send(JSON.stringify({ id, method, params, ...rest }));
    return withDeadline(answer, method, 20_000);
  }
}

/** The text of a call of `body` with `args`, for evaluation in a page: the answer is JSON, the same way for both protocols. */
const expression = (body, args) => `(async () => JSON.stringify(await (${body})(...${JSON.stringify(args)})) ?? 'null')()`;

class Chromium {
  static program = 'chromium';
  /** The origin of a page in a file; with the argument below, that of the web views of apps. Otherwise it is `null`. */
  static fileOrigin = 'file://';
  static announcement = /^DevTools listening on (\S+)$/m;

  static arguments(profile) {
    return [
      '--headless', '--no-first-run', '--disable-gpu', '--disable-dev-shm-usage', '--disable-background-networking',
      `--user-data-dir=${profile}`, '--remote-debugging-port=0', `--host-resolver-rules=MAP ${SITE} 127.0.0.1`,
      '--allow-file-access-from-files',
      // Certificates of the tests' own.
      '--ignore-certificate-errors',
      // A page without an address of its own (`data:`) may reach loopback only when somebody permits it.
      '--disable-features=LocalNetworkAccessChecks',
      // Its sandbox refuses to run as root, and in many containers.
      '--no-sandbox',
      'about:blank',
    ];
  }

  static async connect(url) {
    const chromium = new Chromium();
    chromium.calls = await Calls.connect(url);
    return chromium;
  }

  async open() {
    const { targetId } = await this.calls.send('Target.createTarget', { url: 'about:blank' });
    const { sessionId } = await this.calls.send('Target.attachToTarget', { targetId, flatten: true });
    // Each tab believes that somebody looks at it: there are several at once.
    await this.calls.send('Emulation.setFocusEmulationEnabled', { enabled: true }, { sessionId });
    return { targetId, sessionId };
  }

  /** Each tab is in front, as far as its page knows. */
  async activate() {}

  /** Runs a script in each document of the tab before its own ones. */
  async prepare({ sessionId }, source) {
    await this.calls.send('Page.enable', {}, { sessionId });
    await this.calls.send('Page.addScriptToEvaluateOnNewDocument', { source }, { sessionId });
  }

  /** Any other command of the DevTools protocol. */
  command({ sessionId }, method, params) {
    return this.calls.send(method, params, { sessionId });
  }

  async navigate({ sessionId }, url) {
    const { errorText } = await this.calls.send('Page.navigate', { url }, { sessionId });
    assert.equal(errorText, undefined, url);
    // The answer comes before the page is loaded.
    const loaded = "document.readyState === 'complete' || new Promise((resolve) => addEventListener('load', () => resolve(true)))";
    await this.calls.send('Runtime.evaluate', { expression: loaded, awaitPromise: true }, { sessionId });
  }

  async evaluate({ sessionId }, text) {
    const params = { expression: text, awaitPromise: true };
    const { result, exceptionDetails } = await this.calls.send('Runtime.evaluate', params, { sessionId });
    if (exceptionDetails) throw new Error(exceptionDetails.exception?.description ?? exceptionDetails.text);
    return result.value;
  }

  close({ targetId }) {
    return this.calls.send('Target.closeTarget', { targetId });
  }
}

class Firefox {
  static program = 'firefox-esr';
  static fileOrigin = 'null';
  static announcement = /^WebDriver BiDi listening on (\S+)$/m;

  static arguments(profile) {
    writeFileSync(join(profile, 'user.js'), `user_pref('network.dns.localDomains', '${SITE}');\n`);
    return ['--headless', '--no-remote', '--profile', profile, '--remote-debugging-port=0', 'about:blank'];
  }

  static async connect(url) {
    const firefox = new Firefox();
    firefox.calls = await Calls.connect(`${url}/session`);
    await firefox.calls.send('session.new', { capabilities: { alwaysMatch: { acceptInsecureCerts: true } } });
    return firefox;
  }

  async open() {
    return this.calls.send('browsingContext.create', { type: 'tab' });
  }

  async navigate({ context }, url) {
    await this.calls.send('browsingContext.navigate', { context, url, wait: 'complete' });
  }

  async evaluate({ context }, text) {
    const params = { expression: text, target: { context }, awaitPromise: true };
    const { result, exceptionDetails } = await this.calls.send('script.evaluate', params);
    if (exceptionDetails) throw new Error(exceptionDetails.text);
    return result.value;
  }

  activate({ context }) {
    return this.calls.send('browsingContext.activate', { context });
  }

  async prepare({ context }, source) {
    await this.calls.send('script.addPreloadScript', { functionDeclaration: `() => {${source}}`, contexts: [context] });
  }

  close({ context }) {
    return this.calls.send('browsingContext.close', { context });
  }
}

/** Keys that have no character. */
const KEY_CODES = { Tab: 9, Enter: 13, Escape: 27, End: 35, Home: 36, ArrowUp: 38, ArrowDown: 40 };

/** One tab. */
class Page {
  #driver;
  #tab;

  constructor(driver, tab) {
    this.#driver = driver;
    this.#tab = tab;
  }

  /** Loads a page, its scripts and frames included. */
  load(url) {
    return this.#driver.navigate(this.#tab, url);
  }

  /** Brings the tab to the front: pages behind others count as hidden. */
  activate() {
    return this.#driver.activate(this.#tab);
  }

  /** Runs a function in each document that is loaded from now on, before the document's own scripts. */
  prepare(body) {
    return this.#driver.prepare(this.#tab, `(${body})()`);
  }

  /** A command of the DevTools protocol: for Chromium alone. */
  command(method, params = {}) {
    return this.#driver.command(this.#tab, method, params);
  }

  /** Presses and releases keys, as a person does: names such as `Tab` and `ArrowUp`, or single characters. Chromium alone. */
  async press(...keys) {
    for (const key of keys) {
      const text = { Enter: '\r' }[key] ?? (key.length === 1 ? key : undefined);
      const code = KEY_CODES[key] ?? key.toUpperCase().charCodeAt(0);
      const event = { key, code: key, text, windowsVirtualKeyCode: code };
      await this.command('Input.dispatchKeyEvent', { type: text ? 'keyDown' : 'rawKeyDown', ...event });
      await this.command('Input.dispatchKeyEvent', { type: 'keyUp', ...event });
    }
  }

  /** Calls a function in the page; the arguments and what it returns, or resolves to, go as JSON. */
  async evaluate(body, ...args) {
    return JSON.parse(await this.#driver.evaluate(this.#tab, expression(body, args)));
  }

  /**
   * Waits until a function of the page returns something that is true, and returns that. It is asked again whenever the
   * document, or its address, changes.
   */
  until(body, ...args) {
    const wait = `(...args) => new Promise((resolve) => {
      const check = async () => {
        const value = (${body})(...args);
        if (!value) return;
        observer.disconnect();
        removeEventListener('hashchange', check);
        resolve(value);
      };
      const observer = new MutationObserver(check);
      observer.observe(document, { subtree: true, childList: true, characterData: true, attributes: true });
      addEventListener('hashchange', check);
      check();
    })`;
    return withDeadline(this.evaluate(wait, ...args), `${body} with ${JSON.stringify(args)}`);
  }

  close() {
    return this.#driver.close(this.#tab);
  }
}

/** The browsers, by name. */
export const BROWSERS = { chromium: Chromium, firefox: Firefox };

/** Why a browser cannot be tested here, or false. */
export function missing(name) {
  const { program } = BROWSERS[name];
  return find(program) ? false : `${program} is not installed`;
}

export class Browser {
  #child;
  #exited;
  #driver;
  #profile = mkdtempSync(join(tmpdir(), 'chat-browser-'));

  /** Starts a browser with an empty profile. */
  static async start(name) {
    const browser = new Browser();
    await browser.#start(BROWSERS[name]);
    return browser;
  }

  async #start(kind) {
    // Firefox wants a home that is its user's; whose HOME this is, nobody knows.
    const env = { ...process.env, HOME: this.#profile };
    const options = { env, stdio: ['ignore', 'ignore', 'pipe'], detached: true };
    const child = spawn(find(kind.program), kind.arguments(this.#profile), options);
    this.#child = child;
    let output = '';
    const announced = new Promise((resolve, reject) => {
      child.stderr.setEncoding('utf8').on('data', (text) => {
        output += text;
        const match = kind.announcement.exec(output);
        if (match) resolve(match[1]);
      });
      this.#exited = new Promise((over) => child.once('exit', over));
      this.#exited.then(() => reject(new Error(`${kind.program} ended: ${output}`)));
    });
    process.once('exit', () => end(child));
    const url = await withDeadline(announced, () => `${kind.program} to start: ${output}`, STARTED_WITHIN);
    this.#driver = await kind.connect(url);
  }

  /** A new tab; closed with the test `t`. `prepare` is a function for `Page.prepare`. */
  async page(t, url, { prepare } = {}) {
    const page = new Page(this.#driver, await this.#driver.open());
    t.after(() => page.close());
    if (prepare) await page.prepare(prepare);
    await page.load(url);
    return page;
  }

  async remove() {
    end(this.#child);
    await withDeadline(this.#exited, 'the end of the browser');
    rmSync(this.#profile, { recursive: true, force: true, maxRetries: 5 });
  }
}
