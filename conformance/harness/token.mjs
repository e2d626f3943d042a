// Tokens that `chat-server token` does not make: expired, forged, incomplete.

import { createHmac } from 'node:crypto';

import { SECRET } from './server.mjs';

/** Seconds since the epoch, `offset` seconds from now. */
export function epoch(offset = 0) {
  return Math.floor(Date.now() / 1000) + offset;
}

const encode = (value) => Buffer.from(JSON.stringify(value)).toString('base64url');

/** A compact JWS with exactly these claims. */
export function sign(claims, { secret = SECRET, header = { alg: 'HS256', typ: 'JWT' }, hash = 'sha256' } = {}) {
  const input = `${encode(header)}.${encode(claims)}`;
  return `${input}.${createHmac(hash, secret).update(input).digest('base64url')}`;
}

/** A token without signature, `alg` none. */
export function unsigned(claims) {
  return `${encode({ alg: 'none', typ: 'JWT' })}.${encode(claims)}.`;
}
