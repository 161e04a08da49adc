import type { RedisPort } from '../port.ts';
import type { ConnectionState } from './connection-state.ts';
import type { InFlight } from './in-flight.ts';
import type { Lanes } from './lanes.ts';
import type { Outage } from './outage.ts';
import type { QueuedCall } from './queued-call.ts';
import type { Script } from './script.ts';
import type { StoreCounts } from './store-counts.ts';

/** The parts of one connection that sending, and answering without a reply, share. */
export interface Parts<C extends QueuedCall> {
  readonly port: RedisPort;
  readonly script: Script<C>;
  /** The server's name in messages. */
  readonly name: string;
  readonly counts: StoreCounts;
  readonly lanes: Lanes<C>;
  readonly batches: InFlight<C>;
  readonly state: ConnectionState;
  readonly outage: Outage;
}
