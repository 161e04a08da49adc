// @ts-check
export { ensureChromium } from './chromium.mjs';
export { FaultProxy, everyCommand, scriptCalls, startFaultProxy } from './fault-proxy.mjs';
export { freePort } from './free-port.mjs';
export { findPrometheus } from './promtool.mjs';
export { startPrometheus } from './prometheus.mjs';
export { runAsWorker, runWorkers, startWorkers } from './processes.mjs';
export { own, privateFolder } from './reaper.mjs';
export { slotOfKey, startCluster, tagOfSlot } from './redis-cluster.mjs';
export { linkUp, startReplicated } from './redis-replica.mjs';
export { startSentinel } from './redis-sentinel.mjs';
export { RedisServer, redisMissing, startRedis } from './redis-server.mjs';
export { RespError, encodeCommand, openResp, readValue } from './resp.mjs';
export { startRestServer } from './rest-server.mjs';
export { startShardingProxy } from './sharding-proxy.mjs';
export {
  createSteppedClock,
  startSteppedRedis,
  steppedClockMissing,
  timeOf,
} from './stepped-clock/stepped-clock.mjs';
export { makeCertificates, tlsMissing } from './tls-certificates.mjs';
export { startTwemproxy } from './twemproxy.mjs';
export { waitUntil } from './wait-until.mjs';
