// What this user has written, until the server has stored it. A message goes under a `clientId`, so it may be sent again
// whenever nobody knows what became of it: the server stores and delivers it once.

const ATTEMPTS = 5; // of a message that the server asks to send later
const LATER = 1_000; // ms, when it does not say how much later

/** `request(event, payload)` resolves to the answer, and rejects when none can come; `changed(item)` is told of each change. */
export class Outbox {
  #request;
  #changed;
  #items = new Set();

  constructor(request, changed) {
    this.#request = request;
    this.#changed = changed;
  }

  /** Sends a message: `{ room, message, context }`. Without a connection it waits for `flush`. */
  add({ room, message, context }) {
    const clientId = randomId();
    const item = { room, message, context: { clientId, ...context }, clientId, timestamp: new Date().toISOString() };
    room.pending.push(item);
    this.#items.add(item);
    this.#start(item);
  }

  /** The connection is back: everything that was not answered goes again, in the order in which it was written. */
  flush() {
    for (const item of this.#items) if (item.state === 'sending') this.#deliver(item);
  }

  retry(item) {
    if (item.state === 'failed') this.#start(item);
  }

  /** Gives a message up, or takes it for stored: it came from the server. */
  remove(item) {
    if (!this.#items.delete(item)) return;
    clearTimeout(item.timer);
    item.room.pending.splice(item.room.pending.indexOf(item), 1);
  }

  find(clientId) {
    for (const item of this.#items) if (item.clientId === clientId) return item;
    return undefined;
  }

  clear() {
    for (const item of this.#items) this.remove(item);
  }

  #start(item) {
    Object.assign(item, { state: 'sending', error: null, attempts: 0 });
    this.#changed(item);
    this.#deliver(item);
  }

  async #deliver(item) {
    clearTimeout(item.timer);
    item.attempts += 1;
    const answer = await this.#request('message', { message: item.message, context: item.context }).catch((error) => ({ error }));
    if (!this.#items.has(item)) return; // it came as an event meanwhile
    if (answer.ok) {
      this.remove(item);
      const { message, context } = item;
      this.#changed(item, { id: answer.id, timestamp: answer.timestamp, message, context });
    } else this.#refused(item, answer.error);
  }

  #refused(item, error) {
    // Without a connection it keeps waiting.
    if (error instanceof Error && error.message !== 'no answer') return;
    if (error.retryAfter !== undefined && item.attempts < ATTEMPTS) {
      item.timer = setTimeout(() => this.#deliver(item), error.retryAfter || LATER);
      return;
    }
    Object.assign(item, { state: 'failed', error: error.message });
    this.#changed(item);
  }
}

// Not randomUUID, which browsers have on secure origins only.
const randomId = () => crypto.getRandomValues(new Uint32Array(4)).join('-');
