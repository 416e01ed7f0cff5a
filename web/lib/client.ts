/** The one QueryClient: what is kept, what is asked again by itself, and what a tab remembers. */

import { dehydrate, hydrate, QueryCache, QueryClient, type Query } from "@tanstack/react-query";

import { passes, ServiceError } from "@/lib/api/errors";
import type { Growth } from "@/lib/captions";
import { READY } from "@/lib/queries";
import { recall, remember } from "@/lib/session";

const MOST_TRIES = 10;
const NAME = "results";

/** onKey: told that a key is needed. */
export function makeClient(onKey: () => void): QueryClient {
  const client = new QueryClient({
    queryCache: new QueryCache({
      onError: (error) => {
        if (!(error instanceof ServiceError)) return;
        if (error.kind === "key") onKey();
        if (error.kind === "unreachable" || error.kind === "broken") void client.invalidateQueries({ queryKey: READY });
      },
    }),
    defaultOptions: {
      queries: {
        staleTime: Infinity,
        gcTime: Infinity,
        networkMode: "always", // the service may be on this machine
        refetchOnWindowFocus: false,
        retry: (count, error) => error instanceof ServiceError && passes(error) && count < MOST_TRIES,
        retryDelay: (_, error) => (error instanceof ServiceError ? error.retryAfterS * 1000 : 1000),
      },
    },
  });
  return client;
}

export const hasFailedAs =
  (...kinds: ServiceError["kind"][]) =>
  (query: Query): boolean =>
    query.state.error instanceof ServiceError && kinds.includes(query.state.error.kind);

export function keepResults(client: QueryClient): void {
  remember(NAME, dehydrate(client, { shouldDehydrateQuery: isWhole }));
}

export function restoreResults(client: QueryClient): void {
  hydrate(client, recall(NAME) ?? {});
}

function isWhole({ queryKey: [kind], state }: Query): boolean {
  if (state.status !== "success") return false;
  return kind === "answers" || kind === "others" || (kind === "caption" && (state.data as Growth).phase === "done");
}
