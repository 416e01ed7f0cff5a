/** Pictures as a tab keeps them: small copies that outlive a reload. Knows pictures and the tab's storage. */

import { smallCopy, type Picture } from "@/lib/pictures";
import type { Size } from "@/lib/scaling";
import { recall, rememberNewest } from "@/lib/session";

type Kept = { id: string; name: string; data: string; size: Size | null; original: Size | null };

const NAME = "pictures";
const SIDE = 640;
const MOST = 24;

const copies = new Map<string, Promise<string | null>>();

export async function keepPictures(pictures: readonly Picture[]): Promise<void> {
  const kept: Kept[] = [];
  for (const picture of pictures.slice(-MOST)) {
    const { id, name, size, original } = picture;
    if (!copies.has(id)) copies.set(id, smallCopy(picture, SIDE).catch(() => null));
    const data = await copies.get(id);
    if (data) kept.push({ id, name, data, size, original });
  }
  rememberNewest(NAME, kept);
}

export function keptPictures(): Picture[] {
  return (recall<Kept[]>(NAME) ?? []).flatMap(({ id, name, data, size, original }) => {
    const blob = blobOf(data);
    if (!blob) return [];
    copies.set(id, Promise.resolve(data));
    return [{ id, name, blob, preview: URL.createObjectURL(blob), size, original }];
  });
}

/** By hand, since the page's Content-Security-Policy does not let it fetch data: addresses. */
function blobOf(data: string): Blob | null {
  const [head = "", body = ""] = data.split(",");
  try {
    const bytes = Uint8Array.from(atob(body), (letter) => letter.charCodeAt(0));
    return new Blob([bytes], { type: head.slice(5).split(";")[0] });
  } catch {
    return null;
  }
}
