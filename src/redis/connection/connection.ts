import type { RateLimiterError } from '../../base/errors.ts';
import { storeSubmits } from '../../observe/channels.ts';
import { liveStores } from '../../observe/stats-registry.ts';
import { UNNAMED_STORE } from '../../observe/store-warnings.ts';
import type { NodeState } from '../../observe/stats.ts';
import { answerInTurn } from '../../base/same-turn.ts';
import { monotonicMs } from '../../base/timers.ts';
import type { Batch, Starter } from './batch.ts';
import { ConnectionState } from './connection-state.ts';
import { Dispatcher } from './dispatcher.ts';
import { Gathering } from './gathering.ts';
import { InFlight } from './in-flight.ts';
import { Lanes } from './lanes.ts';
import { Outage } from './outage.ts';
import { outsideCallers } from './outside-callers.ts';
import type { Parts } from './parts.ts';
import type { RedisPort } from '../port.ts';
import type { QueuedCall } from './queued-call.ts';
import type { Script } from './script.ts';
import { Sender } from './sender.ts';
import { StoreCounts } from './store-counts.ts';
import { Unanswered } from './unanswered.ts';

/**
 * Gathers the calls of one turn of the event loop into batches, and sends each as one script call. Bounds calls in
 * flight, and answers each call exactly once. One per client, shared by all limiters on it.
 */
export class Connection<C extends QueuedCall> {
  readonly port: RedisPort;
  readonly #name: string;
  readonly #lanes: Lanes<C>;
  readonly #batches: InFlight<C>;
  readonly #state: ConnectionState;
  readonly #outage: Outage;
  readonly #gathering: Gathering<C>;
  readonly #dispatcher: Dispatcher<C>;
  readonly #unanswered: Unanswered<C>;
  readonly #endStats: () => void;

  constructor(port: RedisPort, script: Script<C>) {
    const name = port.address ?? UNNAMED_STORE;
    const counts = new StoreCounts(this);
    const lanes = new Lanes<C>(port);
    const state = new ConnectionState(port);
    const outage = new Outage(state, name);
    const batches = new InFlight<C>({ overdue: (batch) => this.#unanswered.overdue(batch) });
    this.port = port;
    this.#name = name;
    this.#lanes = lanes;
    this.#batches = batches;
    this.#state = state;
    this.#outage = outage;
    const parts: Parts<C> = { port, script, name, counts, lanes, batches, state, outage };
    const starter: Starter<C> = { start: (batch) => this.#start(batch) };
    const sender = new Sender(parts, starter);
    this.#gathering = new Gathering(script, starter);
    this.#dispatcher = new Dispatcher(parts, sender);
    this.#unanswered = new Unanswered(parts, sender);
    this.#endStats = liveStores.register(this, name, counts);
    state.follow(lanes.isSilent); // the initial state is no change to report
    port.onStateChange(this.#onPortChange);
  }

  /** Calls that the client has not settled yet. */
  get inFlight(): number {
    return this.#batches.calls;
  }

  /** The present state of each node that serves a slot; elsewhere than on a cluster of one node without a name. */
  get nodes(): Readonly<Record<string, NodeState>> {
    return this.#lanes.statesIn(this.#state.port);
  }

  /** Called before the connection is closed on purpose: its end is not reported, and its counts are complete. */
  end(): void {
    this.#outage.end();
    this.#dispatcher.end();
    this.#state.endStart();
    this.#endStats();
  }

  /** Sends the call with the others of this turn, or answers it in this turn. */
  submit(call: C): void {
    this.#follow();
    const state = this.#state;
    if (state.phase !== 'ready' && state.heldUntil(call.timeoutMs) <= monotonicMs()) {
      this.#refuse(call, this.#outage.awayError());
      return;
    }
    const overloaded = this.#batches.refusal(call.maxInFlight);
    if (overloaded !== undefined) {
      this.#refuse(call, overloaded);
      return;
    }
    const apart = this.#lanes.oneSlotPerCall ? call.slotsApart?.() : undefined;
    if (apart !== undefined) {
      this.#refuse(call, apart);
      return;
    }
    const slot = this.#lanes.slotOf(call.key);
    const lane = this.#lanes.laneOf(slot);
    const hung = lane.refusal(call.timeoutMs);
    if (hung !== undefined) {
      this.#refuse(call, hung);
      return;
    }
    if (storeSubmits.hasSubscribers) {
      call.submission = { store: this.#name };
      storeSubmits.publish(call.submission);
    }
    this.#gathering.add(lane, slot, call, this.#batches.addCall() === 1);
  }

  /** Answers a call in this turn, without sending it. */
  #refuse(call: C, error: RateLimiterError): void {
    answerInTurn(() => call.fail(error));
  }

  #start(batch: Batch<C>): void {
    const state = this.#state;
    batch.lostMs = state.lostMs;
    this.#follow();
    const isReady = state.phase === 'ready';
    if (!isReady) {
      batch.dueAt = state.heldUntil(batch.timeoutMs);
      state.awaited();
    }
    this.#batches.add(batch);
    if (isReady) {
      this.#dispatcher.dispatch(batch);
    } else if (!state.isConnecting) {
      this.#batches.giveUp(batch, this.#outage.awayError());
    }
  }

  /** Reads the client's state, which may change before its listeners are called. */
  #follow(): void {
    if (this.#state.follow(this.#lanes.isSilent)) {
      outsideCallers(() => this.#onPhaseChange());
    }
  }

  #onPhaseChange(): void {
    if (this.#state.phase === 'ready') {
      this.#unanswered.onReady();
    } else {
      this.#unanswered.onLoss();
    }
  }

  /** Called by the port when its state or the time of its next attempt has changed. */
  readonly #onPortChange = (): void => {
    this.#follow();
    if (this.#state.isConnecting) {
      outsideCallers(() => this.#unanswered.holdUnsent());
    } else if (this.#state.phase === 'ready') {
      this.#outage.over();
      this.#lanes.forgetTrouble(); // a handshake was answered
    }
  };
}
