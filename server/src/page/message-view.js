// One message as an element of the list, and what changes about it: who else wrote before it, and its state.

import { filesOf, namesOf, save, sizeText } from './attachments.js';
import { clone, dressAvatar, element, timeText, toneOf } from './dom.js';

const TALLEST = 280; // px of a picture
const EXCERPT = 140; // characters of a message that is quoted

export class MessageView {
  node = clone('message-template');
  #urls = []; // of pictures, to be given back
  #words = ''; // of its state

  /**
   * `mine`: this user has written it. `original(id)` resolves to the message that it replies to, or null. `onPicture(file)` is
   * called when somebody wants to see a picture whole.
   */
  constructor(message, { mine, original, onPicture }) {
    this.message = message;
    this.#part('.avatar', (node) => dressAvatar(node, message.userId, message.username));
    this.#part('.sender', (node) => {
      node.textContent = mine ? 'You' : message.username;
      node.dataset.tone = toneOf(message.userId);
    });
    this.node.classList.toggle('mine', mine);
    this.#part('.reply', (node) => node.setAttribute('aria-label', `Reply to ${mine ? 'yourself' : message.username}`));
    const files = filesOf(message);
    this.#part('.text', (node) => {
      node.textContent = message.message;
      node.hidden = files.length > 0 && message.message === namesOf(files);
    });
    this.#part('.files', (node) => node.append(...files.map((file) => this.#file(file, onPicture))));
    const { replyTo } = message.context ?? {};
    if (typeof replyTo === 'string') this.#quote(original(replyTo));
    this.setMessage(message);
  }

  /** What was sent is stored: it has an id and the server's time now. */
  setMessage(message) {
    this.message = message;
    this.node.dataset.id = message.id ?? '';
    this.#part('time', (node) => {
      const date = new Date(message.timestamp);
      node.dateTime = message.timestamp;
      node.textContent = timeText(date);
      node.title = date.toLocaleString();
    });
  }

  /**
   * `grouped`: it follows a message of the same user. `state`: sending (which without a connection has to wait), stored, failed
   * (with `error`), or '' for nothing to say.
   */
  setPlace({ grouped, last, state, error, isConnected }) {
    const { classList, dataset } = this.node;
    classList.toggle('grouped', grouped);
    classList.toggle('last', last);
    const sending = isConnected ? 'Sending…' : 'Waiting for the connection';
    const words = { sending, stored: 'Sent', failed: `Not sent${error ? `: ${error}` : ''}` }[state] ?? '';
    if (dataset.state === state && words === this.#words) return;
    dataset.state = state;
    this.#words = words;
    this.#part('.state-text', (node) => (node.textContent = words));
    this.#part('.state', (node) => (node.hidden = words === ''));
    for (const action of ['.retry', '.discard']) this.#part(action, (node) => (node.hidden = state !== 'failed'));
  }

  release() {
    for (const url of this.#urls) URL.revokeObjectURL(url);
  }

  #part(selector, change) {
    change(this.node.querySelector(selector));
  }

  async #quote(original) {
    const quote = this.node.querySelector('.quote');
    quote.hidden = false;
    const message = await original;
    quote.disabled = !message;
    if (message) quote.dataset.id = message.id;
    this.#part('.quote-sender', (node) => {
      node.textContent = message?.username ?? '';
      if (message) node.dataset.tone = toneOf(message.userId);
    });
    this.#part('.quote-text', (node) => (node.textContent = message ? excerpt(message.message) : 'An earlier message'));
  }

  #file(file, onPicture) {
    return element('li', '', file.picture ? this.#picture(file, onPicture) : this.#document(file));
  }

  #picture(file, onPicture) {
    const image = element('img', '');
    const url = URL.createObjectURL(new Blob([file.data], { type: file.picture }));
    this.#urls.push(url);
    image.src = url;
    image.alt = file.name;
    image.decoding = 'async';
    // Its place is kept, so nothing moves once it is decoded.
    if (file.width) {
      image.style.width = `${Math.min(file.width, (TALLEST * file.width) / file.height)}px`;
      image.style.aspectRatio = `${file.width} / ${file.height}`;
    }
    const button = element('button', 'picture', image);
    button.type = 'button';
    button.addEventListener('click', () => onPicture({ ...file, url }));
    return button;
  }

  #document(file) {
    const button = clone('file-template');
    button.querySelector('.file-name').textContent = file.name;
    button.querySelector('.file-size').textContent = sizeText(file.data.byteLength);
    button.addEventListener('click', () => save(file));
    return button;
  }
}

/** The beginning of a text, on one line. */
export function excerpt(text) {
  const line = text.replace(/\s+/gu, ' ').trim();
  const characters = [...line];
  return characters.length > EXCERPT ? `${characters.slice(0, EXCERPT).join('')}…` : line;
}
