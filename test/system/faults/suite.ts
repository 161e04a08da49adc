import { afterAll, describe, expect, test } from 'vitest';
import type { ClientKind } from './clients.mjs';
import { scenarios } from './scenarios.mjs';
import { runScenario } from './stage.mjs';
import type { Row, Scenario } from './stage.mjs';
import { tableOf } from './table.mjs';

/** Those in which clients differ most: what becomes of what was under way, and how the connection comes back. */
const TELLING = [
  'killed',
  'restarted',
  'half a reply',
  'replies dropped',
  'cut in place',
  'cut: calls wait',
  'stopped',
];

/** A choice for a client that is much like another; `npm run faults` has them all. */
export function testTellingFaults(client: ClientKind): void {
  testScenarios(
    client,
    scenarios.filter(({ name }) => TELLING.some((words) => name.includes(words))),
  );
}

/** Every scenario for one client, a test each, and the measured figures at the end. */
export function testFaults(client: ClientKind): void {
  testScenarios(client, scenarios);
}

function testScenarios(client: ClientKind, chosen: readonly Scenario[]): void {
  const rows: Row[] = [];
  // `$name` would cut a name short.
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
