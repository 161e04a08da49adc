import { clients } from './clients.mjs';
import { testFaults } from './suite.ts';

testFaults(clients.ioredis);
