/** The service's library: pages of it, searches in it, what is added and taken out. Knows the interface, no components. */

import { ServiceError } from "@/lib/api/errors";
import type { Added, LibraryImage, LibraryPage, Path, SearchResponse } from "@/lib/api/schemas";
import { send } from "@/lib/api/send";
import type { Picture } from "@/lib/pictures";

/** Of one page of the library, and the step by which a search is widened. */
export const PAGE = 60;
export const MOST_FOUND = 960; // the service gives 1,000

export const WEIGHTS = { picture: 0.2, both: 0.5, words: 0.8 } as const;
export type Weight = keyof typeof WEIGHTS;

/** What is typed and chosen. like: a picture of the library. */
export type Seek = {
  words: string;
  where: string;
  hybrid: boolean;
  weight: Weight;
  like: Pick<LibraryImage, "id" | "caption" | "name"> | null;
};

export const FIRST_SEEK: Seek = { words: "", where: "", hybrid: false, weight: "both", like: null };

/** Whether there is anything to look for; a filter alone narrows the gallery. */
export const isSearch = (seek: Seek, picture: Picture | null): boolean =>
  Boolean(seek.words.trim() || seek.like || picture);

export function searchForm(seek: Seek, picture: Picture | null, limit: number): FormData {
  const form = new FormData();
  const words = seek.words.trim();
  if (words) form.append("words", words);
  if (picture) form.append("images", picture.blob, "picture");
  else if (seek.like) form.append("like", seek.like.id);
  if (words && (picture || seek.like)) form.append("weight", String(WEIGHTS[seek.weight]));
  if (seek.where.trim()) form.append("where", seek.where.trim());
  if (words && seek.hybrid) form.append("hybrid", "true");
  form.append("limit", String(limit));
  return form;
}

export function pageAddress(where: string, after: string): Path {
  const query = new URLSearchParams({ limit: String(PAGE) });
  if (where.trim()) query.set("where", where.trim());
  if (after) query.set("after", after);
  return `/v1/images?${query}`;
}

/** A caption where there is one: names of added files are their hashes. */
export const titleOf = ({ caption, name }: { caption: string; name: string }): string => caption.trim() || name;

export const libraryPage = async (where: string, after: string, signal: AbortSignal): Promise<LibraryPage> =>
  parsed<LibraryPage>(await send(pageAddress(where, after), null, { signal }));

export const search = async (seek: Seek, picture: Picture | null, limit: number, signal: AbortSignal) =>
  parsed<SearchResponse>(await send("/v1/search", searchForm(seek, picture, limit), { signal }));

export const takeOut = (id: string): Promise<string> => send(`/v1/images/${id}`, null, { method: "DELETE" });

export type Adding = { phase: "waiting" } | { phase: "sending"; share: number } | { phase: "looking" } | Done;
type Done = { phase: "done"; created: boolean };

/** A picture into the library. The same one twice is there once, so that it may be tried again. */
export async function addPicture(
  file: Blob,
  isDescribed: boolean,
  tell: (step: Adding) => void,
  signal: AbortSignal,
): Promise<Adding> {
  const form = new FormData();
  form.append("images", file, "picture"); // its own name stays here
  if (isDescribed) form.append("caption", "true");
  tell({ phase: "waiting" });
  const onSent = (share: number) => tell(share < 1 ? { phase: "sending", share } : { phase: "looking" });
  const [result] = parsed<Added>(await send("/v1/images", form, { signal, onSent })).results;
  if (!result) throw new ServiceError("failed");
  if (result.error) throw new ServiceError("refused", result.error.detail, result.error.status, 0, result.error.code);
  return { phase: "done", created: result.created ?? false };
}

function parsed<T>(body: string): T {
  try {
    return JSON.parse(body) as T;
  } catch {
    throw new ServiceError("failed"); // not the service's
  }
}
