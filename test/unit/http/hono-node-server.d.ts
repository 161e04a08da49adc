/** Replaces the types of @hono/node-server (tsconfig.json), which expect a browser's WebSocket events. */
import type { IncomingMessage, Server, ServerResponse } from 'node:http';

type Fetch = (request: Request, env: object) => Response | Promise<Response>;

export function getRequestListener(
  fetch: Fetch,
  options?: { errorHandler?: (error: unknown) => Response },
): (incoming: IncomingMessage, outgoing: ServerResponse) => Promise<void>;

export function serve(
  options: { fetch: Fetch; port?: number; hostname?: string },
  listening?: (address: { port: number }) => void,
): Server;
