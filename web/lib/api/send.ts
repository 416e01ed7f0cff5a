/**
 * One request to the service, with how much of it is sent and what has come back so far.
 *
 * XMLHttpRequest, since fetch does not tell the progress of an upload. A few at a time: a browser opens six connections
 * to a host, and the page's other questions shall not wait behind a folder of pictures.
 */

import { errorOf, ServiceError } from "@/lib/api/errors";
import { readKey } from "@/lib/api/key";
import type { Path } from "@/lib/api/schemas";

const AT_ONCE = 3;
const TIMEOUT_MS = 120_000;

export type Told = {
  onTurn?: () => void;
  onSent?: (share: number) => void;
  onText?: (soFar: string) => void;
  signal?: AbortSignal;
  /** Else POST with a form, and GET without one. */
  method?: "DELETE";
};

/** The answer's text. Raises ServiceError, and an AbortError where the signal says so. */
export async function send(path: Path, form: FormData | null, told: Told = {}): Promise<string> {
  await turn(told.signal);
  try {
    told.onTurn?.();
    return await exchange(path, form, told);
  } finally {
    running -= 1;
    waiting.shift()?.();
  }
}

let running = 0;
const waiting: (() => void)[] = [];

function turn(signal?: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    const start = () => {
      signal?.removeEventListener("abort", giveUp);
      running += 1;
      resolve();
    };
    const giveUp = () => {
      const place = waiting.indexOf(start);
      if (place >= 0) waiting.splice(place, 1);
      reject(aborted());
    };
    if (signal?.aborted) return reject(aborted());
    if (running < AT_ONCE) return start();
    waiting.push(start);
    signal?.addEventListener("abort", giveUp);
  });
}

function exchange(path: Path, form: FormData | null, told: Told): Promise<string> {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    request.open(told.method ?? (form ? "POST" : "GET"), path);
    request.timeout = TIMEOUT_MS;
    const key = readKey();
    if (key) request.setRequestHeader("Authorization", `Bearer ${key}`);
    request.upload.onprogress = (event) => event.lengthComputable && told.onSent?.(event.loaded / event.total);
    const good = () => request.status >= 200 && request.status < 300;
    let begun = false; // Chromium sets the status back to 0 when a connection breaks
    request.onreadystatechange = () => (begun ||= request.status > 0);
    request.onprogress = () => good() && told.onText?.(request.responseText);
    request.onload = () => {
      if (good()) resolve(request.responseText);
      else reject(errorOf(request.status, request.responseText, request.getResponseHeader("retry-after")));
    };
    request.onerror = () => reject(new ServiceError(begun ? "broken" : "unreachable"));
    request.ontimeout = () => reject(new ServiceError("broken"));
    request.onabort = () => reject(aborted());
    told.signal?.addEventListener("abort", () => request.abort());
    request.send(form);
  });
}

/** The bytes of a picture; beside what `send` has in hand, since a gallery asks for many. Raises as that does. */
export async function load(path: Path, signal?: AbortSignal): Promise<Blob> {
  const key = readKey();
  let answer;
  let blob;
  try {
    answer = await fetch(path, { headers: key ? { Authorization: `Bearer ${key}` } : {}, signal });
    blob = await answer.blob();
  } catch (error) {
    throw signal?.aborted ? error : new ServiceError(answer ? "broken" : "unreachable");
  }
  if (!answer.ok) throw errorOf(answer.status, await blob.text(), answer.headers.get("retry-after"));
  return blob;
}

const aborted = () => new DOMException("given up", "AbortError");
