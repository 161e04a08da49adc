// @ts-check
import process from 'node:process';
import { clients } from './clients.mjs';
import { portScenarios, runPortScenario } from './ports.mjs';
import { scenarios } from './scenarios.mjs';
import { runScenario } from './stage.mjs';

/**
 * Runs every scenario for one client, or for a `RedisPort`, and prints a line of JSON for each: a row of the table, or
 * what failed. `node table.worker.mjs <client | port> <effort> <words in the scenario's name>`
 *
 * @typedef {import('./stage.mjs').Row} Row
 * @typedef {{ row: Row } | { failure: string }} Line
 */
const [kind = '', effort = '1', words = ''] = process.argv.slice(2);
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

for (const { name, run } of runs.filter((each) => each.name.includes(words))) {
  for (const failStrategy of /** @type {const} */ (['open', 'closed'])) {
    /** @type {Line} */
    let line;
    try {
      line = { row: await run(failStrategy) };
    } catch (error) {
      const what = error instanceof Error ? (error.stack ?? error.message) : String(error);
      line = { failure: `${name}, ${kind}, failing ${failStrategy}: ${what}` };
    }
    console.log(JSON.stringify(line));
  }
}
