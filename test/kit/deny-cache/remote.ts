import { expect } from 'vitest';
import type { Decision, MemoryStore, RateLimiter, RateLimiterOptions } from '../../../src/index.ts';
import type { Call } from '../../../src/stores/store.ts';
import type { LocalView } from '../../../src/stores/local-view.ts';
import type { Random } from '../random.mjs';
import type { Engine } from './engine.ts';
import type { Sources } from './histories.ts';
import { settingOf } from './worlds.ts';

const START = 1_800_000_000_000_000;
const TIMEOUT_MS = 100;
const HOLD_MS = 150;
const LONGEST_WAY_US = 100_000;

/** Everything that happens, in real microseconds, however the clocks run. */
class Time {
  now = 0;
  #events: { readonly at: number; readonly run: () => void }[] = [];

  at(at: number, run: () => void): void {
    this.#events.push({ at, run });
    this.#events.sort((a, b) => a.at - b.at);
  }

  /** Runs what is due within `us`, each in a turn of its own. */
  async pass(us: number): Promise<void> {
    const until = this.now + us;
    for (let next = this.#events[0]; next !== undefined && next.at <= until;) {
      this.#events.shift();
      this.now = next.at;
      next.run();
      await turn();
      next = this.#events[0];
    }
    this.now = until;
  }
}

/** Its error is one of the history: a cost that no plan lets pass, or a lost answer. */
const ignore = (made: Promise<unknown>): void => void made.catch(() => undefined);
const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

/** A server behind a network that delays and loses, which another process uses as well. */
interface Remote {
  readonly time: Time;
  readonly store: MemoryStore;
  /** Answers at once, as the server itself would. */
  direct: boolean;
  stop(us: number): void;
}

function remoteOf(engine: Engine, random: Random, longestWayUs = LONGEST_WAY_US): Remote {
  const time = new Time();
  const pace = { own: 1 + random.int(-40, 40) / 1_000, server: 1 + random.int(-40, 40) / 1_000 };
  let stolen = 0;
  const own = { nowMicros: () => Math.floor((time.now - stolen) * pace.own) };
  const server = { nowMicros: () => START + Math.floor(time.now * pace.server) };
  const view: LocalView<Call> = new engine.LocalView(own, () => stolen / 1_000, false);
  const way = random.int(0, longestWayUs);
  let [lastArrival, lastReply] = [0, 0];

  class RemoteStore extends engine.MemoryStore {
    override get time() {
      return own;
    }

    override local() {
      return view;
    }

    override submit(call: Call): void {
      if (remote.direct) {
        super.submit(call);
        return;
      }
      view.submitted(call);
      const sent = own.nowMicros();
      let isEnded = false;
      const lost = longestWayUs === 0 ? 2 : random.int(0, 19);
      lastArrival = Math.max(lastArrival, time.now + random.int(0, way));
      const inner: Call = {
        ...call,
        settle: (reply, at) => {
          lastReply = Math.max(lastReply, time.now + random.int(0, way));
          if (lost === 1) {
            return;
          }
          time.at(lastReply, () => {
            if (isEnded) {
              call.late?.(reply, at);
              return;
            }
            isEnded = true;
            view.anchors.heard('', reply[0]!, sent);
            call.shape = inner.shape;
            call.settle(reply, at);
          });
        },
        fail: (error) => call.fail(error),
      };
      if (lost !== 0) {
        time.at(lastArrival, () => super.submit(inner));
      }
      time.at(time.now + TIMEOUT_MS * 1_000, () => {
        if (!isEnded) {
          isEnded = true;
          call.fail(new engine.StoreError('store_timeout', 'lost'));
        }
      });
    }
  }

  const remote: Remote = {
    time,
    store: new RemoteStore({ clock: server }),
    direct: false,
    stop: (us) => {
      stolen += us;
      time.now += us;
    },
  };
  return remote;
}

/**
 * Runs a history over such a network, and asks the server at the very instant of each repeated refusal whether it would
 * refuse, too. Returns the number of calls.
 */
export async function askBeside(engine: Engine, random: Random, sources: Sources): Promise<number> {
  const { hasLeases, limiters, ...setting } = settingOf(engine, random);
  if (hasLeases) {
    return 0;
  }
  const remote = remoteOf(engine, random);
  const { store, time } = remote;
  const make = (i: number, denyCache: RateLimiterOptions['denyCache']): RateLimiter<string> =>
    new engine.RateLimiter<string>({
      ...limiters[i]!,
      blocks: true,
      store,
      denyCache: denyCache ?? false,
      failStrategy: 'closed',
    } as RateLimiterOptions<string>);
  const own = [make(0, { holdMs: HOLD_MS }), make(1, false)];
  const other = make(0, false);
  const charged: Decision[] = [];
  let steps = 0;
  for (const _ of random.steps(20, 120)) {
    const identity = random.pick(setting.identities) as never;
    const cost = random.int(1, 3);
    const limits = random.int(0, 4) === 0 ? { limits: random.pick(setting.plans) as never } : {};
    const limiter = random.pick(own);
    const ask = async (): Promise<void> => {
      let made: Decision | undefined;
      ignore(limiter.allow(identity, { cost, ...limits }).then((decision) => (made = decision)));
      await turn();
      steps += 1;
      const source = (made?.source ?? 'store') as keyof Sources;
      sources[source] = (sources[source] ?? 0) + 1;
      if (made?.allowed === true && made.reason === 'within_limit') {
        charged.push(made);
      }
      if (made?.source === 'deny_cache') {
        remote.direct = true;
        const server = await other.peek(identity, { cost, ...limits });
        remote.direct = false;
        expect(server, `refused by itself: ${JSON.stringify(made)}`).toMatchObject({
          allowed: false,
        });
      }
    };
    const back = random.int(0, 99);
    if (back === 0) {
      ignore(limiter.reset(identity, limits));
    } else if (back < 3) {
      ignore(limiter.credit(identity, cost, limits));
    } else if (back < 5) {
      ignore(limiter.block(identity, '1s'));
    } else if (back < 8) {
      ignore(limiter.unblock(identity));
    } else if (back < 11 && charged.length > 0) {
      const decision = charged.pop()!;
      ignore(own[0]!.refund(decision).catch(() => own[1]!.refund(decision)));
    } else if (back < 13) {
      remote.direct = true;
      ignore(other.penalize(identity, cost, limits));
      await turn();
      remote.direct = false;
    } else if (back < 15) {
      remote.stop(random.int(0, 1) === 0 ? 90_000 : 3_000_000);
    } else {
      for (let i = random.int(1, 6); i > 0; i--) {
        await ask();
      }
    }
    await time.pass(random.pick([0, 1_000, 10_000, 60_000, 140_000, 500_000]));
  }
  await time.pass(1_000_000);
  return steps;
}

/** Another process gives back, which this one cannot see: the refusal is repeated for `holdMs`, and no longer. */
export async function giveBackElsewhere(engine: Engine, random: Random): Promise<void> {
  const remote = remoteOf(engine, random, 0);
  const { store, time } = remote;
  const options = { store, rate: 1, period: '1h', failStrategy: 'closed' } as const;
  const limiter = new engine.RateLimiter({ ...options, denyCache: { holdMs: HOLD_MS } });
  const other = new engine.RateLimiter(options);
  const ask = async (): Promise<string> => {
    let made: Decision | undefined;
    ignore(limiter.allow('user').then((decision) => (made = decision)));
    await turn();
    await time.pass(1_000);
    return `${made?.allowed} ${made?.source}`;
  };
  expect([await ask(), await ask(), await ask()]).toEqual([
    'true store',
    'false deny_cache',
    'false deny_cache',
  ]);
  remote.direct = true;
  await other.reset('user');
  remote.direct = false;
  await time.pass(HOLD_MS * 900 - 5_000);
  expect(await ask()).toBe('false deny_cache');
  await time.pass(HOLD_MS * 200);
  expect(await ask()).toBe('true store');
}
