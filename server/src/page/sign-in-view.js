// Who one is: by a name in development mode, by a token of the application otherwise, or by a token in the address.

import { claimsOf, nameOf } from './chat.js';
import { $, dressAvatar, onSubmit } from './dom.js';

// The header without which the server gives no token. A page of another origin cannot send it.
const MARK = { 'x-chat-development': '1' };

export class SignInView {
  #offered = null; // a token of the address, as long as nobody has decided about it
  #onToken;
  #tokenInUse;

  /** `onToken(token)`: the person wants to be this user. `tokenInUse()`: who the person is already. */
  constructor({ development, onToken, tokenInUse }) {
    this.#onToken = onToken;
    this.#tokenInUse = tokenInUse;
    $('by-name').hidden = !development;
    $('by-token').open = !development;
    $('by-token').classList.toggle('is-only', !development);
    for (const button of $('names').querySelectorAll('button')) {
      dressAvatar(button.querySelector('.avatar'), button.value.toLowerCase(), button.value);
      button.addEventListener('click', () => this.#signInAs(button.value));
    }
    onSubmit($('naming'), () => this.#signInAs($('name').value.trim()));
    onSubmit($('token-form'), () => {
      const token = $('token').value.trim();
      $('token').value = '';
      this.#onToken(token);
    });
    $('offer-accept').addEventListener('click', () => {
      const token = this.#offered;
      this.#setOffer(null);
      this.#onToken(token);
    });
    $('offer-reject').addEventListener('click', () => this.#setOffer(null));
    addEventListener('hashchange', () => this.takeFragment());
  }

  /** What stands between the person and the chat; null: nothing. */
  showProblem(text) {
    $('sign-in-problem').textContent = text ?? '';
  }

  // A fragment is not sent to any server, a query would stand in logs. It leaves the address, which people copy.
  takeFragment() {
    const token = new URLSearchParams(location.hash.slice(1)).get('token');
    if (token === null) return;
    history.replaceState(null, '', location.pathname);
    if (token !== this.#tokenInUse()) this.#setOffer(token);
  }

  // Anybody can make a link with a token of his own, and would read what is written under it. So a token of the address
  // connects nobody, and replaces nobody's connection, before the person has agreed to it. The focus stays where it is: an
  // Enter that was meant for a message must not be that agreement.
  #setOffer(token) {
    this.#offered = token;
    $('offer').hidden = !token;
    if (!token) return;
    const claims = claimsOf(token);
    // A name can be anybody's; the `sub` tells users apart.
    const isPlain = nameOf(claims) === String(claims.sub);
    $('offer-user').textContent = isPlain ? claims.sub : `${nameOf(claims)} (${claims.sub})`;
  }

  async #signInAs(name) {
    if (name === '') return;
    this.showProblem(null);
    const { token, error } = await askForToken(name);
    if (token) this.#onToken(token);
    else this.showProblem(`The server does not let ${name} in: ${error.message}.`);
  }
}

async function askForToken(name) {
  try {
    const response = await fetch(`/dev/token?${new URLSearchParams({ name })}`, { method: 'POST', headers: MARK });
    return await response.json();
  } catch {
    return { error: { message: 'it does not answer' } };
  }
}
