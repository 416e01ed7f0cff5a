/** What a tab remembers when it is loaded again: pictures as small copies, words typed, answers. Knows sessionStorage. */

const PREFIX = "openblip.";

export function recall<T>(name: string): T | null {
  try {
    const text = window.sessionStorage.getItem(PREFIX + name);
    return text === null ? null : (JSON.parse(text) as T);
  } catch {
    return null;
  }
}

/** Whether there was room for it. */
export function remember(name: string, value: unknown): boolean {
  try {
    window.sessionStorage.setItem(PREFIX + name, JSON.stringify(value));
    return true;
  } catch {
    return false;
  }
}

/** As many of the newest as there is room for. */
export function rememberNewest<T>(name: string, values: readonly T[]): number {
  for (let kept = values.length; kept > 0; kept = Math.floor(kept / 2)) {
    if (remember(name, values.slice(-kept))) return kept;
  }
  remember(name, []);
  return 0;
}
