import { afterAll, describe, expect, test } from 'vitest';
import type { ClientKind } from './clients.mjs';
import { scenarios } from './scenarios.mjs';
import { runScenario } from './run-scenario.mjs';
import type { Row, Scenario } from './run-scenario.mjs';
import { tableOf } from './table.mjs';

/** Words in the names of scenarios in which clients differ most: calls in flight, and how the connection recovers. */
const DIFFERING = [
  'killed',
  'restarted',
  'half a reply',
  'replies dropped',
  'cut in place',
  'cut: calls wait',
  'stopped',
];

/** Runs a selection, for a client similar to another; `npm run faults` runs all scenarios. */
export function testDifferingFaults(client: ClientKind): void {
  testScenarios(
    client,
    scenarios.filter(({ name }) => DIFFERING.some((words) => name.includes(words))),
  );
}

/** Runs every scenario for one client, and prints the measured figures at the end. */
export function testFaults(client: ClientKind): void {
  testScenarios(client, scenarios);
}

function testScenarios(client: ClientKind, chosen: readonly Scenario[]): void {
  const rows: Row[] = [];
  // Vitest would replace `$name` in a test's name.
  const named = chosen.map((scenario) => [scenario.name, scenario] as const);

  for (const failStrategy of ['open', 'closed'] as const) {
    describe(`${client.name}, failing ${failStrategy}`, () => {
      test.each(named)('%s', async (_, scenario) => {
        const row = await runScenario(scenario, client, failStrategy);
        expect(row.calls).toBeGreaterThan(0);
        rows.push(row);
      });
    });
  }

  describe(`${client.name}, failing with a throw`, () => {
    test.each(named.slice(0, 1))('%s', async (_, scenario) => {
      const row = await runScenario(scenario, client, 'throw');
      expect(row.calls).toBeGreaterThan(0);
      rows.push(row);
    });
  });

  afterAll(() => {
    console.log(tableOf(rows));
  });
}
