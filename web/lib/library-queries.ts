/** The library as hooks; TanStack Query keeps pages, hits and thumbnails for as long as they may be shown. */

import {
  keepPreviousData,
  useInfiniteQuery,
  useMutation,
  useQueries,
  useQuery,
  useQueryClient,
  type QueryClient,
} from "@tanstack/react-query";

import { passes, ServiceError } from "@/lib/api/errors";
import type { LibraryImage, Path } from "@/lib/api/schemas";
import { load } from "@/lib/api/send";
import { addPicture, libraryPage, search, takeOut, type Adding, type Seek } from "@/lib/library";
import type { Picture } from "@/lib/pictures";

const THUMBNAIL_MS = 60_000;
const MOST_TRIES = 10;

/** A file that is being added, and whether it shall have a caption of the model's. */
export type Upload = { id: string; name: string; file: File; isDescribed: boolean };

export const useLibrary = (where: string) =>
  useInfiniteQuery({
    queryKey: ["library", where],
    queryFn: ({ pageParam, signal }) => libraryPage(where, pageParam, signal),
    initialPageParam: "",
    getNextPageParam: ({ after }) => after || undefined,
    placeholderData: keepPreviousData,
  });

export const useFound = (seek: Seek, picture: Picture | null, limit: number, enabled: boolean) =>
  useQuery({
    queryKey: ["found", { ...seek, like: seek.like?.id ?? "" }, picture?.id ?? "", limit],
    queryFn: ({ signal }) => search(seek, picture, limit, signal),
    enabled,
    placeholderData: keepPreviousData,
    gcTime: THUMBNAIL_MS,
  });

/** Fetched rather than named in <img>, which cannot send the key and does not tell why it failed. */
export const useThumbnail = (image: LibraryImage) =>
  useQuery({
    queryKey: ["thumbnail", image.thumbnail, image.sha256],
    queryFn: ({ signal }) => load(image.thumbnail as Path, signal),
    gcTime: THUMBNAIL_MS,
    structuralSharing: false,
  });

const addingKey = (upload: Upload) => ["adding", upload.id] as const;

export function useAdding(uploads: readonly Upload[]) {
  const client = useQueryClient();
  return useQueries({
    queries: uploads.map((upload) => ({
      queryKey: addingKey(upload),
      queryFn: ({ signal }: { signal: AbortSignal }): Promise<Adding> => {
        const tell = (step: Adding) => !signal.aborted && client.setQueryData(addingKey(upload), step);
        return addPicture(upload.file, upload.isDescribed, tell, signal);
      },
      structuralSharing: false,
    })),
  });
}

/** What is shown of the library is asked for again. */
export function renewLibrary(client: QueryClient): void {
  void client.invalidateQueries({ queryKey: ["library"] });
  void client.invalidateQueries({ queryKey: ["found"] });
}

const patience = {
  retry: (count: number, error: Error) => error instanceof ServiceError && passes(error) && count < MOST_TRIES,
  retryDelay: (_: number, error: Error) => (error instanceof ServiceError ? error.retryAfterS * 1000 : 1000),
};

export function useTakeOut(onDone: (image: LibraryImage) => void) {
  const client = useQueryClient();
  return useMutation({
    ...patience,
    networkMode: "always",
    mutationFn: async (image: LibraryImage) => {
      try {
        await takeOut(image.id);
      } catch (error) {
        if (!(error instanceof ServiceError && error.code === "no_picture")) throw error; // else it is gone already
      }
      return image;
    },
    onSuccess: (image) => {
      renewLibrary(client);
      onDone(image);
    },
  });
}

export const useOriginal = (onDone: (image: LibraryImage, picture: Blob) => void) =>
  useMutation({
    ...patience,
    networkMode: "always",
    mutationFn: async (image: LibraryImage) => ({ image, picture: await load(image.picture as Path) }),
    onSuccess: ({ image, picture }) => onDone(image, picture),
  });
