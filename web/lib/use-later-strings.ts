/** The words of the views that are loaded later; apart from `useStrings`, so that the first load is without them. */

import { laterLanguages, type LaterStrings } from "@/lib/strings-later";
import { useTable } from "@/lib/use-strings";

export const useLaterStrings = (): LaterStrings => useTable(laterLanguages);
