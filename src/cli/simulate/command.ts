import { durationToMs } from '../../base/duration.ts';
import { chart } from '../kit/chart.ts';
import type { Command, Given } from '../kit/command.ts';
import { count, counted, lengthOf, percent, ratio } from '../kit/figures.ts';
import { CommandError, EXIT, UsageError } from '../kit/io.ts';
import type { Io } from '../kit/io.ts';
import type { Printer } from '../kit/printer.ts';
import { table } from '../kit/table.ts';
import type { Bucket } from '../kit/timeline.ts';
import { COST_OPTION, readCost } from '../limits/cost.ts';
import { POLICY_OPTIONS, readPolicies } from '../limits/policies.ts';
import { requestsOf } from './requests.ts';
import type { Scenario } from './requests.ts';
import { Simulation } from './simulation.ts';
import type { Contender } from './simulation.ts';
import { readTraffic, TRAFFIC_SYNTAX } from './traffic.ts';
import { readVariants, VARIANT_OPTIONS } from './variants.ts';

const LENGTH = '5m';
const YEAR_MS = 366 * 86_400_000;
const MOST_CALLERS = 1_000_000;
const MOST_ROWS = 24;
const MOST_JSON_ROWS = 100;
/** Requests between two turns of the event loop, in which Ctrl-C is heard. */
const PER_TURN = 1_000;

export const simulate: Command = {
  name: 'simulate',
  summary: 'Decide made-up traffic under limits, by the library itself',
  usage: '--traffic <traffic> --limit <limit> [options]',
  options: {
    traffic: {
      type: 'string',
      multiple: true,
      value: '<traffic>',
      help: `Callers and their requests: ${TRAFFIC_SYNTAX}`,
    },
    ...POLICY_OPTIONS,
    for: { type: 'string', value: '<duration>', help: `How long (default ${LENGTH})` },
    processes: {
      type: 'string',
      value: '<number>',
      help: 'Processes that share the limits; each request goes to one at random (default 1)',
    },
    seed: {
      type: 'string',
      value: '<number>',
      help: 'Another seed is other random traffic (default 1)',
    },
    ...VARIANT_OPTIONS,
    ...COST_OPTION,
  },
  examples: [
    [
      "simulate --traffic '100 callers poisson 30/1m' --limit '60/1m burst 4'",
      'How many honest callers does chance alone push over the limit?',
    ],
    [
      "simulate --traffic '50 callers steady 30/1m' --traffic '1 caller bursts of 200 every 30s' --limit '60/1m' --limit '60/1m fixed'",
      'Two policies side by side, under steady callers and a bursty one',
    ],
    [
      "simulate --traffic '1 caller poisson 2000/1s' --limit '1000/1s' --processes 4 --for 10s --deny-cache 250ms --prepay",
      'How many calls to Redis do four processes save, each in two ways?',
    ],
  ],
  notes: [
    'A rate of --traffic is that of each caller. Bursts and turns of callers begin at random instants. Times are whole milliseconds; a call to Redis takes none.',
  ],
  run,
};

async function run(given: Given, io: Io, printer: Printer): Promise<number> {
  const policies = await readPolicies(given, io);
  const scenario = readScenario(given);
  const simulation = new Simulation(
    policies,
    readVariants(given),
    scenario.traffics,
    scenario.processes,
  );
  const costs = simulation.contenders.map(({ limiters }) => readCost(given, limiters[0]!.limits));
  for (const request of requestsOf(scenario)) {
    if (simulation.requests % PER_TURN === 0) {
      await new Promise((resolve) => {
        setImmediate(resolve);
      });
      printer.checkInterrupted();
      printer.progress(
        () => `${percent(request.atMs, scenario.lengthMs)}, ${count(simulation.requests)} requests`,
      );
    }
    await simulation.take(request, costs);
  }
  printer.clearProgress();
  if (simulation.requests === 0) {
    throw new CommandError(
      `no request came in ${lengthOf(scenario.lengthMs)}. Simulate longer: --for 1h.`,
    );
  }
  if (printer.json) {
    printer.printJson(asJson(simulation, scenario));
  } else {
    printer.print(report(simulation, scenario, printer));
  }
  return EXIT.ok;
}

function readScenario(given: Given): Scenario {
  if (given.words.length > 0) {
    throw new UsageError(`simulate takes no words, got '${given.words[0]}'. Quote the traffic.`);
  }
  const traffics = given.texts('traffic').map(readTraffic);
  if (traffics.length === 0) {
    throw new UsageError(`say who calls: --traffic such as ${TRAFFIC_SYNTAX}.`);
  }
  const callers = traffics.reduce((sum, traffic) => sum + traffic.callers, 0);
  if (callers > MOST_CALLERS) {
    throw new UsageError(
      `--traffic has ${count(callers)} callers, of at most ${count(MOST_CALLERS)}. Name fewer.`,
    );
  }
  const text = given.text('for') ?? LENGTH;
  const lengthMs = durationToMs(text);
  if (lengthMs === undefined || lengthMs < 1 || lengthMs > YEAR_MS) {
    throw new UsageError(`--for must be a duration of at most a year, got '${text}'. Write 5m.`);
  }
  return {
    traffics,
    lengthMs,
    processes: given.integer('processes', 1, 1, 1_000),
    seed: given.integer('seed', 1, 0, 2 ** 32 - 1),
  };
}

function report(simulation: Simulation, scenario: Scenario, printer: Printer): string {
  const { paint, width } = printer;
  const { requests, contenders, timeline, startMs } = simulation;
  const { traffics, lengthMs, processes, seed } = scenario;
  const callers = traffics.reduce((sum, traffic) => sum + traffic.callers, 0);
  const { stepMicros, rows } = timeline.rows(MOST_ROWS);
  return [
    printer.fit(
      `${counted(requests, 'request')} of ${counted(callers, 'caller')} in ${lengthOf(lengthMs)}, to ${counted(processes, 'process', 'processes')}, seed ${seed}`,
    ),
    '',
    table(
      [
        { title: 'policy' },
        { title: 'refused', align: 'right' },
        { title: 'longest wait', align: 'right' },
        { title: 'calls to Redis', align: 'right' },
        { title: 'per decision', align: 'right' },
      ],
      contenders.map(({ name, refused, longestWaitMs, storeCalls }) => [
        name,
        `${count(refused)} (${percent(refused, requests)})`,
        refused === 0 ? '' : lengthOf(longestWaitMs),
        count(storeCalls),
        ratio(storeCalls / requests),
      ]),
      paint,
      width,
    ),
    ...alike(contenders, rows).flatMap((same) => [
      '',
      paint('bold', printer.fit(contenders.length > 1 ? headingOf(same) : 'By traffic')),
      groupsOf(same[0]!, scenario, printer),
      '',
      chart(
        rows.map(({ index, requests: all, refused }) => ({
          label: sinceStart((index * stepMicros) / 1_000 - startMs),
          passed: all - refused[contenders.indexOf(same[0]!)]!,
          refused: refused[contenders.indexOf(same[0]!)]!,
        })),
        width,
        paint,
      ),
    ]),
  ].join('\n');
}

/** Puts the contenders of a policy together that refused the same. */
function alike(contenders: readonly Contender[], rows: readonly Bucket[]): readonly Contender[][] {
  const groups = new Map<string, Contender[]>();
  for (const [i, contender] of contenders.entries()) {
    const refused = rows.map((row) => row.refused[i]);
    const tallies = contender.groups.map((group) => [group.refused, group.refusedCallers.size]);
    const key = JSON.stringify([contender.policy, refused, tallies]);
    groups.set(key, [...(groups.get(key) ?? []), contender]);
  }
  return [...groups.values()];
}

function headingOf([first, ...others]: readonly Contender[]): string {
  const variants = others.map(({ variant }) => variant!);
  return variants.length === 0
    ? first!.name
    : `${first!.name}; the same with ${variants.join(' and with ')}`;
}

function sinceStart(ms: number): string {
  return ms <= 0 ? '0 s' : lengthOf(ms);
}

function groupsOf(
  { groups }: Contender,
  { traffics }: Scenario,
  { paint, width }: Printer,
): string {
  return table(
    [
      { title: 'traffic' },
      { title: 'requests', align: 'right' },
      { title: 'refused', align: 'right' },
      { title: 'callers refused', align: 'right' },
    ],
    groups.map(({ requests, refused, refusedCallers }, i) => [
      traffics[i]!.name,
      count(requests),
      `${count(refused)} (${percent(refused, requests)})`,
      `${count(refusedCallers.size)} of ${count(traffics[i]!.callers)}`,
    ]),
    paint,
    width,
  );
}

function asJson(simulation: Simulation, scenario: Scenario): unknown {
  const { requests, contenders, timeline, startMs } = simulation;
  const { traffics, lengthMs, processes, seed } = scenario;
  const { stepMicros, rows } = timeline.rows(MOST_JSON_ROWS);
  return {
    requests,
    lengthMs,
    processes,
    seed,
    policies: contenders.map(({ name, refused, longestWaitMs, storeCalls, groups }, i) => ({
      name,
      refused,
      longestWaitMs,
      storeCalls,
      traffic: groups.map((group, j) => ({
        name: traffics[j]!.name,
        callers: traffics[j]!.callers,
        requests: group.requests,
        refused: group.refused,
        refusedCallers: group.refusedCallers.size,
      })),
      timeline: {
        stepMs: stepMicros / 1_000,
        rows: rows.map((row) => ({
          fromMs: Math.max(0, (row.index * stepMicros) / 1_000 - startMs),
          requests: row.requests,
          refused: row.refused[i],
        })),
      },
    })),
  };
}
