/** `npm run demo`, on a machine with nothing but Node and npm. Arguments go to the demo. */
import process from 'node:process';
import { ensurePackages } from './bootstrap.mjs';
import { build } from './build.mjs';
import { ensureRedisServer } from './redis-server.mjs';

ensurePackages();
if (process.argv.includes('--redis')) ensureRedisServer();
build();
await import(new URL('../demo/main.mjs', import.meta.url).href);
