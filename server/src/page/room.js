// What the page knows of one room. No connection and no document: messages come in, in any order and more than once, and
// stand here in the history's order, each once.

/** Messages kept of a room that nobody looks at, or whose end somebody looks at. */
const KEPT = 1_000;

export class Room {
  messages = []; // in the order of their ids, which grow within a room
  pending = []; // of this user: written, not known to be stored
  hasOlder = true; // whether the server may have messages before these
  gapAfter = null; // the connection was lost after this message: others may be missing behind it
  lastRead = null; // the id of the newest message that this user has seen
  unread = 0;
  people = new Map(); // by userId: { userId, username, isOnline, lastSeen? }
  total = 0; // of the people; more than are known in a large room
  typists = new Map(); // by userId: name
  draft = ''; // what stood in the message field
  #ids = new Set();

  constructor(id) {
    this.id = id;
  }

  get last() {
    return this.messages.at(-1);
  }

  find(id) {
    return this.#ids.has(id) ? this.messages[this.position(id)] : undefined;
  }

  /** Takes messages in; returns those that are new here. Those of `me` are read already. */
  add(messages, me) {
    const added = messages.filter(({ id }) => !this.#ids.has(id) && this.#ids.add(id));
    if (added.length === 0) return added;
    if (isSorted([this.last ?? added[0], ...added])) this.messages.push(...added);
    else this.messages = [...added, ...this.messages].sort((a, b) => (a.id < b.id ? -1 : 1));
    for (const message of added) if (this.#isUnread(message, me)) this.unread += 1;
    return added;
  }

  remove(id) {
    if (!this.#ids.delete(id)) return;
    this.messages.splice(this.position(id), 1);
  }

  /** Forgets all messages: what comes next does not join up with them. */
  clear() {
    this.messages = [];
    this.#ids.clear();
    this.hasOlder = true;
    this.unread = 0;
  }

  /** Everything has been seen; returns whether that is news. */
  read() {
    const before = this.lastRead;
    this.lastRead = this.last?.id ?? before ?? '';
    this.unread = 0;
    return this.lastRead !== before;
  }

  /** Forgets the oldest messages, which can be asked for again. */
  trim() {
    const excess = this.messages.length - KEPT;
    if (excess <= 0) return;
    for (const { id } of this.messages.splice(0, excess)) this.#ids.delete(id);
    this.hasOlder = true;
  }

  #isUnread({ id, userId }, me) {
    return userId !== me && this.lastRead !== null && id > this.lastRead;
  }

  /** How many messages come before this id. */
  position(id) {
    let [from, to] = [0, this.messages.length];
    while (from < to) {
      const middle = (from + to) >> 1;
      if (this.messages[middle].id < id) from = middle + 1;
      else to = middle;
    }
    return from;
  }
}

const isSorted = (messages) => messages.every(({ id }, index) => index === 0 || messages[index - 1].id <= id);
