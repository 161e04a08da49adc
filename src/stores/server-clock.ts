import { sharedByCopies } from '../base/copies.ts';
import { currentShape } from '../script/call-shape.ts';
import type { Clock } from '../base/clock.ts';
import type { Connection } from '../redis/connection/connection.ts';
import { monotonicMs } from '../base/timers.ts';
import type { LocalView } from './local-view.ts';
import type { AskedServer, Call, Skew } from './store.ts';

/** Most times that one call is replanned: once is enough unless the server's clock steps meanwhile. */
const MAX_REPLANS = 3;

/**
 * The clock of the server at the other end of a connection, carried on from its last reply. This process's own wall clock
 * may be wrong by any amount, so it is used only until the first reply.
 */
export class Server implements AskedServer, Clock {
  readonly #connection: Connection<Call>;
  /** Undefined unless a limiter decides by itself what this server has told. */
  local: LocalView<Call> | undefined;
  #heardMicros: number | undefined;
  /** When `#heardMicros` was set, on this process's monotonic clock. */
  #heardAtMs = 0;

  constructor(connection: Connection<Call>) {
    this.#connection = connection;
  }

  nowMicros(): number {
    return this.#heardMicros === undefined
      ? Date.now() * 1_000
      : this.#heardMicros + Math.floor((monotonicMs() - this.#heardAtMs) * 1_000);
  }

  /** Notes the server's time; on a cluster that of the node that answered last. */
  heard(nowMicros: number, sentAtMs: number, node: string): void {
    this.#heardMicros = nowMicros;
    this.#heardAtMs = monotonicMs();
    this.local?.anchors.heard(node, nowMicros, Math.floor(sentAtMs * 1_000));
  }

  /** Sends a call. Replans windows that have passed, which happens in a refund. */
  submit(call: Call): void {
    call.server = this;
    call.shape = currentShape(call.shape, this);
    this.local?.submitted(call);
    this.#connection.submit(call);
  }

  askAgain(call: Call, { nowMicros, tookMs, shapes }: Skew): boolean {
    const leftMs = Math.floor(call.timeoutMs - tookMs);
    if (leftMs < 1 || call.replans >= MAX_REPLANS) {
      return false;
    }
    let shape = shapes.get(call.shape);
    if (shape === undefined) {
      shape = currentShape(call.shape, { nowMicros: () => nowMicros });
      shapes.set(call.shape, shape);
    }
    if (shape === call.shape) {
      return false;
    }
    call.replans += 1;
    call.shape = shape;
    call.timeoutMs = leftMs;
    this.#connection.submit(call);
    return true;
  }
}

const servers = sharedByCopies('servers', () => new WeakMap<Connection<Call>, Server>());

/** One server per connection, so that limiters that share the connection share its clock. */
export function serverOf(connection: Connection<Call>): Server {
  let server = servers.get(connection);
  if (server === undefined) {
    server = new Server(connection);
    servers.set(connection, server);
  }
  return server;
}
