// Starts and ends a fixture: a small server on the crates, without the chat.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { after, before, describe } from 'node:test';
import { fileURLToPath } from 'node:url';

import { Inbox, withDeadline } from './inbox.mjs';

/** The program under test. */
const BINARY = process.env.CONF_BINARY ?? fileURLToPath(new URL('../../target/release/conformance-fixture', import.meta.url));

const alive = new Set();
process.on('exit', () => {
  for (const child of alive) {
    child.kill('SIGKILL');
  }
});

export class Fixture {
  #child;
  #exited;
  path = '/engine.io/';
  stderr = '';

  constructor(name, { eio3 = false, cors = false, parser = 'json' } = {}) {
    this.name = name;
    this.eio3 = eio3;
    this.cors = cors;
    this.parser = parser;
  }

  async launch() {
    assert.ok(existsSync(BINARY), `no fixture at ${BINARY}; run: cargo build --release -p conformance`);
    const { CHAT_WORKERS, ...rest } = process.env;
    const env = { ...rest, CONF_FIXTURE: this.name, PORT: '0', ALLOW_EIO3: this.eio3 ? '1' : '0', CORS: this.cors ? '1' : '0', SHARDS: CHAT_WORKERS ?? '1', PARSER: this.parser };
    const child = spawn(BINARY, { env, stdio: ['ignore', 'pipe', 'pipe'] });
    this.#child = child;
    alive.add(child);
    child.stderr.setEncoding('utf8').on('data', (text) => {
      this.stderr += text;
    });
    this.#exited = new Promise((resolve) => {
      child.once('exit', (code, signal) => resolve(code ?? signal));
    }).finally(() => alive.delete(child));
    const lines = new Inbox();
    createInterface({ input: child.stdout }).on('line', (line) => lines.push(line));
    const line = await Promise.race([lines.next(() => true, 'the line `listening on`'), this.#exited]);
    const match = /^listening on (http:\/\/127\.0\.0\.1:\d+)$/.exec(line);
    assert.ok(match, `the fixture said ${line}\n${this.stderr}`);
    this.url = match[1];
  }

  /** Ends it, and fails if it had ended by itself or panicked. */
  async remove() {
    this.#child.kill('SIGTERM');
    assert.equal(await withDeadline(this.#exited, 'the end of the fixture'), 'SIGTERM', this.stderr);
    assert.doesNotMatch(this.stderr, /panicked at/);
  }
}

/** A suite around one fixture. */
export function withFixture(title, name, options, body) {
  describe(title, () => {
    const fixture = new Fixture(name, options);
    before(() => fixture.launch(), { timeout: 30_000 });
    after(() => fixture.remove(), { timeout: 30_000 });
    body(fixture);
  });
}
