// A minimal client of Socket.IO v5 over Engine.IO v4: the main namespace, the WebSocket transport, text events and
// acknowledgements. It keeps one connection alive and tells its user what happens to it; what the events mean is left
// to chat.js. Binary attachments are skipped: their placeholders stay in the data.

const CONNECT_TIMEOUT = 20_000; // ms from opening the WebSocket to the answer to CONNECT
const ACK_TIMEOUT = 10_000; // ms
const BACKOFF_MIN = 1_000; // ms
const BACKOFF_MAX = 5_000; // ms

// The events of the connection itself; a server cannot send them.
const RESERVED = ['connect', 'connect_error', 'disconnect'];

// A Socket.IO packet: type, attachments of the binary types, ack id, JSON.
const PACKET = /^([0-6])(?:(\d+)-)?(\d*)(.*)$/s;

export class Socket {
  connected = false;
  #url;
  #auth;
  #handlers = new Map();
  #acks = new Map();
  #nextAck = 0;
  #ws = null;
  #faulty = false; // the WebSocket reported an error before it closed
  #attempts = 0;
  #watchdog; // ends a connection that has gone silent
  #heartbeat = 0; // ms without a ping after which the server is taken for gone
  #retry;

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
    clearTimeout(this.#retry);
    if (this.#ws) return;
    const ws = new WebSocket(this.#url);
    this.#ws = ws;
    this.#faulty = false;
    this.#watch(CONNECT_TIMEOUT, 'timeout');
    // A WebSocket given up may still report: only the present one is heard.
    ws.onmessage = ({ data }) => ws === this.#ws && typeof data === 'string' && this.#receive(data);
    ws.onerror = () => ws === this.#ws && (this.#faulty = true);
    ws.onclose = () => ws === this.#ws && this.#end(this.#faulty ? 'transport error' : 'transport close');
  }

  disconnect() {
    clearTimeout(this.#retry);
    if (this.connected) this.#ws.send('41');
    this.#attempts = 0;
    if (this.#ws) this.#end('io client disconnect', true);
  }

  /** Sends an event without asking for an answer. It is dropped while there is no connection. */
  emit(event, ...args) {
    if (this.connected) this.#ws.send(`42${JSON.stringify([event, ...args])}`);
  }

  /** Sends an event; resolves to the first argument of its acknowledgement, rejects if none can come any more. */
  emitWithAck(event, ...args) {
    if (!this.connected) return Promise.reject(new Error('not connected'));
    const id = this.#nextAck++;
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => this.#acks.delete(id) && reject(new Error('no answer')), ACK_TIMEOUT);
      this.#acks.set(id, { resolve, reject, timer });
      this.#ws.send(`42${id}${JSON.stringify([event, ...args])}`);
    });
  }

  #fire(event, ...args) {
    this.#handlers.get(event)?.(...args);
  }

  #watch(ms, reason) {
    clearTimeout(this.#watchdog);
    this.#watchdog = setTimeout(() => this.#end(reason), ms);
  }

  // Engine.IO: open, close, ping, message. The other types mean nothing on a WebSocket that was not upgraded.
  #receive(text) {
    let packet;
    try {
      if (text[0] === '0') this.#open(JSON.parse(text.slice(1)));
      else if (text[0] === '1') this.#end('transport close');
      else if (text[0] === '2') this.#pong();
      else if (text[0] === '4') packet = parse(text.slice(1));
    } catch {
      this.#end('parse error');
    }
    // Outside the `try`: a fault in a handler is no fault of the server.
    if (packet) this.#handle(packet);
  }

  #open({ pingInterval, pingTimeout }) {
    this.#heartbeat = pingInterval + pingTimeout;
    this.#ws.send(`40${JSON.stringify(this.#auth)}`);
  }

  #pong() {
    this.#ws.send('3');
    if (this.connected) this.#watch(this.#heartbeat, 'ping timeout');
  }

  #handle({ type, id, data }) {
    if (type === 0) {
      this.connected = true;
      this.#attempts = 0;
      this.#watch(this.#heartbeat, 'ping timeout');
      this.#fire('connect');
    } else if (type === 1) this.#end('io server disconnect', true);
    else if (type === 2 || type === 5) {
      const [event, ...args] = data;
      if (!RESERVED.includes(event)) this.#fire(event, ...args);
    } else if (type === 4) {
      this.#end(Object.assign(new Error(data?.message), { data: data?.data }), true);
    } else {
      const ack = this.#acks.get(id);
      this.#acks.delete(id);
      clearTimeout(ack?.timer);
      ack?.resolve(data[0]);
    }
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

// Splits a Socket.IO packet; throws what is none, packets of other namespaces included.
function parse(text) {
  const [, type, , id, json] = PACKET.exec(text);
  const data = json === '' ? undefined : JSON.parse(json);
  const isEvent = '2356'.includes(type);
  if (isEvent !== Array.isArray(data)) throw new SyntaxError('not a packet');
  return { type: Number(type), id: Number(id), data };
}
