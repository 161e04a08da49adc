import type { NodeState } from '../../observe/stats.ts';
import type { PortState, RedisPort } from '../port.ts';
import { Lane } from './lane.ts';
import { servingNodes, slotOf } from './slot.ts';

/** The lanes of one connection: one per node on a cluster, a single one elsewhere. */
export class Lanes<C> {
  readonly #port: RedisPort;
  readonly #byNode = new Map<string, Lane<C>>();
  /** The lane of the last call: most calls follow another one to the same server. */
  #last: Lane<C> | undefined;
  #oneSlotPerCall: boolean;

  constructor(port: RedisPort) {
    this.#port = port;
    this.#oneSlotPerCall = port.nodeOf !== undefined;
  }

  /** The server turned out to be a cluster: from now on a script call has keys of one slot only. */
  separateSlots(): void {
    this.#oneSlotPerCall = true;
  }

  /** Whether a call whose keys are in several slots is refused. */
  get oneSlotPerCall(): boolean {
    return this.#oneSlotPerCall;
  }

  /** The slot that a call's batch must keep to; -1 if the server takes keys of several slots. */
  slotOf(key: string): number {
    return this.#oneSlotPerCall ? slotOf(key) : -1;
  }

  /** The lane of the node that serves this slot. */
  laneOf(slot: number): Lane<C> {
    const node = this.#port.nodeOf?.(slot) ?? '';
    if (node !== this.#last?.node) {
      this.#last = this.#byNode.get(node) ?? this.#addLane(node);
    }
    return this.#last;
  }

  /** The present state of each node that serves a slot; elsewhere than on a cluster of one node without a name. */
  statesIn(state: PortState): Readonly<Record<string, NodeState>> {
    this.#forgetGoneNodes();
    const states = [...this.#byNode].map(
      ([node, lane]) => [node, state === 'ready' ? stateOf(lane) : state] as const,
    );
    return states.length === 0 ? { '': state } : Object.fromEntries(states);
  }

  /** Whether a server has stopped answering. */
  readonly isSilent = (): boolean => [...this.#byNode.values()].some(({ isHung }) => isHung);

  /** Counts every server as answering. The next answer of each ends what was reported of it. */
  forgetTrouble(): void {
    for (const lane of this.#byNode.values()) {
      lane.forgetTrouble();
    }
  }

  /** Forgets the trouble of every server: what is reported from now on is the whole connection's state. */
  recovered(): void {
    for (const lane of this.#byNode.values()) {
      lane.answered();
    }
  }

  /** Gives up probes that were sent on a lost connection. */
  stopAsking(): void {
    for (const lane of this.#byNode.values()) {
      lane.asking = false;
    }
  }

  #addLane(node: string): Lane<C> {
    this.#forgetGoneNodes();
    const lane = new Lane<C>(node);
    this.#byNode.set(node, lane);
    return lane;
  }

  /** Drops lanes of nodes that serve no slot: they get no more calls, so no answer could end a hang. */
  #forgetGoneNodes(): void {
    const port = this.#port;
    const serving =
      this.#byNode.size === 0
        ? undefined
        : port.nodeOf && servingNodes((slot) => port.nodeOf?.(slot));
    if (serving !== undefined) {
      this.#last = undefined;
      for (const node of this.#byNode.keys()) {
        if (!serving.has(node)) {
          this.#byNode.delete(node);
        }
      }
    }
  }
}

function stateOf({ isHung, isLost }: Lane<unknown>): NodeState {
  if (isHung) {
    return 'hung';
  }
  return isLost ? 'away' : 'ready';
}
