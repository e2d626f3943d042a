// Who is in the room that is shown, and who is typing there.

import { $, clone, dressAvatar, element, plural, timeText } from './dom.js';

const MOST = 200; // people in the list

export class PeopleView {
  #chat;

  constructor(chat) {
    this.#chat = chat;
    chat.on('current', (room) => {
      this.#showPeople(room);
      this.#showTyping(room);
    });
    chat.on('connection', () => this.#showPeople(chat.current));
    chat.on('people', (room) => room === chat.current && this.#showPeople(room));
    chat.on('typing', (room) => room === chat.current && this.#showTyping(room));
  }

  #showPeople(room) {
    const { me, isOpen } = this.#chat;
    const users = [...(room?.people.values() ?? [])].filter(({ userId }) => userId !== me?.userId);
    users.sort((a, b) => b.isOnline - a.isOnline || a.username.localeCompare(b.username));
    const others = users.filter(({ isOnline }) => isOnline).length;
    const online = Math.max(room?.total ?? 0, others + 1);
    $('online').textContent = room && isOpen ? `${online} online` : '';
    $('alone').hidden = !room || !isOpen || others > 0;
    const shown = users.slice(0, MOST).map((user) => this.#item(user, false));
    if (me && room) shown.unshift(this.#item({ ...me, isOnline: isOpen }, true));
    const hidden = online - 1 - others + Math.max(0, users.length - MOST);
    if (hidden > 0) shown.push(element('li', 'more', `and ${plural(hidden, 'other')}`));
    $('people').replaceChildren(...shown);
  }

  #item({ userId, username, isOnline, lastSeen }, isMe) {
    const node = clone('person-template');
    dressAvatar(node.querySelector('.avatar'), userId, username);
    node.classList.toggle('away', !isOnline);
    const name = node.querySelector('.person-name');
    name.textContent = username;
    name.title = username === userId ? username : `${username} (${userId})`;
    const seen = lastSeen ? `, last seen ${timeText(new Date(lastSeen))}` : '';
    node.querySelector('.person-note').textContent = isMe ? 'You' : isOnline ? 'Online' : `Offline${seen}`;
    return node;
  }

  #showTyping(room) {
    const names = [...(room?.typists.values() ?? [])];
    $('typing').classList.toggle('is-active', names.length > 0);
    const some = names.length > 2 ? `${names.length} people` : names.join(' and ');
    const words = names.length > 1 ? ' are typing…' : ' is typing…';
    $('typing-text').replaceChildren(...(names.length ? [element('bdi', '', some), words] : []));
  }
}
