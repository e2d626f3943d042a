// A minimal client of Socket.IO v5 over Engine.IO v4: the main namespace, the WebSocket transport, events with attachments,
// acknowledgements, and connection state recovery. It keeps one connection alive and tells its user what happens to it; what
// the events mean is left to chat.js, what packets look like to protocol.js.

import { ACK, CONNECT, CONNECT_ERROR, DISCONNECT, EVENT, Decoder, encode } from './protocol.js';

const CONNECT_TIMEOUT = 20_000; // ms from opening the WebSocket to the answer to CONNECT
const ACK_TIMEOUT = 20_000; // ms
const BACKOFF_MIN = 1_000; // ms
const BACKOFF_MAX = 5_000; // ms

// The events of the connection itself; a server cannot send them.
const RESERVED = ['connect', 'connect_error', 'disconnect'];

export class Socket {
  connected = false;
  recovered = false; // whether the server has kept this socket's rooms and sends the events that it missed
  #url;
  #auth;
  #handlers = new Map();
  #acks = new Map();
  #nextAck = 0;
  #ws = null;
  #decoder = null;
  #faulty = false; // the WebSocket reported an error before it closed
  #attempts = 0;
  #watchdog; // ends a connection that has gone silent
  #heartbeat = 0; // ms without a ping after which the server is taken for gone
  #retry = null;
  #pid; // by which the server knows this socket again
  #offset; // the last event that came

  /** `auth` is the object sent with CONNECT. Nothing is opened before `connect()`. */
  constructor(origin, auth) {
    this.#url = `${origin.replace(/^http/, 'ws')}/socket.io/?EIO=4&transport=websocket`;
    this.#auth = auth;
  }

  /**
   * Sets the handler of an event of the server, or of the connection: `connect()`, `connect_error(error, delay)`,
   * `disconnect(reason, delay)`. `delay` is the time in ms until the next attempt, or null if there will be none.
   */
  on(event, handler) {
    this.#handlers.set(event, handler);
    return this;
  }

  connect() {
    this.#cancelRetry();
    if (this.#ws) return;
    const ws = new WebSocket(this.#url);
    ws.binaryType = 'arraybuffer';
    this.#ws = ws;
    this.#decoder = new Decoder();
    this.#faulty = false;
    this.#watch(CONNECT_TIMEOUT, 'timeout');
    // A WebSocket given up may still report: only the present one is heard.
    ws.onmessage = ({ data }) => ws === this.#ws && this.#receive(data);
    ws.onerror = () => ws === this.#ws && (this.#faulty = true);
    ws.onclose = () => ws === this.#ws && this.#end(this.#faulty ? 'transport error' : 'transport close');
  }

  /** Connects now, if that would happen later anyway. */
  hurry() {
    if (this.#retry !== null) this.connect();
  }

  /** The network is gone: waiting for the heartbeat to find that out would take long. */
  lose() {
    if (this.#ws) this.#end('network connection lost');
  }

  disconnect() {
    this.#cancelRetry();
    if (this.connected) this.#send({ type: DISCONNECT });
    this.#attempts = 0;
    if (this.#ws) this.#end('io client disconnect', true);
  }

  /** Sends an event without asking for an answer. It is dropped while there is no connection. */
  emit(event, ...args) {
    if (this.connected) this.#send({ type: EVENT, data: [event, ...args] });
  }

  /** Sends an event; resolves to the first argument of its acknowledgement, rejects if none can come any more. */
  emitWithAck(event, ...args) {
    if (!this.connected) return Promise.reject(new Error('not connected'));
    const id = this.#nextAck++;
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => this.#acks.delete(id) && reject(new Error('no answer')), ACK_TIMEOUT);
      this.#acks.set(id, { resolve, reject, timer });
      this.#send({ type: EVENT, id, data: [event, ...args] });
    });
  }

  #send(packet) {
    const [text, ...attachments] = encode(packet);
    this.#ws.send(`4${text}`);
    for (const bytes of attachments) this.#ws.send(bytes);
  }

  #fire(event, ...args) {
    this.#handlers.get(event)?.(...args);
  }

  #watch(ms, reason) {
    clearTimeout(this.#watchdog);
    this.#watchdog = setTimeout(() => this.#end(reason), ms);
  }

  #cancelRetry() {
    clearTimeout(this.#retry);
    this.#retry = null;
  }

  // Engine.IO: open, close, ping, message. The other types mean nothing on a WebSocket that was not upgraded.
  #receive(data) {
    let packet;
    try {
      if (typeof data !== 'string') packet = this.#decoder.binary(data);
      else if (data[0] === '0') this.#open(JSON.parse(data.slice(1)));
      else if (data[0] === '1') this.#end('transport close');
      else if (data[0] === '2') this.#pong();
      else if (data[0] === '4') packet = this.#decoder.text(data.slice(1));
    } catch {
      this.#end('parse error');
    }
    // Outside the `try`: a fault in a handler is no fault of the server.
    if (packet) this.#handle(packet);
  }

  #open({ pingInterval, pingTimeout }) {
    this.#heartbeat = pingInterval + pingTimeout;
    const back = this.#pid === undefined ? {} : { pid: this.#pid, offset: this.#offset };
    this.#send({ type: CONNECT, data: { ...back, ...this.#auth } });
  }

  #pong() {
    this.#ws.send('3');
    if (this.connected) this.#watch(this.#heartbeat, 'ping timeout');
  }

  #handle({ type, id, data }) {
    if (type === CONNECT) this.#connected(data?.pid);
    else if (type === DISCONNECT) this.#end('io server disconnect', true);
    else if (type === EVENT) this.#event(data);
    else if (type === ACK) this.#acknowledged(id, data[0]);
    else if (type === CONNECT_ERROR) this.#end(Object.assign(new Error(data?.message), { data: data?.data }), true);
  }

  #connected(pid) {
    this.connected = true;
    this.recovered = pid !== undefined && pid === this.#pid;
    this.#pid = pid;
    this.#attempts = 0;
    this.#watch(this.#heartbeat, 'ping timeout');
    this.#fire('connect');
  }

  // Where there is recovery, an event's last argument is its offset.
  #event([event, ...args]) {
    if (!RESERVED.includes(event)) this.#fire(event, ...args);
    if (this.#pid !== undefined && typeof args.at(-1) === 'string') this.#offset = args.at(-1);
  }

  #acknowledged(id, answer) {
    const ack = this.#acks.get(id);
    this.#acks.delete(id);
    clearTimeout(ack?.timer);
    ack?.resolve(answer);
  }

  // Every end comes through here, once per WebSocket. A refusal and the disconnect packet of either side are final;
  // after everything else the client comes back, later each time, and not at the same moment as all the others.
  #end(reason, final = false) {
    const ws = this.#ws;
    const wasConnected = this.connected;
    this.#ws = null;
    this.connected = false;
    clearTimeout(this.#watchdog);
    ws.close();
    for (const { reject, timer } of this.#acks.values()) {
      clearTimeout(timer);
      reject(new Error('disconnected'));
    }
    this.#acks.clear();
    const delay = Math.min(BACKOFF_MAX, BACKOFF_MIN * 2 ** this.#attempts++ * (1 + Math.random() / 2));
    if (!final) this.#retry = setTimeout(() => this.connect(), delay);
    if (wasConnected) this.#fire('disconnect', reason, final ? null : delay);
    else this.#fire('connect_error', reason instanceof Error ? reason : new Error(reason), final ? null : delay);
  }
}
