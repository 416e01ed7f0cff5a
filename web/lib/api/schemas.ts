/** The service's own types, by short names; generated from its OpenAPI document, and checked against it by `npm run check`. */

import type { components, paths } from "@/lib/api/schema";

type Schemas = components["schemas"];

export type CaptionResult = Schemas["CaptionResult"];
export type AnswerResult = Schemas["AnswerResult"];
export type PictureResult = Schemas["PictureResult"];
export type Model = Schemas["Model"];
export type Problem = Schemas["Problem"];
export type Options = Partial<Schemas["_Options"]>;
export type Response = Schemas["Response"];
export type Models = Schemas["Models"];
export type Path = keyof paths;

/** A growing caption's next words, as the stream of /v1/caption sends them. */
export type CaptionPiece = { text: string };
