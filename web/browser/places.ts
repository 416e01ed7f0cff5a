/** Where the tests' services are, and what opens them. */

import { createHash } from "node:crypto";

export const OPEN_PORT = 8731;
export const LOCKED_PORT = 8732;
export const PHONE_PORT = 8733;
export const OPEN = `http://127.0.0.1:${OPEN_PORT}`;
export const PHONE = `http://127.0.0.1:${PHONE_PORT}`;
export const LOCKED = `http://127.0.0.1:${LOCKED_PORT}`;

export const KEY = `ob_${"browser-tests-".repeat(3)}x`;
export const KEYS_FILE = `tests ${createHash("sha256").update(KEY).digest("hex")}\n`;
