/**
 * Every error and warning of the library, with its meaning and cure. `npm run generate` makes docs/errors.md from this
 * table. It is outside src, so that no bundle carries it.
 *
 * @typedef {object} ErrorRow
 * @property {string} from what throws it or rejects with it
 * @property {string} meaning
 * @property {string} cure
 *
 * @typedef {Omit<ErrorRow, 'from'>} WarningRow
 */

/** @type {Readonly<Record<import('../src/base/errors.ts').ErrorCode, ErrorRow>>} */
export const errors = {
  ERR_INVALID_OPTION: {
    from: 'everything that takes options',
    meaning:
      'An option is unknown, misplaced, missing or has a wrong value. One error lists all that is wrong with an object.',
    cure: 'Change what the message names.',
  },
  ERR_INVALID_IDENTITY: {
    from: 'every call that takes an identity',
    meaning:
      'The identity is empty, too long, malformed, or of a type that identifies no caller. Where limits say `by`: it is no object of exactly the parts that they count by.',
    cure: 'Pass a non-empty string of at most 1,024 bytes, a safe integer, a bigint, or an array of these. Where limits say `by`, pass each part by name, `null` for none.',
  },
  ERR_INVALID_COST: {
    from: 'every call that takes a cost or units; a guard or limited function, when it is made with a `cost` that is no function',
    meaning:
      'The cost is not a whole number in the range that the message names. Where limits have units: it is a number other than 0, names a unit that no limit counts, or asks no enforced limit. Where none has: it is by name.',
    cure: 'Pass a whole number; where limits have units, whole numbers by name: `{ tokens: 1200 }`. For fractions count a smaller unit. A cost of 0 charges nothing.',
  },
  ERR_LIMITER_CLOSED: {
    from: 'every call after `close()`',
    meaning: 'The limiter was closed. Calls that wait are ended by it as well.',
    cure: 'Stop taking requests before you close the limiter: [shutting down](#shutting-down).',
  },
  ERR_NOT_REFUNDABLE: {
    from: '`refund`',
    meaning: 'The decision is of another limiter, charged nothing, or was refunded before.',
    cure: 'Refund each decision once, on the limiter that made it.',
  },
  ERR_UNKNOWN_TOKEN: {
    from: '`resume`',
    meaning:
      'The token was made under another namespace or `hashSecret`, or has been changed since.',
    cure: 'Resume it with the `namespace` and `hashSecret` of the limiter that reserved. Pass it as it was read.',
  },
  ERR_WAIT_TIMEOUT: {
    from: '`wait`, `limited` with `wait`',
    meaning: 'The call cannot pass within its `timeoutMs`. It rejects as soon as that is known.',
    cure: 'Refuse the work, or wait longer.',
  },
  ERR_WAIT_QUEUE_FULL: {
    from: '`wait`, `limited` with `wait`',
    meaning: '`maxQueue` calls of this identity wait already in this process.',
    cure: 'Refuse the work, or raise `maxQueue`.',
  },
  ERR_LEASE_REQUIRED: {
    from: '`allow`, `allowUpTo`, `wait`, `reserve`',
    meaning: 'A limit is a concurrency limit, whose places have to be given back.',
    cure: 'Call `acquire`, and release the lease.',
  },
  ERR_TOO_MANY_LIMITS: {
    from: 'every call that decides, charges or gives back',
    meaning:
      'The identity has 32 states of buckets and windows that still count, and the call needs another. `failStrategy` does not cover it.',
    cure: 'Reuse the names of limits. `reset` under limits that are no longer used makes room.',
  },
  ERR_LEASE_LOST: {
    from: '`lease.signal`, as its reason',
    meaning: 'The lease ended before it was released: it was not renewed in time.',
    cure: 'Stop the work that it was for.',
  },
  ERR_RATE_LIMIT_EXCEEDED: {
    from: '`limited`, `@RateLimit`, `wait`',
    meaning:
      'The call did not pass. It is a `RateLimitExceeded`: `decision` says why, `retryAfterMs` for how long.',
    cure: 'Try again after `retryAfterMs`, or answer 429; 503 where `decision.degraded`.',
  },
  ERR_CLIENT_MISSING: {
    from: 'every call, `ready()`',
    meaning:
      '`redis` is a URL, and no client library can be loaded. `failStrategy` does not cover it.',
    cure: '`npm install ioredis`, or pass a client. In a bundle leave the client library out of it.',
  },
  ERR_WORKER_MISSING: {
    from: '`RateLimiterSync`',
    meaning:
      'The worker file of `/sync` is missing or cannot start, as a rule because the package was bundled; `cause` says why it cannot start.',
    cure: 'Leave the package out of the bundle.',
  },
  ERR_RUNTIME_UNSUPPORTED: {
    from: 'what makes a limiter, every call',
    meaning:
      "Cloudflare Workers: `redis` is a URL, or a client that another request uses. `failStrategy` does not cover it. Vercel's Edge Runtime: the package is loaded.",
    cure: 'Make client and limiter in the request, or use a `MemoryStore`: [Cloudflare Workers](clients.md#cloudflare-workers).',
  },
  ERR_STORE_TIMEOUT: {
    from: 'store error, `store_timeout`',
    meaning: 'No answer within `timeoutMs`, or the server has stopped answering.',
    cure: 'Look at the server and the network; see [faults](faults.md).',
  },
  ERR_STORE_AWAY: {
    from: 'store error, `store_away`',
    meaning: 'There is no connection to Redis.',
    cure: "Look at the address, the server and the client's own errors.",
  },
  ERR_STORE: {
    from: 'store error, `store_error`',
    meaning:
      "The server refused: `OOM`, `READONLY`, `NOPERM`, `NOAUTH`. Or a key holds what this library did not write. `cause` has the server's words.",
    cure: 'Mend what `cause` says. `reset` clears a foreign value of one identity.',
  },
  ERR_OVERLOADED: {
    from: 'store error, `overloaded`',
    meaning:
      'More calls are in flight than `maxInFlight`, or a `MemoryStore` holds `maxKeys` states that still count.',
    cure: 'Find out what is slow; then raise the bound.',
  },
};

/** @type {Readonly<Record<string, WarningRow>>} */
export const warnings = {
  DRL_PENALTY_WITHOUT_DEBT: {
    meaning:
      '`penalize` was called where no limit has `maxDebt`: where nothing is left it does nothing.',
    cure: 'Give a limit `maxDebt`, the units that may be owed.',
  },
  DRL_CLIENT_RESENDS: {
    meaning:
      'The client sends a command again after a lost connection, which can charge one call twice.',
    cure: 'Set the options of the client that the message names: [clients](clients.md).',
  },
  DRL_CLIENT_KEY_PREFIX: {
    meaning: 'The client puts a prefix before every key.',
    cure: "Use the limiter's `namespace` instead, and a client without a prefix.",
  },
  DRL_CLIENT_NO_ERROR_LISTENER: {
    meaning:
      "The client has no listener for `'error'`: without this library its next error would end the process.",
    cure: "Add `client.on('error', …)`.",
  },
  DRL_CLIENT_OUT_OF_STEP: {
    meaning:
      'A node-redis 4 client reads replies of earlier commands since its connection broke off in a reply. It is not used any more.',
    cure: 'Make a new client, or take node-redis 5 or later.',
  },
  DRL_COUNTED_TWICE: {
    meaning: 'One request was counted twice under one limit, so callers get about half of it.',
    cure: 'Mount the limiter once, or give each its own `namespace`.',
  },
  DRL_DEGRADED: {
    meaning:
      'Decisions are made by the failure strategy: Redis refuses, a call was late, or, with `RateLimiterSync`, Redis is away. Once a minute at most for each text, and only without `onError`.',
    cure: 'Mend what the message names, and listen with `onError`.',
  },
  DRL_HELD_TOO_LONG: {
    meaning:
      'A request held its place under a concurrency limit for `maxHold`; the place was freed.',
    cure: 'Raise `maxHold` if responses take so long, or find the response that never ends.',
  },
  DRL_HOOK_FAILED: {
    meaning:
      'A function of yours (`onAllow`, `onError`, `headers`, `count`, …) threw. Decisions are not affected.',
    cure: 'Mend the function; the warning has its error.',
  },
  DRL_INVALID_IDENTITY: {
    meaning:
      '`identify` returned something that is no identity, and the request was refused. The message names the type.',
    cure: 'Return a string, a safe integer, a bigint or an array of these; undefined for an unidentified request.',
  },
  DRL_MADE_PER_REQUEST: {
    meaning:
      'A guard is made for each request, so its limiter remembers nothing. Not looked for on Cloudflare Workers.',
    cure: 'Make it once, when the program starts.',
  },
  DRL_NO_ADDRESS: {
    meaning:
      "The framework does not tell the client's address, so no request can be limited by it.",
    cure: 'Pass `address` or `identify`.',
  },
  DRL_REFUSALS_NOT_PUBLISHED: {
    meaning:
      'Redis refuses to publish what `publishRefusals` is told of. Decisions are not affected.',
    cure: 'Give the user in Redis `+publish` and `&<namespace>:refusals`.',
  },
  DRL_REQUEST_FAILED: {
    meaning: 'A request could not be decided and was answered with status 500.',
    cure: 'Mend what the message names.',
  },
  DRL_SHARDED: {
    meaning: 'Several servers share the keys out, and the option `sharding` does not say so.',
    cure: 'Set `sharding`: [clients](clients.md).',
  },
  DRL_SHARED_KEYS: {
    meaning: 'Two limiters of this process share keys and limit by different numbers.',
    cure: 'Give one another `namespace`, or its limit another `name`.',
  },
  DRL_STORE_STATE: {
    meaning: 'Redis is away or hung, or answers again, and no `onError` or subscriber hears of it.',
    cure: 'Listen with `onError` or [`logStoreState`](observability.md).',
  },
  DRL_UNTRUSTED_FORWARDED: {
    meaning: 'A request came with a forwarded header, and no proxy is trusted.',
    cure: 'Name the proxy in `trustedProxies`, or pass `[]`: [client addresses](client-address.md).',
  },
};
