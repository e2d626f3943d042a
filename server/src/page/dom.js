// Small helpers for the document. Text gets into it as text only: nothing here, or in the page, reads markup from a string.

const SAME_DAY = { hour: 'numeric', minute: '2-digit' };
const TONES = 8; // colours of avatars, in theme.css

export const $ = (id) => document.getElementById(id);

/** An element with a class and children; strings become text nodes. */
export function element(name, className, ...children) {
  const node = document.createElement(name);
  if (className) node.className = className;
  node.append(...children);
  return node;
}

/** A copy of what a template holds. */
export const clone = (id) => $(id).content.firstElementChild.cloneNode(true);

export function onSubmit(form, action) {
  form.addEventListener('submit', (event) => {
    event.preventDefault();
    action();
  });
}

/** Gives an element these children, in this order, and leaves alone those that are in their place already. */
export function arrange(parent, children) {
  const wanted = new Set(children);
  for (const child of [...parent.childNodes]) if (!wanted.has(child)) child.remove();
  let at = parent.firstChild;
  for (const child of children) {
    if (child === at) at = at.nextSibling;
    else parent.insertBefore(child, at);
  }
}

/** Shows who somebody is: initials on a colour that stays the same for a user. */
export function dressAvatar(node, userId, username) {
  const words = username.trim().split(/\s+/u);
  const letters = [words[0], ...(words.length > 1 ? [words.at(-1)] : [])].map((word) => [...word][0] ?? '');
  node.textContent = letters.join('').toUpperCase();
  node.dataset.tone = toneOf(userId);
}

export function toneOf(userId) {
  let hash = 20;
  for (const character of userId) hash = (hash * 17 + character.codePointAt(0)) % 0xffff;
  return hash % TONES;
}

export const timeText = (date) => date.toLocaleTimeString([], SAME_DAY);

export const dayOf = (date) => `${date.getFullYear()}-${date.getMonth()}-${date.getDate()}`;

/** Today, yesterday, or the date. */
export function dayText(date, now = new Date()) {
  const midnight = (of) => new Date(of.getFullYear(), of.getMonth(), of.getDate());
  const days = Math.round((midnight(now) - midnight(date)) / 86_400_000);
  if (days === 0) return 'Today';
  if (days === 1) return 'Yesterday';
  const year = date.getFullYear() === now.getFullYear() ? {} : { year: 'numeric' };
  return date.toLocaleDateString([], { weekday: 'long', day: 'numeric', month: 'long', ...year });
}

/** `3 messages`, `1 message`. */
export const plural = (count, word) => `${count} ${word}${count === 1 ? '' : 's'}`;
