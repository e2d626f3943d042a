// Tokens that `chat-server token` does not make: expired, forged, incomplete.

import { createHmac } from 'node:crypto';

import { SECRET } from './server.mjs';

/** Seconds since the epoch, `offset` seconds from now. */
export function epoch(offset = 0) {
  return Math.floor(Date.now() / 1000) + offset;
}

const encodeText = (text) => Buffer.from(text).toString('base64url');
const encode = (value) => encodeText(JSON.stringify(value));

/** A compact JWS with exactly these claims. */
export function sign(claims, options) {
  return signText(JSON.stringify(claims), options);
}

/** A compact JWS with exactly this payload. */
export function signText(payload, { secret = SECRET, header = { alg: 'HS256', typ: 'JWT' }, hash = 'sha256' } = {}) {
  const input = `${encode(header)}.${encodeText(payload)}`;
  return `${input}.${createHmac(hash, secret).update(input).digest('base64url')}`;
}

/** A token without signature, `alg` none. */
export function unsigned(claims) {
  return `${encode({ alg: 'none', typ: 'JWT' })}.${encode(claims)}.`;
}
