import type { Decision } from '../../base/decision.ts';
import type { Command, Given, OptionTable } from '../kit/command.ts';
import { count, lengthOf } from '../kit/figures.ts';
import { EXIT, UsageError } from '../kit/io.ts';
import type { Io } from '../kit/io.ts';
import type { Paint, Printer } from '../kit/printer.ts';
import { REDIS_OPTIONS } from '../kit/redis-options.ts';
import { table } from '../kit/table.ts';
import { COST_OPTION, readCost } from '../limits/cost.ts';
import { SECRET_OPTION } from '../limits/hash-secret.ts';
import { POLICY_OPTIONS, TAGS_OPTION } from '../limits/policies.ts';
import { withLimiter } from './limiter.ts';
import type { AnyRateLimiter } from './limiter.ts';

const OPTIONS: OptionTable = {
  ...POLICY_OPTIONS,
  ...REDIS_OPTIONS,
  ...TAGS_OPTION,
  ...SECRET_OPTION,
};

const NOTES: readonly string[] = [
  'Give the limits and the namespace of your limiter: they are part of the key. Several words are an identity of several parts, in order; where limits say `by`, write org=acme user=42.',
];

export const peek: Command = {
  name: 'peek',
  summary: 'Say what a limiter would answer an identity now; charge nothing',
  usage: '<identity> --limit <limit> [options]',
  options: { ...OPTIONS, ...COST_OPTION },
  examples: [
    ["peek user:12345 --limit '100/1m burst 20' --namespace api", 'What is left, and until when?'],
    ['peek org=acme user=42 --limits limits.mjs', 'With limits of your code that count by parts'],
  ],
  notes: NOTES,
  finding: 'the call would be refused',
  run: (given, io, printer) =>
    withLimiter(given, io, async (limiter, identity) => {
      const cost = readCost(given, limiter.limits);
      const decision = await limiter.peek(identity, cost === undefined ? {} : { cost });
      show(decision, printer);
      return decision.allowed ? EXIT.ok : EXIT.finding;
    }),
};

export const credit: Command = {
  name: 'credit',
  summary: 'Give units back to an identity, as a gift',
  usage: '<identity> --cost <units> --limit <limit> [options]',
  options: { ...OPTIONS, ...COST_OPTION },
  examples: [
    [
      "credit user:12345 --cost 50 --limit '1000/1d fixed'",
      'Fifty units more, until the limit is full',
    ],
  ],
  notes: NOTES,
  run(given, io, printer) {
    if (given.texts('cost').length === 0) {
      throw new UsageError('say how many units: --cost 50.');
    }
    return withLimiter(given, io, async (limiter, identity) => {
      const decision = await limiter.credit(identity, readCost(given, limiter.limits) as never);
      show(decision, printer, `credited ${given.texts('cost').join(', ')}`);
      return EXIT.ok;
    });
  },
};

export const reset: Command = {
  name: 'reset',
  summary: 'Forget what an identity has used',
  usage: '<identity> --limit <limit> [options]',
  options: OPTIONS,
  examples: [["reset user:12345 --limit '100/1m burst 20' --namespace api", 'Start afresh']],
  notes: [...NOTES, 'A block stays: lift it with unblock.'],
  run: (given, io, printer) =>
    runSilent(given, io, printer, 'reset', (limiter, identity) => limiter.reset(identity)),
};

export const block: Command = {
  name: 'block',
  summary: 'Refuse an identity for a time, in limiters with `blocks: true`',
  usage: '<identity> --for <duration> --limit <limit> [options]',
  options: {
    for: { type: 'string', value: '<duration>', help: 'How long: 15m, 1d' },
    ...OPTIONS,
  },
  examples: [["block user:12345 --for 15m --limit '100/1m burst 20'", 'A quarter of an hour']],
  notes: NOTES,
  run(given, io, printer) {
    const duration = given.text('for');
    if (duration === undefined) {
      throw new UsageError('say for how long: --for 15m.');
    }
    return runSilent(
      given,
      io,
      printer,
      `blocked for ${duration}, in limiters with \`blocks: true\``,
      (limiter, identity) => limiter.block(identity, duration as '15m'),
    );
  },
};

export const unblock: Command = {
  name: 'unblock',
  summary: 'Lift the block of an identity',
  usage: '<identity> --limit <limit> [options]',
  options: OPTIONS,
  examples: [["unblock user:12345 --limit '100/1m burst 20'", 'At once, in every process']],
  notes: NOTES,
  run: (given, io, printer) =>
    runSilent(given, io, printer, 'unblocked', (limiter, identity) => limiter.unblock(identity)),
};

/** Runs a verb that answers nothing. */
function runSilent(
  given: Given,
  io: Io,
  printer: Printer,
  says: string,
  work: (limiter: AnyRateLimiter, identity: never) => Promise<void>,
): Promise<number> {
  return withLimiter(given, io, async (limiter, identity) => {
    await work(limiter, identity as never);
    if (printer.json) {
      printer.printJson({ done: says });
    } else {
      printer.print(says);
    }
    return EXIT.ok;
  });
}

/** `done`: what the command did; without it, what a call would be answered. */
function show(decision: Decision, printer: Printer, done?: string): void {
  if (printer.json) {
    printer.printJson(decision);
    return;
  }
  const { paint } = printer;
  printer.print(done ?? verdictOf(decision, paint));
  const rows = decision.limits.flatMap((limit) =>
    'remaining' in limit
      ? [
          [
            `${limit.name}${limit.shadow ? ' (shadow)' : ''}`,
            limit.remaining === undefined ? '' : count(limit.remaining),
            `${count(limit.limit)}${limit.unit === undefined ? '' : ` ${limit.unit}`}`,
            limit.resetAfterMs === undefined ? '' : lengthOf(limit.resetAfterMs),
          ],
        ]
      : [],
  );
  if (rows.length > 0) {
    const titles = [
      { title: 'limit' },
      { title: 'left', align: 'right' },
      { title: 'of', align: 'right' },
      { title: 'full in', align: 'right' },
    ] as const;
    printer.print(table(titles, rows, paint));
  }
}

function verdictOf(decision: Decision, paint: Paint): string {
  if (decision.allowed) {
    return paint('green', 'would pass');
  }
  const wait = 'retryAfterMs' in decision ? decision.retryAfterMs : undefined;
  const until = wait === undefined || !Number.isFinite(wait) ? '' : ` for ${lengthOf(wait)}`;
  const why = decision.reason === 'impossible' ? ': the cost is above a limit' : '';
  return paint('red', `would be refused${until}: ${decision.reason}${why}`);
}
