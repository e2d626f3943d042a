// Rewrites the package.json of a copy of a client's package so that npm can install the copy alone:
// official-client.mjs CHECKOUT PACKAGE PACKAGE_JSON. It lists every package that the client's sources and tests use, in the
// version that the checkout's lock file names; packages of the checkout itself get the version they have there.

import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

const [checkout, own, path] = process.argv.slice(2);
const read = (...parts) => JSON.parse(readFileSync(join(...parts), 'utf8'));
const { packages } = read(checkout, 'package-lock.json');
const client = read(path);

/** What the build and the tests need beside the client's own dependencies; the root of the checkout has them for all. */
const TOOLS = {
  'engine.io-client': ['typescript', '@types/node', '@types/debug', 'mocha', 'expect.js', '@sinonjs/fake-timers'],
  'socket.io-client': [
    'typescript', 'tsx', '@types/node', '@types/debug', 'mocha', 'expect.js', '@sinonjs/fake-timers',
    'has-cors', 'text-blob-builder', 'base64-arraybuffer',
  ],
};

function version(name) {
  const entry = packages[`packages/${own}/node_modules/${name}`] ?? packages[`node_modules/${name}`];
  const found = entry?.link ? read(checkout, entry.resolved, 'package.json').version : entry?.version;
  if (!found) {
    throw new Error(`the checkout names no version of ${name}`);
  }
  return found;
}

const pinned = (names) => Object.fromEntries(names.map((name) => [name, version(name)]));
client.dependencies = pinned(Object.keys(client.dependencies));
client.devDependencies = pinned(TOOLS[own]);
writeFileSync(path, `${JSON.stringify(client, null, 2)}\n`);
