// Files that go with messages, in `context.files`: `{ name, type, width?, height?, data }`, `data` being an `ArrayBuffer`.
// That is this page's own custom: the server passes on whatever is in `context`.

const EDGES = [1600, 1280, 1024, 800, 640, 480, 320]; // px; a picture that is too large is made smaller
const QUALITY = 0.8;
const MAX_NAME = 80; // characters; the JSON of a context has its limit too
const MAX_SHOWN = 10; // of one message

// What the first bytes say. A type that somebody claims may be one that runs scripts.
const SIGNATURES = [
  ['image/png', /^\x89PNG\r\n\x1a\n/],
  ['image/jpeg', /^\xff\xd8\xff/],
  ['image/gif', /^GIF8[79]a/],
  ['image/webp', /^RIFF[^]{4}WEBP/],
  ['image/avif', /^[^]{4}ftypavi[fs]/],
];

/** The type of a picture that the page shows, or null for any other file. */
export function pictureType(data) {
  const start = String.fromCharCode(...new Uint8Array(data, 0, Math.min(16, data.byteLength)));
  return SIGNATURES.find(([, signature]) => signature.test(start))?.[0] ?? null;
}

/**
 * Makes `File`s ready to send. `room` is what is left of the server's limits: `{ count, bytes }`. Returns
 * `{ files, problem }`: what may go, and why something may not, or null.
 */
export async function prepare(given, room) {
  const files = [];
  let problem = given.length > room.count ? `At most ${room.count} more ${room.count === 1 ? 'file' : 'files'} fit.` : null;
  const taken = given.slice(0, room.count);
  let bytes = room.bytes;
  for (const [index, file] of taken.entries()) {
    // What one file does not need is left for the others.
    const prepared = await fit(file, Math.floor(bytes / (taken.length - index)), bytes);
    if (prepared) {
      files.push(prepared);
      bytes -= prepared.data.byteLength;
    } else problem = `“${file.name}” is too large: there is room for ${sizeText(room.bytes)} in this message.`;
  }
  return { files, problem };
}

// A picture may take its share, any other file all that is left.
async function fit(file, share, left) {
  const name = [...file.name].slice(0, MAX_NAME).join('') || 'file';
  const picture = await createImageBitmap(file).catch(() => null);
  if (!picture) return file.size <= left ? { name, type: file.type.slice(0, MAX_NAME), data: await file.arrayBuffer() } : null;
  const { width, height } = picture;
  if (file.size <= share) return { name, type: file.type, width, height, data: await file.arrayBuffer() };
  for (const edge of EDGES) {
    const small = await shrink(picture, edge);
    if (small.blob && small.blob.size <= share) {
      const { blob, ...size } = small;
      const ending = blob.type.slice('image/'.length);
      return { name: `${name.replace(/\.\w+$/, '')}.${ending}`, type: blob.type, ...size, data: await blob.arrayBuffer() };
    }
  }
  return null;
}

async function shrink(picture, edge) {
  const scale = Math.min(1, edge / Math.max(picture.width, picture.height));
  const canvas = document.createElement('canvas');
  canvas.width = Math.max(1, Math.round(picture.width * scale));
  canvas.height = Math.max(1, Math.round(picture.height * scale));
  canvas.getContext('2d').drawImage(picture, 0, 0, canvas.width, canvas.height);
  // A browser that cannot write WebP writes PNG instead, which is no smaller.
  let blob = await toBlob(canvas, 'image/webp');
  if (blob?.type !== 'image/webp') blob = await toBlob(canvas, 'image/jpeg');
  return { blob, width: canvas.width, height: canvas.height };
}

const toBlob = (canvas, type) => new Promise((resolve) => canvas.toBlob(resolve, type, QUALITY));

/** The files of a message as anybody may have sent it: those that have this form, with what is missing filled in. */
export function filesOf({ context }) {
  const files = Array.isArray(context?.files) ? context.files : [];
  return files
    .filter((file) => file?.data instanceof ArrayBuffer)
    .slice(0, MAX_SHOWN)
    .map(({ name, width, height, data }) => ({
      name: typeof name === 'string' && name !== '' ? name.slice(0, 200) : 'file',
      ...sizeOf(width, height),
      data,
      picture: pictureType(data),
    }));
}

const sizeOf = (...size) => (size.every((edge) => edge >= 1 && edge <= 20_000) ? { width: size[0], height: size[1] } : {});

/** The text of a message that has files and no words of its own: the server takes no message without text. */
export const namesOf = (files) => files.map(({ name }) => name).join(', ');

export function sizeText(bytes) {
  if (bytes < 1024) return `${bytes} B`;
  return bytes < 1024 ** 2 ? `${Math.round(bytes / 1024)} KB` : `${(bytes / 1024 ** 2).toFixed(1)} MB`;
}

/** Saves a file under its name. As a type that no browser opens: the address of a blob counts as this page's own. */
export function save({ name, data }) {
  const link = document.createElement('a');
  link.href = URL.createObjectURL(new Blob([data], { type: 'application/octet-stream' }));
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}
