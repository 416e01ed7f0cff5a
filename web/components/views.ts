import { lazy, type ComponentType } from "react";

import { DescribeView } from "@/components/describe/describe-view";
import { PictureIcon, PointIcon, QuestionIcon, SearchIcon } from "@/components/ui/icons";
import type { Strings } from "@/lib/strings";

export type ViewId = Exclude<keyof Strings["views"], "label">;

type View = { id: ViewId; Icon: ComponentType<{ className?: string }>; Content: ComponentType };

// Not of the first load.
const AskView = lazy(() => import("@/components/ask/ask-view"));
const WhereView = lazy(() => import("@/components/where/where-view"));
const FindView = lazy(() => import("@/components/find/find-view"));

/** All that the page can do. A row here, with its name in `strings.views`, is a view: navigation and address follow. */
export const VIEWS: readonly View[] = [
  { id: "describe", Icon: PictureIcon, Content: DescribeView },
  { id: "ask", Icon: QuestionIcon, Content: AskView },
  { id: "where", Icon: PointIcon, Content: WhereView },
  { id: "find", Icon: SearchIcon, Content: FindView },
];

export const addressOf = (id: ViewId): string => `#${id}`;
