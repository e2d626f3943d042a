// The frame: signed in or not, the room that is shown, drawers on narrow screens, light and dark.

import { $, dressAvatar } from './dom.js';
import * as session from './session.js';

const THEMES = ['system', 'light', 'dark'];

export class PaneView {
  #chat;

  constructor(chat) {
    this.#chat = chat;
    chat.on('current', (room) => this.#showRoom(room));
    $('menu').addEventListener('click', () => this.#open('rooms'));
    $('people-toggle').addEventListener('click', () => this.#open('people'));
    $('backdrop').addEventListener('click', () => this.close());
    for (const button of document.querySelectorAll('.close-pane')) button.addEventListener('click', () => this.close());
    addEventListener('keydown', ({ key }) => key === 'Escape' && this.close());
    $('leave').addEventListener('click', () => chat.current && chat.leave(chat.current));
    this.#setTheme(session.theme() ?? 'system');
    $('theme').addEventListener('click', () => {
      const next = THEMES[(THEMES.indexOf(document.documentElement.dataset.theme) + 1) % THEMES.length];
      session.setTheme(next);
      this.#setTheme(next);
    });
  }

  /** Shows the chat, or where one signs in. */
  showChat(isSignedIn) {
    document.body.dataset.view = isSignedIn ? 'chat' : 'sign-in';
    this.close();
    const { me } = this.#chat;
    if (me) {
      dressAvatar($('me-avatar'), me.userId, me.username);
      $('me-name').textContent = me.username;
    } else $($('by-name').hidden ? 'token' : 'name').focus();
  }

  /** Closes the drawer that is open on a narrow screen. */
  close() {
    const opener = { rooms: 'menu', people: 'people-toggle' }[document.body.dataset.pane];
    delete document.body.dataset.pane;
    $('menu').setAttribute('aria-expanded', 'false');
    $('people-toggle').setAttribute('aria-expanded', document.body.classList.contains('hides-people') ? 'false' : 'true');
    if (opener) $(opener).focus();
  }

  #open(pane) {
    const isDrawer = getComputedStyle($('backdrop')).getPropertyValue(`--${pane}-drawer`).trim() === '1';
    if (!isDrawer) {
      const isHidden = document.body.classList.toggle('hides-people');
      $('people-toggle').setAttribute('aria-expanded', String(!isHidden));
      return;
    }
    document.body.dataset.pane = pane;
    $(pane === 'rooms' ? 'menu' : 'people-toggle').setAttribute('aria-expanded', 'true');
    $(pane === 'rooms' ? 'sidebar' : 'people-pane').querySelector('button, input').focus();
  }

  #showRoom(room) {
    $('room-title').textContent = room?.id ?? 'No room';
    $('room-title').title = room?.id ?? '';
    $('leave').hidden = !room || (this.#chat.hasLobby && room.id === 'lobby');
    $('no-room').hidden = Boolean(room) || !this.#chat.me;
  }

  #setTheme(theme) {
    document.documentElement.dataset.theme = theme;
    $('theme-text').textContent = `Colours: ${theme === 'system' ? 'as the system' : theme}`;
  }
}
