// Packets of Socket.IO v5 in the main namespace, to and from what a connection carries: one text, and a binary message for
// each attachment. No connection, no state but that of a packet whose attachments are still under way.

export const CONNECT = 0;
export const DISCONNECT = 1;
export const EVENT = 2;
export const ACK = 3;
export const CONNECT_ERROR = 4;
const BINARY = 3; // what is added to the type of an event or acknowledgement with attachments

// Type, attachments of the binary types, ack id, JSON.
const PACKET = /^([0-6])(?:(\d+)-)?(\d*)(.*)$/s;
const MAX_ATTACHMENTS = 100; // of one packet; the server sends ten at most

/** The messages of a packet `{ type, id?, data? }`: its text, then its attachments, each an `ArrayBuffer`. */
export function encode({ type, id = '', data }) {
  const attachments = [];
  const json = data === undefined ? '' : JSON.stringify(detach(data, attachments));
  const count = attachments.length;
  return [`${count ? `${type + BINARY}${count}-` : type}${id}${json}`, ...attachments];
}

// A copy with a placeholder for each `ArrayBuffer`, which goes to `attachments`.
function detach(value, attachments) {
  if (value instanceof ArrayBuffer) return { _placeholder: true, num: attachments.push(value) - 1 };
  if (Array.isArray(value)) return value.map((item) => detach(item, attachments));
  if (value === null || typeof value !== 'object') return value;
  return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, detach(item, attachments)]));
}

/** Puts packets together from messages. Its methods return a packet `{ type, id, data }`, or null if more is to come. */
export class Decoder {
  #packet = null; // waits for its attachments
  #missing = 0;
  #attachments = [];

  /** Throws at what is no packet, packets of other namespaces included. */
  text(text) {
    const [, type, count, id, json] = PACKET.exec(text);
    const packet = { type: Number(type), id: id === '' ? undefined : Number(id), data: json === '' ? undefined : JSON.parse(json) };
    if (this.#packet || '2356'.includes(type) !== Array.isArray(packet.data)) throw new SyntaxError('not a packet');
    if (packet.type < EVENT + BINARY) return packet;
    if (count === undefined || count > MAX_ATTACHMENTS) throw new SyntaxError('no number of attachments');
    packet.type -= BINARY;
    [this.#packet, this.#missing, this.#attachments] = [packet, Number(count), []];
    return this.#whole();
  }

  /** Throws at an attachment that no packet waits for. */
  binary(bytes) {
    if (!this.#packet) throw new SyntaxError('an attachment without a packet');
    this.#attachments.push(bytes);
    return this.#whole();
  }

  #whole() {
    if (this.#attachments.length < this.#missing) return null;
    const packet = this.#packet;
    packet.data = attach(packet.data, this.#attachments);
    this.#packet = null;
    return packet;
  }
}

function attach(value, attachments) {
  if (Array.isArray(value)) return value.map((item) => attach(item, attachments));
  if (value === null || typeof value !== 'object') return value;
  if (value._placeholder === true) return attachments[value.num];
  for (const [key, item] of Object.entries(value)) value[key] = attach(item, attachments);
  return value;
}
