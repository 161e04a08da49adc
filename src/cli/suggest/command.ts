import { durationToMs, msToDuration } from '../../base/duration.ts';
import { PROGRAM } from '../kit/command.ts';
import type { Command, Given } from '../kit/command.ts';
import { count, counted, percent, readShare, span } from '../kit/figures.ts';
import { CommandError, EXIT, UsageError } from '../kit/io.ts';
import type { Io } from '../kit/io.ts';
import type { Printer } from '../kit/printer.ts';
import { table } from '../kit/table.ts';
import { MAX_CALLERS_OPTION, readMostCallers } from '../logs/caller-options.ts';
import { fieldsOf, LOG_NOTES, LOG_OPTIONS, openLogs, sameLogs } from '../logs/log-options.ts';
import { ArrivalCurve } from './arrival-curve.ts';
import { choose, RATES, rowsOf, SHARES } from './rows.ts';
import type { Cell, Row } from './rows.ts';

const SHARE = 0.001;
const MOST_RATES = 14;
const YEAR_MS = 366 * 86_400_000;

export const suggest: Command = {
  name: 'suggest',
  summary: 'Find rates and bursts that the callers of a log would not notice',
  usage: '<log…> [options]',
  options: {
    disturb: {
      type: 'string',
      value: '<share>',
      help: 'The share of callers that the suggested limit may refuse at least once (default 0.1%)',
    },
    period: { type: 'string', value: '<duration>', help: 'What the rates are per (default 1m)' },
    rates: {
      type: 'string',
      value: '<numbers>',
      help: `The rates to try, at most ${MOST_RATES} (default ${RATES.join(',')})`,
    },
    ...MAX_CALLERS_OPTION,
    ...LOG_OPTIONS,
  },
  examples: [
    ['suggest access.log', 'Which rate and burst would hardly any address have noticed?'],
    ['suggest app.jsonl --field key=user.id --period 1h --rates 100,500,1000', 'By user, per hour'],
    ['zcat access.log.*.gz | npx distributed-rate-limiter suggest -', 'From a pipe'],
  ],
  notes: LOG_NOTES,
  run,
};

async function run(given: Given, io: Io, printer: Printer): Promise<number> {
  const periodMs = readPeriod(given.text('period') ?? '1m');
  const rates = readRates(given.text('rates'));
  const share = readDisturb(given.text('disturb'));
  const mostCallers = readMostCallers(given);
  const logs = await openLogs(given, io, printer);
  const curve = new ArrivalCurve(rates, periodMs, mostCallers);
  for await (const batch of logs.batches) {
    curve.take(batch);
  }
  if (curve.requests === 0) {
    throw new CommandError('the logs hold no request.');
  }
  if (curve.callers === 0) {
    throw new CommandError('no caller of the logs is looked at. Raise --max-callers.');
  }
  if (curve.oneIn > 1) {
    printer.warn(
      `there are more than ${count(mostCallers)} callers: 1 in ${count(curve.oneIn)} is looked at, chosen by a hash of its name, with all of its requests. Raise --max-callers for all.`,
    );
  }
  const period = msToDuration(periodMs);
  const shares = [...new Set([...SHARES, share])].toSorted((a, b) => b - a);
  const rows = rowsOf(curve, shares, periodMs);
  const chosen = choose(rows, shares.indexOf(share));
  if (printer.json) {
    printer.printJson({
      logs: logs.facts(),
      requests: curve.requests,
      callers: curve.callers,
      oneCallerIn: curve.oneIn,
      from: new Date(Math.floor(curve.firstAt / 1_000)).toISOString(),
      to: new Date(Math.floor(curve.lastAt / 1_000)).toISOString(),
      period,
      rates: rows.map(({ rate, cells }) => ({
        rate,
        bursts: cells.map((cell, i) => ({ share: shares[i], ...cell })),
      })),
      suggestion: chosen === undefined ? null : { period, ...chosen },
    });
    return EXIT.ok;
  }
  printer.print(report(curve, rows, shares, period, chosen, given, printer));
  return EXIT.ok;
}

function report(
  curve: ArrivalCurve,
  rows: readonly Row[],
  shares: readonly number[],
  period: string,
  chosen: (Cell & { readonly rate: number }) | undefined,
  given: Given,
  printer: Printer,
): string {
  const { paint, width } = printer;
  const { requests, callers, firstAt, lastAt, oneIn } = curve;
  const who =
    oneIn > 1
      ? `; 1 in ${count(oneIn)} callers is looked at, ${count(callers)}`
      : ` of ${counted(callers, 'caller')}`;
  const lines = [
    printer.fit(`${counted(requests, 'request')}${who}, ${span(firstAt, lastAt)}`),
    '',
    printer.fit('The least burst at which a rate refuses at most this share of the callers:'),
    table(
      [
        { title: 'rate', align: 'right' },
        ...shares.map((share) => ({
          title: `${Number((share * 100).toPrecision(12))} %`,
          align: 'right' as const,
        })),
      ],
      rows.map(({ rate, cells }) => [
        `${count(rate)}/${period}`,
        ...cells.map((cell) => (cell === undefined ? '-' : count(cell.burst))),
      ]),
      paint,
      width,
    ),
    '',
  ];
  if (chosen === undefined) {
    return [
      ...lines,
      'No rate of the table has a burst that a limit takes. Try greater --rates.',
    ].join('\n');
  }
  const { rate, burst, disturbed } = chosen;
  const costField = fieldsOf(given).get('cost');
  return [
    ...lines,
    paint('bold', `tokenBucket({ rate: ${rate}, period: '${period}', burst: ${burst} })`),
    ...(costField === undefined ? [] : [`with each call's ${costField} as its \`cost\``]),
    `would have refused ${count(disturbed)} of ${counted(callers, 'caller')} (${percent(disturbed, callers)}) at least once.`,
    '',
    `See whom: npx ${PROGRAM} replay ${sameLogs(given)} --limit '${rate}/${period} burst ${burst}'`,
  ].join('\n');
}

function readPeriod(text: string): number {
  const ms = durationToMs(text);
  if (ms === undefined || ms < 1 || ms > YEAR_MS) {
    throw new UsageError(`--period must be a duration of at most a year, got '${text}'. Write 1m.`);
  }
  return ms;
}

function readRates(text: string | undefined): readonly number[] {
  if (text === undefined) {
    return RATES;
  }
  const rates = text.split(',').map((each) => (/^\s*\d{1,10}\s*$/.test(each) ? Number(each) : 0));
  if (rates.length > MOST_RATES || rates.some((rate) => rate < 1 || rate > 1_000_000_000)) {
    throw new UsageError(
      `--rates must be at most ${MOST_RATES} whole numbers from 1 to 1,000,000,000, got '${text}'. Write --rates 10,60,100.`,
    );
  }
  return rates;
}

function readDisturb(text: string | undefined): number {
  const share = text === undefined ? SHARE : readShare(text);
  if (share === undefined) {
    throw new UsageError(`--disturb must be a share such as 0.1%, got '${text}'.`);
  }
  return share;
}
