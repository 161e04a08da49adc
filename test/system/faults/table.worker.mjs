// @ts-check
import process from 'node:process';
import { clients } from './clients.mjs';
import { runClusterScenarios } from './cluster.mjs';
import { portScenarios, runPortScenario } from './ports.mjs';
import { scenarios } from './scenarios.mjs';
import { runSentinelScenarios } from './sentinel.mjs';
import { runScenario } from './run-scenario.mjs';

/**
 * Runs every scenario for one client, or for a `RedisPort`. Prints a line of JSON for each: a row of the table, or the
 * failure.
 *
 * `node table.worker.mjs <client | port | cluster | sentinel> <effort> <words in the scenario's name>`
 *
 * @typedef {import('./run-scenario.mjs').Row} Row
 * @typedef {{ row: Row & { extra?: number } } | { failure: string }} Line
 */
const [kind = '', effort = '1', words = ''] = process.argv.slice(2);
const groups = { cluster: runClusterScenarios, sentinel: runSentinelScenarios };

/** @type {readonly { name: string, run: (failStrategy: 'open' | 'closed') => Promise<Row> }[]} */
const runs =
  kind === 'port'
    ? portScenarios.map((scenario) => ({
        name: scenario.name,
        run: (failStrategy) => runPortScenario(scenario, failStrategy),
      }))
    : scenarios.map((scenario) => ({
        name: scenario.name,
        run: (failStrategy) => {
          const client = clients[/** @type {keyof typeof clients} */ (kind)];
          return runScenario(scenario, client, failStrategy, Number(effort));
        },
      }));

if (kind === 'cluster' || kind === 'sentinel') {
  await groups[kind](({ scenario, client, failStrategy, result }) => {
    print(
      'error' in result
        ? { failure: describe(scenario, client, failStrategy, result.error) }
        : { row: { ...result.row, extra: result.extra } },
    );
  }, words);
} else {
  for (const { name, run } of runs.filter((each) => each.name.includes(words))) {
    for (const failStrategy of /** @type {const} */ (['open', 'closed'])) {
      try {
        print({ row: await run(failStrategy) });
      } catch (error) {
        print({ failure: describe(name, kind, failStrategy, error) });
      }
    }
  }
}

/** @param {Line} line */
function print(line) {
  console.log(JSON.stringify(line));
}

/**
 * @param {string} scenario
 * @param {string} client
 * @param {string} failStrategy
 * @param {unknown} error
 */
function describe(scenario, client, failStrategy, error) {
  const what = error instanceof Error ? (error.stack ?? error.message) : String(error);
  return `${scenario}, ${client}, failing ${failStrategy}: ${what}`;
}
