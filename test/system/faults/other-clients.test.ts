import { clients } from './clients.mjs';
import { testDifferingFaults } from './suite.ts';

testDifferingFaults(clients.ioredis5);
testDifferingFaults(clients.iovalkey);
testDifferingFaults(clients.nodeRedis5);
testDifferingFaults(clients.nodeRedis4);
testDifferingFaults(clients.glide);
