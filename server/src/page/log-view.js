// The messages of the room that is shown. However many there are, the document holds a part of them: it grows where somebody
// scrolls to, and shrinks at the other end. What is being read stays where it is.

import { $, arrange, clone, dayOf, dayText, plural } from './dom.js';
import { MessageView } from './message-view.js';

const STEP = 60; // messages that are added to the document at once
const MOST = 240; // messages in the document
const NEAR = 1_200; // px from an end at which more are added
const AT_END = 48; // px
const TOGETHER = 5 * 60_000; // ms between two messages of a user that need no name between them
const SEARCHED = 50; // pages of history that are read to find a message

export class LogView {
  #chat;
  #onPicture;
  #onReply;
  #log = $('log');
  #list = $('messages');
  #views = new Map(); // by id, or by clientId as long as there is none
  #dividers = new Map(); // by text and place
  #room = null;
  #from = null; // id of the first message in the document; null: as many as fit
  #to = null; // id of the last one; null: the newest
  #following = true; // the end is in view, and stays there
  #unreadFrom = null; // id of the first message that was unread when the room was opened
  #scrollTop = 0; // when it was scrolled last
  #loading = false;

  constructor(chat, { onReply, onPicture }) {
    this.#chat = chat;
    this.#onReply = onReply;
    this.#onPicture = onPicture;
    this.#log.addEventListener('scroll', () => this.#scrolled(), { passive: true });
    this.#log.addEventListener('keydown', (event) => this.#key(event));
    this.#list.addEventListener('click', (event) => this.#clicked(event));
    $('to-end').addEventListener('click', () => this.toEnd());
    document.addEventListener('visibilitychange', () => this.#read());
    // A picture, a longer message field, or a keyboard on the screen: the end stays in view.
    const observer = new ResizeObserver(() => this.#following && this.#stick());
    for (const node of [this.#log, this.#list]) observer.observe(node);
    chat.on('current', (room) => this.#show(room));
    chat.on('messages', (room, added) => room === this.#room && this.#update(added.length > 0));
    chat.on('connection', () => {
      if (this.#room?.pending.length) this.#keepingPosition(() => this.#render()); // they wait, or no longer
      this.#fill();
    });
  }

  /** Shows the newest messages. */
  toEnd() {
    [this.#from, this.#to, this.#following] = [null, null, true];
    this.#update();
  }

  /** Shows a message, reading the history back to it. */
  async reveal(id) {
    const room = this.#room;
    for (let pages = 0; !room.find(id); pages += 1) {
      if (pages === SEARCHED || !room.hasOlder || !(await this.#chat.loadOlder(room)) || room !== this.#room) return;
    }
    const { messages } = room;
    const at = room.position(id);
    const to = Math.min(messages.length, at + STEP);
    this.#from = messages[Math.max(0, at - STEP)].id;
    this.#to = to === messages.length ? null : messages[to - 1].id;
    this.#following = false;
    this.#render();
    const { node } = this.#views.get(id);
    node.scrollIntoView({ block: 'center' });
    node.focus({ preventScroll: true });
    node.classList.remove('found');
    requestAnimationFrame(() => node.classList.add('found'));
  }

  /** Moves the focus to the newest message. */
  focusLast() {
    [...this.#list.querySelectorAll('.message')].at(-1)?.focus();
  }

  #show(room) {
    this.#room = room;
    this.#unreadFrom = null;
    for (const view of this.#views.values()) view.release();
    this.#views.clear();
    this.#dividers.clear();
    this.toEnd();
  }

  // `live`: a message came as it was written. Who looks on while it comes has not missed it.
  #update(live = false) {
    const room = this.#room;
    const isWatched = live && this.#following && !document.hidden;
    if (room?.unread && this.#unreadFrom === null && !isWatched) {
      const { userId } = this.#chat.me;
      this.#unreadFrom = room.messages.find((message) => message.id > room.lastRead && message.userId !== userId)?.id ?? null;
    }
    if (room?.pending.length) this.#unreadFrom = null; // who answers has read
    this.#keepingPosition(() => this.#render());
    this.#read();
    this.#fill();
  }

  // What is in the document

  #range() {
    const room = this.#room;
    const { length } = room.messages;
    let to = this.#to === null ? length : Math.min(length, room.position(this.#to) + 1);
    let from = this.#from === null ? Math.max(0, to - STEP) : Math.min(room.position(this.#from), to);
    if (to - from > MOST) {
      if (this.#following) from = to - STEP;
      else to = from + MOST;
    }
    return [from, to];
  }

  #setRange(from, to) {
    const { messages } = this.#room;
    this.#from = messages[from]?.id ?? null;
    this.#to = to >= messages.length ? null : messages[to - 1].id;
  }

  #render() {
    const room = this.#room;
    const [from, to] = room ? this.#range() : [0, 0];
    if (room) this.#setRange(from, to);
    const messages = room ? room.messages.slice(from, to) : [];
    const pending = room && this.#to === null ? room.pending : [];
    const nodes = this.#nodes([...messages, ...pending]);
    arrange(this.#list, nodes);
    const shown = new Set(nodes);
    for (const [key, view] of this.#views) {
      if (shown.has(view.node)) continue;
      view.release();
      this.#views.delete(key);
    }
    for (const [key, node] of this.#dividers) if (!shown.has(node)) this.#dividers.delete(key);
    $('no-messages').hidden = !room || nodes.length > 0 || room.hasOlder;
    this.#showEnd();
  }

  #nodes(items) {
    const { userId } = this.#chat.me ?? {};
    const nodes = [];
    let [day, before] = ['', null];
    const lastMine = items.findLast((item) => item.id && item.userId === userId);
    for (const [index, item] of items.entries()) {
      const date = new Date(item.timestamp);
      const isOtherDay = dayOf(date) !== day;
      const isFirstUnread = item.id !== undefined && item.id === this.#unreadFrom;
      day = dayOf(date);
      if (isOtherDay) nodes.push(this.#divider('day', day, dayText(date)));
      if (isFirstUnread) nodes.push(this.#divider('unread', item.id, 'New'));
      const grouped = !isOtherDay && !isFirstUnread && areTogether(before, item, userId);
      const view = this.#view(item, userId);
      view.setPlace({
        grouped,
        last: !areTogether(item, items[index + 1], userId),
        state: item.state ?? (item === lastMine ? 'stored' : ''),
        error: item.error,
        isConnected: this.#chat.isOpen,
      });
      nodes.push(view.node);
      before = item;
    }
    return nodes;
  }

  #view(item, userId) {
    const key = item.id ?? item.clientId;
    const mine = item.clientId !== undefined || item.userId === userId;
    let view = this.#views.get(key);
    if (view) return view;
    const sent = mine && this.#views.get(item.context?.clientId);
    if (sent && item.id) {
      // It was on its way when it was shown.
      this.#views.delete(item.context.clientId);
      sent.setMessage(item);
      view = sent;
    } else {
      const room = this.#room;
      const original = (id) => this.#chat.original(room, id);
      view = new MessageView({ ...this.#chat.me, ...item }, { mine, original, onPicture: this.#onPicture });
      view.item = item;
    }
    this.#views.set(key, view);
    return view;
  }

  #divider(kind, place, text) {
    const key = `${kind} ${place}`;
    if (!this.#dividers.has(key)) {
      const node = clone('divider-template');
      node.classList.add(kind);
      node.firstElementChild.textContent = text;
      this.#dividers.set(key, node);
    }
    return this.#dividers.get(key);
  }

  // Where it is scrolled to

  #scrolled() {
    const { scrollHeight, scrollTop, clientHeight } = this.#log;
    // What grows at the end does not scroll: only who scrolls up wants to stay there.
    const isAtEnd = this.#to === null && scrollHeight - scrollTop - clientHeight < AT_END;
    this.#following = isAtEnd || (this.#following && scrollTop >= this.#scrollTop);
    this.#scrollTop = scrollTop;
    this.#read();
    this.#showEnd();
    this.#fill();
  }

  // Adds messages at the end that is near, from those that are known, or from the server.
  #fill() {
    const room = this.#room;
    if (!room) return;
    const { scrollHeight, scrollTop, clientHeight } = this.#log;
    const [from, to] = this.#range();
    const isNearTop = scrollTop < NEAR;
    if (isNearTop && from > 0) {
      const first = Math.max(0, from - STEP);
      this.#setRange(first, Math.min(to, first + MOST));
      this.#keepingPosition(() => this.#render());
    } else if (isNearTop && room.hasOlder) this.#loadOlder(room);
    else if (scrollHeight - scrollTop - clientHeight < NEAR && to < room.messages.length) {
      const last = Math.min(room.messages.length, to + STEP);
      this.#setRange(Math.max(from, last - MOST), last);
      this.#keepingPosition(() => this.#render());
    }
  }

  async #loadOlder(room) {
    if (this.#loading || !this.#chat.isOpen || room.messages.length === 0) return;
    this.#loading = true;
    $('loading').hidden = false;
    const hasMore = await this.#chat.loadOlder(room);
    this.#loading = false;
    $('loading').hidden = true;
    if (hasMore || room !== this.#room) this.#fill();
  }

  #keepingPosition(change) {
    if (this.#following) {
      change();
      this.#stick();
      return;
    }
    const { top } = this.#log.getBoundingClientRect();
    // A message: dividers are not at the same message always.
    const anchor = [...this.#list.querySelectorAll('.message')].find((node) => node.getBoundingClientRect().bottom > top);
    // Its lower edge: the name above it goes when the messages before it come.
    const before = anchor?.getBoundingClientRect().bottom;
    change();
    if (anchor?.isConnected) this.#log.scrollTop += anchor.getBoundingClientRect().bottom - before;
  }

  #stick() {
    this.#log.scrollTop = this.#log.scrollHeight;
  }

  #read() {
    if (this.#room && this.#following && !document.hidden) this.#chat.read(this.#room);
  }

  #showEnd() {
    const unread = this.#room?.unread ?? 0;
    $('to-end').hidden = this.#following || !this.#room;
    $('to-end-text').textContent = unread ? plural(unread, 'new message') : 'Newest messages';
    $('to-end').classList.toggle('has-unread', unread > 0);
  }

  // What the user does

  #viewOf(target) {
    const node = target.closest('.message');
    return node && [...this.#views.values()].find((view) => view.node === node);
  }

  #clicked({ target }) {
    const view = this.#viewOf(target);
    if (!view) return;
    if (target.closest('.retry')) this.#chat.retry(view.item);
    else if (target.closest('.discard')) this.#chat.discard(view.item);
    else if (target.closest('.quote')) this.reveal(target.closest('.quote').dataset.id);
    else if (target.closest('.reply') && view.message.id) this.#onReply(view.message);
  }

  #key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const items = [...this.#list.querySelectorAll('.message')];
    const at = items.indexOf(document.activeElement.closest('.message'));
    const steps = { ArrowUp: at < 0 ? items.length - 1 : at - 1, ArrowDown: at + 1, Home: 0, End: items.length - 1 };
    if (event.key in steps) {
      const item = items[Math.max(0, steps[event.key])];
      if (item) item.focus();
      else $('text').focus(); // beyond the last message is the field for the next one
      event.preventDefault();
    } else if (event.key === 'r' || (event.key === 'Enter' && event.target.matches('.message'))) {
      const view = this.#viewOf(event.target);
      if (view?.message.id) this.#onReply(view.message);
      event.preventDefault();
    } else if (event.key === 'Escape') $('text').focus();
  }
}

// Whether the second message stands below the first one without a name of its own.
function areTogether(first, second, me) {
  if (!first || !second || (first.userId ?? me) !== (second.userId ?? me)) return false;
  const dates = [new Date(first.timestamp), new Date(second.timestamp)];
  return dayOf(dates[0]) === dayOf(dates[1]) && dates[1] - dates[0] < TOGETHER;
}
