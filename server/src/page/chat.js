// The chat of one user: rooms, people, typing, and what is written. It speaks the events of the chat protocol and knows
// nothing of the document. It tells its listeners of
//   connection({ state, reason?, retryAt?, code? })   state: closed, connecting, open, or waiting to connect again
//   rooms()                     the list of rooms, or what is said of one of them
//   current(room)               another room is shown; null: none
//   messages(room, added)       messages came, went or changed their state; `added` came as they were written
//   people(room), typing(room)
//   failed(item)                what was written is not stored
//   problem(error)              something was refused: { message, code?, event?, retryAfter? }

import { Emitter } from './emitter.js';
import { Outbox } from './outbox.js';
import { Room } from './room.js';
import { Socket } from './socket.js';

export const LOBBY = 'lobby'; // a message without `roomId` goes there
const HISTORY = 50; // messages asked for when a room is opened
const PAGE = 100; // messages asked for when somebody reads on
const CATCH_UP = 200; // messages asked for after a connection was lost
const CATCH_UP_PAGES = 10; // of them; what was missed before can be read by scrolling back
const TYPING_AGAIN = 5_000; // ms; the server ends a typing that is not renewed within 10 s
const TYPING_IDLE = 3_000; // ms without a key after which this user types no more
const ORIGINALS = 500; // messages remembered because others reply to them
const ORIGINALS_APART = 150; // ms between two questions for them: anybody can reply to whatever he likes
const PEOPLE = 200; // who was in a room before and is shown beside those who are
const ENDS = new Set(['token_expired', 'idle_timeout', 'replaced', 'disconnected', 'banned']); // errors before a disconnect
const PRESENCE_AGAIN = 1_000; // ms between two questions who is in the room

export class Chat extends Emitter {
  me = null; // { userId, username }
  rooms = new Map(); // by id
  current = null;
  connection = { state: 'closed' };
  #socket = null;
  #outbox = new Outbox((...args) => this.#socket.emitWithAck(...args), (item, stored) => this.#written(item, stored));
  #lost = new Set(); // rooms whose gap began with the last loss of the connection
  #left = new Set(); // ids of rooms that were left while there was none
  #originals = new Map(); // by room and id: promise of a message that others reply to
  #lookUps = Promise.resolve(); // the last question for one
  #typing = { room: null, sent: 0, idle: null };
  #presence = null; // the timer of the next question
  #ending = null; // the `error` by which the server said why it disconnects

  /** `lobby`: whether the server has one. */
  constructor({ lobby = true } = {}) {
    super();
    this.hasLobby = lobby;
  }

  get isOpen() {
    return this.connection.state === 'open';
  }

  // Connection

  /** `remembered` is what a page before this one knew: `{ rooms: { id: lastRead }, current }`. */
  signIn(token, remembered = null) {
    const claims = claimsOf(token);
    this.signOut();
    this.me = { userId: String(claims.sub), username: nameOf(claims) };
    const given = Array.isArray(claims.rooms) ? claims.rooms.filter((id) => id !== '*').map(String) : [];
    for (const id of [...(this.hasLobby ? [LOBBY] : []), ...Object.keys(remembered?.rooms ?? {}), ...given]) {
      this.#open(id).lastRead = remembered?.rooms[id] ?? null;
    }
    this.show(this.rooms.get(remembered?.current) ?? [...this.rooms.values()][0] ?? null);
    this.#socket = new Socket(location.origin, { token });
    this.#socket
      .on('connect', () => this.#connected())
      .on('connect_error', (error, delay) => this.#disconnected(error.message, delay, delay === null && error.data?.code))
      .on('disconnect', (reason, delay) => this.#disconnected(reason, delay))
      .on('message', (message) => this.#receive(message))
      .on('messageDeleted', ({ id, roomId }) => this.#deleted(id, this.rooms.get(roomId)))
      .on('userTyping', (status) => this.#userTyping(status))
      .on('userStatus', (status) => this.#userStatus(status))
      .on('error', (error) => this.#onError(error));
    this.reconnect();
  }

  /** Another user must not see what the one before could read. */
  signOut() {
    this.stopTyping();
    const socket = this.#socket;
    this.#socket = null;
    for (const event of ['connect_error', 'disconnect']) socket?.on(event, () => {});
    socket?.disconnect();
    this.me = null;
    this.rooms.clear();
    this.#outbox.clear();
    this.#originals.clear();
    this.#lost.clear();
    this.#left.clear();
    this.show(null);
    this.tell('rooms');
    this.#setConnection({ state: 'closed' });
  }

  /** Connects now: for the first time, after a final end, or instead of later. */
  reconnect() {
    this.#setConnection({ state: 'connecting' });
    this.#socket.connect();
  }

  /** The browser says that there is a network, or none. */
  network(isThere) {
    if (isThere) this.#socket?.hurry();
    else this.#socket?.lose();
  }

  async #connected() {
    this.#setConnection({ state: 'open' });
    const { recovered } = this.#socket;
    if (recovered) {
      for (const room of this.#lost) room.gapAfter = null;
      for (const roomId of this.#left) this.#ask('leave', { roomId });
    }
    this.#lost.clear();
    this.#left.clear();
    const entered = [...this.rooms.values()].map((room) => (recovered ? this.#catchUp(room) : this.#enter(room)));
    this.#outbox.flush();
    await Promise.all(entered);
    this.#askPresence();
  }

  #disconnected(reason, delay, code) {
    clearTimeout(this.#typing.idle);
    this.#typing.room = null;
    for (const room of this.rooms.values()) {
      if (room.gapAfter === null && room.last) {
        room.gapAfter = room.last.id;
        this.#lost.add(room);
      }
      room.typists.clear();
      this.tell('typing', room);
    }
    const problem = this.#ending;
    if (delay === null) this.#setConnection({ state: 'closed', reason: problem?.message ?? reason, code: code || problem?.code });
    else this.#setConnection({ state: 'waiting', reason, retryAt: Date.now() + delay });
    this.#ending = null;
  }

  #setConnection(connection) {
    this.connection = connection;
    this.tell('connection', connection);
  }

  // Requests. Each resolves to the answer, or tells of the problem and resolves to null.

  async #ask(event, payload, refused = (problem) => this.#problem(problem)) {
    const socket = this.#socket;
    try {
      const answer = await socket.emitWithAck(event, payload);
      if (socket !== this.#socket) return null; // another user is here
      if (answer?.ok) return answer;
      refused({ event, ...answer?.error });
    } catch (error) {
      // After a lost connection everything is asked again.
      if (error.message === 'no answer') refused({ event, message: 'the server does not answer' });
    }
    return null;
  }

  #problem(error) {
    this.tell('problem', error);
  }

  #onError(error) {
    if (ENDS.has(error.code)) this.#ending = error;
    this.#problem(error);
  }

  // Rooms

  #open(id) {
    if (!this.rooms.has(id)) {
      this.rooms.set(id, new Room(id));
      this.tell('rooms');
    }
    return this.rooms.get(id);
  }

  /** Joins a room and shows it. If that fails it is false, and `refused(problem)` is called. */
  async join(id, refused) {
    const known = this.rooms.get(id);
    if (!known && !this.isOpen) {
      refused({ message: 'there is no connection' });
      return false;
    }
    const room = known ?? this.#open(id);
    if (!known && !(await this.#enter(room, refused))) {
      this.rooms.delete(id);
      this.tell('rooms');
      return false;
    }
    this.show(room);
    return true;
  }

  async leave(room) {
    this.rooms.delete(room.id);
    if (this.current === room) this.show([...this.rooms.values()][0] ?? null);
    this.tell('rooms');
    if (this.isOpen) await this.#ask('leave', { roomId: room.id });
    else this.#left.add(room.id);
  }

  show(room) {
    this.stopTyping();
    this.current?.trim();
    this.current = room;
    this.tell('current', room);
    if (room && this.isOpen) this.#askPresence();
  }

  /** The user has seen the end of the room. */
  read(room) {
    if (room.read()) this.tell('rooms');
  }

  async #enter(room, refused) {
    const isNew = room.messages.length === 0;
    if (!(await this.#ask('join', { roomId: room.id }, refused))) return false;
    // Not with the answer to `join`: that brings less, down to nothing, while other answers are under way.
    if (isNew) await this.#begin(room);
    else await this.#catchUp(room);
    if (room.lastRead === null) this.read(room);
    return true;
  }

  // Asks for what came while there was no connection. Until that is complete, `gapAfter` says where to go on.
  async #catchUp(room) {
    for (let pages = 1; room.gapAfter !== null; pages += 1) {
      const page = await this.#ask('history', { roomId: room.id, after: room.gapAfter, limit: CATCH_UP });
      if (!page) return;
      if (page.more && pages === CATCH_UP_PAGES) return this.#begin(room);
      this.#take(room, page.messages);
      room.gapAfter = page.more ? page.messages.at(-1).id : null;
    }
  }

  // The newest messages, and none before them.
  async #begin(room) {
    const page = await this.#ask('history', { roomId: room.id, limit: HISTORY });
    if (!page) return;
    const newest = page.messages.at(-1)?.id ?? '';
    const newer = room.messages.filter(({ id }) => id > newest); // they came before the answer
    room.clear();
    room.hasOlder = page.more;
    room.gapAfter = null;
    this.#take(room, [...page.messages, ...newer]);
  }

  /** Reads on from the oldest message; resolves to whether there were any. */
  async loadOlder(room) {
    const before = room.messages[0]?.id;
    const page = await this.#ask('history', { roomId: room.id, limit: PAGE, ...(before && { before }) });
    if (!page) return false;
    if (room.messages[0]?.id !== before) return true; // the room was trimmed meanwhile
    room.hasOlder = page.more;
    this.#take(room, page.messages);
    return page.messages.length > 0;
  }

  /** Resolves to a message of the room that may not be loaded, or to null if there is none. */
  original(room, id) {
    const found = room.find(id);
    if (found) return Promise.resolve(found);
    const key = JSON.stringify([room.id, id]);
    if (this.#originals.size === ORIGINALS) this.#originals.clear();
    if (!this.#originals.has(key)) {
      // One after the other.
      this.#lookUps = this.#lookUps.then(() => this.#lookUp(room, id));
      this.#originals.set(key, this.#lookUps);
    }
    return this.#originals.get(key);
  }

  // History is asked for by what comes before or after an id: the message itself comes first after the id below its own.
  async #lookUp(room, id) {
    const below = idBelow(id);
    const socket = this.#socket;
    if (!below || !this.isOpen) return null;
    await new Promise((resolve) => setTimeout(resolve, ORIGINALS_APART));
    const page = await socket.emitWithAck('history', { roomId: room.id, after: below, limit: 1 }).catch(() => null);
    return page?.messages?.[0]?.id === id ? page.messages[0] : null;
  }

  // Messages

  #receive(message) {
    const room = this.#open(message.context?.roomId ?? LOBBY);
    const mine = this.#outbox.find(message.context?.clientId);
    if (mine && message.userId === this.me.userId) this.#outbox.remove(mine);
    if (room.typists.delete(message.userId)) this.tell('typing', room);
    this.#take(room, [message], true);
    if (room !== this.current) room.trim();
  }

  #take(room, messages, live = false) {
    const added = room.add(messages, this.me?.userId);
    this.tell('messages', room, live ? added : []);
    this.tell('rooms');
  }

  #deleted(id, room) {
    room?.remove(id);
    if (room) this.tell('messages', room, []);
  }

  /** Writes a message: `{ message, replyTo?, files? }`. */
  send(room, { message, replyTo, files }) {
    const context = { ...(room.id !== LOBBY && { roomId: room.id }), ...(replyTo && { replyTo }), ...(files?.length && { files }) };
    this.stopTyping();
    this.#outbox.add({ room, message, context });
  }

  retry(item) {
    this.#outbox.retry(item);
  }

  /** Whether something that was written may not be stored yet. */
  get isSending() {
    return [...this.rooms.values()].some(({ pending }) => pending.length > 0);
  }

  discard(item) {
    this.#outbox.remove(item);
    this.tell('messages', item.room, []);
  }

  #written(item, stored) {
    if (stored) this.#take(item.room, [{ ...stored, ...this.me }]);
    else this.tell('messages', item.room, []);
    if (item.state === 'failed') this.tell('failed', item);
  }

  // Typing

  typing(room, isEmpty) {
    if (isEmpty) return this.stopTyping();
    const typing = this.#typing;
    if (typing.room !== room || Date.now() - typing.sent > TYPING_AGAIN) {
      typing.room = room;
      typing.sent = Date.now();
      this.#socket?.emit('typing', true, { roomId: room.id });
    }
    clearTimeout(typing.idle);
    typing.idle = setTimeout(() => this.stopTyping(), TYPING_IDLE);
  }

  stopTyping() {
    const typing = this.#typing;
    clearTimeout(typing.idle);
    if (typing.room) this.#socket?.emit('typing', false, { roomId: typing.room.id });
    typing.room = null;
  }

  #userTyping({ userId, username, isTyping, roomId }) {
    for (const room of roomId === undefined ? this.rooms.values() : [this.rooms.get(roomId)]) {
      if (!room) continue;
      room.typists.delete(userId);
      if (isTyping) room.typists.set(userId, username);
      this.tell('typing', room);
    }
  }

  // People

  #userStatus(status) {
    for (const room of this.rooms.values()) {
      if (!room.people.has(status.userId)) continue;
      room.people.set(status.userId, status);
      this.tell('people', room);
    }
    // The event does not say which rooms somebody has entered.
    if (status.isOnline) this.#askPresence();
  }

  #askPresence() {
    this.#presence ??= setTimeout(async () => {
      this.#presence = null;
      const room = this.current;
      if (!room || !this.isOpen) return;
      const answer = await this.#ask('presence', { roomId: room.id });
      if (!answer) return;
      // Whoever is not in the answer has gone, or is one of too many.
      const others = [...room.people.values()].slice(-PEOPLE).map((user) => ({ ...user, isOnline: false }));
      room.people = new Map([...others, ...answer.users].map((user) => [user.userId, user]));
      room.total = answer.total;
      this.tell('people', room);
    }, this.current?.people.size ? PRESENCE_AGAIN : 0);
  }
}

/** The claims of a token, only to show who one is: the server alone decides what a token is worth. */
export function claimsOf(token) {
  try {
    const payload = atob(token.split('.')[1].replaceAll('-', '+').replaceAll('_', '/'));
    return JSON.parse(new TextDecoder().decode(Uint8Array.from(payload, (c) => c.charCodeAt(0)))) ?? {};
  } catch {
    return {};
  }
}

export const nameOf = (claims) => String(claims.name ?? claims.username ?? claims.sub);

// The UUID before this one, or null.
function idBelow(id) {
  const digits = typeof id === 'string' && /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/.test(id) ? id.replaceAll('-', '') : '0';
  const value = BigInt(`0x${digits}`);
  if (value === 0n) return null;
  return (value - 1n).toString(16).padStart(32, '0').replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, '$1-$2-$3-$4-$5');
}
