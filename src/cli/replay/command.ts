import type { Command, Given } from '../kit/command.ts';
import { chart } from '../kit/chart.ts';
import { count, counted, percent, readShare, span } from '../kit/figures.ts';
import { CommandError, EXIT, UsageError } from '../kit/io.ts';
import type { Io } from '../kit/io.ts';
import { printable } from '../kit/printer.ts';
import type { Printer } from '../kit/printer.ts';
import { table } from '../kit/table.ts';
import { POLICY_OPTIONS, readPolicies } from '../limits/policies.ts';
import { LOG_NOTES, LOG_OPTIONS, openLogs } from '../logs/log-options.ts';
import type { LogFacts } from '../logs/read-log.ts';
import { CALLER_OPTIONS, readCallerOptions } from '../logs/caller-options.ts';
import type { NameCaller } from '../logs/caller-options.ts';
import { Policy } from './policy.ts';
import { Replay } from './replay.ts';
import type { PolicyTally } from './replay.ts';
import { labelOf } from '../kit/timeline.ts';

const MOST_WORST = 20;
const MOST_ROWS = 24;
const MOST_JSON_ROWS = 100;

export const replay: Command = {
  name: 'replay',
  summary: 'Decide the requests of a log under limits, as the library would have',
  usage: '<log…> --limit <limit> [options]',
  options: {
    ...POLICY_OPTIONS,
    'max-refused': {
      type: 'string',
      value: '<share>',
      help: 'Exit with 1 if a policy refuses a greater share of the requests: 0.1%',
    },
    'max-refused-callers': {
      type: 'string',
      value: '<share>',
      help: 'Exit with 1 if a policy refuses a greater share of the callers at least once',
    },
    ...CALLER_OPTIONS,
    ...LOG_OPTIONS,
  },
  examples: [
    ["replay access.log --limit '100/1m burst 20'", 'What would this limit have refused?'],
    [
      "replay access.log*.gz --limit '100/1m' --limit '10/1s, 1000/1h'",
      'Two policies side by side',
    ],
    [
      'replay app.jsonl --field time=ts --field key=user.id --limits limits.mjs',
      'The limits of your code, on JSON lines, by user',
    ],
    [
      "replay access.log --limit '100/1m' --max-refused 0.1%",
      'In CI: fails if more than 0.1 % of the requests would be refused',
    ],
  ],
  notes: LOG_NOTES,
  finding: 'a policy refuses more than --max-refused or --max-refused-callers',
  run,
};

async function run(given: Given, io: Io, printer: Printer): Promise<number> {
  const texts = await readPolicies(given, io);
  const named = given.texts('field').map((text) => text.slice(0, text.indexOf('=')));
  const fields = named.filter((name) => !['time', 'key', 'cost'].includes(name));
  const policies = texts.map((text) => new Policy(text, fields));
  const bounds = {
    requests: readBound(given, 'max-refused'),
    callers: readBound(given, 'max-refused-callers'),
  };
  const { mostCallers, nameOf } = readCallerOptions(given, io);
  const logs = await openLogs(given, io, printer);
  const replayed = new Replay(policies, mostCallers);
  for await (const batch of logs.batches) {
    await replayed.take(batch);
  }
  if (replayed.requests === 0) {
    throw new CommandError('the logs hold no request.');
  }
  if (replayed.callers.beyond > 0) {
    printer.warn(
      `only the first ${count(mostCallers)} callers are told apart in the counts of callers; ${count(replayed.callers.beyond)} requests came from others. All requests are decided. Raise --max-callers.`,
    );
  }
  const failed = replayed.tallies.filter((tally) => {
    const is = broken(tally, replayed, bounds);
    return is.requests || is.callers;
  });
  if (printer.json) {
    printer.printJson(asJson(replayed, logs.facts(), nameOf, failed));
  } else {
    printer.print(report(replayed, printer, nameOf));
    if (failed.length > 0) {
      printer.print('');
    }
    for (const tally of failed) {
      printer.print(
        `${printer.paint('red', 'FAIL')} ${printer.fit(failure(tally, replayed, given, bounds), 5)}`,
      );
    }
  }
  return failed.length > 0 ? EXIT.finding : EXIT.ok;
}

interface Bounds {
  readonly requests: number | undefined;
  readonly callers: number | undefined;
}

function readBound(given: Given, name: string): number | undefined {
  const text = given.text(name);
  const share = text === undefined ? undefined : readShare(text);
  if (text !== undefined && share === undefined) {
    throw new UsageError(`--${name} must be a share such as 0.1%, got '${text}'.`);
  }
  return share;
}

/** Which bounds a policy breaks: that of the requests, that of the callers. */
function broken(tally: PolicyTally, { requests, callers }: Replay, bounds: Bounds) {
  return {
    requests: tally.refused / requests > (bounds.requests ?? 1),
    callers: tally.callers.size / Math.max(1, callers.size) > (bounds.callers ?? 1),
  };
}

function failure(tally: PolicyTally, replayed: Replay, given: Given, bounds: Bounds): string {
  const is = broken(tally, replayed, bounds);
  const { requests, callers } = replayed;
  const faults = [
    ...(is.requests
      ? [
          `${percent(tally.refused, requests)} of the requests, more than --max-refused ${given.text('max-refused')}`,
        ]
      : []),
    ...(is.callers
      ? [
          `${percent(tally.callers.size, callers.size)} of the callers, more than --max-refused-callers ${given.text('max-refused-callers')}`,
        ]
      : []),
  ];
  return `${tally.policy.name} refuses ${faults.join('; ')}`;
}

function report(replayed: Replay, printer: Printer, nameOf: NameCaller): string {
  const { paint, width } = printer;
  const { requests, callers, firstAt, lastAt, tallies } = replayed;
  const atLeast = callers.beyond > 0 ? 'at least ' : '';
  const lines = [
    printer.fit(
      `${counted(requests, 'request')} of ${atLeast}${counted(callers.size, 'caller')}, ${span(firstAt, lastAt)}`,
    ),
    '',
    table(
      [
        { title: 'policy' },
        { title: 'requests refused', align: 'right' },
        { title: 'callers refused', align: 'right' },
        { title: 'minutes with refusals', align: 'right' },
      ],
      tallies.map((tally) => [
        tally.policy.name,
        `${count(tally.refused)} (${percent(tally.refused, requests)})`,
        `${count(tally.callers.size)} (${percent(tally.callers.size, callers.size)})`,
        count(tally.minutes),
      ]),
      paint,
      width,
    ),
  ];
  const { stepMicros, rows } = replayed.timeline.rows(MOST_ROWS);
  for (const [i, tally] of tallies.entries()) {
    const limits = byLimit(tally);
    if (tallies.length > 1) {
      lines.push('', paint('bold', tally.policy.name), ...limits);
    } else {
      lines.push(
        ...(limits.length === 0 ? [] : ['', paint('bold', 'By limit'), ...limits]),
        '',
        paint('bold', 'Over time (UTC)'),
      );
    }
    const bars = rows.map(({ index, requests: all, refused }) => ({
      label: labelOf(index, stepMicros),
      passed: all - refused[i]!,
      refused: refused[i]!,
    }));
    lines.push(chart(bars, width, paint));
    const worst = replayed.worst(tally, MOST_WORST);
    if (worst.length > 0) {
      const all = tally.callers.size;
      lines.push(
        '',
        paint(
          'bold',
          all > worst.length
            ? `The ${MOST_WORST} refused most, of ${count(all)}`
            : 'Refused callers',
        ),
        table(
          [
            { title: 'caller' },
            { title: 'requests', align: 'right' },
            { title: 'refused', align: 'right' },
            { title: 'minutes', align: 'right' },
          ],
          worst.map((each) => [
            printable(nameOf(each.caller)),
            count(each.requests),
            `${count(each.refused)} (${percent(each.refused, each.requests)})`,
            count(each.minutes),
          ]),
          paint,
          width,
        ),
      );
    }
  }
  return lines.join('\n');
}

/** Which limit refused how many, where a policy has several. */
function byLimit({ byLimit: counts, policy }: PolicyTally): readonly string[] {
  if (counts.size < 2) {
    return [];
  }
  return [...counts].map(([name, refused]) => `${policy.labelOf(name)}: ${count(refused)} refused`);
}

function asJson(
  replayed: Replay,
  logs: readonly LogFacts[],
  nameOf: NameCaller,
  failed: readonly PolicyTally[],
): unknown {
  const { requests, units, callers, firstAt, lastAt, tallies, timeline } = replayed;
  const { stepMicros, rows } = timeline.rows(MOST_JSON_ROWS);
  return {
    logs,
    requests,
    units,
    callers: callers.size,
    requestsOfFurtherCallers: callers.beyond,
    from: new Date(Math.floor(firstAt / 1_000)).toISOString(),
    to: new Date(Math.floor(lastAt / 1_000)).toISOString(),
    policies: tallies.map((tally, i) => ({
      name: tally.policy.name,
      ok: !failed.includes(tally),
      refused: tally.refused,
      refusedCallers: tally.callers.size,
      minutes: tally.minutes,
      refusedByLimit: Object.fromEntries(tally.byLimit),
      worst: replayed
        .worst(tally, MOST_WORST)
        .map((each) => ({ ...each, caller: nameOf(each.caller) })),
      timeline: {
        stepMs: stepMicros / 1_000,
        rows: rows
          .filter((row) => row.requests > 0)
          .map((row) => ({
            from: new Date((row.index * stepMicros) / 1_000).toISOString(),
            requests: row.requests,
            refused: row.refused[i],
          })),
      },
    })),
  };
}
