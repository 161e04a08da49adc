import { afterAll, describe, expect, it } from 'vitest';
import type { ClientKind } from './clients.mjs';
import { scenarios } from './scenarios.mjs';
import { runScenario } from './stage.mjs';
import type { Row } from './stage.mjs';
import { tableOf } from './table.mjs';

/** Every scenario for one client, a test each, and the measured figures at the end. */
export function testFaults(client: ClientKind): void {
  const rows: Row[] = [];
  // `$name` would cut a name short.
  const named = scenarios.map((scenario) => [scenario.name, scenario] as const);

  for (const failStrategy of ['open', 'closed'] as const) {
    describe(`${client.name}, failing ${failStrategy}`, () => {
      it.each(named)('%s', async (_, scenario) => {
        const row = await runScenario(scenario, client, failStrategy);
        expect(row.calls).toBeGreaterThan(0);
        rows.push(row);
      });
    });
  }

  describe(`${client.name}, failing with a throw`, () => {
    it.each(named.slice(0, 1))('%s', async (_, scenario) => {
      const row = await runScenario(scenario, client, 'throw');
      expect(row.calls).toBeGreaterThan(0);
      rows.push(row);
    });
  });

  afterAll(() => {
    console.log(tableOf(rows));
  });
}
