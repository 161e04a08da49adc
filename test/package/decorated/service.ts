import { concurrency, MemoryStore, RateLimiter, tokenBucket } from 'distributed-rate-limiter';
import { RateLimit } from 'distributed-rate-limiter/limited';
import { ManualClock } from 'distributed-rate-limiter/testing';

export const clock: ManualClock = new ManualClock();
export const limiter: RateLimiter = new RateLimiter({
  store: new MemoryStore({ clock }),
  rate: 4,
  period: '4s',
});

/** A plain decorator function with its own limiter. */
export const perUser = RateLimit({
  limiter: { store: new MemoryStore({ clock }), rate: 1, period: '1s' },
  identify: (user: string) => user,
});

const plans = {
  free: [tokenBucket({ rate: 1, period: '1s' })],
  paid: [tokenBucket({ rate: 2, period: '1s' })],
};

/** Compiled and run twice: as standard decorators, and with `experimentalDecorators`. */
export class Service {
  readonly tenant: string;
  readonly plan: keyof typeof plans;
  readonly ran: string[] = [];

  constructor(tenant: string, plan: keyof typeof plans = 'free') {
    this.tenant = tenant;
    this.plan = plan;
  }

  @RateLimit({
    limiter,
    identify(this: Service, user: string) {
      return [this.tenant, user];
    },
    cost: (_user: string, rows: readonly string[]) => rows.length,
  })
  async load(user: string, rows: readonly string[], separator = ' '): Promise<string> {
    this.ran.push(user);
    return Promise.resolve([this.tenant, user, ...rows].join(separator));
  }

  @perUser
  async send(user: string): Promise<string> {
    return Promise.resolve(`${this.tenant} to ${user}`);
  }

  @RateLimit({
    limiter: { store: new MemoryStore({ clock }), rate: 1, period: '1s' },
    identify: 'all',
    limits(this: Service) {
      return plans[this.plan];
    },
  })
  async export(): Promise<number> {
    return Promise.resolve(this.ran.push('export'));
  }

  @RateLimit({
    limiter: {
      store: new MemoryStore({ clock }),
      limits: [concurrency({ max: 1, ttl: '10s' })],
    },
    identify: 'all',
  })
  async exclusive(work: () => Promise<void>): Promise<void> {
    return work();
  }

  static readonly label = 'static';

  @RateLimit({
    limiter: { store: new MemoryStore({ clock }), rate: 1, period: '1s' },
    identify(this: typeof Service, _id: number) {
      return this.label;
    },
  })
  static async find(id: number): Promise<string> {
    return Promise.resolve(`${this.label} ${id}`);
  }
}

/** Uses that must not compile, with either kind of decorators. */
export class Refused {
  // @ts-expect-error the method is called with a number, and `identify` reads a text
  @RateLimit({ limiter, identify: (user: string) => user })
  async other(id: number): Promise<number> {
    return Promise.resolve(id);
  }

  // @ts-expect-error what comes out is a promise, and the method does not say so
  @RateLimit({ limiter, identify: 'all' })
  synchronous(): number {
    return 1;
  }

  // @ts-expect-error there is no tenant here
  @RateLimit({
    limiter,
    identify(this: Service) {
      return this.tenant;
    },
  })
  async homeless(): Promise<void> {
    return Promise.resolve();
  }
}
