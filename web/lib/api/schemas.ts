/** The service's own types, by short names; generated from its OpenAPI document, and checked against it by `npm run check`. */

import type { components, paths } from "@/lib/api/schema";

type Schemas = components["schemas"];

export type CaptionResult = Schemas["CaptionResult"];
export type AnswerResult = Schemas["AnswerResult"];
export type PictureResult = Schemas["PictureResult"];
export type GroundingResult = Schemas["GroundingResult"];
export type Model = Schemas["Model"];
export type Problem = Schemas["Problem"];
export type Options = Partial<Schemas["_Options"]>;
export type Response = Schemas["Response"];
export type Models = Schemas["Models"];
export type LibraryImage = Schemas["LibraryImage"];
export type LibraryHit = Schemas["LibraryHit"];
export type LibraryPage = Schemas["LibraryImages"];
export type Added = Schemas["Added"];
export type SearchResponse = Schemas["SearchResponse"];
export type Path = keyof paths | `/v1/images?${string}` | `/v1/images/${string}`;

/** A growing caption's next words, as the stream of /v1/caption sends them. */
export type CaptionPiece = { text: string };
