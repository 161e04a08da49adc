import { currentShape } from '../script/call-shape.ts';
import type { Clock } from '../base/clock.ts';
import type { Connection } from '../redis/connection/connection.ts';
import { monotonicMs } from '../base/timers.ts';
import type { AskedServer, Call, Skew } from './store.ts';

/** So often one call is planned anew at most: once is enough unless the server's clock steps meanwhile. */
const MAX_REPLANS = 3;

/**
 * The server at the other end of a connection: its clock, as far as its last reply tells. This process's own wall clock
 * may be wrong by anything, so it stands in only until there is a reply.
 */
export class Server implements AskedServer, Clock {
  readonly #connection: Connection<Call>;
  #heardMicros: number | undefined;
  /** When that was heard, on this process's monotonic clock. */
  #heardAtMs = 0;

  constructor(connection: Connection<Call>) {
    this.#connection = connection;
  }

  nowMicros(): number {
    return this.#heardMicros === undefined
      ? Date.now() * 1_000
      : this.#heardMicros + Math.floor((monotonicMs() - this.#heardAtMs) * 1_000);
  }

  /** On a cluster it is the time of the node that answered last. */
  heard(nowMicros: number): void {
    this.#heardMicros = nowMicros;
    this.#heardAtMs = monotonicMs();
  }

  /** Sends a call. Plans of windows that have passed, in a refund, are made anew beforehand. */
  submit(call: Call): void {
    call.server = this;
    call.shape = currentShape(call.shape, this);
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

const servers = new WeakMap<Connection<Call>, Server>();

/** One for each connection: limiters that share it share what it has told. */
export function serverOf(connection: Connection<Call>): Server {
  let server = servers.get(connection);
  if (server === undefined) {
    server = new Server(connection);
    servers.set(connection, server);
  }
  return server;
}
