// The command `cuts`.

import { cuts } from './harness/cuts.mjs';

const [clients, seconds] = process.argv.slice(2).map(Number);
const seen = await cuts({ clients: clients || undefined, seconds: seconds || undefined });
console.log(`${seen.clients} clients got all of ${seen.messages} messages, once and in order, over ${seen.cuts} cuts`);
console.log(`from a cut to the connection with what was missed: median ${seen.median} ms, p99 ${seen.p99} ms (the client's own back-off is 500 to ${seen.backOff} ms)`);
process.exit(0);
