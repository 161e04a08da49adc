import { clusterClients, clusterScenarios, runClusterScenarios } from './cluster.mjs';
import { testGroup } from './groups.ts';

testGroup(runClusterScenarios, clusterScenarios, clusterClients);
