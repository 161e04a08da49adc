import { testGroup } from './groups.ts';
import { runSentinelScenarios, sentinelClients, sentinelScenarios } from './sentinel.mjs';

testGroup(runSentinelScenarios, sentinelScenarios, sentinelClients);
