/** Questions to the service as hooks; TanStack Query keeps what it answered. */

import { useQuery, useQueryClient, type QueryKey } from "@tanstack/react-query";

import { answers, caption, otherCaptions, type Growth } from "@/lib/captions";
import type { Wish } from "@/lib/asking";
import { regions } from "@/lib/grounding";
import type { Picture } from "@/lib/pictures";
import { models, queue, readiness } from "@/lib/service";

const OFTEN_MS = 2_000;
const SELDOM_MS = 15_000;

export const READY = ["ready"] as const;
export const MODELS = ["models"] as const;

export const useReadiness = () =>
  useQuery({
    queryKey: READY,
    queryFn: readiness,
    staleTime: 0,
    refetchOnWindowFocus: true,
    refetchInterval: ({ state }) => (state.data === "ready" ? SELDOM_MS : OFTEN_MS),
  });

export const useModels = (enabled: boolean) =>
  useQuery({ queryKey: MODELS, queryFn: ({ signal }) => models(signal), enabled });

export const useQueue = (enabled: boolean) =>
  useQuery({ queryKey: ["queue"], queryFn: queue, enabled, staleTime: 0, refetchInterval: OFTEN_MS });

/** The caption as it grows: its steps are the query's data. */
export function useCaption(picture: Picture, wish: Wish) {
  const client = useQueryClient();
  const queryKey = captionKey(picture, wish);
  return useQuery<Growth>({
    queryKey,
    queryFn: ({ signal }) =>
      caption(picture.blob, wish, (growth) => !signal.aborted && client.setQueryData(queryKey, growth), signal),
    structuralSharing: false,
  });
}

export const useOthers = (picture: Picture, wish: Wish, enabled: boolean) =>
  useQuery({
    queryKey: ["others", picture.id, wish.prompt.trim(), wish.length, wish.model],
    queryFn: ({ signal }) => otherCaptions(picture.blob, wish, signal),
    enabled,
  });

export const useAnswers = (picture: Picture, questions: readonly string[], model: string) =>
  useQuery({
    queryKey: ["answers", picture.id, questions, model],
    queryFn: ({ signal }) => answers(picture.blob, questions, model, signal),
  });

/** Where phrases are; without any, those of the caption. */
export const useRegions = (picture: Picture, phrases: readonly string[], model: string, enabled: boolean) =>
  useQuery({
    queryKey: ["regions", picture.id, phrases, model],
    queryFn: ({ signal }) => regions(picture.blob, phrases, model, !picture.preview, signal),
    enabled,
  });

/** A failed or waiting question, asked now. */
export function useAgain() {
  const client = useQueryClient();
  return async (queryKey: QueryKey) => {
    await client.cancelQueries({ queryKey });
    await client.refetchQueries({ queryKey });
  };
}

export const captionKey = (picture: Picture, wish: Wish): QueryKey => [
  "caption",
  picture.id,
  wish.prompt.trim(),
  wish.manner,
  wish.length,
  wish.model,
  wish.manner === "varied" ? wish.round : 0,
];
