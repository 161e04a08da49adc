import { AsyncResource } from 'node:async_hooks';
import { RateLimiterError, StoreError } from '../../base/errors.ts';
import type { StoreFailure } from '../../base/errors.ts';
import { endStoreCall, storeCalls, storeSubmits } from '../../observe/channels.ts';
import { liveStores } from '../../observe/stats-registry.ts';
import { UNNAMED_STORE } from '../../observe/store-warnings.ts';
import type { NodeState } from '../../observe/stats.ts';
import type { StoreSubmission } from '../../observe/messages.ts';
import { answerInTurn } from '../../base/same-turn.ts';
import { openingMs } from '../../base/opening.ts';
import { monotonicMs, nextTick, setImmediate, setTimeout } from '../../base/timers.ts';
import { causeOf } from './clean-cause.ts';
import { ConnectionState } from './connection-state.ts';
import { InFlight } from './in-flight.ts';
import { Lane } from './lane.ts';
import type { Batch } from './lane.ts';
import { Lateness } from './lateness.ts';
import { Outage } from './outage.ts';
import type { RedisPort } from '../port.ts';
import { Pulse } from './pulse.ts';
import type { QueuedCall } from './queued-call.ts';
import type { Script } from './script.ts';
import { servingNodes, slotOf } from './slot.ts';
import { StoreCounts } from './store-counts.ts';

/** After this many deadlines without an answer of the client a batch no longer counts as in flight. */
const WRITE_OFF_AFTER = 10;
/** Milliseconds before a batch is resent: moving a slot takes as long as copying its keys. */
const TRY_AGAIN_MS = 20;
/** `CROSSSLOT`, or the words of a proxy before a cluster: `ERR eval/evalsha command keys must be in same slot`. */
const SEVERAL_SLOTS = /^CROSSSLOT|\bsame (?:hash )?slot\b/i;
/** Average calls per flush up to which the next call is sent at once, without waiting for others. */
const LONE_CALL_THRESHOLD = 1.5;
/** Weight of the last flush in that average. */
const LAST_FLUSH_WEIGHT = 1 / 8;

/**
 * The hash of no script, to ask whether a server is there: it answers `NOSCRIPT`. Every user of the library may run this
 * command, and it charges nothing and leaves nothing in the script cache.
 */
const NO_SCRIPT = '0'.repeat(40);

type NewBatch<C> = Pick<Batch<C>, 'lane' | 'slot' | 'encoded' | 'sentAt' | 'dueAt' | 'timeoutMs'>;

/** Calls are sent outside any caller's async context, so that no timer or socket keeps one alive. */
const outside = new AsyncResource('distributed-rate-limiter');

/**
 * Gathers the calls of one turn of the event loop into batches, sends each as one script call, bounds calls in flight,
 * and answers each call exactly once. One per client, shared by all limiters on it.
 */
export class Connection<C extends QueuedCall> {
  readonly port: RedisPort;
  readonly #name: string;
  readonly #counts = new StoreCounts(this);
  readonly #endStats: () => void;
  readonly #script: Script<C>;
  /** Node -> lane on a cluster; a single lane elsewhere. */
  readonly #lanes = new Map<string, Lane<C>>();
  readonly #dirty = new Set<Lane<C>>();
  readonly #batches = new InFlight<C>({ overdue: (batch) => this.#expire(batch) });
  readonly #state: ConnectionState;
  readonly #pulse = new Pulse();
  /** Measured until the server has answered, or failed to, for the first time. */
  readonly #lateness = new Lateness();
  #starting = true;
  readonly #outage: Outage;
  /** True on a cluster, also one that looked like a plain server: a script call may then only have keys of one slot. */
  #oneSlotPerCall: boolean;
  #calls = 0;
  #flushScheduled = false;
  /** Moving average of calls per flush. */
  #averageFlush = 1;
  #overloaded: StoreError | undefined;

  constructor(port: RedisPort, script: Script<C>) {
    this.port = port;
    this.#script = script;
    this.#oneSlotPerCall = port.nodeOf !== undefined;
    this.#name = port.address ?? UNNAMED_STORE;
    this.#state = new ConnectionState(port);
    this.#outage = new Outage(this.#state, this.#name);
    this.#endStats = liveStores.register(this, this.#name, this.#counts);
    this.#state.follow(this.#isSilent); // the initial state is no change to report
    port.onStateChange(this.#onPortChange);
  }

  /** Calls that the client has not settled yet. */
  get inFlight(): number {
    return this.#calls;
  }

  /** The present state of each node that serves a slot; elsewhere than on a cluster of one node without a name. */
  get nodes(): Readonly<Record<string, NodeState>> {
    this.#forgetGoneNodes();
    const state = this.#state.port;
    const lanes = [...this.#lanes].map(
      ([node, lane]) => [node, state === 'ready' && lane.isHung ? 'hung' : state] as const,
    );
    return lanes.length === 0 ? { '': state } : Object.fromEntries(lanes);
  }

  /** Called before the connection is closed on purpose: its end is not reported, and its counts are complete. */
  end(): void {
    this.#outage.end();
    this.#pulse.end();
    this.#lateness.stop();
    this.#endStats();
  }

  /** Sends the call with the others of this turn, or answers it in this turn. */
  submit(call: C): void {
    this.#follow();
    if (this.#state.phase !== 'ready' && this.#heldUntil(call.timeoutMs) <= monotonicMs()) {
      this.#refuse(call, this.#outage.awayError());
      return;
    }
    if (this.#calls >= call.maxInFlight) {
      this.#refuse(call, this.#overloadedError(call.maxInFlight));
      return;
    }
    const slot = this.#oneSlotPerCall ? slotOf(call.key) : -1;
    const lane = this.#laneOf(slot);
    const hung = lane.refusal(call.timeoutMs);
    if (hung !== undefined) {
      this.#refuse(call, hung);
      return;
    }
    if (storeSubmits.hasSubscribers) {
      const submission: StoreSubmission = { store: this.#name };
      call.submission = submission;
      storeSubmits.publish(submission);
    }
    lane.enqueue(slot, call);
    this.#dirty.add(lane);
    this.#calls += 1;
    if (!this.#flushScheduled) {
      this.#flushScheduled = true;
      // A lone call does not wait for others that the sockets of this poll may bring. Under load it must wait: the first
      // call of a poll would leave the others behind and cost a script call of its own.
      if (this.#calls === 1 && this.#averageFlush <= LONE_CALL_THRESHOLD) {
        nextTick(this.#flush);
      } else {
        setImmediate(this.#flush);
      }
    }
  }

  get #isConnecting(): boolean {
    const { phase } = this.#state;
    return phase === 'opening' || phase === 'reopening';
  }

  #heldUntil(timeoutMs: number): number {
    return this.#state.heldUntil(timeoutMs, this.#lateness.lostMs);
  }

  /** Answers a call in this turn, without sending it. */
  #refuse(call: C, error: RateLimiterError): void {
    answerInTurn(() => call.fail(error));
  }

  #laneOf(slot: number): Lane<C> {
    const node = this.port.nodeOf?.(slot) ?? '';
    let lane = this.#lanes.get(node);
    if (lane === undefined) {
      this.#forgetGoneNodes();
      lane = new Lane(node);
      this.#lanes.set(node, lane);
    }
    return lane;
  }

  /** Drops lanes of nodes that serve no slot: they get no more calls, so no answer could end a hang. */
  #forgetGoneNodes(): void {
    const { port } = this;
    const serving =
      this.#lanes.size === 0
        ? undefined
        : port.nodeOf && servingNodes((slot) => port.nodeOf?.(slot));
    if (serving !== undefined) {
      for (const node of this.#lanes.keys()) {
        if (!serving.has(node)) {
          this.#lanes.delete(node);
        }
      }
    }
  }

  readonly #flush = (): void => {
    outside.runInAsyncScope(() => this.#sendQueued());
  };

  #sendQueued(): void {
    this.#flushScheduled = false;
    // A copy, because a hook that is called for a failure may make a call meanwhile.
    const lanes = [...this.#dirty];
    this.#dirty.clear();
    let flushed = 0;
    for (const lane of lanes) {
      for (const [slot, calls] of lane.takeQueue()) {
        flushed += calls.length;
        this.#makeBatches(lane, slot, calls);
      }
    }
    this.#averageFlush += LAST_FLUSH_WEIGHT * (flushed - this.#averageFlush);
  }

  #makeBatches(lane: Lane<C>, slot: number, calls: readonly C[]): void {
    // Deadlines start here, not when the call was made: the time between was spent by this process, and a blocked event
    // loop must not look like an outage.
    const now = monotonicMs();
    for (const mine of byDeadline(calls)) {
      const { timeoutMs } = mine[0]!;
      for (let from = 0; from < mine.length;) {
        const encoded = this.#script.encode(mine, from);
        const batch = { lane, slot, encoded, sentAt: now, dueAt: now + timeoutMs, timeoutMs };
        this.#start(batch, mine.slice(from, from + encoded.taken));
        from += encoded.taken;
      }
    }
  }

  #start(
    { lane, slot, encoded, sentAt, dueAt, timeoutMs }: NewBatch<C>,
    calls: readonly C[],
  ): void {
    // Written out: spreading an object would take half as long as all the rest of a lone call.
    const batch: Batch<C> = {
      lane,
      slot,
      calls,
      encoded,
      failed: undefined,
      size: calls.length,
      timeoutMs,
      sent: false,
      sentAt,
      dueAt,
      lostMs: this.#lateness.lostMs,
      graced: false,
      message: undefined,
    };
    this.#follow();
    const { phase } = this.#state;
    if (phase !== 'ready') {
      batch.dueAt = this.#heldUntil(timeoutMs);
    }
    if (this.#starting && phase === 'opening') {
      this.#lateness.start();
    }
    this.#batches.add(batch);
    if (phase === 'ready') {
      this.#dispatch(batch);
    } else if (!this.#isConnecting) {
      this.#answer(batch, this.#outage.awayError());
      this.#forget(batch);
    }
  }

  /** Sends a batch. After a pause of this process or of the traffic the server must first have answered a question. */
  #dispatch(batch: Batch<C>): void {
    const { lane } = batch;
    if (lane.heardSince(this.#pulse.traffic(batch.sentAt))) {
      this.#send(batch, 'EVALSHA');
    } else if (!lane.asking) {
      this.#ask(lane, batch.encoded.keys[0]!);
    }
  }

  /** Asks a server whether it is there, before batches are sent: a batch sent on a lost connection would be lost. */
  #ask(lane: Lane<C>, key: string, isRepeated = false): void {
    lane.asking = true;
    const told = (error: unknown, isAnswer: boolean): void => {
      lane.asking = false;
      if (isAnswer) {
        this.#noteAnswer(lane);
      }
      if (this.#state.port !== 'ready') {
        return; // the batches wait for the connection, or were answered
      }
      if (!isAnswer && !isRepeated) {
        // A client may refuse to write before it reports that its connection is lost.
        lane.asking = true;
        setTimeout(() => this.#askAgain(lane, key), TRY_AGAIN_MS);
        return;
      }
      for (const batch of this.#batches) {
        if (batch.lane === lane && !batch.sent && batch.calls !== undefined) {
          if (isAnswer) {
            this.#send(batch, 'EVALSHA');
          } else {
            this.#answer(batch, this.#errorOf(error, false, messageOf(error)));
            this.#forget(batch);
          }
        }
      }
    };
    try {
      this.port.send('EVALSHA', [NO_SCRIPT, '1', key], key).then(
        () => told(undefined, true),
        (error: unknown) => told(error, this.port.isReply(error)),
      );
    } catch (error) {
      told(error, false);
    }
  }

  #send(batch: Batch<C>, command: 'EVALSHA' | 'EVAL'): void {
    const { keys, args } = batch.encoded;
    const script = command === 'EVAL' ? this.#script.source.text : this.#script.source.sha1;
    if (!batch.sent) {
      batch.sent = true;
      batch.sentAt = monotonicMs();
      this.#counts.calls += 1;
      this.#counts.entries += batch.size;
      this.#counts.keys += keys.length;
      if (storeCalls.hasSubscribers) {
        this.#publishStart(batch);
      }
    } else if (batch.message !== undefined) {
      batch.message.command = command;
    }
    try {
      this.port.send(command, [script, String(keys.length), ...keys, ...args], keys[0]!).then(
        (value) => this.#onReply(batch, value),
        (error: unknown) => this.#onError(batch, command, error),
      );
    } catch (error) {
      this.#onError(batch, command, error);
    }
  }

  #askAgain(lane: Lane<C>, key: string): void {
    if (lane.asking && this.#state.port === 'ready') {
      this.#ask(lane, key, true);
    }
  }

  #publishStart(batch: Batch<C>): void {
    const calls = batch.calls ?? [];
    batch.message = {
      store: this.#name,
      node: batch.lane.node,
      entries: batch.size,
      keys: batch.encoded.keys.length,
      submissions: storeSubmits.hasSubscribers
        ? calls.flatMap(({ submission }) => submission ?? [])
        : [],
      command: 'EVALSHA',
    };
    storeCalls.start.publish(batch.message);
    storeCalls.end.publish(batch.message);
  }

  #publishEnd(batch: Batch<C>, error?: RateLimiterError): void {
    const { message } = batch;
    if (message !== undefined) {
      batch.message = undefined;
      const outcome = error === undefined ? 'answered' : reasonOf(error);
      endStoreCall(message, monotonicMs() - batch.sentAt, outcome, error);
    }
  }

  #onReply(batch: Batch<C>, reply: unknown): void {
    this.#noteAnswer(batch.lane);
    this.#forget(batch);
    const calls = this.#batches.takeCalls(batch);
    if (calls === undefined) {
      this.#counts.lateReplies += 1;
      this.#settleLate(batch, reply);
      return;
    }
    try {
      this.#script.settle(calls, reply, batch.sentAt);
      this.#publishEnd(batch);
    } catch (cause) {
      const error = new StoreError('store_error', 'Redis sent a reply of another form', { cause });
      this.#publishEnd(batch, error);
      for (const call of calls) {
        call.fail(error);
      }
    }
  }

  #settleLate({ failed }: Batch<C>, reply: unknown): void {
    if (failed !== undefined) {
      try {
        this.#script.settleLate?.(failed, reply);
      } catch {
        // An invalid reply, whose callers have been answered already.
      }
    }
  }

  #onError(batch: Batch<C>, command: 'EVALSHA' | 'EVAL', error: unknown): void {
    const isReply = this.port.isReply(error);
    const message = messageOf(error);
    if (isReply) {
      this.#noteAnswer(batch.lane);
      if (batch.calls === undefined) {
        this.#counts.lateReplies += 1;
      }
      // The only answers after which a call may be resent: they prove that nothing ran.
      if (batch.calls !== undefined && this.#state.port === 'ready') {
        if (command === 'EVALSHA' && message.startsWith('NOSCRIPT')) {
          this.#counts.noScript += 1;
          this.#send(batch, 'EVAL');
          return;
        }
        if (batch.slot === -1 && SEVERAL_SLOTS.test(message)) {
          this.#splitBySlot(batch);
          return;
        }
        // TRYAGAIN: the slot is migrating and its keys are split between two nodes.
        if (message.startsWith('TRYAGAIN')) {
          setTimeout(() => this.#tryAgain(batch, command), TRY_AGAIN_MS);
          return;
        }
      }
    }
    this.#answer(batch, this.#errorOf(error, isReply, message));
    this.#forget(batch);
  }

  #tryAgain(batch: Batch<C>, command: 'EVALSHA' | 'EVAL'): void {
    if (batch.calls !== undefined && this.#state.port === 'ready') {
      this.#send(batch, command);
    } else {
      this.#answer(batch, this.#outage.awayError());
      this.#forget(batch);
    }
  }

  #splitBySlot(batch: Batch<C>): void {
    this.#oneSlotPerCall = true;
    this.#publishEnd(batch);
    const bySlot = new Map<number, C[]>();
    for (const call of this.#batches.takeCalls(batch) ?? []) {
      const slot = slotOf(call.key);
      bySlot.set(slot, [...(bySlot.get(slot) ?? []), call]);
    }
    this.#batches.delete(batch);
    for (const [slot, mine] of bySlot) {
      const encoded = this.#script.encode(mine, 0);
      this.#start({ ...batch, slot, encoded }, mine);
    }
  }

  #errorOf(raised: unknown, isReply: boolean, message: string): RateLimiterError {
    const cause = causeOf(raised);
    if (isReply) {
      return new StoreError('store_error', `Redis refused: ${firstWord(message)}`, { cause });
    }
    // A mistake of the program is no outage. An error that the port itself raised stays a cause.
    if (cause !== raised && cause instanceof RateLimiterError) {
      return cause;
    }
    if (this.#state.port !== 'ready') {
      return this.#outage.awayError();
    }
    return /timed?.?out/i.test(message)
      ? new StoreError('store_timeout', "The client's own timeout came before `timeoutMs`", {
          cause,
        })
      : new StoreError('store_away', 'The connection to Redis was lost', { cause });
  }

  /** Answers the batch's callers. Until the client settles the batch, it still counts as in flight. */
  #answer(batch: Batch<C>, error: RateLimiterError): void {
    const calls = this.#batches.takeCalls(batch);
    if (calls === undefined) {
      return;
    }
    if (batch.sent && calls.some(({ late }) => late !== undefined)) {
      batch.failed = calls;
    }
    this.#publishEnd(batch, error);
    for (const call of calls) {
      call.fail(error);
    }
  }

  #forget(batch: Batch<C>): void {
    if (this.#batches.delete(batch)) {
      this.#calls -= batch.size;
      this.#overloaded = undefined;
    }
  }

  #noteAnswer(lane: Lane<C>): void {
    this.#state.answered();
    this.#endStart();
    this.#outage.answered();
    if (lane.answered()) {
      this.#outage.tell('ready', lane.node);
    }
  }

  /** Reads the client's state, which may change before its listeners are called. */
  #follow(): void {
    if (this.#state.follow(this.#isSilent)) {
      outside.runInAsyncScope(() => this.#onPhaseChange());
    }
  }

  #onPhaseChange(): void {
    if (this.#state.phase === 'ready') {
      this.#onReady();
    } else {
      this.#onLoss();
    }
  }

  /** Called by the port when its state or the time of its next attempt has changed. */
  readonly #onPortChange = (): void => {
    this.#follow();
    if (this.#isConnecting) {
      outside.runInAsyncScope(() => this.#holdAll());
    } else if (this.#state.phase === 'ready') {
      this.#outage.over();
      this.#forgetSilence(); // a handshake was answered
    }
  };

  readonly #isSilent = (): boolean => [...this.#lanes.values()].some(({ isHung }) => isHung);

  #onReady(): void {
    this.#outage.over();
    this.#forgetSilence();
    this.#outage.tell('ready', '');
    const now = monotonicMs();
    for (const batch of this.#batches) {
      if (!batch.sent && batch.calls !== undefined) {
        this.#batches.postpone(batch, now + batch.timeoutMs);
        this.#send(batch, 'EVALSHA');
      }
    }
  }

  /** The connection is lost. Fails batches that were sent, since they may have run; others may wait for the next connection. */
  #onLoss(): void {
    this.#forgetSilence(); // a new connection may lead to another server
    for (const lane of this.#lanes.values()) {
      lane.asking = false;
    }
    if (!this.#isConnecting) {
      this.#endStart();
      this.#outage.awayError(); // reports the outage even if no call waits
    }
    for (const batch of this.#batches) {
      if (batch.sent && batch.calls !== undefined) {
        this.#answer(batch, this.#outage.awayError());
      }
    }
    this.#holdAll();
  }

  /** Sets until when unsent calls wait for the connection, and answers those that may not wait. */
  #holdAll(): void {
    const now = monotonicMs();
    for (const batch of this.#batches) {
      if (!batch.sent && batch.calls !== undefined) {
        const until = this.#heldUntil(batch.timeoutMs);
        if (until > now) {
          this.#batches.postpone(batch, until);
        } else {
          this.#answer(batch, this.#outage.awayError());
          this.#forget(batch);
        }
      }
    }
  }

  #forgetSilence(): void {
    for (const lane of this.#lanes.values()) {
      lane.answered();
    }
  }

  #overloadedError(maxInFlight: number): StoreError {
    this.#overloaded ??= new StoreError(
      'overloaded',
      `${this.#calls} calls to Redis are in flight, of ${maxInFlight} at most (\`maxInFlight\`)`,
    );
    return this.#overloaded;
  }

  #expire(batch: Batch<C>): void {
    const lostMs = this.#lateness.lostMs - batch.lostMs;
    if (batch.calls === undefined) {
      this.#counts.writtenOff += 1;
      this.#forget(batch);
    } else if (lostMs > 0 && !this.#isOverdue(batch)) {
      batch.lostMs += lostMs;
      this.#batches.postpone(batch, monotonicMs() + lostMs);
    } else if (this.#state.phase === 'ready') {
      this.#timeOut(batch);
    } else {
      this.#answer(batch, this.#outage.awayError());
      this.#forget(batch);
    }
  }

  /** Whether a sent batch has used the time that its calls had for the first connection: it gets no more. */
  #isOverdue({ sent, sentAt, timeoutMs }: Batch<C>): boolean {
    return sent && monotonicMs() - sentAt > openingMs(timeoutMs);
  }

  #endStart(): void {
    this.#starting = false;
    this.#lateness.stop();
  }

  #timeOut(batch: Batch<C>): void {
    this.#endStart();
    const error = new StoreError(
      'store_timeout',
      `Redis did not answer within ${batch.timeoutMs} ms`,
      { cause: this.#outage.cause },
    );
    if (batch.lane.missed(batch, error)) {
      this.#outage.tell('hung', batch.lane.node, error);
    }
    this.#answer(batch, error);
    if (batch.sent) {
      this.#batches.postpone(batch, batch.sentAt + WRITE_OFF_AFTER * batch.timeoutMs);
    } else {
      this.#forget(batch);
    }
  }
}

/** Groups calls by deadline, in their order: all calls of a batch have one deadline. */
function byDeadline<C extends QueuedCall>(calls: readonly C[]): Iterable<readonly C[]> {
  const first = calls[0]?.timeoutMs;
  if (calls.every(({ timeoutMs }) => timeoutMs === first)) {
    return [calls];
  }
  const groups = new Map<number, C[]>();
  for (const call of calls) {
    const group = groups.get(call.timeoutMs);
    if (group === undefined) {
      groups.set(call.timeoutMs, [call]);
    } else {
      group.push(call);
    }
  }
  return groups.values();
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : '';
}

/**
 * The error's kind, such as `OOM` or `NOPERM`: the rest of the message may quote arguments. A client that has not logged
 * in and sends more than ten words gets a protocol error instead of `NOAUTH`.
 */
function firstWord(message: string): string {
  if (message.includes('unauthenticated multibulk length')) {
    return 'NOAUTH';
  }
  return /^[A-Z]+/.exec(message)?.[0] ?? 'an error';
}

/** Any other error than a StoreError means that the client library is missing. */
function reasonOf(error: RateLimiterError): StoreFailure {
  return error instanceof StoreError ? error.reason : 'store_away';
}
