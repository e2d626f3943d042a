// Pages in real browsers, with the official bundle `socket.io.min.js`: pages of other origins, with and without credentials;
// pages behind real proxies; pages whose origin is `null` or `file://`. A browser or proxy that is not installed is skipped,
// with a line.

import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { pathToFileURL } from 'node:url';

import { Browser, BROWSERS, missing, SITE } from './harness/browsers.mjs';
import { CLIENT, Pages } from './harness/pages.mjs';
import { fresh } from './harness/peer.mjs';
import * as proxies from './harness/proxies.mjs';
import { Server } from './harness/server.mjs';
import * as tlsProxies from './harness/tls-proxies.mjs';
import { TRANSPORTS } from './harness/transports.mjs';

const LIMIT = { timeout: 60_000 };
const POLLING_REFUSED = 'xhr poll error';
const WEBSOCKET_REFUSED = 'websocket error';

/** What the page's client does over a transport. */
async function outcome(page, server, transport, { url = server.url, ...options } = {}) {
  const token = await server.token(fresh('alice'));
  const upgrade = transport === 'upgrade';
  const given = { ...TRANSPORTS[transport], upgrade, auth: { token }, ...options };
  return page.evaluate((...args) => talk(...args), url, given, fresh('message'));
}

/** The page's client gets through over each transport. */
async function talks(page, server, origin, options) {
  for (const transport of Object.keys(TRANSPORTS)) {
    const { text, ...rest } = await outcome(page, server, transport, options);
    assert.deepEqual(rest, { origin, transport: transport === 'polling' ? 'polling' : 'websocket' }, transport);
    assert.match(text, /^message-/);
  }
}

/** The browser, or the server, keeps the page's client out. */
async function refused(page, server, origin, options) {
  for (const [transport, error] of [['polling', POLLING_REFUSED], ['websocket', WEBSOCKET_REFUSED]]) {
    assert.deepEqual(await outcome(page, server, transport, options), { origin, error }, transport);
  }
}

for (const name of Object.keys(BROWSERS)) {
  describe(name, { skip: missing(name) }, () => {
    let browser;
    before(async () => {
      browser = await Browser.start(name);
    }, LIMIT);
    after(() => browser?.remove(), LIMIT);

    test('a page of another origin talks with credentials, where both permit it', LIMIT, async (t) => {
      const pages = await Pages.start(t);
      const settings = { 'http.allow_origin': pages.origin, 'http.cors_credentials': true };
      const server = await Server.start(t, { settings });
      const page = await browser.page(t, `${pages.origin}/page.html`);
      await talks(page, server, pages.origin, { withCredentials: true });
      await talks(page, server, pages.origin, { withCredentials: false });
    });

    test('a page of another origin is kept out by the browser, if it asks for credentials and gets none', LIMIT, async (t) => {
      const pages = await Pages.start(t);
      const server = await Server.start(t, { settings: { 'http.allow_origin': pages.origin } });
      const page = await browser.page(t, `${pages.origin}/page.html`);
      const { error } = await outcome(page, server, 'polling', { withCredentials: true });
      assert.equal(error, POLLING_REFUSED);
      await talks(page, server, pages.origin, { withCredentials: false });
    });

    test('a page of an origin that is not listed is kept out', LIMIT, async (t) => {
      const pages = await Pages.start(t);
      const server = await Server.start(t);
      const page = await browser.page(t, `${pages.origin}/page.html`);
      await refused(page, server, pages.origin);
      assert.match(server.stderr, new RegExp(`add the origin to http.allow_origin.* origin="${pages.origin}"`));
    });

    for (const proxy of ['nginx', 'apache']) {
      test(`behind ${proxy} a page of the same origin talks`, { ...LIMIT, skip: proxies.missing(proxy) }, async (t) => {
        const pages = await Pages.start(t);
        const server = await Server.start(t);
        const { port } = await proxies.start(t, proxy, server, { pages: pages.port });
        for (const host of ['127.0.0.1', SITE]) {
          const origin = `http://${host}:${port}`;
          const page = await browser.page(t, `${origin}/pages/page.html`);
          await talks(page, server, origin, { url: origin });
        }
      });
    }

    for (const [proxy, { http2 }] of Object.entries(tlsProxies.TLS_PROXIES)) {
      const by = http2 ? 'HTTP/2' : 'HTTP/1.1';
      test(`TLS, ${proxy}: a page of the same origin talks by ${by}`, { ...LIMIT, skip: tlsProxies.missing(proxy) }, async (t) => {
        const { settings, ...certificates } = tlsProxies.prepare(t, proxy);
        const server = await Server.start(t, { settings });
        const { site } = await tlsProxies.start(t, proxy, server, certificates);
        // The client comes with the test: behind these proxies nobody has pages but the server.
        const page = await browser.page(t, `${site}/healthz`, { prepare: CLIENT });
        await talks(page, server, site, { url: site });
        const protocols = await page.evaluate(() => performance.getEntriesByType('resource')
          .filter(({ name }) => name.includes('transport=polling')).map(({ nextHopProtocol }) => nextHopProtocol));
        assert.deepEqual([...new Set(protocols)], [http2 ? 'h2' : 'http/1.1']);
      });
    }

    test('a page whose origin is null talks, if that is listed', LIMIT, async (t) => {
      const pages = await Pages.start(t);
      const [server, other] = [await Server.start(t, { settings: { 'http.allow_origin': 'null' } }), await Server.start(t)];
      const script = ['socket.io.min.js', 'talk.js'].map((file) => `<script src="${pages.origin}/${file}"></script>`);
      for (const url of [`${pages.origin}/frame.html`, `data:text/html,${encodeURIComponent(script.join(''))}`]) {
        const page = await browser.page(t, url);
        await talks(page, server, 'null');
        await refused(page, other, 'null');
      }
    });

    test('a page in a file talks, if its origin is listed', LIMIT, async (t) => {
      const pages = await Pages.start(t);
      const { fileOrigin } = BROWSERS[name];
      const [server, other] = [await Server.start(t, { settings: { 'http.allow_origin': fileOrigin } }), await Server.start(t)];
      const page = await browser.page(t, pathToFileURL(`${pages.folder}/page.html`));
      await talks(page, server, fileOrigin);
      await refused(page, other, fileOrigin);
    });
  });
}
