// Counts one suite's results: official-count.mjs NAME REPORT CODE. REPORT is the output of mocha's reporter `json`,
// CODE mocha's exit code. Fails unless every test ended, none failed, and mocha's exit code agrees.

import { existsSync, readFileSync } from 'node:fs';

const [name, path, code] = process.argv.slice(2);
if (!existsSync(path)) {
  console.log(`${name}: did not run to its end (exit code ${code})`);
  process.exit(1);
}
const { stats, failures, tests } = JSON.parse(readFileSync(path, 'utf8'));
for (const { fullTitle, err } of failures) {
  console.log(`${name}: FAILED ${fullTitle}: ${err.message ?? JSON.stringify(err)}`);
}
console.log(`${name}: ${stats.passes} passed, ${stats.failures} failed, ${stats.pending} pending (${stats.duration} ms)`);
// If a hook fails, the tests of its suite do not run: they count neither as passed nor as failed.
const ended = stats.passes + stats.failures + stats.pending;
const complete = ended === stats.tests && ended === tests.length && stats.passes > 0;
if (!complete) {
  console.log(`${name}: ${stats.tests} tests began, ${ended} have a result`);
}
process.exit(complete && stats.failures === 0 && code === '0' ? 0 : 1);
