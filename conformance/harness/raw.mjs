// Connections without the official client: HTTP requests, a polling session and a WebSocket, packet by packet.

import assert from 'node:assert/strict';
import { request as httpRequest } from 'node:http';
import WebSocket from 'ws';

import { DEADLINE, Inbox, withDeadline } from './inbox.mjs';

/** Where the server is, unless it has a `path` of its own. */
export const PATH = '/socket.io/';
const SEPARATOR = '\x1e';

/** One HTTP request: `{ status, headers, text }`. Every request has a connection of its own. */
export function http(server, path, { method = 'GET', headers = {}, body } = {}) {
  const answer = new Promise((resolve, reject) => {
    const request = httpRequest(`${server.url}${path}`, { method, headers, agent: false }, (response) => {
      const chunks = [];
      response.on('data', (chunk) => chunks.push(chunk));
      response.on('error', reject);
      response.on('end', () => {
        resolve({ status: response.statusCode, headers: response.headers, text: Buffer.concat(chunks).toString() });
      });
    });
    request.on('error', reject);
    request.end(body);
  });
  return withDeadline(answer, `an answer to ${method} ${path}`);
}

/** A refusal as Engine.IO words it. */
export function assertRefusal(response, status, code, message) {
  assert.equal(response.status, status, response.text);
  assert.match(response.headers['content-type'] ?? '', /^application\/json/);
  assert.deepEqual(JSON.parse(response.text), { code, message });
}

export class PollingSession {
  static async open(server, { headers } = {}) {
    const path = server.path ?? PATH;
    const response = await http(server, `${path}?EIO=4&transport=polling`, { headers });
    assert.equal(response.status, 200, response.text);
    const session = new PollingSession();
    session.server = server;
    session.response = response;
    assert.equal(response.text[0], '0');
    session.handshake = JSON.parse(response.text.slice(1));
    session.path = `${path}?EIO=4&transport=polling&sid=${session.handshake.sid}`;
    session.packets = [];
    return session;
  }

  get() {
    return http(this.server, this.path);
  }

  post(body, headers = { 'content-type': 'text/plain;charset=UTF-8' }) {
    return http(this.server, this.path, { method: 'POST', body, headers });
  }

  async send(...packets) {
    const response = await this.post(packets.join(SEPARATOR));
    assert.equal(response.status, 200, response.text);
    assert.equal(response.text, 'ok');
  }

  /** Polls until a packet with this beginning comes; what comes before it stays for later. */
  async packet(beginning) {
    for (;;) {
      const index = this.packets.findIndex((packet) => packet.startsWith(beginning));
      if (index >= 0) {
        return this.packets.splice(index, 1)[0];
      }
      const response = await this.get();
      assert.equal(response.status, 200, response.text);
      this.packets.push(...response.text.split(SEPARATOR));
    }
  }

  async connect(token) {
    await this.send(`40${JSON.stringify({ token })}`);
    return JSON.parse((await this.packet('40')).slice(2));
  }

  /** The session is over: its id is unknown, at the latest after one poll that ends with the packet saying so. */
  async assertOver() {
    const response = await this.get();
    if (response.status === 200) {
      assert.match(response.text, /(?:^|\x1e)[16]$/);
    } else {
      assertRefusal(response, 400, 1, 'Session ID unknown');
    }
    assertRefusal(await this.post('3'), 400, 1, 'Session ID unknown');
  }
}

export class RawWebSocket {
  inbox = new Inbox();
  #closed = new Inbox();

  /** A WebSocket with the handshake done; with `sid` one that wants to take over a polling session. */
  static async open(t, server, { sid, headers } = {}) {
    const raw = new RawWebSocket();
    const query = sid === undefined ? '' : `&sid=${sid}`;
    raw.ws = new WebSocket(`${server.url.replace('http', 'ws')}${server.path ?? PATH}?EIO=4&transport=websocket${query}`, { headers });
    t.after(() => raw.ws.terminate());
    raw.ws.on('error', () => {});
    raw.ws.on('message', (data, isBinary) => raw.inbox.push(isBinary ? data : data.toString()));
    raw.ws.on('close', (code) => raw.#closed.push(code));
    await withDeadline(new Promise((resolve, reject) => {
      raw.ws.once('open', resolve);
      raw.ws.once('error', reject);
    }), 'the WebSocket handshake');
    return raw;
  }

  send(data) {
    this.ws.send(data);
  }

  /** The next frame that is text with this beginning. */
  packet(beginning, within = DEADLINE) {
    return this.inbox.next((frame) => typeof frame === 'string' && frame.startsWith(beginning), `a packet ${beginning}`, within);
  }

  binary() {
    return this.inbox.next((frame) => typeof frame !== 'string', 'a binary frame');
  }

  /** The close code, once the WebSocket is closed. */
  closed(within = DEADLINE) {
    return this.#closed.next(() => true, 'the WebSocket to be closed', within);
  }

  async handshake() {
    return JSON.parse((await this.packet('0')).slice(1));
  }

  async connect(token) {
    await this.handshake();
    this.send(`40${JSON.stringify({ token })}`);
    return JSON.parse((await this.packet('40')).slice(2));
  }
}

/** The HTTP answer to a WebSocket handshake that is refused: `{ status, headers, text }`. */
export function refusedWebSocket(server, query, { headers } = {}) {
  const ws = new WebSocket(`${server.url.replace('http', 'ws')}${server.path ?? PATH}?${query}`, { headers });
  const answer = new Promise((resolve, reject) => {
    ws.once('open', () => {
      ws.terminate();
      reject(new Error(`the WebSocket handshake ${query} was accepted`));
    });
    ws.once('error', reject);
    ws.once('unexpected-response', (_, response) => {
      let text = '';
      response.setEncoding('utf8');
      response.on('data', (chunk) => {
        text += chunk;
      });
      response.on('end', () => resolve({ status: response.statusCode, headers: response.headers, text }));
    });
  });
  return withDeadline(answer, 'an answer to the WebSocket handshake');
}
