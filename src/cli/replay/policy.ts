import type { AnyLimit } from '../../algorithms/limit.ts';
import { readLimiterOptions } from '../../limiter/limiter-options.ts';
import type { Settings } from '../../limiter/limiter-options.ts';
import type { Shape } from '../../script/call-shape.ts';
import { readVerdicts } from '../../script/read-answer.ts';
import { MemoryStore } from '../../stores/memory.ts';
import { CommandError, UsageError } from '../kit/io.ts';
import { asUsage } from '../limits/policies.ts';
import type { PolicyText } from '../limits/policies.ts';
import { costOf } from '../logs/caller.ts';
import type { LogEntry } from '../logs/entry.ts';

/** What the limits said to one request. */
export interface Verdict {
  readonly refused: boolean;
  /** The names of the limits that refused it; of shadow limits, too. */
  readonly by: readonly string[];
}

/** More states are alive at once only on machines that could not keep the callers of such a log either. */
const MOST_STATES = 10_000_000;

const PASSED: Verdict = { refused: false, by: [] };

/**
 * Decides requests at the times of a log by the library itself: the limits of a `RateLimiter` on a `MemoryStore` whose
 * clock is set by hand. Without what a limiter does around a decision, which a log has no use for: promises, hooks,
 * digests of identities that are not grouped by parts.
 */
export class Policy {
  readonly name: string;
  readonly limits: readonly AnyLimit[];
  readonly #labels: ReadonlyMap<string, string> | undefined;
  #now = 0;
  #answer: Verdict | undefined;
  #failure: Error | undefined;
  readonly #settings: Settings;
  readonly #store: MemoryStore;
  /** Fields of the log that are units, and fields that are parts of the identity. */
  readonly #units: readonly string[];
  readonly #parts: readonly string[];

  /** `fields`: the names that `--field` gives fields, beside time, key and cost. */
  constructor(text: PolicyText, fields: readonly string[]) {
    this.name = text.name;
    this.#labels = text.labels;
    this.#store = new MemoryStore({ clock: { nowMicros: () => this.#now }, maxKeys: MOST_STATES });
    this.#settings = asUsage(text, () =>
      readLimiterOptions({ ...text.options, store: this.#store }),
    );
    const { limits, ttlsMs, hasUnits, space } = this.#settings.limits;
    this.limits = limits;
    if (ttlsMs.length > 0) {
      throw new UsageError(
        `the limits '${text.name}' have a concurrency limit: a log does not say when a place was free again. Leave it out.`,
      );
    }
    const counted = new Set(this.limits.map(({ unit = 'calls' }) => unit));
    this.#units = hasUnits ? fields.filter((field) => counted.has(field)) : [];
    this.#parts = space === undefined ? [] : fields.filter((field) => !counted.has(field));
    const needed = [
      ...this.limits.flatMap(({ by = [] }) => by),
      ...[...counted].filter((unit) => hasUnits && unit !== 'calls'),
    ];
    const missing = [...new Set(needed)].filter((name) => !fields.includes(name));
    if (missing.length > 0) {
      throw new UsageError(
        `the limits '${text.name}' count by ${missing.join(', ')}: say where a line has each. Write --field ${missing[0]}=….`,
      );
    }
  }

  /** What to call a limit: as `--limit` has it, or by its name. */
  labelOf(name: string): string {
    const isShadow = this.limits.some((limit) => limit.name === name && limit.shadow);
    return `${this.#labels?.get(name) ?? name}${isShadow ? ' (shadow)' : ''}`;
  }

  /**
   * Decides one request, as `allow` does. Undefined if the store answers in the next turn of the event loop, as it does
   * once in a thousand calls: `later` then has the verdict. `caller` is kept for as long as its state counts.
   */
  decide(entry: LogEntry, caller: string): Verdict | undefined {
    this.#now = entry.at;
    const given = this.#settings.limits;
    const asked = given.hasUnits ? given.ask('cost', this.#costOf(entry)) : entry.cost;
    const { limits, key, homes } =
      given.space === undefined
        ? { limits: given, key: caller, homes: undefined }
        : given.locate(this.#identityOf(entry), undefined);
    if (limits.isImpossible(asked)) {
      const refusing = limits.impossible(asked).limits.filter(({ refused }) => refused);
      return { refused: true, by: refusing.map(({ name }) => name) };
    }
    const shape = limits.shape('allow', asked);
    this.#answer = undefined;
    this.#store.submit({
      // A caller's name may look like another one's key of a state.
      key: shape.isAtHome || homes !== undefined ? key : `:${key}`,
      homes,
      shape,
      timeoutMs: 1,
      maxInFlight: 1,
      replans: 0,
      settle: (reply, at) => {
        this.#answer = verdictIn(shape, reply, at);
      },
      fail: (error) => {
        this.#failure = error;
      },
    });
    this.#check();
    return this.#answer;
  }

  /** The verdict of a call that the store answers in the next turn. */
  async later(): Promise<Verdict> {
    while (this.#answer === undefined) {
      await new Promise((resolve) => {
        setImmediate(resolve);
      });
      this.#check();
    }
    return this.#answer;
  }

  #check(): void {
    if (this.#failure !== undefined) {
      throw new CommandError(`the limits '${this.name}': ${this.#failure.message}`);
    }
  }

  #costOf({ parts }: LogEntry): Record<string, number> {
    const units = this.#units.map((unit) => [unit, costOf(parts?.[unit]) ?? 0] as const);
    return Object.fromEntries(units);
  }

  #identityOf({ parts }: LogEntry): Record<string, string> {
    return Object.fromEntries(this.#parts.map((part) => [part, parts![part]!]));
  }
}

function verdictIn(shape: Shape, reply: readonly number[], at: number): Verdict {
  let refused = false;
  let by: string[] | undefined;
  for (const [i, verdict] of readVerdicts(shape, reply, at).entries()) {
    if (verdict.refused) {
      const { limit } = shape.rules[i]!;
      refused ||= !limit.shadow;
      (by ??= []).push(limit.name);
    }
  }
  return by === undefined ? PASSED : { refused, by };
}
