// The demo page: people chat with nothing but the events of the chat protocol. The connection itself is left to
// socket.js. Whatever others wrote gets into the document as text nodes only.

import { Socket } from './socket.js';

const LOBBY = 'lobby'; // every socket is in it; a message without `roomId` goes there
const HISTORY = 50; // messages asked for on join
const KEPT = 500; // messages kept of a room
const PEOPLE = 200; // users shown
const TYPING_AGAIN = 5_000; // ms; the server ends a typing that is not renewed within 10 s
const TYPING_IDLE = 3_000; // ms without a key after which this user types no more

const $ = (id) => document.getElementById(id);

let socket = null;
let me = {}; // the claims of the token
let current = null; // the room shown
const rooms = new Map(); // by id: { id, messages: in the order of their ids, unread, button }
const people = new Map(); // by userId: the last userStatus
const typists = new Map(); // by userId: the last userTyping
let offered = null; // a token of the address, as long as nobody has decided about it
let replyTo = null; // the message to be answered
const unsent = new Map(); // by room, text and reply: the clientId of a message that was not acknowledged

// Connection

function connect() {
  const token = $('token').value.trim();
  const claims = claimsOf(token);
  socket?.disconnect();
  if (claims.sub !== me.sub) reset(); // another user must not see what the one before could read
  me = claims;
  socket = new Socket(location.origin, { token })
    .on('connect', connected)
    .on('connect_error', refused)
    .on('disconnect', disconnected)
    .on('message', receive)
    .on('userTyping', userTyping)
    .on('userStatus', userStatus)
    .on('error', showError);
  showError(null);
  showState('waiting', 'Connecting…');
  socket.connect();
  $('text').focus();
}

async function connected() {
  showState('open', `Connected as ${nameOf(me)}`);
  showError(null);
  showPeople();
  if (Array.isArray(me.rooms)) me.rooms.filter((id) => id !== '*').forEach((id) => open(String(id)));
  // A new connection is in no room but the lobby and those of its token. Joining again brings what was missed.
  for (const id of [...rooms.keys()]) if (!(await join(id)) && !socket.connected) return;
}

function refused(error, delay) {
  if (delay === null) showError({ message: error.message, code: error.data?.code });
  disconnected(error.message, delay);
}

function disconnected(reason, delay) {
  stopTyping();
  people.clear();
  typists.clear();
  showPeople();
  showTyping();
  if (delay === null) showState('closed', `Disconnected: ${reason}`);
  else showState('waiting', `Reconnecting in ${(delay / 1000).toFixed(1)} s: ${reason}`);
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

const nameOf = (claims) => String(claims.name ?? claims.username ?? claims.sub);

// A fragment is not sent to any server, a query would stand in logs. It leaves the address, which people copy.
function tokenFromFragment() {
  const token = new URLSearchParams(location.hash.slice(1)).get('token');
  if (token === null) return;
  history.replaceState(null, '', location.pathname);
  const inUse = $('state').dataset.state !== 'closed' && token === $('token').value.trim();
  if (!inUse) setOffer(token);
}

// Anybody can make a link with a token of his own, and would read what is written under it. So a token of the address
// connects nobody, and replaces nobody's connection, before the person has agreed to it. The focus stays where it is: an
// Enter that was meant for a message must not be that agreement.
function setOffer(token) {
  offered = token;
  $('offer').hidden = !token;
  if (!token) return;
  const claims = claimsOf(token);
  // A name can be anybody's; the `sub` tells users apart.
  $('offer-user').textContent = nameOf(claims) === String(claims.sub) ? claims.sub : `${nameOf(claims)} (${claims.sub})`;
}

// Emits with an acknowledgement. Resolves to the answer, or shows the error and resolves to null.
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
  rooms.clear();
  $('rooms').replaceChildren();
  unsent.clear();
  show(open(LOBBY));
}

function open(id) {
  if (!rooms.has(id)) {
    const room = { id, messages: [], unread: 0, button: element('button', '') };
    room.button.onclick = () => show(room);
    $('rooms').append(element('li', '', room.button));
    rooms.set(id, room);
    showRoom(room);
  }
  return rooms.get(id);
}

async function join(id) {
  const answer = await request('join', { roomId: id, history: HISTORY });
  if (!answer) return null;
  const room = open(answer.roomId);
  const page = answer.messages ?? [];
  // A full page of nothing but newer messages leaves a gap before it: better no older messages than a hidden gap.
  if (page.length === HISTORY && page[0].id > room.messages.at(-1)?.id) room.messages = [];
  const byId = new Map([...room.messages, ...page].map((message) => [message.id, message]));
  room.messages = [...byId.values()].sort((a, b) => (a.id < b.id ? -1 : 1)).slice(-KEPT);
  if (room === current) showMessages();
  return room;
}

function show(room) {
  stopTyping();
  const before = current;
  current = room;
  room.unread = 0;
  if (before) showRoom(before);
  showRoom(room);
  $('room-title').textContent = room.id;
  setReply(null);
  showMessages();
  showTyping();
}

// Messages

function receive(message) {
  const room = open(message.context?.roomId ?? LOBBY);
  if (typists.delete(message.userId)) showTyping();
  if (room.messages.some(({ id }) => id === message.id)) return; // it came with a history already
  room.messages.push(message);
  if (room.messages.length > KEPT) room.messages.shift();
  if (room !== current) {
    room.unread += 1;
    showRoom(room);
    return;
  }
  const log = $('log');
  const atEnd = log.scrollHeight - log.scrollTop - log.clientHeight < 40;
  $('messages').append(messageItem(message));
  if ($('messages').children.length > KEPT) $('messages').firstChild.remove();
  if (atEnd || message.userId === me.sub) log.scrollTop = log.scrollHeight;
}

async function send() {
  const message = $('text').value;
  const [room, answered] = [current, replyTo];
  // Sending the same again after a failure goes under the same `clientId`, so that it is never delivered twice.
  const draft = JSON.stringify([room.id, message, answered?.id]);
  const context = { clientId: unsent.get(draft) ?? randomId() };
  if (room.id !== LOBBY) context.roomId = room.id;
  if (answered) context.replyTo = answered.id;
  $('text').value = '';
  setReply(null);
  stopTyping();
  showError(null);
  if (await request('message', { message, context })) return unsent.delete(draft);
  unsent.set(draft, context.clientId);
  if (room !== current || $('text').value) return showError({ message: `not sent to ${room.id}: ${message}` });
  $('text').value = message;
  setReply(answered);
}

// Not randomUUID, which browsers have on secure origins only.
const randomId = () => crypto.getRandomValues(new Uint32Array(4)).join('-');

function setReply(message) {
  replyTo = message;
  $('reply').hidden = !message;
  $('reply-to').textContent = message ? excerpt(message) : '';
}

const excerpt = ({ username, message }) => `${username}: ${message.length > 80 ? `${message.slice(0, 80)}…` : message}`;

// Typing

let typingIn = null; // the room whose members see this user typing
let typingSent = 0;
let typingIdle;

function typing() {
  if ($('text').value === '') return stopTyping();
  if (typingIn === null || Date.now() - typingSent > TYPING_AGAIN) {
    typingIn = current.id;
    typingSent = Date.now();
    socket?.emit('typing', true, { roomId: typingIn });
  }
  clearTimeout(typingIdle);
  typingIdle = setTimeout(stopTyping, TYPING_IDLE);
}

function stopTyping() {
  clearTimeout(typingIdle);
  if (typingIn !== null) socket?.emit('typing', false, { roomId: typingIn });
  typingIn = null;
}

function userTyping(status) {
  typists.delete(status.userId);
  if (status.isTyping) typists.set(status.userId, status);
  showTyping();
}

function userStatus(status) {
  people.delete(status.userId);
  people.set(status.userId, status);
  if (people.size > PEOPLE) people.delete(people.keys().next().value);
  showPeople();
}

// Showing

function element(name, className, ...children) {
  const node = document.createElement(name);
  node.className = className;
  node.append(...children); // strings become text nodes
  return node;
}

function showState(state, text) {
  $('state').dataset.state = state;
  $('state').textContent = text;
  $('token-label').hidden = $('connect').hidden = state !== 'closed';
  $('disconnect').hidden = state === 'closed';
  $('send').disabled = $('join').disabled = state !== 'open';
}

// An `error` event, the error of an acknowledgement, or null.
function showError(error) {
  const code = error?.code ? ` (${error.code})` : '';
  const retry = error?.retryAfter ? `; again in ${Math.ceil(error.retryAfter / 1000)} s` : '';
  $('error').textContent = error ? `${error.event ?? 'Error'}: ${error.message}${code}${retry}` : '';
}

function showRoom(room) {
  room.button.replaceChildren(element('bdi', '', room.id), room.unread ? ` (${room.unread} new)` : '');
  room.button.setAttribute('aria-current', room === current);
}

function showMessages() {
  $('messages').replaceChildren(...current.messages.map(messageItem));
  $('log').scrollTop = $('log').scrollHeight;
}

function messageItem({ id, message, timestamp, context, userId, username }) {
  const reply = element('button', 'reply', 'Reply');
  reply.setAttribute('aria-label', `Reply to ${username}`);
  const when = new Date(timestamp);
  const isToday = when.toDateString() === new Date().toDateString();
  const time = element('time', '', isToday ? when.toLocaleTimeString() : when.toLocaleString());
  time.dateTime = timestamp;
  const text = element('div', 'text', message);
  text.dir = 'auto';
  const item = element('li', userId === me.sub ? 'mine' : '', reply, element('bdi', 'sender', username), ' ', time);
  item.dataset.id = id;
  if (context?.replyTo) {
    const original = current.messages.find((candidate) => candidate.id === context.replyTo);
    item.append(element('bdi', 'quote', original ? excerpt(original) : 'an earlier message'));
  }
  item.append(text);
  return item;
}

function showTyping() {
  const names = [...typists.values()]
    .filter(({ roomId }) => roomId === undefined || roomId === current.id)
    .map(({ username }) => username);
  const verb = names.length > 1 ? 'are' : 'is';
  $('typing').replaceChildren(...(names.length ? [element('bdi', '', names.join(', ')), ` ${verb} typing…`] : []));
}

function showPeople() {
  const items = [...people.values()].map(({ username, isOnline, lastSeen }) => {
    const seen = lastSeen ? `, last seen ${new Date(lastSeen).toLocaleTimeString()}` : '';
    return element('li', isOnline ? '' : 'away', element('bdi', '', username), isOnline ? '' : ` offline${seen}`);
  });
  if (socket.connected) items.unshift(element('li', '', element('bdi', '', nameOf(me)), ' (you)'));
  $('people').replaceChildren(...items);
}

// What the user does

function onSubmit(form, action) {
  $(form).addEventListener('submit', (event) => {
    event.preventDefault();
    action();
  });
}

onSubmit('connection', connect);
onSubmit('composer', send);
onSubmit('joining', async () => {
  const room = await join($('room').value);
  if (room) show(room);
});
$('disconnect').addEventListener('click', () => {
  socket.disconnect();
  showState('closed', 'Disconnected');
  $('token').focus();
});
$('offer-accept').addEventListener('click', () => {
  $('token').value = offered;
  setOffer(null);
  connect();
});
$('offer-reject').addEventListener('click', () => setOffer(null));
$('reply-cancel').addEventListener('click', () => setReply(null));
$('text').addEventListener('input', typing);
$('text').addEventListener('keydown', (event) => {
  if (event.key === 'Escape') setReply(null);
  if (event.key !== 'Enter' || event.shiftKey || event.isComposing) return;
  event.preventDefault();
  $('composer').requestSubmit();
});
$('messages').addEventListener('click', (event) => {
  const id = event.target.closest('li')?.dataset.id;
  if (!id || !getSelection().isCollapsed) return; // a click that ends a selection is no reply
  setReply(current.messages.find((message) => message.id === id) ?? null);
  $('text').focus();
});
addEventListener('hashchange', tokenFromFragment);

reset();
tokenFromFragment();
