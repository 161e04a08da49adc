import { afterAll, describe, expect, test } from 'vitest';
import { portScenarios, runPortScenario } from './ports.mjs';
import type { Row } from './run-scenario.mjs';
import { tableOf } from './table.mjs';

const rows: Row[] = [];

describe.each(['open', 'closed', 'throw'] as const)('a RedisPort, failing %s', (failStrategy) => {
  test.each(portScenarios)('$name', async (scenario) => {
    const row = await runPortScenario(scenario, failStrategy);
    expect(row.calls).toBeGreaterThan(0);
    rows.push(row);
  });
});

afterAll(() => {
  console.log(tableOf(rows));
});
