/** Loaded into a process that is measured: writes the most memory that it had, in KiB, to file descriptor 3. */
import { writeSync } from 'node:fs';
import process from 'node:process';

process.on('exit', () => {
  writeSync(3, String(process.resourceUsage().maxRSS));
});
