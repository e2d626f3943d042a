// What happens to the connection, what was refused, and what a screen reader says of new messages.

import { $, element } from './dom.js';
import { closedText, sentence } from './problems.js';

const PROBLEM_SHOWN = 8_000; // ms
const ANNOUNCED = 10; // messages kept for screen readers
const CALM = 400; // ms before a connection that comes back at once is worth a word

export class ConnectionView {
  #chat;
  #timer = null;
  #problem = null;

  constructor(chat) {
    this.#chat = chat;
    chat.on('connection', () => this.#show());
    chat.on('problem', (problem) => this.showProblem(problem));
    chat.on('current', () => this.showProblem(null)); // it was about the room before
    chat.on('messages', (room, added) => this.#announceMessages(room, added));
    chat.on('failed', ({ message, error }) => this.#announce(`Not sent: ${message} (${error})`));
    $('reconnect').addEventListener('click', () => {
      chat.reconnect();
      $('text').focus();
    });
    $('problem-close').addEventListener('click', () => this.showProblem(null));
  }

  /** Something that was refused; null: nothing any more. */
  showProblem(problem) {
    clearTimeout(this.#problem);
    $('problem').hidden = !problem;
    if (!problem) return;
    $('problem-text').textContent = sentence(problem);
    this.#problem = setTimeout(() => this.showProblem(null), PROBLEM_SHOWN);
  }

  #show() {
    clearTimeout(this.#timer);
    const { state, code } = this.#chat.connection;
    // The banner says why. The `error` before it said the same.
    if (state === 'closed' && code) this.showProblem(null);
    document.body.dataset.connection = state;
    const wasShown = !$('banner').hidden;
    if (state === 'open' || !this.#chat.me) $('banner').hidden = true;
    else if (state === 'connecting' && !wasShown) this.#timer = setTimeout(() => this.#showBanner(), CALM);
    else this.#showBanner();
    if (state === 'open' && wasShown) $('connection-status').textContent = 'Connected again';
  }

  #showBanner() {
    const { state, reason, retryAt, code } = this.#chat.connection;
    $('banner').hidden = false;
    $('banner').dataset.state = state;
    const seconds = Math.max(0, Math.ceil((retryAt - Date.now()) / 1000));
    const words = {
      connecting: 'Connecting…',
      waiting: navigator.onLine ? `Connection lost. Trying again ${seconds ? `in ${seconds} s` : 'now'}…` : 'You are offline.',
      closed: closedText({ code, reason }),
    }[state];
    $('banner-text').textContent = words;
    // The countdown is for the eyes; a screen reader is told once.
    $('connection-status').textContent = { connecting: '', waiting: 'Connection lost', closed: words }[state];
    $('reconnect').textContent = state === 'closed' ? 'Connect again' : 'Try now';
    $('reconnect').hidden = state === 'connecting' || code === 'banned';
    if (state === 'waiting') this.#timer = setTimeout(() => this.#showBanner(), 1_000);
  }

  #announceMessages(room, added) {
    const others = added.filter(({ userId }) => userId !== this.#chat.me?.userId);
    const where = room === this.#chat.current ? '' : ` in ${room.id}`;
    for (const { username, message } of others) this.#announce(`${username}${where}: ${message}`);
  }

  #announce(text) {
    $('announcer').append(element('p', '', text));
    while ($('announcer').childElementCount > ANNOUNCED) $('announcer').firstElementChild.remove();
  }
}
