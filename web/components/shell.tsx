"use client";

import { useQueryClient } from "@tanstack/react-query";
import { Suspense, useEffect } from "react";

import { DropEverywhere } from "@/components/intake/drop-everywhere";
import { StatusChip } from "@/components/service/status";
import { Spinner } from "@/components/ui/spinner";
import { addressOf, VIEWS } from "@/components/views";
import { classes } from "@/lib/classes";
import { hasFailedAs } from "@/lib/client";
import { useReadiness } from "@/lib/queries";
import { useStrings } from "@/lib/use-strings";
import { useSeen, useView } from "@/lib/use-view";

const IDS = VIEWS.map(({ id }) => id);

export function Shell() {
  const strings = useStrings();
  const view = useView(IDS);
  const seen = useSeen(view);
  useRecovery();
  return (
    <>
      <a
        href="#content"
        onClick={(event) => {
          event.preventDefault(); // the fragment is the view's
          document.getElementById("content")?.focus();
        }}
        className="sr-only rounded-lg bg-accent px-4 py-2 text-on-accent focus:not-sr-only focus:absolute focus:top-2 focus:left-2 focus:z-50"
      >
        {strings.skip}
      </a>
      <header className="sticky top-0 z-10 border-b border-line bg-surface/95 backdrop-blur">
        <div className="mx-auto flex max-w-6xl flex-wrap items-center gap-x-6 px-4 lg:flex-nowrap">
          <p className="flex items-center gap-2 py-3 text-lg font-semibold tracking-tight">
            <Mark />
            {strings.title}
          </p>
          <nav aria-label={strings.views.label} className="order-last w-full lg:order-none lg:w-auto">
            <ul className="flex gap-1">
              {VIEWS.map(({ id, Icon }) => (
                <li key={id} className="flex-1 lg:flex-none">
                  <a
                    href={addressOf(id)}
                    aria-current={id === view ? "page" : undefined}
                    className={classes(
                      "-mb-px flex min-h-12 items-center justify-center gap-2 border-b-2 px-3 font-medium lg:min-h-14",
                      "max-sm:flex-col max-sm:gap-0.5 max-sm:px-1 max-sm:py-1 max-sm:text-sm",
                      id === view
                        ? "border-accent text-ink"
                        : "border-transparent text-muted hover:border-line hover:text-ink",
                    )}
                  >
                    <Icon />
                    {strings.views[id]}
                  </a>
                </li>
              ))}
            </ul>
          </nav>
          <div className="ml-auto">
            <StatusChip />
          </div>
        </div>
      </header>
      <main id="content" tabIndex={-1} className="mx-auto max-w-6xl px-4 py-6 outline-none sm:py-8">
        {VIEWS.filter(({ id }) => id === view || seen.includes(id)).map(({ id, Content }) => (
          // Hidden rather than gone: what is still being answered, and where one had scrolled to, stays.
          <div key={id} hidden={id !== view}>
            <Suspense fallback={<Spinner />}>
              <Content />
            </Suspense>
          </div>
        ))}
      </main>
      <DropEverywhere />
    </>
  );
}

/** Whatever found no service is asked again as soon as there is one. */
function useRecovery() {
  const client = useQueryClient();
  const { data } = useReadiness();
  useEffect(() => {
    if (data === "ready") void client.refetchQueries({ predicate: hasFailedAs("unreachable") });
  }, [client, data]);
}

function Mark() {
  return (
    <svg className="size-7" viewBox="0 0 32 32" aria-hidden="true">
      <rect width="32" height="32" rx="8" className="fill-accent" />
      <g className="fill-none stroke-on-accent" strokeWidth="2.5" strokeLinecap="round">
        <circle cx="16" cy="13" r="6" />
        <path d="M7 25h18M7 25h11" />
      </g>
    </svg>
  );
}
