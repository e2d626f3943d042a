// Programs of the system that the cases start: proxies and browsers.

import { existsSync } from 'node:fs';
import { delimiter, join } from 'node:path';

/** The path of a program, or undefined. Daemons are in directories that often only an administrator's PATH has. */
export function find(program) {
  const folders = [...(process.env.PATH ?? '').split(delimiter), '/usr/sbin', '/usr/local/sbin'];
  return folders.map((folder) => join(folder, program)).find((path) => existsSync(path));
}

/**
 * Ends a program, started as the leader of a group (`detached`), and the group at once. Asked to end, Apache waits up to ten
 * seconds for a WebSocket that it passes on.
 */
export function end(child) {
  try {
    process.kill(-child.pid, 'SIGKILL');
  } catch {
    // It has ended by itself.
  }
}
