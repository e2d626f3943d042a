// What people are told of what went wrong. The server's own words are for whoever writes a client.

/** Why a token lets nobody in, by the code of the refusal; another token may help. */
const WRONG_TOKEN = {
  token_missing: 'A token is needed to sign in.',
  token_invalid: 'The token is not accepted: it was not made for this server, or is not whole.',
  token_expired: 'Your token has expired.',
  token_not_yet_valid: 'The token is not accepted yet: it is for a later time.',
  claims_invalid: 'The token is not accepted: it does not say what this server needs to know.',
};

/** Why somebody who is known stays outside, by code. */
const KEPT_OUT = {
  banned: 'You are banned from this chat.',
  too_many_connections: 'You are connected too many times. Close this chat in another window or on another device first.',
};

/** Requests that are refused, by code, where the server speaks of its protocol. */
const REFUSED = {
  room_invalid: "A room's name has 1 to 128 bytes, and no control characters.",
  room_forbidden: 'You may not enter this room.',
};

/** What is wrong with a token, or undefined: the code says something else. */
export const tokenProblem = (code) => WRONG_TOKEN[code];

/** Why there is no connection: `{ code?, reason }`. */
export const closedText = ({ code, reason }) => KEPT_OUT[code] ?? `Disconnected: ${reason}.`;

/** One sentence about something that was refused: `{ message, code?, retryAfter? }`. */
export function sentence({ message, code, retryAfter }) {
  if (REFUSED[code]) return REFUSED[code];
  const again = retryAfter ? ` Try again in ${Math.ceil(retryAfter / 1000)} s.` : '';
  const text = `${message.charAt(0).toUpperCase()}${message.slice(1)}`;
  return `${text.replace(/[^.!?]$/u, '$&.')}${again}`;
}
