// Pages of an application, in a folder and on a port of their own. They load the client as socket.io's documentation says for a
// page without a bundler: the official `socket.io.min.js`, and nothing else.

import { cpSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { createServer } from 'node:http';
import { tmpdir } from 'node:os';
import { extname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const TYPES = { '.html': 'text/html; charset=utf-8', '.js': 'text/javascript; charset=utf-8' };
const PAGES = fileURLToPath(new URL('../pages', import.meta.url));
const BUNDLE = fileURLToPath(new URL('../node_modules/socket.io-client/dist/socket.io.min.js', import.meta.url));

/** For `Browser.page`: what page.html loads, in a page that has nothing of it. */
export const CLIENT = `() => {
  ${readFileSync(BUNDLE, 'utf8')}
  ${readFileSync(join(PAGES, 'talk.js'), 'utf8')}
  self.talk = talk;
}`;

export class Pages {
  /** Served until the test `t` ends. */
  static async start(t) {
    const pages = new Pages();
    pages.folder = mkdtempSync(join(tmpdir(), 'chat-pages-'));
    t.after(() => rmSync(pages.folder, { recursive: true, force: true }));
    cpSync(PAGES, pages.folder, { recursive: true });
    cpSync(BUNDLE, join(pages.folder, 'socket.io.min.js'));
    const server = createServer(({ url }, response) => {
      try {
        const content = readFileSync(join(pages.folder, url));
        response.setHeader('content-type', TYPES[extname(url)]).end(content);
      } catch {
        response.writeHead(404).end();
      }
    });
    await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
    t.after(() => {
      server.close();
      server.closeAllConnections();
    });
    pages.port = server.address().port;
    pages.origin = `http://127.0.0.1:${pages.port}`;
    return pages;
  }
}
