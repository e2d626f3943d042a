// Starts, restarts and ends the server under test, and makes tokens with its `token` command.

import assert from 'node:assert/strict';
import { execFile, spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

import { Inbox, withDeadline } from './inbox.mjs';

/** The program under test. */
export const BINARY = process.env.CHAT_SERVER ?? fileURLToPath(new URL('../../target/release/chat-server', import.meta.url));

/** The secret of every server that is not in development mode. */
export const SECRET = 'conformance-secret-0123456789-abcdefghijklmnopqrstuvwxyz';

const run = promisify(execFile);
const alive = new Set();
process.on('exit', () => {
  for (const child of alive) {
    child.kill('SIGKILL');
  }
});

/** The environment without the variables that would configure the server. */
function cleanEnvironment() {
  return Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith('CHAT_')));
}

export class Server {
  #child;
  #exited;
  #lines;
  stderr = '';

  /**
   * `settings` become `--set key=value`; `development` starts without any key. `port` 0 lets the system choose.
   * The data directory is a new one under the system's temporary directory, removed with `remove`.
   */
  constructor({ settings = {}, args = [], development = false, host = '127.0.0.1', port = 0 } = {}) {
    this.settings = settings;
    this.args = args;
    this.development = development;
    this.host = host;
    this.port = port;
    this.dataDir = mkdtempSync(join(tmpdir(), 'chat-conformance-'));
  }

  /** A server that lives as long as the test `t`. */
  static async start(t, options = {}) {
    const server = new Server(options);
    t.after(() => server.remove());
    await server.launch();
    return server;
  }

  get url() {
    return `${this.settings['tls.cert'] ? 'https' : 'http'}://127.0.0.1:${this.port}`;
  }

  /** The environment of the server, with its secret: in a command line every user of the machine could read it. */
  #environment(secret = this.development ? undefined : SECRET) {
    return secret === undefined ? cleanEnvironment() : { ...cleanEnvironment(), CHAT_AUTH__JWT_SECRET: secret };
  }

  /** Starts the process, on the port of the last time if there was one; returns once it accepts connections. */
  async launch() {
    const args = ['--listen', `${this.host}:${this.port}`, '--data-dir', this.dataDir];
    if (process.env.CHAT_WORKERS) {
      args.push('--workers', process.env.CHAT_WORKERS);
    }
    for (const [key, value] of Object.entries(this.settings)) {
      args.push('--set', `${key}=${value}`);
    }
    const child = spawn(BINARY, [...args, ...this.args], { env: this.#environment(), stdio: ['ignore', 'pipe', 'pipe'] });
    this.#child = child;
    alive.add(child);
    this.#lines = new Inbox();
    child.stderr.setEncoding('utf8').on('data', (text) => {
      this.stderr += text;
    });
    createInterface({ input: child.stdout }).on('line', (line) => this.#lines.push(line));
    this.#exited = new Promise((resolve, reject) => {
      child.once('error', reject);
      child.once('exit', (code, signal) => resolve({ code, signal }));
    }).finally(() => alive.delete(child));
    const exit = this.#exited.then(({ code, signal }) => {
      throw new Error(`the server ended (${code ?? signal}) instead of listening:\n${this.stderr}`);
    });
    exit.catch(() => {});
    const first = await Promise.race([this.#lines.next(() => true, 'the line `listening on`', 20_000), exit]);
    const match = /^listening on https?:\/\/127\.0\.0\.1:(\d+)$/.exec(first);
    assert.ok(match, `first line of standard output: ${first}`);
    this.port = Number(match[1]);
  }

  /** The next line of standard output that matches. */
  line(pattern) {
    return this.#lines.next((line) => pattern.test(line), `a line ${pattern}`);
  }

  /** Sends a signal. */
  signal(name) {
    this.#child.kill(name);
  }

  /** Waits until the log matches a pattern (with the flag `g`) this often. */
  logged(pattern, times = 1) {
    const count = () => (this.stderr.match(pattern) ?? []).length;
    const seen = new Promise((resolve) => {
      const look = () => count() >= times && resolve();
      this.#child.stderr.on('data', look);
      look();
    });
    return withDeadline(seen, `${times} times ${pattern} in the log`);
  }

  /** Sends a signal and waits for the end; `{ code, signal }`. */
  async end(signal, within = 10_000) {
    this.#child.kill(signal);
    return withDeadline(this.#exited, `the server's end after ${signal}`, within);
  }

  /** Ends the process whatever its state, removes its data, and fails if the server panicked meanwhile. */
  async remove() {
    if (this.#child && this.#child.exitCode === null && this.#child.signalCode === null) {
      await this.end('SIGKILL');
    }
    rmSync(this.dataDir, { recursive: true, force: true });
    assert.doesNotMatch(this.stderr, /panicked at/, 'the server panicked');
  }

  /** A token made by `chat-server token`; `rooms` is a list. `secret`: another one than the server's. */
  async token(sub, { name, rooms, expires, secret } = {}) {
    const args = ['token', '--sub', sub];
    if (this.development) {
      args.push('--data-dir', this.dataDir);
    }
    if (name !== undefined) args.push('--name', name);
    if (rooms !== undefined) args.push('--rooms', rooms.join(','));
    if (expires !== undefined) args.push('--expires', expires);
    const { stdout } = await run(BINARY, args, { env: this.#environment(secret) });
    return stdout.trim();
  }
}
