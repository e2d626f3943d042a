// Puts the page together: the chat, and what shows it.

import { save as saveFile } from './attachments.js';
import { Chat } from './chat.js';
import { ComposerView } from './composer-view.js';
import { ConnectionView } from './connection-view.js';
import { $ } from './dom.js';
import { LogView } from './log-view.js';
import { PaneView } from './pane-view.js';
import { PeopleView } from './people-view.js';
import { tokenProblem } from './problems.js';
import { RoomsView } from './rooms-view.js';
import * as session from './session.js';
import { SignInView } from './sign-in-view.js';

const settings = await (await fetch('/page/settings.json')).json();
const chat = new Chat(settings);
let token = null; // of the user who is signed in

const panes = new PaneView(chat);
const connection = new ConnectionView(chat);
const log = new LogView(chat, { onPicture: showPicture, onReply: (message) => composer.replyTo(message) });
const composer = new ComposerView(chat, {
  limits: settings,
  onProblem: (problem) => connection.showProblem(problem),
  onLeave: () => log.focusLast(),
});
new RoomsView(chat, {
  onShown: () => {
    panes.close();
    composer.focus();
  },
});
new PeopleView(chat);
const signIn = new SignInView({ ...settings, onToken: (given) => enter(given), tokenInUse: () => token });

function enter(given, remembered = null) {
  token = given;
  signIn.showProblem(null);
  chat.signIn(token, remembered);
  panes.showChat(true);
  composer.focus();
}

function leave(reason = null) {
  token = null;
  session.forget();
  chat.signOut();
  signIn.showProblem(reason);
  panes.showChat(false);
}

chat.on('connection', ({ state, code }) => {
  const problem = state === 'closed' && tokenProblem(code);
  if (problem) leave(problem);
});
for (const event of ['rooms', 'current']) chat.on(event, () => chat.me && session.save(token, chat));
$('sign-out').addEventListener('click', () => leave());
// The browser asks whether to go, if something is still to be sent.
addEventListener('beforeunload', (event) => chat.isSending && event.preventDefault());
addEventListener('online', () => chat.network(true));
addEventListener('offline', () => chat.network(false));
document.addEventListener('visibilitychange', () => !document.hidden && navigator.onLine && chat.network(true));

function showPicture(file) {
  $('lightbox-image').src = file.url;
  $('lightbox-image').alt = file.name;
  $('lightbox-name').textContent = file.name;
  $('lightbox-save').onclick = () => saveFile(file);
  $('lightbox').showModal();
}

$('lightbox').addEventListener('click', ({ target }) => target.closest('.lightbox-bar') || $('lightbox').close());

const remembered = session.load();
if (remembered) enter(remembered.token, remembered);
else panes.showChat(false);
signIn.takeFragment();
