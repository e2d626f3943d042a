// The demo page: two people chat with nothing but the events of the chat protocol. Everything that others wrote gets
// into the document as text nodes only.

import { Socket } from './socket.js';

const LOBBY = 'lobby'; // every socket is in it; messages without `roomId` go there
const HISTORY = 50; // messages asked for on join
const KEPT = 500; // messages kept of a room
const PEOPLE = 200; // people shown
const TYPING_AGAIN = 5_000; // ms; the server ends a typing of 10 s by itself
const TYPING_IDLE = 3_000; // ms without a key after which one no longer types
const TYPING_SHOWN = 12_000; // ms; in case the end of it is lost

const $ = (id) => document.getElementById(id);

let socket = null;
let me = {}; // the claims of the token
let rooms = new Map(); // by id: { id, messages: in the order of their ids, unread }
let current; // the room shown
const people = new Map(); // by userId: the last userStatus
const typists = new Map(); // by userId: { username, roomId, timer }
let replyTo = null; // the message to be answered
let unsent = null; // the payload whose acknowledgement never came

// Connection

function connect() {
  const token = $('token').value.trim();
  const claims = claimsOf(token);
  socket?.disconnect();
  // Another user must not see what the one before could read.
  if (claims.sub !== me.sub) reset();
  me = claims;
  socket = new Socket(location.origin, { token })
    .on('connect', connected)
    .on('connect_error', (error, delay) => {
      if (delay === null) showError({ code: error.data?.code, message: error.message });
      disconnected(error.message, delay);
    })
    .on('disconnect', disconnected)
    .on('message', receive)
    .on('userTyping', userTyping)
    .on('userStatus', userStatus)
    .on('error', showError);
  showError(null);
  showState('opening', 'Connecting…');
  socket.connect();
}

async function connected() {
  showState('open', `Connected as ${nameOf(me)}`);
  people.clear();
  showPeople();
  showError(null);
  for (const id of Array.isArray(me.rooms) ? me.rooms : []) {
    if (typeof id === 'string' && id !== '*') open(id);
  }
  showRooms();
  $('text').focus();
  // A new connection is in no room but the lobby and those of its token. Joining again brings what was missed.
  for (const id of [...rooms.keys()]) await join(id);
}

function disconnected(reason, delay) {
  stopTyping(false);
  for (const userId of [...typists.keys()]) endTyping(userId);
  people.clear();
  showPeople();
  if (delay === null) showState('closed', `Disconnected: ${reason}`);
  else showState('waiting', `Reconnecting in ${(delay / 1000).toFixed(1)} s: ${reason}`);
}

function disconnect() {
  socket.disconnect();
  showState('closed', 'Disconnected');
  $('token').focus();
}

// Only to show who one is: the server alone decides what a token is worth.
function claimsOf(token) {
  try {
    const payload = atob(token.split('.')[1].replaceAll('-', '+').replaceAll('_', '/'));
    return JSON.parse(new TextDecoder().decode(Uint8Array.from(payload, (c) => c.charCodeAt(0)))) ?? {};
  } catch {
    return {};
  }
}

const nameOf = (claims) => String(claims.name ?? claims.username ?? claims.sub ?? 'unknown');

// A fragment never leaves the browser, a query would stand in logs. It is taken out of the address for the same reason.
function tokenFromFragment() {
  const token = new URLSearchParams(location.hash.slice(1)).get('token');
  if (!token) return;
  history.replaceState(null, '', location.pathname);
  $('token').value = token;
  connect();
}

/** Emits with an acknowledgement; resolves to the answer, or shows the error and resolves to null. */
async function request(event, payload) {
  try {
    const answer = await socket.emitWithAck(event, payload);
    if (answer?.ok) return answer;
    showError({ event, ...answer?.error });
  } catch (error) {
    showError({ event, message: error.message });
  }
  return null;
}

// Rooms

function reset() {
  rooms = new Map();
  unsent = null;
  show(open(LOBBY));
}

function open(id) {
  if (!rooms.has(id)) rooms.set(id, { id, messages: [], unread: 0 });
  return rooms.get(id);
}

async function join(id) {
  const answer = await request('join', { roomId: id, history: HISTORY });
  if (!answer) return null;
  const room = open(answer.roomId);
  const page = answer.messages ?? [];
  const newest = room.messages.at(-1);
  // A full page of newer messages only leaves a gap before it: better no messages than missing ones.
  if (newest && page.length === HISTORY && page[0].id > newest.id) room.messages = [];
  const known = new Set(room.messages.map((message) => message.id));
  room.messages = [...room.messages, ...page.filter((message) => !known.has(message.id))]
    .sort((a, b) => (a.id < b.id ? -1 : 1))
    .slice(-KEPT);
  if (room === current) showMessages();
  showRooms();
  return room;
}

function show(room) {
  stopTyping();
  current = room;
  room.unread = 0;
  $('room-title').textContent = room.id;
  setReply(null);
  showRooms();
  showMessages();
  showTyping();
}

// Messages

function receive(message) {
  const room = open(message.context?.roomId ?? LOBBY);
  endTyping(message.userId);
  // Ids grow within a room, so a message that is already there, from a history, is seen at once.
  if (room.messages.some(({ id }) => id === message.id)) return;
  room.messages.push(message);
  if (room.messages.length > KEPT) room.messages.shift();
  if (room === current) {
    const log = $('log');
    const atEnd = log.scrollHeight - log.scrollTop - log.clientHeight < 40;
    $('messages').append(messageItem(message));
    if ($('messages').children.length > KEPT) $('messages').firstChild.remove();
    if (atEnd || message.userId === me.sub) log.scrollTop = log.scrollHeight;
  } else {
    room.unread += 1;
    showRooms();
  }
}

async function send() {
  const message = $('text').value;
  if (message.trim() === '') return;
  const room = current;
  const context = {};
  if (room.id !== LOBBY) context.roomId = room.id;
  if (replyTo) context.replyTo = replyTo.id;
  // Sending the same again after a failure under the same clientId can never deliver it twice.
  const same = unsent?.message === message && ['roomId', 'replyTo'].every((key) => unsent.context[key] === context[key]);
  const payload = same ? unsent : { message, context: { ...context, clientId: randomId() } };
  const answered = replyTo;
  $('text').value = '';
  setReply(null);
  stopTyping(false); // the message itself ends it
  showError(null);
  const answer = await request('message', payload);
  unsent = answer ? null : payload;
  if (answer || room !== current || $('text').value) return;
  $('text').value = message;
  setReply(answered);
}

// Not randomUUID: browsers have it on secure origins only.
const randomId = () => Array.from(crypto.getRandomValues(new Uint32Array(4)), (n) => n.toString(36)).join('-');

function messageItem({ id, message, timestamp, context, userId, username }) {
  const when = new Date(timestamp);
  const isToday = when.toDateString() === new Date().toDateString();
  const time = element('time', '', isToday ? when.toLocaleTimeString() : when.toLocaleString());
  time.dateTime = timestamp;
  const reply = element('button', 'reply', 'Reply');
  reply.ariaLabel = `Reply to ${username}`;
  const text = element('div', 'text', message);
  text.dir = 'auto';
  const item = element('li', userId === me.sub ? 'mine' : '', reply, element('bdi', 'sender', username), time);
  if (context?.replyTo) item.append(quote(context.replyTo));
  item.append(text);
  item.dataset.id = id;
  return item;
}

function quote(id) {
  const original = current.messages.find((message) => message.id === id);
  if (!original) return element('div', 'quote', 'In reply to an earlier message');
  const text = element('bdi', '', excerpt(original.message));
  return element('div', 'quote', element('bdi', '', original.username), ': ', text);
}

const excerpt = (text) => (text.length > 80 ? `${text.slice(0, 80)}…` : text);

function setReply(message) {
  replyTo = message;
  $('reply').hidden = !message;
  $('reply-to').textContent = message ? `${message.username}: ${excerpt(message.message)}` : '';
}

// Typing

let typingIn = null; // the room whose members see this user typing
let typingSent = 0;
let typingIdle;

function startTyping() {
  clearTimeout(typingIdle);
  if ($('text').value === '') return stopTyping();
  if (typingIn === null || Date.now() - typingSent > TYPING_AGAIN) {
    typingIn = current.id;
    typingSent = Date.now();
    socket?.emit('typing', true, { roomId: typingIn });
  }
  typingIdle = setTimeout(stopTyping, TYPING_IDLE);
}

function stopTyping(tell = true) {
  clearTimeout(typingIdle);
  if (tell && typingIn !== null) socket?.emit('typing', false, { roomId: typingIn });
  typingIn = null;
}

function userTyping({ userId, username, isTyping, roomId }) {
  endTyping(userId);
  if (isTyping) typists.set(userId, { username, roomId, timer: setTimeout(() => endTyping(userId), TYPING_SHOWN) });
  showTyping();
}

function endTyping(userId) {
  clearTimeout(typists.get(userId)?.timer);
  if (typists.delete(userId)) showTyping();
}

// People

function userStatus(status) {
  people.delete(status.userId);
  people.set(status.userId, status);
  if (people.size > PEOPLE) {
    const away = [...people.values()].find(({ isOnline }) => !isOnline);
    people.delete((away ?? people.values().next().value).userId);
  }
  if (!status.isOnline) endTyping(status.userId);
  showPeople();
}

// Showing

function element(name, className, ...children) {
  const node = document.createElement(name);
  if (className) node.className = className;
  node.append(...children);
  return node;
}

function showState(state, text) {
  $('state').dataset.state = state;
  $('state').textContent = text;
  const idle = state === 'closed';
  $('token-label').hidden = $('connect').hidden = !idle;
  $('disconnect').hidden = idle;
  $('send').disabled = $('join').disabled = state !== 'open';
}

function showError(error) {
  const code = error?.code ? ` (${error.code})` : '';
  const retry = error?.retryAfter ? `; again in ${Math.ceil(error.retryAfter / 1000)} s` : '';
  $('error').textContent = error ? `${error.event ?? 'Error'}: ${error.message ?? 'refused'}${code}${retry}` : '';
}

function showRooms() {
  const items = [...rooms.values()].map((room) => {
    const unread = room.unread ? ` (${room.unread} new)` : '';
    const button = element('button', '', element('bdi', '', room.id), unread);
    button.onclick = () => show(room);
    if (room === current) button.ariaCurrent = 'true';
    return element('li', '', button);
  });
  $('rooms').replaceChildren(...items);
}

function showMessages() {
  $('messages').replaceChildren(...current.messages.map(messageItem));
  $('log').scrollTop = $('log').scrollHeight;
}

function showTyping() {
  const here = [...typists.values()].filter(({ roomId }) => (roomId ?? current.id) === current.id);
  const names = here.slice(0, 3).map(({ username }) => username).join(', ');
  const others = here.length > 3 ? ` and ${here.length - 3} more` : '';
  const verb = here.length > 1 ? 'are' : 'is';
  $('typing').replaceChildren(...(names ? [element('bdi', '', names), `${others} ${verb} typing…`] : []));
}

function showPeople() {
  const items = [...people.values()].map(({ username, isOnline, lastSeen }) => {
    const seen = lastSeen ? `, last seen ${new Date(lastSeen).toLocaleTimeString()}` : '';
    return element('li', isOnline ? '' : 'away', element('bdi', '', username), isOnline ? '' : ` offline${seen}`);
  });
  if (socket?.connected) items.unshift(element('li', '', element('bdi', '', nameOf(me)), ' (you)'));
  $('people').replaceChildren(...items);
}

// What the user does

const onSubmit = (id, action) =>
  $(id).addEventListener('submit', (event) => {
    event.preventDefault();
    action();
  });

onSubmit('connection', connect);
onSubmit('composer', send);
onSubmit('joining', async () => {
  const room = await join($('room').value);
  if (room) show(room);
});
$('disconnect').addEventListener('click', disconnect);
$('reply-cancel').addEventListener('click', () => setReply(null));
$('text').addEventListener('input', startTyping);
$('text').addEventListener('keydown', (event) => {
  if (event.key === 'Escape') setReply(null);
  if (event.key !== 'Enter' || event.shiftKey || event.isComposing) return;
  event.preventDefault();
  $('composer').requestSubmit();
});
$('messages').addEventListener('click', (event) => {
  const id = event.target.closest('li')?.dataset.id;
  // A click that ends the selection of text is no reply.
  if (!id || !getSelection().isCollapsed) return;
  setReply(current.messages.find((message) => message.id === id) ?? null);
  $('text').focus();
});
addEventListener('hashchange', tokenFromFragment);

reset();
tokenFromFragment();
