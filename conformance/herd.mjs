// The command `herd`.

import { parseArgs } from 'node:util';

import { herd } from './harness/herd.mjs';

const { values } = parseArgs({
  options: {
    official: { type: 'string' },
    raw: { type: 'string' },
    descriptors: { type: 'string', default: '20000' },
    origin: { type: 'string', default: 'loopback' },
    recover: { type: 'string', default: 'true' },
    rounds: { type: 'string', default: '1' },
    set: { type: 'string', multiple: true, default: [] },
  },
});
const settings = Object.fromEntries(values.set.map((pair) => [pair.slice(0, pair.indexOf('=')), pair.slice(pair.indexOf('=') + 1)]));
const [rounds, descriptors] = [values.rounds, values.descriptors].map(Number);
for (const { official, raw } of herds(descriptors)) {
  console.log(`${official} official clients and ${raw} raw ones, origin ${values.origin}`);
  await herd({ official, raw, origin: values.origin, recover: values.recover === 'true', rounds, settings }, console.log);
}
process.exit(0);

/**
 * What was asked for; else 2,000 official clients and 19,000 raw ones. Where a process may not have as many descriptors as one herd of
 * all of them takes, there are two. An official client takes up to three while it connects.
 */
function herds(most) {
  if (values.official !== undefined || values.raw !== undefined) {
    return [{ official: Number(values.official ?? 0), raw: Number(values.raw ?? 0) }];
  }
  const [official, raw] = [2000, 19_000];
  const together = most - 3 * official - 1000;
  return together >= raw ? [{ official, raw }] : [{ official, raw: together }, { official: 0, raw: Math.min(raw, most - 1000) }];
}
