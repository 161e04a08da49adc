/**
 * Keeps Node.js from printing the library's own process warnings, which many tests cause on purpose. Tests read them
 * with `collectWarnings`. Other warnings are printed as usual.
 */
import process from 'node:process';

const printers = process.listeners('warning');
process.removeAllListeners('warning');
process.on('warning', (warning) => {
  if (warning.name !== 'RateLimiterWarning') {
    for (const print of printers) print(warning);
  }
});
