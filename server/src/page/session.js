// What outlives a reload of the page: in this tab, who one is, and the rooms with what was read in them; in this browser,
// light or dark. All of it is gone when somebody signs out.

const KEY = 'chat';

/** `{ token, userId, rooms: { id: lastRead }, current }`, or null. */
export function load() {
  try {
    const session = JSON.parse(sessionStorage.getItem(KEY));
    return typeof session?.token === 'string' && typeof session.rooms === 'object' ? session : null;
  } catch {
    return null; // nothing that this page wrote, or storage is switched off
  }
}

export function save(token, chat) {
  const rooms = Object.fromEntries([...chat.rooms.values()].map(({ id, lastRead }) => [id, lastRead]));
  const session = { token, userId: chat.me.userId, rooms, current: chat.current?.id };
  attempt(() => sessionStorage.setItem(KEY, JSON.stringify(session)));
}

export const forget = () => attempt(() => sessionStorage.removeItem(KEY));

export const theme = () => attempt(() => localStorage.getItem('theme'));

export const setTheme = (name) => attempt(() => localStorage.setItem('theme', name));

function attempt(action) {
  try {
    return action();
  } catch {
    return null;
  }
}
