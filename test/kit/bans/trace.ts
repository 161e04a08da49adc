import assert from 'node:assert/strict';
import type { Limit } from '../../../src/algorithms/limit.ts';
import type { LimitSet } from '../../../src/limiter/limit-set.ts';
import { reserveDetails } from '../../../src/script/call-shape.ts';
import type { Entry, Shape } from '../../../src/script/call-shape.ts';
import { NO_CLOCK } from '../plans/engine.ts';
import type { Random } from '../random.mjs';
import { groupedByProduction } from '../twins/grouping.ts';
import type { LuaTwin } from '../twins/lua-twin.ts';
import { MapTable } from '../twins/map-table.ts';
import type { BansEngine } from './engine.ts';
import { BansModel } from './model.ts';
import type { BanRule } from './model.ts';

const START = Date.UTC(2026, 0, 1) * 1_000;
const SECOND = 1_000_000;
const ADDRESSES = ['one', 'two'];
const DECIDING = ['allow', 'allow', 'allow', 'poll', 'peek', 'up_to', 'reserve'] as const;

/** How often a trace has seen what it is about. */
export interface BansSeen {
  calls: number;
  bans: number;
  longer: number;
  longest: number;
  shadowBans: number;
  blocked: number;
  resent: number;
  unblocked: number;
  resets: number;
  severalHomes: number;
  plans: number;
  back: number;
}

export function noBansSeen(): BansSeen {
  return {
    calls: 0,
    bans: 0,
    longer: 0,
    longest: 0,
    shadowBans: 0,
    blocked: 0,
    resent: 0,
    unblocked: 0,
    resets: 0,
    severalHomes: 0,
    plans: 0,
    back: 0,
  };
}

type Identity = string | { readonly ip: string; readonly user: string };

/** A call, with what the model must know of it. */
interface Asked {
  readonly entry: Entry;
  readonly verb: (typeof DECIDING)[number] | 'block' | 'unblock' | 'reset';
  readonly isAgain: boolean;
  /** The index of its set of limits. */
  readonly set: number;
  readonly ms: number;
}

/** Random calls on two addresses, decided by the library, by the Lua twin if it is given, and by a model of bans. */
export class BansTrace {
  readonly #engine: BansEngine;
  readonly #random: Random;
  readonly #seen: BansSeen;
  readonly #lua: LuaTwin | undefined;
  readonly #table = new MapTable();
  readonly #model = new BansModel();
  /** By set and name of a limit. */
  readonly #rules: readonly Map<string, BanRule>[] = [new Map(), new Map()];
  readonly #sets: readonly LimitSet[];
  readonly #named: boolean;
  readonly #mayGoBack: boolean;
  readonly #withins: readonly number[];
  readonly #reserved = new Set<string>();
  readonly #lengths = new Map<string, number>();
  #now = START;
  /** The model knows no clock that steps back. */
  #wentBack = false;

  constructor(engine: BansEngine, random: Random, space: string, seen: BansSeen, lua?: LuaTwin) {
    this.#engine = engine;
    this.#random = random;
    this.#seen = seen;
    this.#lua = lua;
    this.#named = random.chance(50);
    this.#mayGoBack = random.chance(30);
    this.#withins = [0, 1, 2].map(() => random.int(500, 4_000));
    const own = new engine.LimitSet(space, this.#limits(0), true, { clock: NO_CLOCK });
    const plan = new engine.LimitSet(space, this.#limits(1), true, {
      clock: NO_CLOCK,
      own,
    });
    this.#sets = [own, plan];
  }

  #limits(set: number): readonly Limit[] {
    const { tokenBucket, slidingWindow, fixedWindow } = this.#engine;
    const random = this.#random;
    const homes = this.#named ? [['ip'], ['ip', 'user']] : [undefined];
    return [tokenBucket, slidingWindow, fixedWindow]
      .slice(0, random.int(this.#named ? 2 : 1, 3))
      .map((make, i) => {
        // A state is kept for the time of its last writer.
        const within = this.#withins[i]!;
        const first = random.int(500, 3_000);
        const rule = {
          after: random.int(1, 4),
          within,
          for: first,
          growth: random.pick([1, 1.01, 1.5, 2]),
          max: first * random.int(1, 3),
        };
        // The first limit of each home is there in every set, so that its blocks are heeded.
        const by = this.#named ? (i < 2 ? homes[i] : random.pick(homes)) : undefined;
        const limit = make({
          ...(i === 0 && !this.#named ? {} : { name: `limit${i}` }),
          ...(by === undefined ? {} : { by }),
          rate: random.int(1, 3),
          period: '2s',
          shadow: random.chance(25),
          ...(random.chance(85)
            ? {
                ban: {
                  ...rule,
                  within: `${rule.within}ms`,
                  for: `${rule.for}ms`,
                  max: `${rule.max}ms`,
                },
              }
            : {}),
        } as never);
        this.#rules[set]!.set(limit.name, rule);
        return limit;
      });
  }

  /** Calls of one instant. */
  async turn(): Promise<void> {
    const random = this.#random;
    this.#now += random.pick([
      0,
      1,
      1_000,
      200_000,
      SECOND,
      3 * SECOND,
      10 * SECOND,
      this.#withins[0]! * 1_000,
    ]);
    if (this.#mayGoBack && random.chance(4)) {
      this.#now -= random.pick([1_000, SECOND, 5 * SECOND]);
      this.#wentBack = true;
      this.#seen.back += 1;
    }
    const all = random.list(1, 5, () => this.#call());
    let from = 0;
    for (const grouping of groupedByProduction(all.map(({ entry }) => entry))) {
      const reply = this.#engine.decide(grouping.entries, this.#now, this.#table);
      const writes = this.#table.takeWrites();
      if (this.#lua !== undefined) {
        const answer = await this.#lua.decide(grouping, this.#now);
        assert.deepEqual(
          { lua: answer.reply, writes: [...answer.writes].sort() },
          { lua: reply, writes },
        );
      }
      const failed = reply.filter((each) => typeof each === 'string' && /^[A-Z]/.test(each));
      assert.deepEqual({ failed }, { failed: [] });
      let at = 1;
      for (const [i, { shape }] of grouping.entries.entries()) {
        this.#compare(all[from + i]!, reply as readonly number[], at);
        at += shape.width;
      }
      from += grouping.entries.length;
    }
  }

  #call(): Asked {
    const random = this.#random;
    const ip = random.pick(ADDRESSES);
    const identity: Identity = this.#named ? { ip, user: random.pick(ADDRESSES) } : ip;
    if (random.chance(12)) {
      return this.#other(identity);
    }
    const at = random.int(0, 1);
    const set = this.#sets[at]!;
    this.#seen.plans += at;
    const verb = random.pick(DECIDING);
    const { key, homes } = set.locate(identity, undefined);
    this.#seen.severalHomes += homes === undefined ? 0 : 1;
    const units = verb === 'up_to' ? random.int(1, 3) : random.int(0, 2);
    const entry = {
      key,
      homes,
      shape: set.shape(verb === 'poll' ? 'allow' : verb, units, verb === 'poll'),
    };
    if (verb !== 'reserve') {
      return { entry, verb, isAgain: false, set: at, ms: 0 };
    }
    const record = `#r:${at}${random.int(1, 40)}`;
    return {
      entry: { ...entry, record, details: reserveDetails(3_600_000) },
      verb,
      isAgain: this.#reserved.has(`${key}${record}`),
      set: at,
      ms: 0,
    };
  }

  /** A call that no limit decides. */
  #other(identity: Identity): Asked {
    const random = this.#random;
    const verb = random.pick(['block', 'unblock', 'reset'] as const);
    const set = this.#sets[random.int(0, 1)]!;
    const parts =
      typeof identity === 'string' || random.chance(50) ? identity : { ip: identity.ip };
    const own = this.#sets[0]!;
    const isHome = (each: LimitSet): boolean => {
      try {
        each.locateHome(parts, undefined);
        return true;
      } catch {
        return false;
      }
    };
    const given = verb === 'reset' && isHome(set) ? set : own;
    if (!isHome(given)) {
      return this.#call();
    }
    const ms = random.int(1, 4_000);
    const { key, limits } = given.locateHome(parts, undefined);
    const shape =
      verb === 'reset'
        ? limits.shape('reset', 1)
        : this.#engine.blockShape(verb === 'block' ? 'penalize' : 'reset', ms);
    return { entry: { key, shape }, verb, isAgain: false, set: 0, ms };
  }

  #compare(
    { entry, verb, isAgain: wasAgain, set, ms }: Asked,
    reply: readonly number[],
    at: number,
  ): void {
    const { shape, key, homes = [key], record } = entry;
    const model = this.#model;
    const now = this.#now;
    this.#seen.calls += 1;
    if (verb === 'block' || verb === 'unblock') {
      model.block(key, verb === 'block' ? now + ms * 1_000 : 0);
      this.#seen.unblocked += verb === 'unblock' ? 1 : 0;
      return;
    }
    if (verb === 'reset') {
      this.#seen.resets += 1;
      // A limit without a ban knows of none, even if a plan's limit of its name has one.
      for (const { limit } of shape.rules.filter((rule) => rule.limit.ban !== undefined)) {
        model.reset(key, nameOf(limit));
      }
      return;
    }
    const verdicts = this.#engine.readVerdicts(shape, reply, at);
    const granted = this.#engine.readGranted(shape, reply, at);
    const decision = this.#engine.makeDecision(shape, shape.cost, verdicts, now, granted);
    const isAgain = wasAgain || this.#reserved.has(`${key}${record}`);
    this.#seen.resent += isAgain ? 1 : 0;
    if (record !== undefined && decision.allowed) {
      this.#reserved.add(`${key}${record}`);
    }
    if (this.#wentBack) {
      return;
    }
    const blocked = !isAgain && model.isBlocked(blockedHomes(shape, homes), now);
    this.#seen.blocked += blocked ? 1 : 0;
    const counts = !blocked && !isAgain && ['allow', 'up_to', 'reserve'].includes(verb);
    let longest = 0;
    const started = shape.rules.flatMap(({ limit, home = 0 }, i) => {
      if (limit.algorithm === 'block' || limit.algorithm === 'ban') {
        return [];
      }
      const isCounted = counts && verdicts[i]!.refused && (shape.asks[i] ?? 0) > 0;
      const banMs =
        limit.ban === undefined || !isCounted
          ? 0
          : model.refuse(
              homes[home]!,
              nameOf(limit),
              this.#rules[set]!.get(limit.name)!,
              limit.shadow,
              now,
            );
      longest = Math.max(longest, limit.shadow ? 0 : banMs);
      this.#note(
        `${homes[home]!} ${nameOf(limit)}`,
        limit,
        banMs,
        this.#rules[set]!.get(limit.name)!.max,
      );
      return [banMs];
    });
    assert.deepEqual({ blocked: decision.reason === 'blocked' }, { blocked });
    const bans = decision.limits.map((state) => ('bannedForMs' in state ? state.bannedForMs : 0));
    assert.deepEqual({ bans }, { bans: started });
    // The caller sees the limit's refusal, and how long it has to wait now.
    const told = decision.reason === 'limited' ? decision.bannedForMs : undefined;
    assert.deepEqual({ told }, { told: longest === 0 ? undefined : longest });
    const waits = longest === 0 || (decision.retryAfterMs ?? 0) >= longest;
    assert.deepEqual({ waits }, { waits: true });
  }

  #note(id: string, limit: Limit, banMs: number, max: number): void {
    if (banMs === 0) {
      return;
    }
    this.#seen[limit.shadow ? 'shadowBans' : 'bans'] += 1;
    this.#seen.longer += banMs > (this.#lengths.get(id) ?? Infinity) ? 1 : 0;
    this.#seen.longest += banMs === max ? 1 : 0;
    this.#lengths.set(id, banMs);
  }
}

function blockedHomes({ rules }: Shape, homes: readonly string[]): readonly string[] {
  return rules
    .filter(({ limit }) => limit.algorithm === 'block')
    .map(({ home = 0 }) => homes[home]!);
}

function nameOf({ name, shadow }: Limit): string {
  return shadow ? `${name} (shadow)` : name;
}
