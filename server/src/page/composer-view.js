// Where one writes: text, the message that it replies to, and files that go with it, chosen, dropped or pasted.

import { namesOf, pictureType, prepare, sizeText } from './attachments.js';
import { $, clone, onSubmit, toneOf } from './dom.js';
import { excerpt } from './message-view.js';

const NEARLY = 200; // characters before the limit at which it is shown
const TALLEST = 200; // px of the field for text

export class ComposerView {
  #chat;
  #limits;
  #onProblem;
  #onLeave;
  #text = $('text');
  #files = [];
  #reply = null;
  #room = null;

  /** `limits`: those of the server. `onLeave()`: the focus is to go up, to the messages. */
  constructor(chat, { limits, onProblem, onLeave }) {
    this.#chat = chat;
    this.#limits = limits;
    this.#onProblem = onProblem;
    this.#onLeave = onLeave;
    chat.on('current', (room) => this.#show(room));
    chat.on('connection', () => this.#showButtons());
    onSubmit($('composer'), () => this.#send());
    this.#text.addEventListener('input', () => this.#input());
    this.#text.addEventListener('keydown', (event) => this.#key(event));
    this.#text.addEventListener('paste', (event) => this.#paste(event));
    $('reply-cancel').addEventListener('click', () => this.replyTo(null));
    $('attach').addEventListener('click', () => $('file').click());
    $('file').addEventListener('change', () => {
      this.#attach([...$('file').files]);
      $('file').value = '';
    });
    addEventListener('resize', () => this.#grow());
    this.#acceptDrops($('conversation'));
  }

  replyTo(message) {
    this.#reply = message;
    $('reply').hidden = !message;
    $('reply-sender').textContent = message?.username ?? '';
    $('reply-sender').dataset.tone = message ? toneOf(message.userId) : '';
    $('reply-text').textContent = message ? excerpt(message.message) : '';
    if (message) this.#text.focus();
  }

  focus() {
    // On a screen without a keyboard that would bring one up over the messages.
    if (!matchMedia('(pointer: coarse)').matches) this.#text.focus();
  }

  #show(room) {
    if (this.#room) this.#room.draft = this.#text.value;
    this.#room = room;
    this.#text.value = room?.draft ?? '';
    this.#text.placeholder = room ? `Message ${room.id}` : '';
    this.replyTo(null);
    this.#setFiles([]);
    this.#grow();
  }

  #input() {
    this.#grow();
    this.#showButtons();
    if (this.#room) this.#chat.typing(this.#room, this.#text.value === '');
  }

  #grow() {
    const { style } = this.#text;
    style.height = 'auto';
    const { scrollHeight } = this.#text;
    // As long as nobody is signed in it has no height.
    if (scrollHeight) style.height = `${Math.min(TALLEST, scrollHeight)}px`;
    style.overflowY = scrollHeight > TALLEST ? 'auto' : 'hidden';
    const left = (this.#limits.messageLength || Infinity) - [...this.#text.value].length;
    $('left').hidden = left > NEARLY;
    $('left').textContent = left < 0 ? `${-left} too long` : `${left} left`;
    $('left').classList.toggle('is-over', left < 0);
  }

  #showButtons() {
    const isEmpty = this.#text.value.trim() === '' && this.#files.length === 0;
    const isTooLong = [...this.#text.value].length > (this.#limits.messageLength || Infinity);
    $('send').disabled = !this.#room || isEmpty || isTooLong;
    this.#text.disabled = $('attach').disabled = !this.#room;
  }

  #send() {
    if (!this.#room || $('send').disabled) return;
    const files = this.#files.map(({ file }) => file);
    const text = this.#text.value.trim();
    this.#chat.send(this.#room, { message: text || namesOf(files), replyTo: this.#reply?.id, files });
    this.#text.value = '';
    this.replyTo(null);
    this.#setFiles([]);
    this.#grow();
    this.#text.focus();
  }

  #key(event) {
    if (event.key === 'Escape') this.replyTo(null);
    if (event.key === 'ArrowUp' && this.#text.value === '') {
      event.preventDefault();
      this.#onLeave();
    }
    if (event.key !== 'Enter' || event.shiftKey || event.isComposing) return;
    event.preventDefault();
    $('composer').requestSubmit();
  }

  // Files

  #paste(event) {
    const files = [...event.clipboardData.files];
    if (files.length === 0) return;
    event.preventDefault();
    this.#attach(files);
  }

  #acceptDrops(area) {
    const hasFiles = (event) => event.dataTransfer?.types.includes('Files');
    const show = (isOver) => ($('drop').hidden = !isOver);
    area.addEventListener('dragover', (event) => {
      if (!hasFiles(event)) return;
      event.preventDefault();
      show(true);
    });
    area.addEventListener('dragleave', (event) => !area.contains(event.relatedTarget) && show(false));
    area.addEventListener('drop', (event) => {
      if (!hasFiles(event)) return;
      event.preventDefault();
      show(false);
      this.#attach([...event.dataTransfer.files]);
      this.#text.focus();
    });
  }

  async #attach(given) {
    const room = this.#room;
    if (!room || given.length === 0) return;
    const { attachments, attachmentBytes } = this.#limits;
    const used = this.#files.reduce((sum, { file }) => sum + file.data.byteLength, 0);
    const left = { count: (attachments || Infinity) - this.#files.length, bytes: (attachmentBytes || Infinity) - used };
    const { files, problem } = await prepare(given, left);
    if (room !== this.#room) return;
    if (problem) this.#onProblem({ message: problem });
    this.#setFiles([...this.#files, ...files.map((file) => this.#chip(file))]);
  }

  #chip(file) {
    const node = clone('chip-template');
    const type = pictureType(file.data);
    const url = type && URL.createObjectURL(new Blob([file.data], { type }));
    if (url) node.querySelector('img').src = url;
    node.classList.toggle('is-picture', Boolean(url));
    node.querySelector('.file-name').textContent = file.name;
    node.querySelector('.file-size').textContent = sizeText(file.data.byteLength);
    const remove = node.querySelector('.remove');
    remove.setAttribute('aria-label', `Remove ${file.name}`);
    const chip = { file, node, url };
    remove.addEventListener('click', () => {
      this.#setFiles(this.#files.filter((other) => other !== chip));
      this.#text.focus();
    });
    return chip;
  }

  #setFiles(files) {
    for (const chip of this.#files) if (chip.url && !files.includes(chip)) URL.revokeObjectURL(chip.url);
    this.#files = files;
    $('chips').replaceChildren(...files.map(({ node }) => node));
    $('chips').hidden = files.length === 0;
    this.#showButtons();
  }
}
