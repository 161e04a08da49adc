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
import type { Script } from './script.ts';
import { servingNodes, slotOf } from './slot.ts';
import { StoreCounts } from './store-counts.ts';

/** What a connection needs to know of a call. */
export interface Sendable {
  /** Decides the slot; all keys of a call are in one. */
  readonly key: string;
  readonly timeoutMs: number;
  readonly maxInFlight: number;
  fail(error: RateLimiterError): void;
  /** What was published of it, if somebody listened when it was submitted. */
  submission?: StoreSubmission | undefined;
  /** There if the call wants to be told of a reply that comes after it has failed. */
  readonly late?: unknown;
}

/** After this many deadlines without a word from the client, a batch no longer counts as in flight. */
const WRITE_OFF_AFTER = 10;
/** A slot's move takes as long as copying its keys does. */
const TRY_AGAIN_MS = 20;
/** `CROSSSLOT`, or how a proxy before a cluster says it: `ERR eval/evalsha command keys must be in same slot`. */
const SEVERAL_SLOTS = /^CROSSSLOT|\bsame (?:hash )?slot\b/i;
/** Of the last flushes, in calls: up to this many on average, the next call is expected to be alone. */
const ALONE = 1.5;
/** The part that the last flush has in that average. */
const LATEST = 1 / 8;

/**
 * The hash of no script. A server that answers `NOSCRIPT` is there: a command that every user of the library may run,
 * that charges nothing and leaves nothing in the script cache.
 */
const NO_SCRIPT = '0'.repeat(40);

type Made<C> = Pick<Batch<C>, 'lane' | 'slot' | 'encoded' | 'sentAt' | 'dueAt' | 'timeoutMs'>;

/** Calls are sent outside of any caller's async context, so that no timer or socket pins one. */
const outside = new AsyncResource('distributed-rate-limiter');

/**
 * One per client, shared by all limiters on it: gathers the calls of one turn of the event loop into one script
 * call, bounds what is in flight, and tells each call what became of it.
 */
export class Connection<C extends Sendable> {
  readonly port: RedisPort;
  readonly #name: string;
  readonly #counts = new StoreCounts(this);
  readonly #endStats: () => void;
  readonly #script: Script<C>;
  /** By node on a cluster; a single one elsewhere. */
  readonly #lanes = new Map<string, Lane<C>>();
  readonly #dirty = new Set<Lane<C>>();
  readonly #batches = new InFlight<C>({ overdue: (batch) => this.#expire(batch) });
  readonly #state: ConnectionState;
  readonly #pulse = new Pulse();
  /** Measured until the server has answered, or failed to, for the first time. */
  readonly #lateness = new Lateness();
  #starting = true;
  readonly #outage: Outage;
  /** A plain-looking endpoint turned out to be a cluster: it wants the keys of one slot per call. */
  #oneSlotPerCall: boolean;
  #calls = 0;
  #flushScheduled = false;
  /** How many calls a flush has had of late. */
  #company = 1;
  #overloaded: StoreError | undefined;

  constructor(port: RedisPort, script: Script<C>) {
    this.port = port;
    this.#script = script;
    this.#oneSlotPerCall = port.nodeOf !== undefined;
    this.#name = port.address ?? UNNAMED_STORE;
    this.#state = new ConnectionState(port);
    this.#outage = new Outage(this.#state, this.#name);
    this.#endStats = liveStores.register(this, this.#name, this.#counts);
    this.#state.follow(this.#isSilent); // what is so from the start is no change to be told
    port.onStateChange(this.#onPortChange);
  }

  /** Calls that the client has not settled yet. */
  get inFlight(): number {
    return this.#calls;
  }

  /** How each node is right now that serves a slot; on anything but a cluster there is one, without a name. */
  get nodes(): Readonly<Record<string, NodeState>> {
    this.#forgetGoneNodes();
    const state = this.#state.port;
    const lanes = [...this.#lanes].map(
      ([node, lane]) => [node, state === 'ready' && lane.isHung ? 'hung' : state] as const,
    );
    return lanes.length === 0 ? { '': state } : Object.fromEntries(lanes);
  }

  /** It is about to be closed on purpose: that is no news, and its counts are complete. */
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
      // A lone call need not wait for the others that the sockets of this poll may bring. Under load the first of a
      // poll would leave them behind, and cost a script call of its own.
      if (this.#calls === 1 && this.#company <= ALONE) {
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

  /** Answers a call that is not sent, in this turn. */
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

  /** A node that serves no slot any more is not asked again, so that no answer would ever end its hang. */
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
    // A copy: a hook that hears of a failure may make a call in between.
    const lanes = [...this.#dirty];
    this.#dirty.clear();
    let flushed = 0;
    for (const lane of lanes) {
      for (const [slot, calls] of lane.takeQueue()) {
        flushed += calls.length;
        this.#makeBatches(lane, slot, calls);
      }
    }
    this.#company += LATEST * (flushed - this.#company);
  }

  #makeBatches(lane: Lane<C>, slot: number, calls: readonly C[]): void {
    // From here, not from the call's own instant: what lies between is this process's doing, and a loop that
    // was blocked in between would make an outage of its own.
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

  #start({ lane, slot, encoded, sentAt, dueAt, timeoutMs }: Made<C>, calls: readonly C[]): void {
    // Written out: spreading `made` would take half as long as all the rest of a lone call.
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

  /** Sends a batch; after a pause of this process or of the traffic, once the server has shown that it is there. */
  #dispatch(batch: Batch<C>): void {
    const { lane } = batch;
    if (lane.heardSince(this.#pulse.traffic(batch.sentAt))) {
      this.#send(batch, 'EVALSHA');
    } else if (!lane.asking) {
      this.#ask(lane, batch.encoded.keys[0]!);
    }
  }

  /** A batch that is sent over a connection which is gone is lost; so the first word after a pause charges nothing. */
  #ask(lane: Lane<C>, key: string, isRepeated = false): void {
    lane.asking = true;
    const told = (error: unknown, isAnswer: boolean): void => {
      lane.asking = false;
      if (isAnswer) {
        this.#noteAnswer(lane);
      }
      if (this.#state.port !== 'ready') {
        return; // the batches wait for the connection, or have been answered
      }
      if (!isAnswer && !isRepeated) {
        // A client may refuse to write before it tells that its connection is lost.
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
        // A reply of another form: its callers have been told that there was none.
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
      // These prove that nothing ran: the only answers after which a call may be sent again.
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
        // Of the keys of one slot some are at each of two nodes, or new ones would be.
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
    // A mistake of the program, and no outage; what a port raised itself stays a cause.
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

  /** Tells all who wait for this batch; what the client still holds of it stays counted. */
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

  /** Takes in what the client says of its connection, which it may say before it tells its listeners. */
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

  /** The client told that something has changed: its state, or when its attempt begins. */
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

  /** There is no connection. What was sent is answered, for it may have run; what was not sent may wait for the next. */
  #onLoss(): void {
    this.#forgetSilence(); // a new connection may lead to another server
    for (const lane of this.#lanes.values()) {
      lane.asking = false;
    }
    if (!this.#isConnecting) {
      this.#endStart();
      this.#outage.awayError(); // told even where no call waits
    }
    for (const batch of this.#batches) {
      if (batch.sent && batch.calls !== undefined) {
        this.#answer(batch, this.#outage.awayError());
      }
    }
    this.#holdAll();
  }

  /** Sets until when calls that were not sent wait for the connection, and answers those that need not wait. */
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

  /** Once it was sent, a batch is given no more time than its calls had for the first connection. */
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

/** Calls with one deadline each, in their order: a batch is as patient as each of its calls. */
function byDeadline<C extends Sendable>(calls: readonly C[]): Iterable<readonly C[]> {
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
 * The error's kind as Redis words it, `OOM` or `NOPERM`: the rest may quote arguments. Who has not logged in and sends
 * more than ten words is told of a protocol error instead.
 */
function firstWord(message: string): string {
  if (message.includes('unauthenticated multibulk length')) {
    return 'NOAUTH';
  }
  return /^[A-Z]+/.exec(message)?.[0] ?? 'an error';
}

/** What is no failure of the store's is a client library that is missing. */
function reasonOf(error: RateLimiterError): StoreFailure {
  return error instanceof StoreError ? error.reason : 'store_away';
}
