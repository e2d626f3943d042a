// What people are told of what went wrong.

/** One sentence about something that was refused: `{ message, retryAfter? }`. */
export function sentence({ message, retryAfter }) {
  const again = retryAfter ? ` Try again in ${Math.ceil(retryAfter / 1000)} s.` : '';
  const text = `${message.charAt(0).toUpperCase()}${message.slice(1)}`;
  return `${text.replace(/[^.!?]$/u, '$&.')}${again}`;
}
