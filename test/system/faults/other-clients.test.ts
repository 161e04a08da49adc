import { clients } from './clients.mjs';
import { testTellingFaults } from './suite.ts';

testTellingFaults(clients.ioredis5);
testTellingFaults(clients.iovalkey);
testTellingFaults(clients.nodeRedis5);
testTellingFaults(clients.nodeRedis4);
testTellingFaults(clients.glide);
