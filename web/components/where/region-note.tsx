"use client";

import { ProblemNote } from "@/components/problem";
import { Bar } from "@/components/ui/bar";
import type { GroundingResult } from "@/lib/api/schemas";
import { thirdOf } from "@/lib/grounding";
import type { useRegions } from "@/lib/queries";
import { useLaterStrings } from "@/lib/use-later-strings";

/** In words what the picture shows; or what kept a phrase from being looked for. */
export function RegionNote({ region, asked }: { region: GroundingResult | undefined; asked: ReturnType<typeof useRegions> | null }) {
  const { where } = useLaterStrings();
  const problem = asked?.isFetching ? asked.failureReason : asked?.error;
  if (problem) return <ProblemNote error={problem} isRetried={asked?.isFetching} onAgain={() => void asked?.refetch()} />;
  if (!region) return null;
  const percent = 100 * region.probability;
  return (
    <section data-region={region.phrase} className="space-y-2 rounded-2xl border border-line bg-surface p-4">
      <p className="text-lg leading-snug break-words">
        <bdi className="font-semibold">{region.phrase}</bdi> <span className="text-muted">{where.at(...thirdOf(region))}</span>
      </p>
      <p className="flex flex-wrap items-center gap-x-3 gap-y-1 text-sm text-muted" title={where.sureAbout}>
        {where.sure}
        <Bar share={region.probability} label={where.sure} className="w-20" />
        <span className="tabular-nums">{percent > 0 && percent < 1 ? "< 1" : Math.round(percent)} %</span>
      </p>
      <p className="text-sm text-muted">
        {where.boxes(region.boxes.length)} {where.always}
      </p>
    </section>
  );
}
