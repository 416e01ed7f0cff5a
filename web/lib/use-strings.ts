/** The words in the person's language. The built page is in English, so the first render is too. */

import { useSyncExternalStore } from "react";

import { languages, stringsFor, type Strings } from "@/lib/strings";

const subscribe = (changed: () => void) => {
  window.addEventListener("languagechange", changed);
  return () => window.removeEventListener("languagechange", changed);
};

export const useStrings = (): Strings => useTable(languages);

/** Of these tables the one in the person's language. */
export const useTable = <T>(tables: Record<string, T>): T =>
  useSyncExternalStore(
    subscribe,
    () => stringsFor(tables, navigator.languages),
    () => tables.en as T,
  );
