import { describe, expect, test } from 'vitest';
import { COMMANDS } from '../../../src/cli/cli.ts';
import { run } from './run.ts';

describe('the command line', () => {
  test.each(COMMANDS)(
    '$name --help shows every option, and examples',
    async ({ name, options }) => {
      const { exitCode, stdout, stderr } = await run([name, '--help']);
      expect({ exitCode, stderr }).toEqual({ exitCode: 0, stderr: '' });
      for (const option of Object.keys(options)) {
        expect(stdout).toContain(`--${option}`);
      }
      expect(stdout).toContain(`  npx distributed-rate-limiter ${name} `);
      expect((await run(['help', name])).stdout).toBe(stdout);
      expect((await run([name, '-h'])).stdout).toBe(stdout);
    },
  );

  test('--help lists the commands', async () => {
    const { exitCode, stdout } = await run(['--help']);
    expect(exitCode).toBe(0);
    for (const { name, summary } of COMMANDS) {
      expect(stdout).toContain(name);
      expect(stdout).toContain(summary);
    }
  });

  test('without a command it prints its help, and fails', async () => {
    const { exitCode, stdout, stderr } = await run([]);
    expect({ exitCode, stdout }).toEqual({ exitCode: 2, stdout: '' });
    expect(stderr).toContain('Usage:');
  });

  test('a misspelt command is told', async () => {
    const { exitCode, stderr } = await run(['repaly']);
    expect(exitCode).toBe(2);
    expect(stderr).toContain("there is no command 'repaly'. Did you mean replay?");
  });
});
