// The command `kill-nine`.

import { killNine } from './harness/kill-nine.mjs';

const runs = Number(process.argv[2] ?? 100);
const acked = await killNine(runs, console.log);
console.log(`${runs} runs: ${acked} acknowledged messages are in the history, each once, and every member got its rooms' history`);
process.exit(0);
