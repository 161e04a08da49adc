import { callerDigest } from '../../refusals/caller-digest.ts';
import type { RefusalMessage } from '../../refusals/message.ts';
import type { Command, Given } from '../kit/command.ts';
import { count, counted, percent } from '../kit/figures.ts';
import { CommandError, EXIT } from '../kit/io.ts';
import type { Io } from '../kit/io.ts';
import type { Printer } from '../kit/printer.ts';
import { REDIS_OPTIONS } from '../kit/redis-options.ts';
import { table } from '../kit/table.ts';
import { readSecret, SECRET_OPTION } from '../limits/hash-secret.ts';
import { listen, readListenFor } from './listen.ts';

/** Each process reports every 5 s. */
const LISTEN_MS = 6_000;
const MOST_SHOWN = 20;

const { redis, namespace, timeout } = REDIS_OPTIONS;

export const top: Command = {
  name: 'top',
  summary: 'Show which callers are refused most',
  usage: '--redis <url> [options]',
  options: {
    redis: redis!,
    namespace: namespace!,
    timeout: timeout!,
    for: { type: 'string', value: '<duration>', help: 'How long to listen (default 6s)' },
    most: {
      type: 'string',
      value: '<number>',
      help: `The most callers shown (default ${MOST_SHOWN})`,
    },
    caller: {
      type: 'string',
      multiple: true,
      value: '<identity>',
      help: 'A caller to look for: its digest is shown with its name',
    },
    ...SECRET_OPTION,
  },
  examples: [
    ['top --redis redis://localhost:6379 --namespace api', 'Who was refused most of late?'],
    ['top --namespace api --caller 203.0.113.7 --hash-secret-env SECRET', 'Is this caller one?'],
  ],
  notes: [
    'Processes must publish their refusals: publishRefusals of distributed-rate-limiter/refusals. Callers are digests. Each process tells of the last five to ten minutes.',
  ],
  run,
};

interface Caller {
  readonly caller: string;
  readonly refused: number;
  /** How many of them may be of other callers. */
  readonly error: number;
}

async function run(given: Given, io: Io, printer: Printer): Promise<number> {
  const secret = readSecret(given, io);
  const most = given.integer('most', MOST_SHOWN, 1, 1_000);
  const known = new Map(given.texts('caller').map((text) => [callerDigest(text, secret), text]));
  const reports = new Map<string, NonNullable<RefusalMessage['recent']>>();
  await listen(given, io, printer, readListenFor(given, LISTEN_MS), ({ process, recent }) => {
    if (recent !== undefined) {
      reports.set(process, recent);
    }
    printer.progress(() => `${counted(reports.size, 'process', 'processes')} heard`);
  });
  printer.clearProgress();
  if (reports.size === 0) {
    throw new CommandError(
      'no process has told of its refusals. Pass publishRefusals({ redis, namespace }).onBlock to your limiters, with the namespace that --namespace names.',
    );
  }
  const { total, callers } = merged([...reports.values()]);
  const shown = callers.filter(({ caller }, i) => i < most || known.has(caller));
  if (printer.json) {
    printer.printJson({
      processes: reports.size,
      refused: total,
      callers: shown.map((each) => ({ ...each, name: known.get(each.caller) })),
    });
  } else {
    printer.print(report(reports.size, total, shown, known, printer));
  }
  return EXIT.ok;
}

/** Sums the counts of all processes. A caller that a process does not name was refused there less than those named. */
function merged(reports: readonly NonNullable<RefusalMessage['recent']>[]): {
  readonly total: number;
  readonly callers: readonly Caller[];
} {
  const sums = new Map<string, { refused: number; error: number }>();
  for (const [caller, refused, error] of reports.flatMap(({ callers }) => callers)) {
    const sum = sums.get(caller) ?? { refused: 0, error: 0 };
    sums.set(caller, { refused: sum.refused + refused, error: sum.error + error });
  }
  return {
    total: reports.reduce((sum, { total }) => sum + total, 0),
    callers: [...sums]
      .map(([caller, sum]) => ({ caller, ...sum }))
      .toSorted((a, b) => b.refused - a.refused || (a.caller < b.caller ? -1 : 1)),
  };
}

function report(
  processes: number,
  total: number,
  callers: readonly Caller[],
  known: ReadonlyMap<string, string>,
  { paint }: Printer,
): string {
  const missing = [...known].filter(([digest]) => !callers.some(({ caller }) => caller === digest));
  return [
    `${counted(total, 'refusal')} by ${counted(processes, 'process', 'processes')} in the last five to ten minutes`,
    ...(callers.length === 0
      ? []
      : [
          '',
          table(
            [
              { title: 'caller' },
              { title: 'refused', align: 'right' },
              { title: 'of others, at most', align: 'right' },
              { title: '' },
            ],
            callers.map(({ caller, refused, error }) => [
              `${caller}…`,
              `${count(refused)} (${percent(refused, total)})`,
              count(error),
              known.get(caller) ?? '',
            ]),
            paint,
          ),
        ]),
    ...missing.map(([digest, text]) => `${text} (${digest}…) is not among those refused most.`),
  ].join('\n');
}
