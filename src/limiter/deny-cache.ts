import { refusalLater } from '../script/answer-later.ts';
import type { Entry, Rule, Shape, Verb } from '../script/call-shape.ts';
import type { ClockAnchor } from '../stores/clock-anchor.ts';
import type { LocalView } from '../stores/local-view.ts';
import type { Call } from '../stores/store.ts';
import type { DenyCacheSettings } from './deny-cache-options.ts';
import { GivenBack } from './given-back.ts';

/** Verbs that a remembered refusal may answer, and whose replies are remembered. `grant` is decided as `allow`. */
const REFUSABLE: ReadonlySet<Verb> = new Set(['allow', 'grant', 'up_to', 'acquire', 'reserve']);
/** Verbs that change no state of a limit. */
const IDLE: ReadonlySet<Verb> = new Set(['peek', 'renew']);

/** Most sets of limits whose replies are remembered for one identity. */
const MAX_FORMS = 8;
/** Most states by the kinds of their counters. */
const MAX_KINDS = 1_000;

/** Whether plans of several kinds count on one state. */
interface Kinds {
  readonly kind: string;
  several: boolean;
}

/** The limits of a shape, at any cost. */
interface Form {
  readonly text: string;
  readonly kinds: readonly Kinds[];
}

/** A reply of the store. */
interface Remembered {
  readonly form: string;
  readonly shape: Shape;
  /** The integers of the shape's limits. */
  readonly reply: readonly number[];
  readonly anchor: ClockAnchor;
  readonly turn: number;
}

/**
 * Remembers replies of one connection, and refuses calls by them while they certainly hold: so many milliseconds at most,
 * and only by numbers that refuse the call at the latest instant that the server's clock can show. Units come back with
 * time alone, but for calls that give back; those of this process are seen here.
 */
export class DenyCache {
  readonly #view: LocalView<Call>;
  readonly #givenBack: GivenBack;
  /** Identity -> replies, the last for each form of limits; in the order of learning. */
  readonly #known = new Map<string, readonly Remembered[]>();
  readonly #forms = new WeakMap<Shape, Form | false>();
  /** State -> kinds. */
  readonly #kinds = new Map<string, Kinds>();
  #maxIdentities = 0;
  /** The longest time for which a limiter uses a reply, in microseconds. */
  #holdUs = 0;

  constructor(view: LocalView<Call>, settings: DenyCacheSettings) {
    this.#view = view;
    this.serve(settings);
    this.#givenBack = new GivenBack(
      view.isLate ? view.anchors.check() + this.#holdUs : Number.NEGATIVE_INFINITY,
    );
    view.anchors.onDrop(() => this.#known.clear());
    view.watch(this);
  }

  /** Serves one more limiter. */
  serve({ holdMs, maxIdentities }: DenyCacheSettings): void {
    this.#holdUs = Math.max(this.#holdUs, holdMs * 1_000);
    this.#maxIdentities = Math.max(this.#maxIdentities, maxIdentities);
  }

  /** The reply that refuses a call without the store; undefined if the store must be asked. */
  refusal(entry: Entry, holdMs: number): readonly number[] | undefined {
    const { shape } = entry;
    if (!REFUSABLE.has(shape.verb)) {
      return undefined;
    }
    const identity = identityOf(entry);
    if (!this.#known.has(identity)) {
      return undefined;
    }
    const own = this.#view.anchors.check(); // may forget
    const form = this.#formOf(entry);
    const told = form && this.#known.get(identity)?.find((each) => each.form === form.text);
    if (
      told === undefined ||
      own - told.anchor.sent >= holdMs * 1_000 ||
      !this.#givenBack.holds(entry, told.turn, own)
    ) {
      return undefined;
    }
    return refusalAt(told, shape, own);
  }

  /** @internal Called for each call on the connection. */
  submitted(call: Call): void {
    const { verb } = call.shape;
    if (IDLE.has(verb)) {
      return;
    }
    const before = call.ended;
    if (REFUSABLE.has(verb) || verb === 'add') {
      const turn = this.#givenBack.nextTurn();
      call.ended = (reply, at) => {
        before?.(reply, at);
        this.#decided(call, turn, reply, at);
      };
      return;
    }
    this.#givenBack.began(call);
    this.#known.delete(identityOf(call));
    call.ended = (reply, at) => {
      before?.(reply, at);
      const own = this.#view.anchors.check();
      this.#givenBack.ended(call, reply === undefined, own, this.#holdUs);
    };
  }

  /** Learns of the answer to a call that was decided. */
  #decided(call: Call, turn: number, reply: readonly number[] | undefined, at: number): void {
    const identity = identityOf(call);
    const { shape } = call;
    if (!shape.asks.some((units) => units !== null && units > 0)) {
      return; // it asked for nothing
    }
    const { current: anchor } = this.#view.anchors;
    if (
      reply === undefined ||
      shape.verb === 'add' ||
      anchor === undefined ||
      !this.#givenBack.holds(call, turn, anchor.heard)
    ) {
      this.#known.delete(identity); // it may have been charged
      return;
    }
    const answer = reply.slice(at + shape.head, at + shape.width);
    const outcome = outcomeOf(shape, answer);
    const form = this.#formOf(call);
    if (form === undefined || outcome === 'fits again') {
      if (outcome !== 'refused') {
        this.#known.delete(identity);
      }
      return;
    }
    const others = outcome === 'refused' ? (this.#known.get(identity) ?? []) : [];
    const told = { form: form.text, shape, reply: answer, anchor, turn };
    const kept = others.filter((each) => each.form !== form.text);
    if (refusalAt(told, shape, anchor.heard) !== undefined) {
      kept.push(told);
    }
    this.#known.delete(identity);
    if (kept.length > 0) {
      this.#known.set(identity, kept.length > MAX_FORMS ? kept.slice(1) : kept);
      if (this.#known.size > this.#maxIdentities) {
        this.#known.delete(this.#known.keys().next().value!);
      }
    }
  }

  /** Undefined if the store alone can refuse a call of this shape. */
  #formOf({ key, shape }: Entry): Form | undefined {
    let form = this.#forms.get(shape);
    if (form === undefined) {
      form = shape.rules.every(({ limit }) => limit.twin.later !== undefined) && {
        text: shape.rules.map(textOf).join(' '),
        kinds: shape.rules.flatMap((rule) => this.#kindsOf(key, rule) ?? []),
      };
      this.#forms.set(shape, form);
    }
    return form === false || form.kinds.some(({ several }) => several) ? undefined : form;
  }

  #kindsOf(key: string, { id, limit, plan }: Rule): Kinds | undefined {
    const kind = limit.twin.kind?.(plan);
    if (kind === undefined) {
      return undefined;
    }
    const state = `${key.slice(0, key.lastIndexOf(':'))} ${id}`;
    let kinds = this.#kinds.get(state);
    if (kinds === undefined) {
      kinds = { kind, several: this.#kinds.size >= MAX_KINDS };
      if (!kinds.several) {
        this.#kinds.set(state, kinds);
      }
    }
    kinds.several ||= kinds.kind !== kind;
    return kinds;
  }
}

function refusalAt(
  { shape: told, reply, anchor }: Remembered,
  shape: Shape,
  own: number,
): readonly number[] | undefined {
  // Callers count from the reply, so the instant that it announced to them stays.
  const counted = own - anchor.heard;
  const age = {
    least: Math.min(counted, anchor.earliest(own) - anchor.now),
    most: anchor.latest(own) - anchor.now,
    counted,
  };
  const answer = refusalLater(told, reply, shape, age);
  return answer && [anchor.now + counted, ...Array<number>(shape.head).fill(0), ...answer];
}

/**
 * `'refused'` if nothing was charged; `'fits again'` if an equal call would pass as well, so that there is no refusal to
 * remember.
 */
function outcomeOf({ rules, asks }: Shape, answer: readonly number[]): Outcome {
  let outcome: Outcome = 'fits again';
  let at = 0;
  for (let i = 0; i < rules.length; i++) {
    const { limit, plan } = rules[i]!;
    const { refused, remaining } = limit.twin.read(plan, answer, at);
    at += plan.width;
    if (limit.shadow) {
      continue;
    }
    if (refused) {
      return 'refused';
    }
    if (remaining < (asks[i] ?? 0)) {
      outcome = 'passed';
    }
  }
  return outcome;
}

type Outcome = 'refused' | 'passed' | 'fits again';

/** An identity's keys: its homes. */
function identityOf({ key, homes }: Pick<Entry, 'key' | 'homes'>): string {
  return homes === undefined ? key : homes.join(' ');
}

/** Tells a limit's plans apart, except by their costs. */
function textOf({ limit, plan, home = 0, suffix, id }: Rule): string {
  const beside = plan.args[1] === 'beside' ? plan.args.slice(2, 6).join(',') : '';
  return `${home}${suffix}${id} ${beside} ${plan.from ?? ''} ${limit.spelling}`;
}

const CACHES = new WeakMap<LocalView<Call>, DenyCache>();

/** The cache of a connection, shared by its limiters. */
export function denyCacheOf(view: LocalView<Call>, settings: DenyCacheSettings): DenyCache {
  let cache = CACHES.get(view);
  if (cache === undefined) {
    cache = new DenyCache(view, settings);
    CACHES.set(view, cache);
  } else {
    cache.serve(settings);
  }
  return cache;
}
