/** A proxy before the real service that does to chosen answers what networks and failing services do. */

import { createServer, request, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";

import { OPEN_PORT } from "./places";

type Handle = (asked: IncomingMessage, answer: ServerResponse, pass: () => void) => void;

export class Proxy {
  /** Answers itself, or passes on. */
  handle: Handle = (asked, answer, pass) => pass();
  /** Bytes of an answer to /v1/caption after which the connection is cut; none where it is null. */
  cutAfter: number | null = null;
  url = "";
  private server: Server = createServer((asked, answer) => this.handle(asked, answer, () => this.pass(asked, answer)));

  async start(port = 0): Promise<this> {
    await new Promise<void>((resolve) => this.server.listen(port, "127.0.0.1", resolve));
    this.url = `http://127.0.0.1:${(this.server.address() as AddressInfo).port}`;
    return this;
  }

  async stop(): Promise<void> {
    this.server.closeAllConnections();
    await new Promise((resolve) => this.server.close(resolve));
  }

  /** The same address again after `stop`. */
  async restart(): Promise<void> {
    const port = Number(new URL(this.url).port);
    this.server = createServer((asked, answer) => this.handle(asked, answer, () => this.pass(asked, answer)));
    await this.start(port);
  }

  private pass(asked: IncomingMessage, answer: ServerResponse): void {
    const { method, url, headers } = asked;
    const onward = request({ host: "127.0.0.1", port: OPEN_PORT, method, path: url, headers }, (found) => {
      answer.writeHead(found.statusCode ?? 502, found.headers);
      const most = this.cutAfter !== null && url === "/v1/caption" ? this.cutAfter : Infinity;
      let sent = 0;
      found.on("data", (piece: Buffer) => {
        const left = most - sent;
        if (piece.length <= left) answer.write(piece);
        else answer.write(piece.subarray(0, left), () => setTimeout(() => answer.destroy(), 200));
        sent += piece.length;
      });
      found.on("end", () => sent > most || answer.end());
    });
    onward.on("error", () => answer.destroy());
    asked.pipe(onward);
  }
}
