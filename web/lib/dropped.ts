/** What was dropped or pasted -> files, those of folders too. Knows the browser's drag data, no pictures. */

const MOST_FILES = 100;

export type Found = { files: File[]; cut: boolean };

/** Must be called in the event itself: the browser takes the data back when that has ended. */
export function filesOf(data: DataTransfer): Promise<Found> {
  const entries = [...data.items].map((item) => item.webkitGetAsEntry?.() ?? null);
  const loose = [...data.files];
  if (!entries.some((entry) => entry?.isDirectory)) return Promise.resolve(first(loose));
  return walk(entries.filter((entry) => entry !== null));
}

export const first = (files: File[]): Found => ({ files: files.slice(0, MOST_FILES), cut: files.length > MOST_FILES });

/** A folder's files by name, its folders after them; hidden ones are left out. */
export async function walk(entries: FileSystemEntry[]): Promise<Found> {
  const files: File[] = [];
  const waiting = [...entries];
  while (waiting.length && files.length <= MOST_FILES) {
    const entry = waiting.shift();
    if (!entry || entry.name.startsWith(".")) continue;
    if (entry.isFile) {
      const file = await fileOf(entry as FileSystemFileEntry);
      if (file) files.push(file);
    } else {
      waiting.push(...(await inside(entry as FileSystemDirectoryEntry)));
    }
  }
  return first(files);
}

const fileOf = (entry: FileSystemFileEntry): Promise<File | null> =>
  new Promise((resolve) => entry.file(resolve, () => resolve(null)));

async function inside(folder: FileSystemDirectoryEntry): Promise<FileSystemEntry[]> {
  const reader = folder.createReader();
  const found: FileSystemEntry[] = [];
  for (;;) {
    // Chromium gives a hundred at a time.
    const some = await new Promise<FileSystemEntry[]>((resolve) => reader.readEntries(resolve, () => resolve([])));
    if (!some.length) break;
    found.push(...some);
  }
  return found.sort((a, b) => a.name.localeCompare(b.name, undefined, { numeric: true }));
}
