/** Which view the address names, and which it has named. */

import { useEffect, useState, useSyncExternalStore } from "react";

const subscribe = (changed: () => void) => {
  window.addEventListener("hashchange", changed);
  return () => window.removeEventListener("hashchange", changed);
};

/** The fragment, where it is one of these; else the first. */
export function useView<T extends string>(ids: readonly T[]): T {
  const first = ids[0] as T;
  const fragment = useSyncExternalStore(
    subscribe,
    () => window.location.hash.slice(1),
    () => first,
  );
  return ids.find((id) => id === fragment) ?? first;
}

/** Whether the fragment is this one. */
export const useShown = (id: string): boolean =>
  useSyncExternalStore(
    subscribe,
    () => window.location.hash.slice(1) === id,
    () => false,
  );

/** Those that were shown since the page was loaded; the first render, which is the export's, does not count. */
export function useSeen<T extends string>(view: T): readonly T[] {
  const [seen, setSeen] = useState<readonly T[]>([]);
  useEffect(() => {
    // When the fragment has been read: the effect of the export's own view is undone before this comes.
    const timer = window.setTimeout(() => setSeen((now) => (now.includes(view) ? now : [...now, view])));
    return () => window.clearTimeout(timer);
  }, [view]);
  return seen;
}
