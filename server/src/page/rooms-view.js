// The list of rooms: what was written last, how much is unread, who is typing. Also the title of the page.

import { $, arrange, clone, dayOf, element, onSubmit, timeText } from './dom.js';
import { excerpt } from './message-view.js';
import { sentence } from './problems.js';

export class RoomsView {
  #chat;
  #items = new Map(); // by room id
  #due = false;

  /** `onShown()`: a room was chosen. */
  constructor(chat, { onShown }) {
    this.#chat = chat;
    this.#choose = (room) => {
      chat.show(room);
      onShown();
    };
    for (const event of ['rooms', 'current', 'typing']) chat.on(event, () => this.#later());
    onSubmit($('joining'), async () => {
      const id = $('room').value.trim();
      this.#showProblem(null);
      if (id === '' || !(await chat.join(id, (problem) => this.#showProblem(problem)))) return;
      $('room').value = '';
      onShown();
    });
    $('room').addEventListener('input', () => this.#showProblem(null));
    chat.on('current', () => this.#showProblem(null));
    $('rooms').addEventListener('keydown', (event) => this.#key(event));
  }

  #choose;

  // Beside the field: on a phone the drawer with the field covers what stands anywhere else.
  #showProblem(problem) {
    $('joining-problem').textContent = problem ? sentence(problem) : '';
    $('room').setAttribute('aria-invalid', String(Boolean(problem)));
  }

  // Once for all that happens at a time.
  #later() {
    if (this.#due) return;
    this.#due = true;
    queueMicrotask(() => {
      this.#due = false;
      this.#render();
    });
  }

  #render() {
    const { rooms } = this.#chat;
    for (const id of this.#items.keys()) if (!rooms.has(id)) this.#items.delete(id);
    arrange($('rooms'), [...rooms.values()].map((room) => this.#item(room)));
    const unread = [...rooms.values()].reduce((sum, room) => sum + room.unread, 0);
    document.title = unread ? `(${unread}) Chat` : 'Chat';
    $('menu').dataset.unread = unread ? 'true' : '';
  }

  #item(room) {
    if (!this.#items.has(room.id)) {
      const node = clone('room-template');
      node.querySelector('.room-name').textContent = room.id;
      node.querySelector('.room-button').addEventListener('click', () => this.#choose(this.#chat.rooms.get(room.id)));
      this.#items.set(room.id, node);
    }
    const node = this.#items.get(room.id);
    const { last, unread, typists } = room;
    const [button, preview, when, count] = ['button', 'preview', 'when', 'count'].map((part) => node.querySelector(`.room-${part}`));
    button.setAttribute('aria-current', room === this.#chat.current);
    button.classList.toggle('has-unread', unread > 0);
    const writer = last?.userId === this.#chat.me?.userId ? 'You' : last?.username.split(' ')[0];
    // Each in its own direction.
    if (typists.size) preview.replaceChildren(element('bdi', '', [...typists.values()][0]), ' is typing…');
    else if (last) preview.replaceChildren(element('bdi', '', writer), ': ', element('bdi', '', excerpt(last.message)));
    else preview.textContent = 'No messages yet';
    preview.classList.toggle('is-typing', typists.size > 0);
    when.textContent = last ? whenText(new Date(last.timestamp)) : '';
    count.hidden = unread === 0;
    count.querySelector('.room-number').textContent = unread > 99 ? '99+' : unread;
    return node;
  }

  #key(event) {
    const buttons = [...$('rooms').querySelectorAll('.room-button')];
    const at = buttons.indexOf(document.activeElement);
    const next = { ArrowDown: at + 1, ArrowUp: at - 1, Home: 0, End: buttons.length - 1 }[event.key];
    if (at < 0 || next === undefined) return;
    buttons[next]?.focus();
    event.preventDefault();
  }
}

function whenText(date) {
  const isToday = dayOf(date) === dayOf(new Date());
  return isToday ? timeText(date) : date.toLocaleDateString([], { day: 'numeric', month: 'short' });
}
