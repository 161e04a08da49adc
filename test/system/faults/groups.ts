import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { GroupClient, GroupResult, GroupScenario } from './groups.mjs';
import { tableOf } from './table.mjs';

/** Runs each scenario for all clients at once before the tests; each test reports the result of one client. */
export function testGroup<Group>(
  run: (tell: (result: GroupResult) => void) => Promise<void>,
  scenarios: readonly Pick<GroupScenario<Group>, 'name'>[],
  clients: readonly Pick<GroupClient<Group>, 'name'>[],
): void {
  describe('one fault for all clients at once', () => {
    const results: GroupResult[] = [];
    beforeAll(() => run((result) => results.push(result)), 120_000);

    const cases = scenarios.flatMap(({ name: scenario }) =>
      clients.flatMap(({ name: client }) =>
        (['open', 'closed'] as const).map((failStrategy) => ({ scenario, client, failStrategy })),
      ),
    );
    const named = cases.map(
      (each) => [each.scenario, each.client, each.failStrategy, each] as const,
    );
    test.each(named)('%s: %s, failing %s', (_scenario, _client, _strategy, wanted) => {
      const found = results.filter(
        ({ scenario, client, failStrategy }) =>
          scenario === wanted.scenario &&
          client === wanted.client &&
          failStrategy === wanted.failStrategy,
      );
      expect(found).toHaveLength(1);
      const { result } = found[0]!;
      if ('error' in result) throw result.error;
      expect(result.row.calls).toBeGreaterThan(0);
    });

    afterAll(() => {
      const rows = results.flatMap(({ result }) =>
        'row' in result ? { ...result.row, extra: result.extra } : [],
      );
      console.log(tableOf(rows));
    });
  });
}
