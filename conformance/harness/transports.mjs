// The transports of a connection. The document's client is not changed for them. Only its line that imports `io` is
// replaced, by one that takes `io` (and the console to which the class writes) from here.

import { readFileSync } from 'node:fs';
import { io } from 'socket.io-client';

/** Options laid over those of the document; `upgrade` is the document's own: polling first, then WebSocket. */
export const TRANSPORTS = {
  polling: { transports: ['polling'] },
  websocket: { transports: ['websocket'] },
  upgrade: {},
};

const IMPORT = "import { io } from 'socket.io-client';\n";
const source = readFileSync(new URL('../source-document/chat-client.mjs', import.meta.url), 'utf8');
const bindings = new Map();

/** For the modules made by `chatClient` only: what stands behind `io` and `console` in module `number`. */
export function bind(number) {
  return bindings.get(number);
}

/**
 * The document's class `ChatClient`, its `io` bound to a transport, its `console` to `lines`, and with `options`
 * that the document does not name.
 */
export async function chatClient(transport, lines, options = {}) {
  const number = bindings.size;
  bindings.set(number, {
    io: (url, given) => io(url, { ...given, ...TRANSPORTS[transport], ...options }),
    console: { log: (...args) => lines.push(args), error: (...args) => lines.push(args) },
  });
  if (!source.startsWith(IMPORT)) {
    throw new Error('the document\'s client does not begin with its import');
  }
  const text = `import { bind } from '${import.meta.url}';\nconst { io, console } = bind(${number});\n${source.slice(IMPORT.length)}`;
  const module = await import(`data:text/javascript;charset=utf-8,${encodeURIComponent(text)}`);
  return module.ChatClient;
}
